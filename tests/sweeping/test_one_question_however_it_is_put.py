"""What is right in every try and must stay so: one run, however its numbers and its text are written. CPU, 5 s."""

from pathlib import Path
from typing import Any

import pytest

from ablate.config.composing import compose_all
from ablate.config.identity import run_id


@pytest.mark.parametrize("texts", [("0.5", "5e-1", ".5", "0.50", "5E-1"), ("1", "1.0", "1e0", "+1"), ("1e-3", "0.001")])
def test_a_number_is_one_however_it_is_spelt(texts: tuple[str, ...]) -> None:
    each = [compose_all([f"lr={text}"])[0] for text in texts]
    assert len({run_id(config, "") for config in each}) == 1


@pytest.mark.full
@pytest.mark.parametrize("content", [b"\xef\xbb\xbf%s", b"%s"])
@pytest.mark.parametrize("ending", [b"\n", b"\r\n", b"\r"])
def test_a_text_is_one_whatever_its_line_ends_and_mark(
    main: Any, tmp_path: Path, content: bytes, ending: bytes, small_arguments: list[str]
) -> None:
    lines = b"the cell keeps a state\nand forgets what it has read\n" * 20
    (tmp_path / "plain.txt").write_bytes(lines)
    (tmp_path / "other.txt").write_bytes(content % lines.replace(b"\n", ending))
    words = ["data=text_file", *small_arguments[3:], "seeds=1", "report=false"]
    assert main("run", *words, "data.path=plain.txt", "name=plain").status == 0
    done = main("run", *words, "data.path=other.txt", "name=other")
    assert (done.status, "1 reused" in done.err) == (0, True), done.err
