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
from ablate.sweeping.plan import make_plan


def test_the_live_line_counts_the_runs_that_are_on_disk(
    tmp_path: Path, small: Callable[..., Config], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The bar is further: it moves with every epoch of those that train."""
    shown = Console(file=io.StringIO(), force_terminal=True, width=100)
    monkeypatch.setattr(progress, "console", lambda **_: shown)
    config = small("seeds=4", "epochs=2")
    plan = make_plan([config], tmp_path / "sweep", config.data)
    live = progress.Progress(plan, 0)

    def line() -> str:
        with shown.capture() as captured:
            shown.print(live.bar.get_renderable())
        return captured.get()

    [setting] = plan.settings
    halves: list[Any] = [SimpleNamespace(config=config, runs=setting.runs[start : start + 2]) for start in (0, 2)]
    for task in halves:
        live.epoch(task, "rnn", 1, 3.0)
    assert "0/4 runs" in line()
    assert live.bar.tasks[0].percentage == 50
    records: list[Any] = [
        SimpleNamespace(setting_id=setting.setting_id, divergence=None, engine="eager") for _ in halves[0].runs
    ]
    live.done(halves[0], records, {setting.setting_id: "rnn"})
    assert "2/4 runs" in line()
