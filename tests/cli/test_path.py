"""`python -m ablate.path`: its steps against the greedy choice recomputed from the records. CPU, 15 s."""

import json
import math
import re
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from scipy import stats

from ablate.config.resolved import resolve
from ablate.config.schema import Config
from ablate.data.corpora import load
from ablate.records import results
from ablate.records.exclusion import exclude
from ablate.records.reading import RecordError
from ablate.sweeping.path import walk as walking
from ablate.sweeping.path.question import Change, Question, read
from ablate.sweeping.path.walk import Walk, rank
from ablate.sweeping.plan import make_setting

CLI = Callable[..., Any]
Configs = Callable[..., Config]
PATH = "ablate.cli.path"


@pytest.fixture(autouse=True)
def reported(monkeypatch: pytest.MonkeyPatch) -> list[Path]:
    """The folders whose report was asked for: it has tests of its own."""
    folders: list[Path] = []
    monkeypatch.setattr("ablate.report.write_report", lambda sweep, *_: folders.append(sweep))
    return folders


def stored(folder: Path, metric: str = "tail_perplexity") -> tuple[dict[str, Any], dict[str, dict[int, float]]]:
    """path.json, and the metric of every run by setting and seed."""
    values: dict[str, dict[int, float]] = {}
    for record in results.records(folder):
        assert not isinstance(record, RecordError)
        values.setdefault(record["setting_id"], {})[record["seed"]] = record["metrics"][metric]
    return json.loads((folder / "path.json").read_text()), values


def mean(values: dict[int, float], seeds: Sequence[int]) -> float:
    return float(stats.gmean([values[seed] for seed in seeds]))


@pytest.fixture
def arguments(small_arguments: list[str]) -> list[str]:
    own = [argument for argument in small_arguments if not argument.startswith(("num_hiddens", "seeds", "epochs"))]
    return [*own, "seeds=5", "epochs=4", "model=rnn,gru", "num_hiddens=4,16", "lr=1,0.25", "name=walked"]


@pytest.mark.full
def test_each_step_keeps_the_change_that_helps_most(
    main: CLI, arguments: list[str], tmp_path: Path, reported: list[Path]
) -> None:
    done = main(*arguments, module=PATH)
    assert done.status == 0, done.err
    folder = tmp_path / "results" / "walked"
    assert [path.resolve() for path in reported] == [folder]
    path, values = stored(folder)
    assert (path["metric"], path["better"]) == ("tail_perplexity", "lower")
    common = ["data=text_file", *[a for a in arguments if "," not in a and a not in ("data=text_file", "name=walked")]]
    assert set(path["baseline"]["overrides"]) == {*common, "name=walked", "model=rnn", "num_hiddens=4", "lr=1"}
    assert set(path["target"]["overrides"]) == {*common, "name=walked", "model=gru", "num_hiddens=16", "lr=0.25"}

    at, left = path["baseline"]["setting_id"], {"model=gru", "num_hiddens=16", "lr=0.25"}
    for number, step in enumerate(path["steps"], 1):
        assert (step["number"], step["reference_id"]) == (number, at)
        assert {tried["change"] for tried in step["tried"]} == left
        best = min(step["tried"], key=lambda tried: mean(values[tried["setting_id"]], path["choosing_seeds"]))
        assert (step["change"], step["setting_id"]) == (best["change"], best["setting_id"])
        at, left = step["setting_id"], left - {step["change"]}
    assert left == set()
    assert at == path["target"]["setting_id"]
    assert path["choosing_seeds"] == [1, 3]
    # baseline, 3 + 2 candidates and the target, five seeds each, and nothing else
    assert {len(runs) for runs in values.values()} == {5}
    assert len(values) == 7
    assert "35 runs trained, 0 already complete" in done.err

    # the table: geometric mean and half its t interval; what was chosen by the seeds that did not choose
    rows = re.findall(
        r"^ +([0-3]) +(\S+) +([\d.]+) (± [\d.]+|\([\d.]+–[\d.]+\))(?: +([\d.]+) \(.*?\))? +([35]) +0", done.out, re.M
    )
    settings = [path["baseline"]["setting_id"], *(step["setting_id"] for step in path["steps"])]
    assert [row[1] for row in rows] == ["(baseline)", *(step["change"] for step in path["steps"])]
    assert [row[5] for row in rows] == ["5", "3", "3", "5"]
    fresh = [0, 2, 4]
    for (_, _, shown, _, ratio, n), setting, before in zip(rows, settings, [None, *settings], strict=False):
        assert float(shown) == pytest.approx(mean(values[setting], range(5) if n == "5" else fresh), rel=0.01)
        if before:
            assert float(ratio) == pytest.approx(mean(values[setting], fresh) / mean(values[before], fresh), rel=0.01)

    # once more: the same path, nothing trained
    again = main(*arguments, module=PATH)
    assert "0 runs trained, 35 already complete" in again.err
    assert stored(folder) == (path, values)


