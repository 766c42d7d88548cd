"""Training functions of a person's own in sweeps and searches: the very files of docs/examples. CPU, 15 s.

Compared: the settings, metrics and directions with what the functions compute when they are called by themselves.
"""

import itertools
import json
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

import ablate
from ablate.analysis.aggregate import aggregate
from ablate.analysis.compare import comparisons
from ablate.analysis.frames import curves_frame, runs_frame, swept_knobs
from ablate.claims import Frames, evaluate
from ablate.claims.reading import read_claims
from ablate.cli import main
from ablate.config import plugins
from ablate.config.composing import compose
from ablate.config.metrics import METRICS
from ablate.config.registry import TASKS
from ablate.config.resolved import resolve
from ablate.data.corpora import load
from ablate.records.compaction import unpack
from ablate.training.choice import Choice
from ablate.training.loop import train_together
from ablate.training.trajectory import Stopped
from tests.experiments.examples import EXAMPLES, HILL, TWO, records

pytestmark = pytest.mark.usefixtures("nothing_stays")


@pytest.mark.full
def test_a_sweep_is_compared_claimed_and_reported(tmp_path: Path, ablated: Callable[..., tuple[int, str]]) -> None:
    status, _ = ablated(HILL, "lr=0.01,0.1", "seeds=6", report=True)
    assert status == 0
    runs, problems = runs_frame(tmp_path / "sweep")
    assert not problems
    assert len(runs) == 12
    assert swept_knobs(runs) == ["lr"]
    best = aggregate(runs).sort_values("distance").iloc[0]
    assert best["lr"] == 0.1
    [compared] = comparisons(runs, "distance", 0.95).to_dict("records")
    assert compared["high"] < 0  # the larger rate is the better one, and lower is better
    claims = tmp_path / "claims.yaml"
    claims.write_text(
        "- id: rate\n  statement: the larger rate comes closer\n  source: test\n  metric: distance\n"
        "  order: {along: task.lr, ascending: [0.1, 0.01]}\n",
        encoding="utf-8",
    )
    [verdict] = evaluate(Frames.read(tmp_path / "sweep"), read_claims(claims), 0.95, any_protocol=True)
    assert verdict.verdict == "confirmed"
    page = (tmp_path / "sweep" / "report.html").read_text(encoding="utf-8")
    assert "distance" in page
    assert "perplexity" not in page


def test_the_numbers_are_those_of_the_function(tmp_path: Path, ablated: Callable[..., tuple[int, str]]) -> None:
    ablated(HILL, "lr=0.2", "steps=7", "seeds=2", "seed=3")
    runs, _ = runs_frame(tmp_path / "sweep")
    told: list[tuple[int, float]] = []
    found = TASKS["hill"].function(
        lr=0.2, momentum=0.0, steps=7, seed=4, report=lambda epoch, distance: told.append((epoch, distance))
    )
    of_seed = runs[runs["seed"] == 4].iloc[0]
    assert of_seed["distance"] == found["distance"]
    curves = curves_frame(tmp_path / "sweep", runs)
    own = curves[curves["run_id"] == of_seed["run_id"]]
    assert own["epoch"].tolist() == [epoch for epoch, _ in told]
    np.testing.assert_allclose(own["distance"], [value for _, value in told], rtol=1e-6)


def test_identity_is_the_experiment_its_source_and_its_knobs(
    tmp_path: Path, ablated: Callable[..., tuple[int, str]]
) -> None:
    ablated(HILL, "seeds=1")
    [record] = records(tmp_path / "sweep")
    assert set(record["identity"]) == {"task", "seed", "protocol"}
    assert set(record["identity"]["task"]) == {"name", "source", "lr", "momentum", "steps", "noise"}
    assert record["code"] == {}


@pytest.mark.full
def test_what_is_there_is_not_run_again(tmp_path: Path, ablated: Callable[..., tuple[int, str]], written: Any) -> None:
    log = tmp_path / "log"
    text = (
        "def train(lr=0.1, seed=0):\n    with open({!r}, 'a') as file:\n        print(lr, seed, file=file)\n"
        "    return {{'loss': lr}}\n"
    )
    first = written(text.format(str(log)))
    ablated(first, "lr=0.1,0.2", "seeds=2")
    unpack(tmp_path / "sweep")
    (tmp_path / "sweep" / "runs" / f"{records(tmp_path / 'sweep')[0]['run_id']}.json").unlink()
    ablated(first, "lr=0.1,0.2", "seeds=2")
    assert len(log.read_text().splitlines()) == 5
    ablated(first, "lr=0.1,0.2", "seeds=3")
    assert len(log.read_text().splitlines()) == 7
    ablated(written(text.format(str(log)) + "# edited\n"), "lr=0.1,0.2", "seeds=3")
    assert len(log.read_text().splitlines()) == 13


