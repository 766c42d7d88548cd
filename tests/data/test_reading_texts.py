"""Files as text: what is read, and one line with a remedy that works for everything else. CPU, 1 s.

The remedies are typed into a shell where `iconv` and `tr` are installed.
"""

import codecs
import os
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ablate.config.errors import DataError
from ablate.data import reading
from ablate.data.reading import expanded, read_text, text_blocks

TEXT = "Grüße, élan – “quoted”\nand a second line, 日本語\n"


def refused(path: Path) -> str:
    """The one line that refuses this file."""
    with pytest.raises(DataError) as caught:
        read_text(path)
    (line,) = str(caught.value).splitlines()
    return line


@pytest.mark.parametrize(
    ("content", "text"),
    [
        (TEXT.encode(), TEXT),
        (codecs.BOM_UTF8 + TEXT.encode(), TEXT),
        (TEXT.replace("\n", "\r\n").encode(), TEXT),
        (TEXT.replace("\n", "\r").encode(), TEXT),
        (b"a\r\n\r\nb\rc\r", "a\n\nb\nc\n"),
        (b"", ""),
        (codecs.BOM_UTF8, ""),
        (b"x", "x"),
        ("e\u0301 👩‍🚀".encode(), "e\u0301 👩‍🚀"),
        ("a\ufeffb".encode(), "a\ufeffb"),
    ],
    ids=["utf-8", "bom", "crlf", "cr", "mixed", "empty", "bom alone", "one", "combining", "no mark inside"],
)
@pytest.mark.parametrize("block", [1, 2, 7, 1 << 18])
def test_a_text_is_read_whatever_its_line_ends(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, content: bytes, text: str, block: int
) -> None:
    monkeypatch.setattr(reading, "BLOCK", max(block, 4))  # a mark is looked for in the first one
    (tmp_path / "text").write_bytes(content)
    assert read_text(tmp_path / "text") == text


@pytest.mark.full
@given(st.binary(max_size=40))
def test_what_is_read_is_what_python_decodes(tmp_path_factory: pytest.TempPathFactory, content: bytes) -> None:
    path = tmp_path_factory.mktemp("any") / "file"
    path.write_bytes(content)
    bare = content.removeprefix(codecs.BOM_UTF8)
    marked = content.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE))
    if b"\0" in content or marked or not decodes(bare):
        refused(path)
    else:
        assert read_text(path) == bare.decode().replace("\r\n", "\n").replace("\r", "\n")


def decodes(content: bytes) -> bool:
    try:
        content.decode()
    except UnicodeDecodeError:
        return False
    return True


NAMES = ["plain.txt", "with space.txt", "it's.txt", "a=b[1],$(x).txt", "no-suffix", "-leading.txt", "üñ.txt"]

ENCODED = {
    "LATIN1": ("Grüße, élan\n", "latin-1"),
    "WINDOWS-1252": ("“Grüße” – élan\n", "cp1252"),
    "UTF-16": (TEXT, "utf-16"),
    "UTF-32": (TEXT, "utf-32"),
    "UTF-16LE": (TEXT, "utf-16-le"),
    "UTF-16BE": (TEXT, "utf-16-be"),
    "UTF-32LE": (TEXT, "utf-32-le"),
    "UTF-32BE": (TEXT, "utf-32-be"),
}


@pytest.mark.skipif(not shutil.which("iconv"), reason="needs iconv")
@pytest.mark.parametrize("encoding", ENCODED)
@pytest.mark.parametrize("name", NAMES)
def test_the_remedy_converts_the_file_when_it_is_typed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, encoding: str, name: str
) -> None:
    text, codec = ENCODED[encoding]
    monkeypatch.chdir(tmp_path)
    Path(name).write_bytes(text.encode(codec))
    line = refused(Path(name))
    assert repr(name) in line
    assert f"iconv -f {encoding} " in line
    subprocess.run(line.partition("convert it: ")[2], shell=True, check=True)
    (converted,) = set(os.listdir()) - {name}
    assert read_text(Path(converted)) == text
    Path(converted).write_text("edited since")
    subprocess.run(refused(Path(name)).partition("convert it: ")[2], shell=True, check=True)
    assert Path(converted).read_text() == "edited since"
    assert Path(name).read_bytes() == text.encode(codec)