@pytest.mark.full
def test_another_metric_goes_its_own_way_in_a_folder_of_its_own(
    main: CLI, arguments: list[str], tmp_path: Path
) -> None:
    unnamed = [a for a in arguments if not a.startswith(("name", "num_hiddens"))]
    assert main("--metric", "val_perplexity", *unnamed, module=PATH).status == 0
    [folder] = (tmp_path / "results").iterdir()
    assert folder.name.startswith("path_val_perplexity_")
    path, values = stored(folder, "val_perplexity")
    assert path["metric"] == "val_perplexity"
    [first, _] = path["steps"]
    best = min(first["tried"], key=lambda tried: mean(values[tried["setting_id"]], path["choosing_seeds"]))
    assert first["change"] == best["change"]


@pytest.mark.full
def test_a_path_reuses_what_other_sweeps_have(main: CLI, arguments: list[str]) -> None:
    own = [a for a in arguments if not a.startswith(("name", "num_hiddens"))]
    assert main(*own, "name=grid").status == 0
    assert re.search(r"\b0 .*trained, 0 .*, 20 reused", main(*own, "name=walked", module=PATH).err)


@pytest.mark.full
def test_a_stopped_path_goes_on(
    main: CLI, arguments: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Stopped after its first round: path.json has one step, and the same command walks the rest."""
    whole = walking.run_sweep

    def once(*arguments: Any, **options: Any) -> Any:
        monkeypatch.setattr(walking, "run_sweep", stopped)
        return whole(*arguments, **options)

    def stopped(*arguments: Any, **options: Any) -> Any:
        raise KeyboardInterrupt

    monkeypatch.setattr(walking, "run_sweep", once)
    assert main(*arguments, module=PATH).status == 130
    folder = tmp_path / "results" / "walked"
    path, _ = stored(folder)
    assert len(path["steps"]) == 1
    monkeypatch.setattr(walking, "run_sweep", whole)
    done = main(*arguments, module=PATH)
    assert done.status == 0
    assert "10 runs trained, 25 already complete" in done.err
    assert stored(folder)[0]["steps"][0] == path["steps"][0]
    assert len(stored(folder)[0]["steps"]) == 3


@pytest.mark.full
def test_changes_that_cannot_be_made_alone_are_made_later(
    main: CLI, small_arguments: list[str], tmp_path: Path, text_path: Path
) -> None:
    """data.path needs data=text_file: the first step can only be the model."""
    own = [a for a in small_arguments if not a.startswith("data")]
    done = main(*own, "data=python_docs,text_file", f"data.path=null,{text_path}", "model=rnn,gru", module=PATH)
    assert done.status == 2
    assert re.search(r"none of the changes .*by itself", done.err)


@pytest.mark.full
@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        ("", "nothing changes; give at least one knob two values"),
        ("lr=1,0.5,0.1", "lr=1,0.5,0.1 has 3 values; a path goes from the first to the second"),
        ("seeds=1,2", "seeds has several values"),
        ("seed=1,2 lr=1,2", "seed does not decide an outcome"),
        ("name=a,b lr=1,2", "name has several values"),
        ("sweeps=smoke lr=1,2", "a path has no preset"),
        ("lr=1,1.0", "baseline and target are the same setting"),
        ("lr=interval(0,1)", "is a range"),
        ("model=rnn,gruu", "did you mean gru?"),
        ("lr=1,fast", "lr is 'fast'; it must be a number"),
        ("num_hidden=4,8", "did you mean num_hiddens?"),
        ("lr=1,-2", "lr is -2.0; it must be above 0"),
        ("model=rnn,gru --metric val_perplexty", "did you mean val_perplexity?"),
        ("model=rnn,gru --metric wall_s", "choose perplexity"),
        ("model=rnn,gru --metrics x", "no option --metrics; did you mean --metric? (ablate path --help lists them)"),
        ("model=rnn,gru --metrc=val_perplexity", "no option --metrc; did you mean --metric?"),
        ("model=gru,gru-no-reset engine=torch_nn", "engine=torch_nn cannot compute"),
        ("lr=1,2 batch_size=5000", "batch_size=5000 sequences"),
        ("lr=1,2 hydra/launcher=slurm", "hydra/launcher=slurm: a path is trained by this machine"),
        ("lr=1,2 hydra.launcher.partition=x", "leave hydra.launcher.partition out"),
        ("lr=1,2 val_tokens=0 --metric=best_val_perplexity", "but val_tokens=0 holds out no text; raise val_tokens"),
    ],
)
def test_a_mistake_is_one_line(
    main: CLI, small_arguments: list[str], tmp_path: Path, arguments: str, says: str
) -> None:
    before = sorted(tmp_path.rglob("*"))
    named = {argument.partition("=")[0] for argument in arguments.split()}
    own = [argument for argument in small_arguments if argument.partition("=")[0] not in named]
    done = main(*own, *arguments.split(), module=PATH)
    assert (done.status, done.out) == (2, "")
    assert says in done.err
    assert len([line for line in done.err.splitlines() if not line.startswith("note:")]) == 1, done.err
    assert sorted(tmp_path.rglob("*")) == before


def test_one_seed_measures_no_change_that_it_has_chosen(main: CLI, small_arguments: list[str]) -> None:
    own = [argument for argument in small_arguments if not argument.startswith("seeds")]
    done = main(*own, "lr=1,2", "model=rnn,gru", "seeds=1", module=PATH)
    assert done.status == 0, done.err
    assert "none measures them; give seeds=2 or more" in done.err


@pytest.mark.full
def test_a_knob_that_no_setting_reads_is_named_once(main: CLI, small_arguments: list[str]) -> None:
    done = main(*small_arguments, "lr=1,2", "model=rnn,lstm", "dropout=0.3", "forget_bias=1", module=PATH)
    assert done.status == 0, done.err
    assert done.err.count("dropout=0.3 has no effect") == 1
    assert "forget_bias=1" not in done.err  # an lstm reads it


@pytest.mark.full
def test_every_step_is_matched_to_the_baseline(main: CLI, small_arguments: list[str], tmp_path: Path) -> None:
    own = [word for word in small_arguments if not word.startswith("num_hiddens")]
    changes = ("num_hiddens=12", "match=params", "model=rnn,gru", "lr=1,0.5", "clip=1,2", "name=matched")
    done = main(*own, *changes, module=PATH)
    assert done.status == 0, done.err
    configs = [record["config"] for record in results.records(tmp_path / "results" / "matched")]
    widths = {cell: {c["num_hiddens"] for c in configs if c["model"]["cell"] == cell} for cell in ("rnn", "gru")}
    assert widths["rnn"] == {12}
    assert len(widths["gru"]) == 1
    assert widths["gru"] < {*range(1, 12)}


def test_help(main: CLI) -> None:
    done = main("--help", module=PATH)
    assert done.status == 0
    assert "ablate path model=rnn,gru" in done.out


def test_a_question_in_parts() -> None:
    question = read(["model=rnn,gru", "seeds=10", "clip=null,1", "+model.gates.reset=0,1"])
    assert question == Question(
        ("seeds=10",),
        (
            Change("model=rnn", "model=gru"),
            Change("clip=null", "clip=1"),
            Change("+model.gates.reset=0", "+model.gates.reset=1"),
        ),
    )
    assert question.overrides({1}) == ["seeds=10", "model=rnn", "clip=1", "+model.gates.reset=0"]


def test_a_diverged_run_is_worse_than_any() -> None:
    good, poor, lost = pd.Series([2.0, 3.0]), pd.Series([900.0, 900.0]), pd.Series([1.0, float("inf")])
    assert rank(good) < rank(poor) < rank(lost) < rank(pd.Series([float("inf")] * 2))


@pytest.mark.full
def test_diverging_changes_are_made_last(main: CLI, small_arguments: list[str], tmp_path: Path) -> None:
    """relu without clipping at a wild learning rate diverges: that step is the last that is made."""
    changes = ["lr=1,1000000", "num_hiddens=8,6"]
    own = [a for a in small_arguments if not a.startswith("num_hiddens")]
    done = main(*own, "model.activation=relu", "clip=null", "name=wild", *changes, module=PATH)
    assert done.status == 0, done.err
    path, _ = stored(tmp_path / "results" / "wild")
    assert [step["change"] for step in path["steps"]] == ["num_hiddens=6", "lr=1000000"]
    assert re.search(r"^ +2 +lr=1000000 +– .* 0 +1", done.out, re.M)


def test_a_walk_knows_its_ends() -> None:
    question = Question((), (Change("a=1", "a=2"), Change("b=1", "b=2")))
    walk: Any = Walk(question, "perplexity", Path("x"), "", None)  # type: ignore[arg-type]
    assert (walk.baseline, walk.target) == (frozenset(), frozenset({0, 1}))


def test_what_is_excluded_chooses_nothing(sweep: Callable[..., Any], small: Configs) -> None:
    configs = [small(f"num_hiddens={width}", "seeds=4", "epochs=1") for width in (4, 8)]
    summary = sweep(configs)
    found = [make_setting(resolve(config), load(config.data)) for config in configs]
    walk: Any = Walk(Question((), ()), "perplexity", summary.folder, "", summary)
    walk.settings = {frozenset(): found[0]}
    assert [list(walk.choosing_values(one).index) for one in found] == [[1, 3], [1, 3]]
    exclude(summary.folder, ["num_hiddens=4", "seed=3"], "the disk was full")
    exclude(summary.folder, ["num_hiddens=8"], "another disk, too")
    assert [list(walk.choosing_values(one).index) for one in found] == [[1], []]
    assert rank(pd.Series([math.inf])) < rank(walk.choosing_values(found[1]))