def test_a_failure_is_its_settings_alone(tmp_path: Path, ablated: Callable[..., tuple[int, str]], written: Any) -> None:
    script = written(
        "def train(lr=0.1, seed=0):\n    if lr > 1: raise RuntimeError('too fast')\n"
        "    if lr == 1: raise SystemExit(3)\n    return {'loss': lr}\n"
    )
    status, said = ablated(script, "lr=0.1,1.0,2.0", "seeds=2")
    assert status == 1
    assert "train.py:2: RuntimeError: too fast" in said
    assert [record["config"]["task"]["lr"] for record in records(tmp_path / "sweep")] == [0.1, 0.1]
    failures = [json.loads(path.read_text()) for path in (tmp_path / "sweep" / "failures").iterdir()]
    assert sorted(failure["config"]["task"]["lr"] for failure in failures) == [1, 2]
    assert any("in train" in failure["traceback"] for failure in failures)


@pytest.mark.full
@pytest.mark.parametrize(
    ("function", "says"),
    [
        ("def train(lr=0.1, seed=0):\n    found = {'loss': lr, 'los': 1}\n    return dict(found)\n", "'los'"),
        (
            "def train(lr=0.1, *, report):\n    for k, one in enumerate(('loss', 'acc')): report(k, **{one: lr})\n",
            "'acc'",
        ),
        ("def train(lr=0.1, seed=0):\n    return {'loss': 'low'}\n", "'low', which is no number"),
    ],
)
def test_a_number_that_nobody_declared_is_a_failure_with_the_line_of_the_function(
    function: str, says: str, tmp_path: Path, ablated: Callable[..., tuple[int, str]], written: Any
) -> None:
    script = written(f"import ablate\n@ablate.experiment(metrics=['loss'])\n{function}")
    status, said = ablated(script, "seeds=1")
    assert status == 1
    assert says in said
    assert "train.py:2" in said  # where the function begins, with its decorator
    assert says == "'low', which is no number" or ("declared: loss" in said and "metrics=" in said)


def test_what_is_not_finite_has_diverged(
    tmp_path: Path,
    ablated: Callable[..., tuple[int, str]],
    written: Any,
    capsys: pytest.CaptureFixture[str],
) -> None:
    script = written(
        "def train(lr: float = 0.1, *, seed, report):\n    report(1, loss=1.0)\n    report(2, loss=lr * float('inf'))\n"
    )
    status, _ = ablated(script, "seeds=2")
    assert status == 0
    assert {record["status"] for record in records(tmp_path / "sweep")} == {"diverged"}
    main(["report", str(tmp_path / "sweep")])
    table = capsys.readouterr().out
    assert "loss" in table
    assert "held-out" not in table  # as of a network, which there is none of


@pytest.mark.full
def test_plan_counts_runs(ablated: Callable[..., tuple[int, str]], capsys: pytest.CaptureFixture[str]) -> None:
    ablated(HILL, "seeds=2")
    status, said = ablated(HILL, "lr=0.1,0.3", "seeds=3", "--json", command="plan")
    assert status == 0
    [planned] = json.loads(said[said.index("{") :])["sweeps"]
    assert (planned["runs"], planned["done"], planned["to_train"]) == (6, 2, 4)
    assert [setting["knobs"] for setting in planned["settings"]] == [
        {"model": "hill", "lr": 0.1},
        {"model": "hill", "lr": 0.3},
    ]


@pytest.mark.full
def test_a_script_that_knows_nothing_of_ablate(tmp_path: Path, ablated: Callable[..., tuple[int, str]]) -> None:
    arguments = list(sys.argv)
    status, _ = ablated(f"experiment={EXAMPLES / 'script.py'}:main", "lr=0.001,0.1", "epochs=10", "seeds=6")
    assert status == 0
    assert sys.argv == arguments
    runs, _ = runs_frame(tmp_path / "sweep")
    assert METRICS["loss"].better == "lower"
    assert aggregate(runs).sort_values("loss").iloc[0]["lr"] == 0.1


