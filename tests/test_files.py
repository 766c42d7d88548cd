"""write_atomically: whole or absent, and nothing else left behind. CPU, under 1 s."""

import os
from pathlib import Path

import pytest

from ablate.files import write_atomically


def test_it_makes_the_folder_and_leaves_only_the_file(tmp_path: Path) -> None:
    write_atomically(tmp_path / "a" / "b.txt", b"one")
    write_atomically(tmp_path / "a" / "b.txt", b"two")
    assert (tmp_path / "a" / "b.txt").read_bytes() == b"two"
    assert os.listdir(tmp_path / "a") == ["b.txt"]


@pytest.mark.parametrize("failing", ["fsync", "replace"])
@pytest.mark.parametrize("error", [OSError("disk full"), KeyboardInterrupt()])
def test_where_it_is_cut_short_the_old_content_stays(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, failing: str, error: BaseException
) -> None:
    def fail(*_: object) -> None:
        raise error

    path = tmp_path / "b.txt"
    path.write_bytes(b"old")
    monkeypatch.setattr(os, failing, fail)
    with pytest.raises(type(error)):
        write_atomically(path, b"new")
    assert path.read_bytes() == b"old"
    assert os.listdir(tmp_path) == ["b.txt"]
