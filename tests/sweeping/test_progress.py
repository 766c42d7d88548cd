"""What a person sees while a sweep runs. CPU, 1 s."""

import io
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from rich.console import Console

from ablate.config.schema import Config
from ablate.sweeping import progress
from ablate.sweeping.naming import Asked
from ablate.sweeping.plan import make_plan
from ablate.sweeping.planning import show


@pytest.fixture
def shown(monkeypatch: pytest.MonkeyPatch) -> Console:
    """A terminal."""
    terminal = Console(file=io.StringIO(), force_terminal=True, width=100)
    monkeypatch.setattr(progress, "console", lambda **_: terminal)
    return terminal


def line_of(live: progress.Progress, shown: Console) -> str:
    """On a console apart: on the live one each print brings the line of the last refresh with it."""
    apart = Console(file=io.StringIO(), force_terminal=True, width=shown.width)
    with apart.capture() as captured:
        apart.print(live.bar.get_renderable())
    return captured.get()


def test_what_goes_on_before_training_stands_in_the_live_line(
    main: Callable[..., Any], small_arguments: list[str], shown: Console, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Compiling takes seconds for a cell, on the first command of a machine."""
    lines: list[str] = []
    prepare = progress.Progress.preparing

    def preparing(live: progress.Progress, what: str) -> None:
        prepare(live, what)
        lines.append(line_of(live, shown))

    monkeypatch.setattr(progress.Progress, "preparing", preparing)
    done = main(*small_arguments, "name=told", "report=false")
    assert done.status == 0, done.err
    compiling, choosing, neither = lines
    assert "compiling kernels" in compiling
    assert "choosing engines" in choosing
    assert "compiling" not in neither
    assert "choosing" not in neither


@pytest.mark.parametrize("terminal", [True, False])
def test_what_a_plan_waits_for_is_told_on_a_terminal_alone(
    terminal: bool, monkeypatch: pytest.MonkeyPatch, small: Callable[..., Config]
) -> None:
    told = io.StringIO()
    monkeypatch.setattr("ablate.config.terminal.console", lambda **_: Console(file=told, force_terminal=terminal))
    monkeypatch.setattr(show, "estimate", lambda *_: [])
    show.Planned.of([small()], Asked("told"))
    assert ("compiling kernels and timing updates" in told.getvalue()) == terminal
    assert terminal or not told.getvalue()


def test_the_live_line_counts_the_runs_that_are_on_disk(
    tmp_path: Path, small: Callable[..., Config], shown: Console
) -> None:
    """The bar is further: it moves with every epoch of those that train."""
    config = small("seeds=4", "epochs=2")
    plan = make_plan([config], tmp_path / "sweep", config.data)
    live = progress.Progress(plan, 0)
    [setting] = plan.settings
    halves: list[Any] = [SimpleNamespace(config=config, runs=setting.runs[start : start + 2]) for start in (0, 2)]
    for task in halves:
        live.epoch(task, "rnn", 1, 3.0)
    assert "0/4 runs" in line_of(live, shown)
    assert live.bar.tasks[0].percentage == 50
    records: list[Any] = [
        SimpleNamespace(setting_id=setting.setting_id, divergence=None, engine="eager") for _ in halves[0].runs
    ]
    live.done(halves[0], records, {setting.setting_id: "rnn"})
    assert "2/4 runs" in line_of(live, shown)
