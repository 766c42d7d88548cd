"""Downloads: verified, retried, kept only whole; from file:// addresses and a small server on 127.0.0.1. CPU, 1 s."""

import hashlib
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import NoReturn

import pytest

from ablate.config.errors import DataError
from ablate.config.schema import Config
from ablate.data.cache import data_dir, fetch
from ablate.data.corpora import resolve_auto

CONTENT = b"It will be convenient to speak of him.\n" * 50
SHA256 = hashlib.sha256(CONTENT).hexdigest()
NOBODY = "http://127.0.0.1:9/book.txt"


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty data folder that is not there yet."""
    folder = tmp_path / "cache"
    monkeypatch.setenv("ABLATE_DATA_DIR", str(folder))
    return folder


def inside(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir()) if folder.is_dir() else []


def mirror(tmp_path: Path, content: bytes, name: str = "mirror.txt") -> str:
    (tmp_path / name).write_bytes(content)
    return (tmp_path / name).as_uri()


@pytest.mark.parametrize(("name", "sha256", "lacks"), [(None, SHA256, "data.file"), ("book.txt", None, "data.sha256")])
def test_data_that_do_not_say_which_file(cache: Path, name: str | None, sha256: str | None, lacks: str) -> None:
    """As a record may that somebody edited."""
    with pytest.raises(DataError, match=f"^the data have no {lacks}, .*, or use data=python_docs$"):
        fetch(name, sha256, [], "python_docs")


@dataclass
class Server:
    """Answers each request with the next of `answers`: (status, announced length or None, body)."""

    url: str = ""
    answers: list[tuple[int, int | None, bytes]] = field(default_factory=list)
    requests: int = 0


@pytest.fixture
def server() -> Iterator[Server]:
    script = Server()

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            script.requests += 1
            status, length, body = script.answers.pop(0)
            self.send_response(status)
            self.send_header("Content-Length", str(len(body) if length is None else length))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            pass

    listening = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    script.url = f"http://127.0.0.1:{listening.server_port}/book.txt"
    thread = threading.Thread(target=listening.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    yield script
    listening.shutdown()
    thread.join()
    listening.server_close()


@pytest.fixture
def homeless(monkeypatch: pytest.MonkeyPatch) -> None:
    """A user without HOME and without an entry in the system's list of users, as in many containers."""

    def unknown(uid: int) -> NoReturn:
        raise KeyError(f"getpwuid(): uid not found: {uid}")

    for name in ("HOME", "XDG_CACHE_HOME", "ABLATE_DATA_DIR"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr("pwd.getpwuid", unknown)


@pytest.mark.usefixtures("homeless")
def test_without_a_home_downloads_are_kept_in_a_folder_of_this_users(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("ablate.records.files.user_folder", lambda: tmp_path / "own")
    path = fetch("book.txt", SHA256, [mirror(tmp_path, CONTENT)])
    assert path.is_relative_to(tmp_path / "own")
    assert path.read_bytes() == CONTENT
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "named"))
    assert fetch("book.txt", SHA256, [mirror(tmp_path, CONTENT)]).is_relative_to(tmp_path / "named")


@pytest.mark.usefixtures("homeless")
def test_without_a_home_auto_falls_back(compose: Callable[..., Config]) -> None:
    data, warning = resolve_auto(compose("data=auto").data, compose("data=python_docs").data)
    assert data.name == "python_docs"
    assert "ABLATE_DATA_DIR" in warning


@pytest.mark.parametrize("folder", ["x" * 300, "a-file", "a-file/below"])
def test_a_folder_that_cannot_be_is_one_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, folder: str) -> None:
    (tmp_path / "a-file").write_text("")
    monkeypatch.setenv("ABLATE_DATA_DIR", str(tmp_path / folder))
    with pytest.raises(DataError, match="ABLATE_DATA_DIR") as caught:
        fetch("book.txt", SHA256, [mirror(tmp_path, CONTENT)])
    assert len(str(caught.value).splitlines()) == 1


