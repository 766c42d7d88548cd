"""Broken inputs by the hundred, and what has to be true of each.

ABLATE_FUZZ=2000        inputs of each kind in the slow version (else as many as the test says)
ABLATE_FUZZ_SEED=7      another choice of them
ABLATE_FUZZ_ALL=1       go on after a fault, and name each kind of fault once at the end
ABLATE_FUZZ_LOG=FILE    a line for each test: its inputs, processor seconds and kinds of faults; each fault has one
"""

import os
import re
import signal
import time
import traceback
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from types import FrameType
from typing import Any, TypeVar

import pytest
from hypothesis import HealthCheck, Phase, given, seed, settings
from hypothesis import strategies as st

from ablate.config import errors

T = TypeVar("T")

LIMIT_S = 60.0
"""Processor seconds: what takes more hangs, however busy the machine is."""
WAITS = 10
"""What takes as many times LIMIT_S by the clock waits for what never comes."""
NO_WORDS = re.compile(
    r"\b(Key|Type|Attribute|Index|UnboundLocal|Assertion|Recursion|ZeroDivision|Value|Runtime|NotImplemented|Memory|"
    r"Overflow|Unicode\w+|StopIteration|Arrow\w+)Error\b"
)
"""Names of errors of Python's, which say nothing to a person."""


def examples(few: int, many: int) -> pytest.MarkDecorator:
    """The number of inputs that a test is given: few with every change, many in the slow version."""
    many = int(os.environ.get("ABLATE_FUZZ", many))
    return pytest.mark.parametrize(
        "count",
        [
            pytest.param(few, marks=pytest.mark.full, id="few"),
            pytest.param(many, marks=pytest.mark.slow, id="many"),
        ],
    )


def explore(inputs: st.SearchStrategy[T], check: Callable[[T], None], count: int) -> None:
    """Check so many inputs; what fails is made as small as it can be, or with ABLATE_FUZZ_ALL told with the rest."""
    every = bool(os.environ.get("ABLATE_FUZZ_ALL"))
    chosen = os.environ.get("ABLATE_FUZZ_SEED")
    faults: dict[str, str] = {}
    inputs_tried, started = 0, time.process_time()

    def tried(given_input: T) -> None:
        nonlocal inputs_tried
        inputs_tried += 1
        try:
            with within(LIMIT_S):
                check(given_input)
        except Exception as error:
            if not every:
                raise
            if (kind := kind_of(error)) not in faults:
                faults[kind] = f"{error!r:.600}\n    input: {given_input!r:.600}"
                noted(f"{inputs_tried}\t{kind}\t{faults[kind]!r}")

    phases = [Phase.generate] if every else [Phase.explicit, Phase.generate, Phase.shrink]
    run = settings(
        max_examples=count,
        deadline=None,
        database=None,
        derandomize=chosen is None,
        phases=phases,
        suppress_health_check=list(HealthCheck),
        report_multiple_bugs=False,
    )(given(inputs)(tried))
    try:
        (run if chosen is None else seed(int(chosen))(run))()
    finally:
        noted(f"{inputs_tried}\t{time.process_time() - started:.1f}\t{len(faults)}")
    assert not faults, "\n\n".join(f"{kind}\n    {said}" for kind, said in faults.items())


def noted(line: str) -> None:
    """A line about this test in ABLATE_FUZZ_LOG, at once: the process may be ended before the test is."""
    if log := os.environ.get("ABLATE_FUZZ_LOG"):
        name = os.environ["PYTEST_CURRENT_TEST"].partition(" ")[0]
        with open(log, "a", encoding="utf-8") as file:
            file.write(f"{name}\t{line}\n")


def kind_of(error: BaseException) -> str:
    """What tells two faults apart: the error and the innermost line of ours that it passed through."""
    frames = traceback.extract_tb(error.__traceback__)
    ours = [frame for frame in frames if frame.filename.startswith(errors.OURS)]
    said = re.sub(r"\d+|'[^']*'|\"[^\"]*\"|/\S+", "…", str(error))[:60] if not ours else ""
    where = f"{Path(ours[-1].filename).relative_to(errors.OURS)}:{ours[-1].lineno} {ours[-1].name}" if ours else said
    return f"{type(error).__name__} at {where}"


class TooLong(Exception):
    """It hangs."""


@contextmanager
def within(seconds: float) -> Iterator[None]:
    """Raise TooLong where the block takes more processor seconds, or WAITS times as many by the clock."""

    def stop(number: int, frame: FrameType | None) -> None:
        raise TooLong(f"not done after {seconds:g} s of the processor, or {WAITS * seconds:g} s in all")

    limits = {
        signal.SIGPROF: (signal.ITIMER_PROF, seconds),
        signal.SIGALRM: (signal.ITIMER_REAL, WAITS * seconds),
    }
    before = {number: signal.signal(number, stop) for number in limits}
    for timer, limit in limits.values():
        signal.setitimer(timer, limit)
    try:
        yield
    finally:
        for number, (timer, _) in limits.items():
            signal.setitimer(timer, 0)
            signal.signal(number, before[number])


def one_line(error: errors.UserError) -> None:
    """What a person reads is one line in words."""
    said = str(error)
    assert said.strip(), "an error without a word"
    assert "\n" not in said.strip(), f"several lines: {said!r:.300}"
    assert not NO_WORDS.search(said), f"no words for a person: {said!r:.300}"


def refused_or(work: Callable[[], Any], *, also: Sequence[type[Exception]] = ()) -> Any:
    """What `work` returns; None where it says in a line why not. Whatever else it raises is a fault."""
    try:
        return work()
    except errors.UserError as error:
        one_line(error)
    except tuple(also):
        pass
    return None


def numbered(folder: Path) -> Iterator[Path]:
    """Folders that have not been there: what is kept of a file is kept under its path."""
    number = 0
    while True:
        number += 1
        yield folder / f"{number:06d}"
