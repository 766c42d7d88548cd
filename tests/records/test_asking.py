"""What comes of a program that is asked: its words, its failure, its absence, its silence. CPU, 1 s."""

import subprocess
import sys

import pytest

from ablate.config.schema import PACKAGE_DIR
from ablate.records.asking import NO_ANSWER, ask, output_of

PRINTS = "import sys; sys.stdout.buffer.write({!r}); sys.exit({})"


def test_what_is_no_utf8_is_read_as_well_as_it_can_be() -> None:
    assert output_of(sys.executable, "-c", PRINTS.format("é".encode() + b" \xe9", 0)) == "é \ufffd"


def test_a_program_that_fails_has_no_answer_unless_its_status_is_asked_for() -> None:
    command = (sys.executable, "-c", PRINTS.format(b"half of it", 3))
    assert output_of(*command) == ""
    assert output_of(*command, check=False) == "half of it"
    with pytest.raises(subprocess.CalledProcessError):
        ask(*command)
    done = ask(*command, check=False)
    assert (done.returncode, done.stdout) == (3, "half of it")


def test_a_program_that_is_missing_or_hangs_has_no_answer() -> None:
    assert output_of("no-such-program") == ""
    with pytest.raises(NO_ANSWER):
        ask("no-such-program", check=False)
    with pytest.raises(NO_ANSWER):
        ask(sys.executable, "-c", "import time; time.sleep(60)", timeout_s=0.1, check=False)


def test_programs_are_asked_in_one_way() -> None:
    asking = {path for path in PACKAGE_DIR.rglob("*.py") if "subprocess.run(" in path.read_text(encoding="utf-8")}
    assert {path.relative_to(PACKAGE_DIR).as_posix() for path in asking} == {"records/asking.py"}
