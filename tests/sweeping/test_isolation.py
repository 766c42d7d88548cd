"""What goes wrong in one cell is recorded and does not touch the others; what can go right nowhere is refused.

CPU, 6 s.
"""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from ablate.config import Config
from ablate.errors import CombinationError
from ablate.sweeping import launch

Configs = Callable[..., Config]


def failures(folder: Path) -> list[dict[str, Any]]:
    return [json.loads(path.read_text()) for path in sorted((folder / "failures").glob("*.json"))]


def finished(folder: Path) -> list[str]:
    return sorted(json.loads(path.read_text())["config"]["model"]["name"] for path in (folder / "runs").glob("*.json"))


def test_an_impossible_cell_among_possible_ones(
    small: Configs, sweep: Callable[..., Any], capsys: pytest.CaptureFixture[str]
) -> None:
    cells = [small(f"model={name}", "engine=api", "seeds=2") for name in ("gru-no-reset", "gru", "lstm")]
    summary = sweep(cells)
    assert summary.exit_status == 1
    assert summary.trained == 4
    assert finished(summary.folder) == ["gru", "gru", "lstm", "lstm"]
    [failure] = failures(summary.folder)
    assert failure["config"]["model"]["name"] == "gru-no-reset"
    assert failure["error"].startswith("engine=api cannot compute model=gru-no-reset")
    assert "CombinationError" in failure["traceback"]
    assert summary.failures == [("gru-no-reset", failure["error"])]
    shown = [line for line in capsys.readouterr().err.splitlines() if "failed" in line]
    assert len(shown) == 1
    assert "gru-no-reset" in shown[0]


def test_a_cell_too_long_for_its_text_among_others(small: Configs, sweep: Callable[..., Any]) -> None:
    summary = sweep([small("num_steps=5"), small("num_steps=399"), small("num_steps=6")])
    assert (summary.trained, summary.exit_status) == (2, 1)
    [(name, why)] = summary.failures
    assert name == "rnn num_steps=399"
    assert "training tokens" in why


@pytest.mark.parametrize(
    ("error", "said"),
    [
        (RuntimeError("a bug\nwith two lines"), "a bug"),
        (MemoryError(), "out of memory"),
        (AssertionError("no"), "no"),
        (ZeroDivisionError(), "ZeroDivisionError, without a message"),
    ],
)
def test_a_crash_in_one_cell(
    small: Configs, sweep: Callable[..., Any], monkeypatch: pytest.MonkeyPatch, error: Exception, said: str
) -> None:
    train = launch.train_together

    def crashes_for_gru(configs: Any, *arguments: Any, **options: Any) -> Any:
        if configs[0].model.name == "gru":
            raise error
        return train(configs, *arguments, **options)

    monkeypatch.setattr(launch, "train_together", crashes_for_gru)
    cells = [small(f"model={name}", "seeds=2") for name in ("rnn", "gru", "lstm")]
    summary = sweep(cells)
    assert (summary.exit_status, summary.trained) == (1, 4)
    assert finished(summary.folder) == ["lstm", "lstm", "rnn", "rnn"]
    [failure] = failures(summary.folder)
    assert failure["config"]["model"]["name"] == "gru"
    assert failure["error"] == said
    assert "crashes_for_gru" in failure["traceback"]
    assert summary.failures == [("gru", said)]

    monkeypatch.undo()  # the bug is mended: the same command tries the cell again
    again = sweep(cells)
    assert (again.exit_status, again.trained, again.already) == (0, 2, 4)
    assert failures(summary.folder) == []


def test_seeds_that_were_finished_before_a_crash_are_kept(
    small: Configs, sweep: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    train = launch.train_together

    def crashes_for_seed_1(configs: Any, *arguments: Any, **options: Any) -> Any:
        if configs[0].seed == 1:
            raise RuntimeError("seed 1")
        return train(configs, *arguments, **options)

    monkeypatch.setattr(launch, "train_together", crashes_for_seed_1)
    summary = sweep([small("seeds=3", "engine=api")])  # one run per program
    assert summary.exit_status == 1
    assert 0 in {json.loads(path.read_text())["seed"] for path in (summary.folder / "runs").glob("*.json")}
    assert len(failures(summary.folder)) == 1


def test_where_no_cell_is_possible_nothing_is_written(
    small: Configs, sweep: Callable[..., Any], tmp_path: Path
) -> None:
    with pytest.raises(CombinationError, match="engine=api cannot compute model=gru-no-reset"):
        sweep([small("model=gru-no-reset", "engine=api"), small("model=gru-no-update", "engine=api")])
    assert not (tmp_path / "results").exists()


def test_all_cells_impossible_on_the_command_line(
    main: Callable[..., Any], small_arguments: list[str], tmp_path: Path
) -> None:
    done = main("-m", *small_arguments, "model=gru-no-reset,gru-no-update", "engine=api")
    assert done.status == 2
    assert len(done.err.splitlines()) == 1
    assert not (tmp_path / "results").exists()


@pytest.mark.parametrize(
    "arguments",
    [
        ["model=gru,gru-no-reset", "engine=api"],
        ["model=gru", "model.bidirectional=true,false", "sampling=sequential"],
    ],
)
def test_some_cells_impossible_on_the_command_line(
    main: Callable[..., Any], small_arguments: list[str], tmp_path: Path, arguments: list[str]
) -> None:
    done = main("-m", *small_arguments, *arguments, "name=some")
    assert done.status == 1
    assert "Traceback" not in done.err
    assert "Error" not in done.err
    summary = done.err[done.err.index("1 runs trained") :]
    assert "failed: gru" in summary
    assert "failures" in summary
    assert "gru" in done.out
    assert len(failures(tmp_path / "results" / "some")) == 1