@pytest.mark.skipif(not shutil.which("tr"), reason="needs tr")
def test_a_nul_character_is_shown_and_can_be_taken_out(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    Path("a b.bin").write_bytes(b"\xef\xbb\xbfMZ text\0more of it")
    line = refused(Path("a b.bin"))
    assert "byte 10" in line
    subprocess.run(line.partition("take them out: ")[2], shell=True, check=True)
    assert read_text(Path("a b-utf8.bin")) == "MZ textmore of it"


@pytest.mark.parametrize("content", [b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR", b"\x1f\x8b\x08\0\0", b"MZ\x90\0\x03\0"])
def test_a_binary_file_is_no_text(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "it").write_bytes(content)
    line = refused(tmp_path / "it")
    assert "binary" in line
    assert "tr -d" not in line


@pytest.mark.parametrize("before", [0, 1, 5_000, 2**18 - 1, 2**18, 2**18 + 1])
@pytest.mark.parametrize("mark", [b"", codecs.BOM_UTF8])
def test_the_first_byte_that_is_not_utf_8_is_named(tmp_path: Path, before: int, mark: bytes) -> None:
    (tmp_path / "text").write_bytes(mark + b"x" * before + b"\xe9lan")
    assert f"(byte {before + len(mark)})" in refused(tmp_path / "text")


@pytest.mark.parametrize("content", [b"\xed\xa0\x80", b"caf\xc3", b"\xff", b"\xc0\xaf"])
def test_surrogates_and_what_is_cut_off_are_not_utf_8(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "text").write_bytes(content)
    assert "not UTF-8" in refused(tmp_path / "text")


def make_fifo(path: Path) -> Path:
    os.mkfifo(path)
    return path


def make_folder(path: Path) -> Path:
    path.mkdir()
    return path


NO_FILES: dict[str, tuple[Callable[[Path], Path], str]] = {
    "missing": (lambda path: path, "No such file"),
    "below a file": (lambda path: Path(__file__) / "x", "Not a directory"),
    "folder": (make_folder, "Is a directory"),
    "fifo": (make_fifo, "a pipe"),
    "device": (lambda path: Path("/dev/zero"), "a device"),
    "null device": (lambda path: Path("/dev/null"), "a device"),
    "300 characters": (lambda path: path.with_name("x" * 300), "too long"),
    "NUL in the name": (lambda path: path.with_name("a\0b"), "null"),
    "line end in the name": (lambda path: path.with_name("a\nb"), "No such file"),
    "no such user": (lambda path: expanded("~x.txt"), "'~x.txt'"),
    "home of no such user": (lambda path: expanded("~nobody-of-that-name/x"), "No such file"),
    "space": (lambda path: Path(" "), "No such file"),
}


@pytest.mark.parametrize("kind", NO_FILES)
def test_what_is_no_file_is_refused_in_one_line(tmp_path: Path, kind: str) -> None:
    make, says = NO_FILES[kind]
    line = refused(make(tmp_path / "it"))
    assert line.startswith("data.path is ")
    assert says in line


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read everything")
def test_a_file_that_may_not_be_read(tmp_path: Path) -> None:
    (tmp_path / "text").write_text("text")
    (tmp_path / "text").chmod(0)
    assert "Permission denied" in refused(tmp_path / "text")


def test_a_home_is_expanded_as_a_shell_does(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    assert expanded("~/text.txt") == tmp_path / "text.txt"
    assert expanded("~no-such-user/x") == Path("~no-such-user/x")
    monkeypatch.chdir(tmp_path)
    Path("~x.txt").write_text("kept as it is")
    assert read_text(expanded("~x.txt")) == "kept as it is"


def test_blocks_are_small(tmp_path: Path) -> None:
    (tmp_path / "text").write_bytes(b"one huge line " * 100_000)
    assert max(map(len, text_blocks(tmp_path / "text"))) <= reading.BLOCK
