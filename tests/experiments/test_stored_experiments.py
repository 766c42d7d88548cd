"""Runs of training functions whose file is not loaded, or has changed. CPU, 3 s."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import ablate
from ablate.analysis.frames import runs_frame, swept_knobs
from ablate.cli import main
from ablate.config import plugins
from ablate.config.composing import compose
from ablate.config.metrics import METRICS
from ablate.config.registry import TASKS
from tests.experiments.examples import EXAMPLES, TWO, records

pytestmark = pytest.mark.usefixtures("nothing_stays")


@pytest.mark.full
def test_what_was_stored_is_shown_without_the_file(
    tmp_path: Path, ablated: Callable[..., tuple[int, str]], written: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    ablated(written("def train(lr=0.1):\n    return {'cost': lr}\n"), "lr=0.1,0.2", "seeds=2")
    plugins.forget(tmp_path / "train.py")
    (tmp_path / "train.py").unlink()
    assert main(["report", str(tmp_path / "sweep")]) == 0
    assert "train.py:train: no longer there" in capsys.readouterr().err


def test_made_anew_in_a_notebook_it_is_another_experiment() -> None:
    origins = []
    for scale in (1, 2, 2):
        text = f"@experiment(metrics=['loss'])\ndef cell(lr=0.1):\n    return {{'loss': lr * {scale}}}\n"
        exec(compile(text, "<cell>", "exec"), {"experiment": ablate.experiment})
        origins.append(TASKS.origin["cell"])
    assert origins[0] != origins[1] == origins[2]


@pytest.mark.full
def test_a_stored_sweep_is_read_without_its_file(
    tmp_path: Path, ablated: Callable[..., tuple[int, str]], written: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    """Its knobs by their bare names, its metrics with their directions, its main metric."""
    script = written("import ablate\n@ablate.experiment(metrics={'gain': 'higher', 'loss': 'lower'})" + TWO)
    assert ablated(script, "lr=0.1,0.3", "width=2,4", "seeds=4")[0] == 0
    with_file = runs_frame(tmp_path / "sweep")[0]
    plugins.forget(tmp_path / "train.py")
    for name in ("gain", "loss"):
        METRICS.found.pop(name, None)
    assert "train" not in TASKS
    (tmp_path / "train.py").unlink()
    runs = runs_frame(tmp_path / "sweep")[0]
    assert swept_knobs(runs) == swept_knobs(with_file) == ["lr", "width"]
    assert set(runs) == set(with_file)
    assert {"task.engine", "task.loss"} <= set(runs), "names that are taken"
    assert (METRICS["gain"].better, METRICS["loss"].better) == ("higher", "lower")
    assert TASKS.known("train").main == "gain"
    assert "train" not in TASKS, "it can be read, and not trained"
    sweep = ablate.load(tmp_path / "sweep")
    assert sweep.metric == "gain"
    assert sweep.claim("lr=0.3 > lr=0.1").verdict == "confirmed"
    assert main(["claims", str(tmp_path / "sweep"), "0.3 > 0.1", "--where", "width=2", "--json"]) == 0
    [judged] = json.loads(capsys.readouterr().out)["sweeps"]
    assert [(one["metric"], one["verdict"]) for one in judged["claims"]] == [("gain", "confirmed")]


def test_a_run_older_than_that_is_read_without_its_file(
    tmp_path: Path, ablated: Callable[..., tuple[int, str]], written: Any
) -> None:
    ablated(written(TWO), "lr=0.1,0.3", "seeds=2")
    [*stored] = records(tmp_path / "sweep")
    plugins.forget(tmp_path / "train.py")
    METRICS.found.pop("gain", None)
    TASKS.recall({name: value for name, value in stored[0].items() if name != "measures"})
    assert METRICS["gain"].better == "neither"
    assert "gain" in TASKS.known("train").final_metrics


def test_what_is_loaded_takes_the_place_of_what_was_remembered(
    tmp_path: Path, ablated: Callable[..., tuple[int, str]], written: Any
) -> None:
    ablated(written("import ablate\n@ablate.experiment(metrics={'gain': 'higher', 'loss': 'lower'})" + TWO), "seeds=1")
    plugins.forget(tmp_path / "train.py")
    METRICS.found.pop("gain", None)
    runs_frame(tmp_path / "sweep")
    assert METRICS["gain"].better == "higher"
    written("import ablate\n@ablate.experiment(metrics={'gain': 'lower', 'loss': 'lower'})" + TWO)
    plugins.load([str(tmp_path / "train.py")])
    assert METRICS["gain"].better == "lower"
    assert "train" in TASKS


def test_a_loaded_experiment_changes_no_column_of_a_network() -> None:
    from ablate.config.columns import own_values
    from ablate.config.schema import to_dict

    config = to_dict(compose(["model=gru", "lr=0.5"]))
    before = own_values("task", config["task"])
    plugins.load([str(EXAMPLES / "experiment.py")])
    assert own_values("task", config["task"]) == before