def test_the_data_folder(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("ABLATE_DATA_DIR", "~/here")
    assert data_dir() == Path.home() / "here"
    monkeypatch.delenv("ABLATE_DATA_DIR")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert data_dir() == tmp_path / "ablate"
    monkeypatch.delenv("XDG_CACHE_HOME")
    assert data_dir() == Path.home() / ".cache" / "ablate"


def test_a_file_that_is_there_is_taken_without_asking_anyone(cache: Path) -> None:
    cache.mkdir()
    (cache / "book.txt").write_bytes(CONTENT)
    assert fetch("book.txt", SHA256, []) == cache / "book.txt"


def test_a_download_is_kept_and_not_repeated(cache: Path, server: Server) -> None:
    server.answers = [(200, None, CONTENT)]
    assert fetch("book.txt", SHA256, [server.url]).read_bytes() == CONTENT
    assert fetch("book.txt", SHA256, [server.url]).read_bytes() == CONTENT
    assert server.requests == 1
    assert inside(cache) == ["book.txt"]


@pytest.mark.parametrize("dead", [NOBODY, "file:///nowhere/book.txt", "not an address", "gopher://127.0.0.1/"])
def test_the_next_mirror_is_asked_where_one_is_dead(cache: Path, tmp_path: Path, dead: str) -> None:
    assert fetch("book.txt", SHA256, [dead, mirror(tmp_path, CONTENT)]).read_bytes() == CONTENT


def test_the_next_mirror_is_asked_where_one_says_404(cache: Path, tmp_path: Path, server: Server) -> None:
    server.answers = [(404, None, b"not here")]
    assert fetch("book.txt", SHA256, [server.url, mirror(tmp_path, CONTENT)]).read_bytes() == CONTENT


def test_the_next_mirror_is_asked_where_one_has_another_text(cache: Path, tmp_path: Path) -> None:
    wrong, right = mirror(tmp_path, b"another text", "wrong.txt"), mirror(tmp_path, CONTENT, "right.txt")
    assert fetch("book.txt", SHA256, [wrong, right]).read_bytes() == CONTENT
    assert inside(cache) == ["book.txt"]


@pytest.mark.parametrize("announced", [None, len(CONTENT)], ids=["unnoticed", "connection cut"])
def test_a_truncated_download_is_repeated(cache: Path, server: Server, announced: int | None) -> None:
    server.answers = [(200, announced, CONTENT[:100]), (200, None, CONTENT)]
    assert fetch("book.txt", SHA256, [server.url]).read_bytes() == CONTENT
    assert server.requests == 2
    assert inside(cache) == ["book.txt"]


@pytest.mark.parametrize("announced", [None, len(CONTENT)], ids=["unnoticed", "connection cut"])
def test_what_is_never_whole_is_never_kept(cache: Path, server: Server, announced: int | None) -> None:
    server.answers = [(200, announced, CONTENT[:100])] * 9
    with pytest.raises(DataError) as caught:
        fetch("book.txt", SHA256, [server.url])
    assert server.url in str(caught.value)
    assert inside(cache) == []


def test_offline_says_what_was_tried_and_what_to_do(cache: Path) -> None:
    with pytest.raises(DataError) as caught:
        fetch("book.txt", SHA256, [NOBODY, "file:///nowhere/book.txt"])
    message = str(caught.value)
    assert len(message.splitlines()) == 1
    for part in ("book.txt", NOBODY, "file:///nowhere/book.txt", str(cache), "ABLATE_DATA_DIR"):
        assert part in message
    assert inside(cache) == []


def test_a_damaged_file_is_replaced_by_a_whole_one(cache: Path, tmp_path: Path) -> None:
    cache.mkdir()
    (cache / "book.txt").write_bytes(CONTENT[:100])
    assert fetch("book.txt", SHA256, [mirror(tmp_path, CONTENT)]).read_bytes() == CONTENT
    assert inside(cache) == ["book.txt"]


def test_a_damaged_file_is_named_and_left_where_nobody_has_a_whole_one(cache: Path) -> None:
    cache.mkdir()
    (cache / "book.txt").write_bytes(CONTENT[:100])
    with pytest.raises(DataError) as caught:
        fetch("book.txt", SHA256, [NOBODY])
    assert str(cache / "book.txt") in str(caught.value)
    assert SHA256[:12] in str(caught.value)
    assert (cache / "book.txt").read_bytes() == CONTENT[:100]


def test_a_folder_that_cannot_be_written_is_named(cache: Path, tmp_path: Path) -> None:
    cache.write_text("a file in the place of the folder")
    with pytest.raises(DataError) as caught:
        fetch("book.txt", SHA256, [mirror(tmp_path, CONTENT)])
    assert str(cache) in str(caught.value)
    assert len(str(caught.value).splitlines()) == 1


@pytest.mark.parametrize("name", ["../book.txt", "a/book.txt", "/tmp/book.txt", "..", ""])
def test_a_name_that_leads_out_of_the_folder_is_refused(tmp_path: Path, cache: Path, name: str) -> None:
    """A record, or a preset, of somebody else's may name any file, any mirror and the hash that fits."""
    with pytest.raises(DataError, match=r"data.file"):
        fetch(name, SHA256, [mirror(tmp_path, CONTENT)])
    assert inside(tmp_path) == ["mirror.txt"]
