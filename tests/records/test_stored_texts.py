"""Stored texts and JSON objects, and what is none: one RecordError, without a wait. CPU, no time."""

import os
from pathlib import Path

import pytest

from ablate.records.reading import RecordError, read_json, read_text

NO_OBJECTS = {
    "empty": b"",
    "cut short": b'{"a": 1',
    "a list": b"[1]",
    "no text": b"\xff\xfe{}",
    "half a character": b'{"a": "\\ud800"}',
    "half a name": b'{"\\udc00": 1}',
    "a number of 5,000 digits": b'{"a": ' + b"9" * 5000 + b"}",
    "100,000 brackets": b"[" * 100_000,
}


@pytest.mark.parametrize("content", NO_OBJECTS.values(), ids=NO_OBJECTS)
def test_what_is_no_object_is_one_line(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "a.json"
    path.write_bytes(content)
    with pytest.raises(RecordError) as caught:
        read_json(path)
    assert str(path) in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_whole_character_in_halves_is_one(tmp_path: Path) -> None:
    path = tmp_path / "a.json"
    path.write_bytes(b'{"a": "\\ud83d\\ude00"}')
    assert read_json(path) == {"a": "\N{GRINNING FACE}"}


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="no pipes here")
def test_a_pipe_is_not_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(RecordError, match="no regular file"):
        read_text(tmp_path / "pipe")