@pytest.mark.full
def test_a_model_of_scikit_learn(tmp_path: Path, ablated: Callable[..., tuple[int, str]]) -> None:
    pytest.importorskip("sklearn")
    status, _ = ablated(f"experiment={EXAMPLES / 'experiment.py'}:forest", "trees=1,10", "seeds=6")
    assert status == 0
    runs, _ = runs_frame(tmp_path / "sweep")
    assert aggregate(runs).sort_values("accuracy").iloc[-1]["trees"] == 10
    assert TASKS["forest"].main == "accuracy"


@pytest.mark.full
def test_a_function_without_a_seed_is_seeded(
    tmp_path: Path, ablated: Callable[..., tuple[int, str]], written: Any
) -> None:
    script = written("import random\n\ndef train(scale=1.0):\n    return {'loss': scale * random.random()}\n")
    ablated(script, "seeds=3")
    first = {record["seed"]: record["metrics"]["loss"] for record in records(tmp_path / "sweep")}
    assert len(set(first.values())) == 3
    ablated(script, "seeds=3", "fresh=true")
    assert {record["seed"]: record["metrics"]["loss"] for record in records(tmp_path / "sweep")} == first


@pytest.mark.full
def test_the_best_knobs_are_searched(tmp_path: Path, ablated: Callable[..., tuple[int, str]], written: Any) -> None:
    script = written(
        "def train(x=0.0, *, seed, report):\n    for epoch in range(1, 5):\n        report(epoch, loss=(x - 1) ** 2)\n"
    )
    status, said = ablated(script, "x=choice(0.0,1.0,2.0)", "n_trials=4", "seeds=2", "pruner=median", command="search")
    assert status == 0, said
    summary = json.loads((tmp_path / "sweep" / "search.json").read_text())
    assert "task.x=1.0" in json.dumps(summary)
    assert "best: x=1.0" in said
    plugins.forget(tmp_path / "train.py")
    assert "train" not in TASKS
    again = ["--config-dir", str(tmp_path / "sweep"), "--config-name", "best", "seeds=1"]
    status, said = ablated(*again)
    assert status == 0, said


def test_a_baseline_has_the_knobs_of_the_experiment(
    tmp_path: Path, ablated: Callable[..., tuple[int, str]], written: Any
) -> None:
    """`lr` is the function's, not that of recurrent networks, at whose value it would be the defaults."""
    script = written("def train(lr=0.0, *, seed):\n    return {'loss': lr}\n")
    space = ("lr=choice(1.0,2.0)", "n_trials=2", "seeds=2")
    status, said = ablated(script, *space, "hydra.sweeper.baseline={lr: 9}", command="search")
    assert status == 0, said
    baseline = json.loads((tmp_path / "sweep" / "search.json").read_text())["baseline"]
    assert "task.lr=9" in json.dumps(baseline)
    assert "-8 in loss" in said
    status, said = ablated(script, *space, "hydra.sweeper.baseline={lrr: 9}", command="search")
    assert status == 2
    assert "baseline: the experiment train has no knob 'lrr'; did you mean lr?" in said
    status, said = ablated(script, *space, "hydra.sweeper.baseline.lr=8", "fresh=true", command="search")
    assert status == 0, said
    assert "-7 in loss" in said


@pytest.mark.parametrize(
    "condition",
    [
        "conditions={size: {lr: [2.0]}}",
        "hydra.sweeper.conditions.size={lr: [2.0, 7.0]}",
        "hydra.sweeper.conditions.size.lr=[2.0]",
        "hydra.sweeper.conditions.task.size={task.lr: 2.0}",
    ],
)
def test_conditions_have_the_knobs_of_the_experiment(
    tmp_path: Path, ablated: Callable[..., tuple[int, str]], written: Any, condition: str
) -> None:
    script = written("def train(lr=0.5, size=1, *, seed):\n    return {'loss': lr + size}\n")
    space = ("lr=choice(1.0,2.0)", "size=choice(3,4)", "sampler=grid", "n_trials=9", "seeds=2")
    status, said = ablated(script, *space, condition, command="search")
    assert status == 0, said
    trials = pd.read_csv(tmp_path / "sweep" / "trials.csv")
    assert trials.groupby("task.lr")["task.size"].nunique().to_dict() == {1.0: 0, 2.0: 2}


