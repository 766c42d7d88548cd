"""Printed commands against the shell that reads them. CPU, ms."""

import shlex
from pathlib import Path

import pytest

from ablate.config.shell import command_line, shell_line


@pytest.mark.parametrize("word", ["plain", "two words", "it's", 'a"b', "$HOME", "a;b", "(x)", "*", "", "नमस्ते"])
def test_a_shell_reads_back_the_words(word: str) -> None:
    assert shlex.split(shell_line("python", "-m", "ablate", word, Path("results") / (word or "x"))) == [
        *("python", "-m", "ablate", word),
        f"results/{word or 'x'}",
    ]


def test_a_path_is_never_an_option() -> None:
    assert command_line("report", Path("-x")) == "python -m ablate report ./-x"
