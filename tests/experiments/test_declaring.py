"""What is read from a training function, its knobs and metrics, and what a person does wrong. CPU, 5 s."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import ablate
from ablate.cli import main
from ablate.config.errors import ConfigError, UserError
from ablate.config.metrics import METRICS
from ablate.config.registry import TASKS
from ablate.experiments.declaring import numbers_of, source_of
from ablate.experiments.words import translated
from ablate.sweeping.path.question import read
from tests.experiments.examples import EXAMPLES, HILL

pytestmark = pytest.mark.usefixtures("nothing_stays")


def test_a_declared_metric_without_logarithms_is_warned_of_wherever_runs_are_read(
    tmp_path: Path,
    ablated: Callable[..., tuple[int, str]],
    written: Any,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """Not as of something that was skipped; and what else a report has, stands there."""
    script = written(
        "import ablate\n\n@ablate.experiment(metrics=(ablate.Metric('loss', 'loss', better='lower', logs=True),))\n"
        "def train(lr: float = 0.1, *, seed):\n    return 0.15 - lr\n"
    )
    status, said = ablated(script, "lr=0.1,0.2", "seeds=2", report=True)
    assert status == 0
    said = " ".join(said.split())
    line = "the metric loss is not above 0 in 2 of 4 runs (-0.05 in the first)"
    assert f"warning: {line}" in said
    assert "geometric mean ± half its 95 % interval (t, on logarithms)" in said
    assert "could not be made" not in said
    assert "skipped" not in said
    page = (tmp_path / "sweep" / "report.html").read_text(encoding="utf-8")
    assert f"T{line[1:]}" in page
    assert "Skipped" not in page
    assert main(["claims", str(tmp_path / "sweep"), "lr=0.1 < lr=0.2", "--json"]) == 0
    out, err = capsys.readouterr()
    [told] = json.loads(out)["sweeps"]
    assert told["problems"] == []
    assert told["warnings"][0].startswith(line)
    assert f"warning: {line}" in " ".join(err.split())
    sweep = ablate.load(tmp_path / "sweep")
    assert len(sweep) == 4
    assert any(note.startswith(f"warning: {line}") for note in sweep.notes)


@pytest.mark.parametrize(
    ("words", "says"),
    [
        ([HILL, "momentun=0.5"], "did you mean momentum"),
        ([HILL, "lr=fast"], "ablate: lr is 'fast'; it must be a number"),
        ([HILL, "steps=1.5"], "must be a whole number"),
        ([HILL, "noise=loud"], "normal or uniform"),
        ([HILL, "model=gru"], "'model'"),
        ([HILL, "num_hiddens=32"], "lr, momentum"),
        ([f"experiment={EXAMPLES / 'experiment.py'}:hil"], "did you mean hill"),
        ([f"experiment={EXAMPLES / 'nowhere.py'}:hill"], "no such file"),
        (["experiment=hill"], "FILE.py:FUNCTION"),
        ([HILL, "task=memory"], "leave out"),
    ],
)
def test_a_mistake_is_one_line(words: list[str], says: str, ablated: Callable[..., tuple[int, str]]) -> None:
    status, said = ablated(*words)
    assert status == 2
    assert says in said
    assert len(said.strip().splitlines()) == 1


@pytest.mark.full
def test_a_knob_without_default_has_to_be_given(ablated: Callable[..., tuple[int, str]], written: Any) -> None:
    script = written("def train(width: int, lr=0.1, seed=0):\n    return {'loss': lr * width}\n")
    status, said = ablated(script)
    assert status == 2
    assert "width=VALUE" in said
    assert ablated(script, "width=3", "seeds=1")[0] == 0


def test_metrics_are_read_from_the_source() -> None:
    def train(report: Any) -> dict[str, float]:
        def inner() -> dict[str, float]:
            return {"not_mine": 1.0}

        report(1, val_accuracy=inner()["not_mine"])
        return {"loss": 0.0} if report else {"score": 1.0}

    assert numbers_of(source_of(train)) == (("loss", "score"), ("val_accuracy",))
    ablate.experiment(metrics={"gain": "higher", "cost": "lower"}, main="cost")(train)
    assert TASKS["train"].main == "cost"
    assert METRICS["gain"].better == "higher"


def test_what_cannot_be_a_knob_or_a_metric() -> None:
    with pytest.raises(ConfigError, match="what_is"):

        @ablate.experiment
        def what_is(lr: float = 0.1) -> Any:
            return lr

    with pytest.raises(ConfigError, match="data"):

        @ablate.experiment
        def typed(data: Path) -> Any:
            return {"loss": 0.0}

    with pytest.raises(ConfigError, match="seeds"):

        @ablate.experiment
        def reserved(seeds: int = 3) -> Any:
            return {"loss": 0.0}


@pytest.mark.full
@pytest.mark.parametrize("objective", ["tokens_per_s", "perplexity", "wall_s", "distanc"])
def test_an_objective_that_it_does_not_measure_is_refused_before_a_trial(
    objective: str, tmp_path: Path, ablated: Callable[..., tuple[int, str]]
) -> None:
    """Regression: tokens per second were offered, and every trial of a search for them failed."""
    status, said = ablated(HILL, "lr=interval(0.1,0.2)", f"hydra.sweeper.objective={objective}", command="search")
    assert (status, len(said.splitlines())) == (2, 1)
    choices = said.partition("choose ")[2]
    assert choices.partition(";")[0].strip() == "distance"
    assert not (tmp_path / "sweep").exists()


def test_a_path_has_no_experiment() -> None:
    with pytest.raises(UserError, match="search"):
        read([HILL, "lr=0.1,0.2"])


def test_words_are_translated() -> None:
    words = translated([HILL, "lr:momentum=0.1:0.9,0.2:0.5", "steps=3", "seeds=2", "hydra.sweeper.params.lr=0.1,0.2"])
    assert words[1:] == [
        "task=hill",
        "task.lr:task.momentum=0.1:0.9,0.2:0.5",
        "task.steps=3",
        "seeds=2",
        "hydra.sweeper.params.task.lr=0.1,0.2",
    ]
    assert translated(["model=gru"]) == ["model=gru"]


def test_percentages_by_the_name_of_a_share_are_a_line(ablated: Callable[..., tuple[int, str]], written: Any) -> None:
    script = written("def train(lr=0.5, *, seed):\n    return {'accuracy': 90 + lr}\n")
    status, said = ablated(script, "seeds=2")
    assert status != 0
    assert "accuracy is 90.5, which is not from 0 to 1; scale it, or measure it by another name" in said


@pytest.mark.parametrize("name", ["wall_s", "n", "epochs"])
def test_no_metric_has_the_name_of_another_column(
    ablated: Callable[..., tuple[int, str]], written: Any, name: str
) -> None:
    script = written(f"def train(lr=0.5, *, seed):\n    return {{'loss': lr, {name!r}: 3.0}}\n")
    status, said = ablated(script)
    assert status == 2
    assert f"train.py, line 1: a metric cannot be called {name!r}, since tables have a column {name}" in said
    assert said.count("\n") == 1


@pytest.mark.parametrize(
    ("function", "says"),
    [
        ("async def train(lr=0.5):\n    return {'loss': lr}\n", "let a plain function call asyncio.run(train(…))"),
        ("def train(lr=0.5):\n    yield {'loss': lr}\n", "let it call report(epoch, …)"),
    ],
)
def test_a_function_that_returns_before_it_has_run_is_refused(
    ablated: Callable[..., tuple[int, str]], written: Any, function: str, says: str
) -> None:
    status, said = ablated(written(function))
    assert (status, said.count("\n")) == (2, 1)
    assert says in said


def test_help_on_an_experiment_lists_its_knobs(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["run", HILL, "--help"]) == 0
    said = capsys.readouterr().out
    assert "\n  momentum=0.0" in said
    assert "num_hiddens" not in said