@pytest.mark.full
@pytest.mark.parametrize("reports", [True, False])
def test_a_stop_is_heard(reports: bool) -> None:
    """At the next report, or soon after where a function never reports."""
    asked = threading.Event()

    @ablate.experiment
    def endless(reports: bool = True, *, seed: int, report: Callable[..., None]) -> dict[str, float]:
        for epoch in itertools.count(1):
            if reports:
                report(epoch, loss=1.0)
            elif epoch == 3:
                asked.set()
        return {"loss": 1.0}

    config = resolve(compose(["task=endless", f"task.reports={str(reports).lower()}"]))
    heard: list[int] = []
    with pytest.raises(Stopped):
        train_together(
            [config],
            load(config.data),
            Choice("function", {}),
            on_epoch=lambda epoch, loss: heard.append(epoch),
            stop=lambda: asked.is_set() or len(heard) == 3,
        )
    assert len(heard) == (3 if reports else 0)


@pytest.mark.full
def test_a_list_may_have_any_length_and_files_beside_are_found(
    tmp_path: Path, ablated: Callable[..., tuple[int, str]], written: Any
) -> None:
    (tmp_path / "beside_the_script.py").write_text("SCALE = 2.0\n", encoding="utf-8")
    script = written(
        "from beside_the_script import SCALE\n\n"
        "def train(widths: list[int] = [8, 8], opener=open):\n    return {'loss': SCALE * sum(widths)}\n"
    )
    path = list(sys.path)
    status, said = ablated(script, "widths=[1,2,3]", "seeds=1")
    assert status == 0, said
    assert sys.path == path
    [record] = records(tmp_path / "sweep")
    assert record["metrics"]["loss"] == 12
    assert "opener" not in record["config"]["task"]


@pytest.mark.full
def test_knobs_that_change_together_are_one_axis(tmp_path: Path, ablated: Callable[..., tuple[int, str]]) -> None:
    status, said = ablated(HILL, "lr:momentum=0.1:0.9,0.2:0.5", "seeds=1")
    assert status == 0, said
    found = {(one["config"]["task"]["lr"], one["config"]["task"]["momentum"]) for one in records(tmp_path / "sweep")}
    assert found == {(0.1, 0.9), (0.2, 0.5)}


@pytest.mark.full
def test_it_is_swept_from_python(tmp_path: Path, written: Any) -> None:
    def squared(x: float = 0.0, *, seed: int = 0) -> dict[str, float]:
        return {"loss": (x - 1) ** 2 + seed / 100}

    place: dict[str, Any] = {"results_dir": tmp_path / "results", "progress": False, "seeds": 4}
    sweep = ablate.sweep(experiment=squared, x=[0.0, 0.5], **place)
    assert (sweep.swept, sweep.metric) == (["x"], "loss")
    assert sweep.claim("0.5 < 0").verdict == "confirmed"
    script = written(TWO).removeprefix("experiment=")
    sweep = ablate.sweep(experiment=script, lr=[0.1, 0.3], width=2, **place)
    assert sweep.frame()["lr"].tolist() == [0.1] * 4 + [0.3] * 4
    with pytest.raises(ablate.UserError, match="has no knob 'lrr'; did you mean lr"):
        ablate.sweep(experiment=script, lrr=0.1, **place)


@pytest.mark.full
def test_a_failure_is_dropped_once_the_mended_code_has_run(
    ablated: Callable[..., tuple[int, str]], tmp_path: Path
) -> None:
    file = tmp_path / "mine.py"
    source = 'def train(a: float = 1.0, *, seed: int):\n    return {"loss": a / 0}\n'
    file.write_text(source)
    status, said = ablated(f"experiment={file}:train", "seeds=2")
    assert (status, "failures" in said) == (1, True)
    file.write_text(source.replace("/ 0", "/ 1"))
    status, said = ablated(f"experiment={file}:train", "seeds=2")
    assert (status, "failures" in said) == (0, False)
    assert not list((tmp_path / "sweep" / "failures").glob("*.json"))
    assert main(["status", str(tmp_path / "sweep"), "--json"]) == 0
