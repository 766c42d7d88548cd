"""Searches of real (tiny) networks by the command line: what is left, reuse, resuming, best.yaml, and mistakes.

Most run in this process; CPU, 25 s.
"""

import csv
import json
import re
import shlex
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

from ablate.config import presets
from ablate.config.choice_files import find_preset
from ablate.config.metrics import METRICS
from ablate.config.registry import TASKS
from ablate.records import results
from ablate.records.places import is_search
from ablate.records.reading import RecordError
from ablate.searching.search import Search

Main = Callable[..., Any]
SEARCH = (
    "hydra/sweeper=optuna",
    "name=found",
    "seeds=3",
    "num_hiddens=choice(4,8)",
    "lr=tag(log, interval(0.1, 4))",
    "hydra.sweeper.n_trials=6",
    "hydra.sweeper.race={first: 2, best: 2, fresh: 6}",
    "hydra.sweeper.sampler={name: tpe, n_startup_trials: 4}",
)


def measured(task: str) -> set[str]:
    """What a record of it has; other metrics follow from that."""
    return {name for name in TASKS[task].measured if METRICS[name].of is None}


def rows(path: Path) -> list[dict[str, str]]:
    with path.open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def records(folder: Path) -> dict[str, dict[str, Any]]:
    found = [one for one in results.records(folder) if not isinstance(one, RecordError)]
    return {record["run_id"]: record for record in found}


@pytest.mark.full
def test_a_search_from_the_command_to_best_yaml_and_again(
    main: Main, small_arguments: list[str], tmp_path: Path
) -> None:
    done = main("-m", *small_arguments, *SEARCH, "hydra.sweeper.baseline={}")
    assert done.status == 0, done.err
    folder = tmp_path / "results" / "found"
    trials = rows(folder / "trials.csv")
    assert len([row for row in trials if row["state"] in ("done", "dropped", "diverged")]) == 6
    assert {row["num_hiddens"] for row in trials} <= {"4", "8"}
    assert all(0.1 <= float(row["lr"]) <= 4 for row in trials)
    assert re.search(r"6 of 6 trials: \d+ done", done.err)
    assert re.search(r"best: num_hiddens=\d lr=\S+: .*perplexity [\d.]+ \([\d.]+ to [\d.]+\) over 3 fresh", done.err)
    assert re.search(r"\bbaseline: [\d.]+ times .*val_perplexity \(", done.err)
    assert re.search(r"\bchosen .*\b3 to 5; reported .*\b6 to 8\b", done.err)

    # every told value is the geometric mean of records
    stored = records(folder)
    assert {name for r in stored.values() for name in r["metrics"]} == measured("language_model")
    for row in trials:
        own = [
            r["metrics"]["val_perplexity"]
            for r in stored.values()
            if r["setting_id"] == row["setting_id"] and r["seed"] < 3
        ]
        product = 1.0
        for value in own:
            product *= value
        assert float(row["val_perplexity"]) == pytest.approx(product ** (1 / len(own)))
        assert int(row["n"]) == len(own)

    # the winner was chosen on seeds 3 to 5, which no trial had, and is reported on others
    facts = json.loads((folder / "search.json").read_text())
    assert (facts["choosing_seeds"], facts["reporting_seeds"]) == ([3, 4, 5], [6, 7, 8])
    assert sorted(facts["winner"]["choosing"]["val_perplexity"]["seeds"]) == ["3", "4", "5"]
    assert sorted(facts["winner"]["fresh"]["val_perplexity"]["seeds"]) == ["6", "7", "8"]
    assert [bool(one["fresh"]) for one in facts["finalists"]] == [True, False]
    assert sorted(facts["baseline"]["fresh"]["val_perplexity"]["seeds"]) == ["6", "7", "8"]
    assert len(facts["finalists"]) == 2
    assert facts["baseline"]["overrides"] == []

    # best.yaml runs as its header says, and reproduces the winner's numbers without training anything
    best = (folder / "best.yaml").read_text()
    command = re.search(r"#   python -m ablate (.*)", best)
    assert command is not None
    body = yaml.safe_load(best)
    assert (body["seed"], body["seeds"], body["name"]) == (6, 3, "found-best")
    again = main(*shlex.split(command[1]))
    assert again.status == 0, again.err
    assert re.search(r"\b0 .*trained, 0 .*, 3 reused", again.err)
    ours = {r["seed"]: r["metrics"]["val_perplexity"] for r in records(tmp_path / "results" / "found-best").values()}
    told = facts["winner"]["fresh"]["val_perplexity"]["seeds"]
    assert {str(seed): value for seed, value in ours.items()} == pytest.approx(told)

    # more trials go on from there
    search = [word for word in SEARCH if not word.startswith("hydra.sweeper.n_trials=")]
    more = main("-m", *small_arguments, *search, "hydra.sweeper.baseline={}", "hydra.sweeper.n_trials=8")
    assert more.status == 0, more.err
    assert "8 of 8 trials" in more.err
    assert records(folder).keys() > stored.keys()
    assert (folder / "trials.csv").read_text().startswith("number,state,num_hiddens,lr,val_perplexity")


@pytest.mark.full
def test_runs_of_other_sweeps_are_reused_and_take_no_slot(
    main: Main, small_arguments: list[str], tmp_path: Path
) -> None:
    grid = main("-m", *small_arguments, "num_hiddens=4,6", "lr=0.5,1.0", "seeds=2", "name=grid")
    assert grid.status == 0, grid.err
    search = (
        *("hydra/sweeper=optuna", "name=after", "seeds=2", "num_hiddens=choice(4,6,8)", "lr=choice(0.5,1.0)"),
        *("hydra.sweeper.n_trials=2", "hydra.sweeper.sampler=grid", "hydra.sweeper.race={fresh: 2}"),
    )
    done = main("-m", *small_arguments, *search)
    assert done.status == 0, done.err
    trials = rows(tmp_path / "results" / "after" / "trials.csv")
    states = {(row["num_hiddens"], row["lr"]): row["state"] for row in trials}
    assert [states[key] for key in states if key[0] == "8"] == ["done", "done"]
    assert {state for key, state in states.items() if key[0] != "8"} <= {"reused"}
    reused = [r for r in records(tmp_path / "results" / "after").values() if r["reused_from"] == "grid"]
    assert len(reused) == 2 * sum(state == "reused" for state in states.values())


@pytest.mark.full
def test_runs_are_pruned_by_epoch_and_leave_no_record(main: Main, small_arguments: list[str], tmp_path: Path) -> None:
    """Learning rates that learn nothing are stopped by the median pruner; the epochs are quick, so not all in time."""
    search = (
        *("hydra/sweeper=optuna", "name=pruned", "seeds=1", "epochs=400", "num_hiddens=16", "threads=1", "prefixes=[]"),
        *("lr=choice(0.9,1,1.1,0.001,0.002,0.003)", "hydra.sweeper.n_trials=6", "hydra.sweeper.parallel=1"),
        *("hydra.sweeper.sampler={name: grid, seed: 0}", "hydra.sweeper.objective=perplexity"),
        *("hydra.sweeper.pruner={name: median, n_startup_trials: 1}", "hydra.sweeper.race={p: 0, best: 1, fresh: 1}"),
    )
    typed = [a for a in small_arguments if a.partition("=")[0] not in {b.partition("=")[0] for b in search}]
    done = main("-m", *typed, *search)
    assert done.status == 0, done.err
    trials = {float(row["lr"]): row for row in rows(tmp_path / "results" / "pruned" / "trials.csv")}
    pruned = {lr for lr, row in trials.items() if row["state"] == "pruned"}
    told = {record["config"]["lr"] for record in records(tmp_path / "results" / "pruned").values()}
    assert pruned - told
    assert trials.keys() - pruned <= told
    for lr in pruned:
        epoch = int(float(trials[lr]["last_epoch"]))
        assert epoch < 400
        assert epoch % 20 == 0
        assert trials[lr]["reason"] == f"pruned after epoch {epoch}"
    assert not list((tmp_path / "results" / "pruned" / "checkpoints").glob("*"))


@pytest.mark.full
def test_trials_of_one_shape_train_together(main: Main, small_arguments: list[str], tmp_path: Path) -> None:
    search = (
        *("hydra/sweeper=optuna", "name=fused", "seeds=2", "lr=interval(0.5,1)", "threads=1", "engine=cohort"),
        *("hydra.sweeper.n_trials=4", "hydra.sweeper.sampler=random", "hydra.sweeper.parallel=4"),
        *("hydra.sweeper.race=null",),
    )
    done = main("-m", *small_arguments, *search)
    assert done.status == 0, done.err
    together = {r["timing"]["trained_together"] for r in records(tmp_path / "results" / "fused").values()}
    assert max(together) > 2  # the runs of more than one trial


@pytest.mark.full
def test_a_configuration_that_diverges_is_told_so(main: Main, small_arguments: list[str], tmp_path: Path) -> None:
    search = (
        *("hydra/sweeper=optuna", "name=diverged", "seeds=2", "lr=choice(0.5,1e30)", "clip=null", "epochs=4"),
        *("hydra.sweeper.n_trials=2", "hydra.sweeper.sampler=grid", "hydra.sweeper.race={fresh: 2}"),
    )
    done = main("-m", *small_arguments, *search)
    assert done.status == 0, done.err
    trials = {row["lr"]: row for row in rows(tmp_path / "results" / "diverged" / "trials.csv")}
    assert {float(lr): row["state"] for lr, row in trials.items()} == {0.5: "done", 1e30: "diverged"}
    assert json.loads((tmp_path / "results" / "diverged" / "search.json").read_text())["winner"]["values"] == {
        "lr": 0.5
    }


@pytest.mark.full
def test_where_every_trial_diverges_there_is_a_report_and_a_reason(
    main: Main, small_arguments: list[str], tmp_path: Path
) -> None:
    search = (
        *("hydra/sweeper=optuna", "name=gone", "seeds=2", "lr=choice(1e29,1e30)", "clip=null", "epochs=4"),
        *("hydra.sweeper.n_trials=2", "hydra.sweeper.sampler=grid"),
    )
    done = main("-m", *small_arguments, *search)
    assert done.status == 1
    [line] = [line for line in done.err.splitlines() if line.startswith("none of 2 trials")]
    assert "2 diverged" in line
    assert "lower values of lr than 1e+29" in line
    assert "clip=1" in line
    assert "lower values of clip" not in line  # there is no limit
    assert "no effect" not in done.err  # of lr, which 1e29 + 1 does not change
    folder = tmp_path / "results" / "gone"
    assert "one of 2 trials" in (folder / "report.html").read_text()
    facts = json.loads((folder / "search.json").read_text())
    assert (facts["winner"], facts["concluded"]) == (None, True)
    assert not (folder / "best.yaml").exists()


@pytest.mark.full
def test_a_knob_that_no_trial_reads_is_named(main: Main, small_arguments: list[str]) -> None:
    search = (
        *("hydra/sweeper=optuna", "seeds=1", "lr=choice(0.5,1)", "model=choice(rnn,lstm)", "dropout=0.3"),
        *("forget_bias=1", "hydra.sweeper.n_trials=1", "hydra.sweeper.race=null"),
    )
    done = main("-m", *small_arguments, *search)
    assert done.status == 0, done.err
    assert "warning: dropout=0.3 has no effect" in done.err
    assert "forget_bias=1" not in done.err  # an lstm reads it


@pytest.mark.full
def test_where_every_trial_fails_the_cause_is_counted(main: Main, small_arguments: list[str], tmp_path: Path) -> None:
    search = (
        *("hydra/sweeper=optuna", "name=failed", "seeds=1", "model=choice(gru-no-reset,mgu)", "engine=torch_nn"),
        *("hydra.sweeper.n_trials=2", "hydra.sweeper.sampler=grid"),
    )
    done = main("-m", *small_arguments, *search)
    assert done.status == 1
    assert "engine=torch_nn cannot compute" in done.err.split("none of 2 trials")[1]
    assert (tmp_path / "results" / "failed" / "report.html").is_file()


@pytest.mark.full
def test_where_no_trial_differs_nothing_wins_and_nothing_decides(
    main: Main, small_arguments: list[str], tmp_path: Path
) -> None:
    search = (
        *("hydra/sweeper=optuna", "name=equal", "seeds=2", "lr=1e-30", "dropout=interval(0,0.5)", "layers=2"),
        *("clip=interval(0.5,2)", "hydra.sweeper.n_trials=9", "hydra.sweeper.sampler=random"),
    )
    done = main("-m", *small_arguments, *search)
    assert done.status == 1
    assert re.search(r"no trial differs .*: all 9\b", done.err)
    folder = tmp_path / "results" / "equal"
    assert not (folder / "best.yaml").exists()
    assert not list((folder / "tables").glob("search_importance*"))


@pytest.mark.full
def test_a_search_in_an_awkward_folder_and_its_command(main: Main, small_arguments: list[str], tmp_path: Path) -> None:
    search = (
        *("hydra/sweeper=optuna", "name=found", "seeds=1", "lr=choice(0.5,1)", "hydra.sweeper.n_trials=2"),
        *("hydra.sweeper.race={fresh: 2}", "results_dir='q?x #50% é'"),
    )
    done = main("-m", *small_arguments, *search)
    assert done.status == 0, done.err
    folder = tmp_path / "q?x #50% é" / "found"
    assert (folder / "study.db").is_file()
    assert not (tmp_path / "q").exists()
    line = (folder / "best.yaml").read_text().splitlines()[1].removeprefix("#   ")
    assert f"again: {line}" in done.err
    words = shlex.split(line)
    assert words[:3] == ["python", "-m", "ablate"]
    again = main(*words[3:])
    assert again.status == 0, again.err
    assert (folder.parent / "found-best").is_dir()  # beside the search, whose runs are reused
    assert "0 runs trained" in again.err


@pytest.mark.full
def test_an_accuracy_is_searched(main: Main, small_arguments: list[str], tmp_path: Path) -> None:
    task = ("task=memory", "data=adding", "data.path=null", "data.tokens=word", "data.cleaning=keep")
    typed = [a for a in small_arguments if not a.startswith(("data", "max_tokens", "val_tokens"))]
    search = (
        *("hydra/sweeper=optuna", "name=accurate", "seeds=2", "lr=choice(0.1,1,1e30)", "clip=null"),
        *("hydra.sweeper.n_trials=3", "hydra.sweeper.sampler=grid", "hydra.sweeper.objective=accuracy"),
        *("hydra.sweeper.race={fresh: 4}", "hydra.sweeper.baseline={}", "task.sequences=32"),
    )
    done = main("-m", *typed, *task[:2], *search)
    assert done.status in (0, 1), done.err
    folder = tmp_path / "results" / "accurate"
    trials = {float(row["lr"]): row for row in rows(folder / "trials.csv")}
    assert trials[1e30]["state"] == "diverged"
    facts = json.loads((folder / "search.json").read_text())
    assert facts["settings"]["objectives"] == [{"name": "accuracy", "better": "higher"}]
    stored = records(folder).values()
    assert {name for r in stored for name in r["metrics"]} == measured("memory")
    for lr in (0.1, 1.0):
        own = [r["metrics"]["accuracy"] for r in stored if r["config"]["lr"] == lr and r["seed"] < 2]
        if trials[lr]["state"] == "done":
            assert float(trials[lr]["accuracy"]) == pytest.approx(sum(own) / len(own))


@pytest.mark.full
def test_an_impossible_pair_is_a_failed_trial(main: Main, small_arguments: list[str], tmp_path: Path) -> None:
    search = (
        *("hydra/sweeper=optuna", "name=pairs", "seeds=1", "model=choice(gru,gru-no-reset)", "engine=torch_nn"),
        *("hydra.sweeper.n_trials=2", "hydra.sweeper.sampler=grid"),
    )
    done = main("-m", *small_arguments, *search)
    assert done.status == 0, done.err
    trials = {row["model"]: row for row in rows(tmp_path / "results" / "pairs" / "trials.csv")}
    assert trials["gru"]["state"] == "done"
    assert trials["gru-no-reset"]["state"] == "failed"
    assert "engine=torch_nn cannot compute model=gru-no-reset" in trials["gru-no-reset"]["reason"]


@pytest.mark.full
def test_a_preset_names_its_sweeper(tmp_path: Path, main: Main, small_arguments: list[str]) -> None:
    (tmp_path / "sweeps").mkdir()
    (tmp_path / "sweeps" / "mine.yaml").write_text(
        "# @package _global_\n# Which?   python -m ablate sweeps=mine\n"
        "defaults:\n  - override /hydra/sweeper: optuna\n"
        "hydra:\n  sweeper:\n    params:\n"
        "      lr: interval(0.5, 1)\n      layers: range(1, 3)\n      dropout: choice(0.1, 0.2)\n"
        "    conditions:\n      dropout: {layers: [2]}\n"
        "    n_trials: 3\n    sampler: random\n    race: {fresh: 2}\n"
    )
    assert presets.sweeper_of(find_preset("mine")) == "optuna"
    assert presets.sweeper_of(find_preset("smoke")) is None
    done = main(*small_arguments, "sweeps=mine", "lr=choice(0.6,0.7)", "seeds=2")
    assert done.status == 0, done.err
    [folder] = (tmp_path / "results").iterdir()
    assert folder.name.startswith("mine_")
    trials = rows(folder / "trials.csv")
    assert {row["lr"] for row in trials} <= {"0.6", "0.7"}  # the command line replaces the preset's interval
    assert all((row["dropout"] != "") == (row["layers"] == "2") for row in trials)
    (tmp_path / "sweeps" / "mine.yaml").write_text(
        "# @package _global_\n# Which?   python -m ablate sweeps=mine\n"
        "defaults:\n  - override /hydra/sweeper: optuna\n"
        "hydra:\n  sweeper:\n    params:\n      num_hiddens: shuffle(range(1, 1000000000))\n"
    )
    done = main(*small_arguments, "sweeps=mine")
    assert (done.status, len(done.err.splitlines())) == (2, 1)
    assert "num_hiddens=range(1, 1000000000) is 1e+09 values; give a range of 1,000,000 at most" in done.err


# --- mistakes -------------------------------------------------------------------------------------------


@pytest.mark.full
@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (
            ["hydra.sweeper.sampler=tpee"],
            "'tpee'; choose tpe, gp, cmaes, qmc, random, grid or nsga2; .*tpe",
        ),
        (["hydra.sweeper.pruner=medan"], "pruner is 'medan'; choose none, median"),
        (["lr=1"], "there is nothing to search"),
        (
            ["lr=tag(log, interval(0, 1))"],
            r"lr=tag\(log, interval\(0, 1\)\): .*\b0; .*above zero",
        ),
        (["hydra.sweeper.objective=acuracy"], "objective is 'acuracy'.*; choose perplexity"),
        (["hydra.sweeper.objective=accuracy"], "objective is accuracy.*task=language_model"),
        (
            [
                *("task=translation", "data=number_pairs", "data.path=null", "data.tokens=word", "data.cleaning=keep"),
                *("hydra.sweeper.objective=bleu", "hydra.sweeper.pruner=median", "task.val_pairs=8"),
            ],
            "pruner=median .*epochs.*bleu",
        ),
        (
            ["hydra.sweeper.objective=accuracy", "task=fill_in", "hydra.sweeper.pruner=medan"],
            "pruner is 'medan'; choose none",  # rather than that accuracy has no epochs
        ),
        (["val_tokens=0"], "objective is val_perplexity.*val_tokens=0"),
        (
            ["task=translation", "data=number_pairs", "data.path=null", "data.tokens=word", "data.cleaning=keep"],
            r"objective is val_perplexity.*task\.val_pairs=0.*; raise task\.val_pairs",
        ),
        (
            ["hydra.sweeper.storage=postgresql://nobody@127.0.0.1:9/none"],
            r"cannot reach .*postgresql\+psycopg://nobody@127\.0\.0\.1:9/none",
        ),
        (["hydra.sweeper.storage=oracle"], "storage is 'oracle'; write sqlite, journal, or a URL"),
        (["hydra.sweeper.n_trials=0"], "n_trials is 0; .*1 or more"),
        (["layers=range(0,3)"], "layers is 0; .*1 or more"),
        (["model=choice(gru,gruu)"], "model is 'gruu'; choose gru"),
        (["num_hidens=choice(4,8)"], "knob 'num_hidens'; .*num_hiddens"),
        (["seed=choice(1,2)"], "seeds are not searched"),
        (["engine=choice(api,cohort)"], "engine has several values, choice.api,cohort.*: give one"),
        (["hydra.sweeper.conditions={lr: {layrs: [1]}}"], r"conditions\.lr .*\blayrs, which is no knob"),
        (["hydra.sweeper.race={frist: 2}"], "race is .*'frist': 2.*; its options are first, p, best or fresh"),
        (["hydra.sweeper.race.frist=2"], "race is .*'frist': 2.*; its options are first, p, best or fresh"),
        (["hydra.sweeper.race={p: abc}"], "race.p is 'abc'"),
        (["hydra.sweeper.objective=null"], "objective is None, for which no search looks"),
        (["hydra.sweeper.sampler={name: tpe, n_startup_trials: abc}"], "n_startup_trials is 'abc'; it must be"),
        (["hydra.sweeper.pruner={name: median, n_warmup_steps: abc}"], "n_warmup_steps is 'abc'; it must be"),
        (["hydra.sweeper.params=3"], "hydra.sweeper.params is 3; it must be a table"),
        (["hydra.sweeper.zipped=3"], "3: a search draws each knob by itself"),
        (["hydra.sweeper.n_trials=2", "hydra.sweeper.n_trials=3"], "n_trials is given twice: 2 and 3; give it once"),
        (["hydra.sweeper.baseline={lr: 0}"], r"lr is 0\.0; .*above 0"),
        (["hydra.sweeper.baseline.lr=0"], r"lr is 0\.0; .*above 0"),
        (["hydra.sweeper.params.lr=1,2"], "hydra.sweeper.params.lr is for presets; .* write lr=1,2"),
        (["data.path=/nowhere.txt"], r"/nowhere\.txt"),
        (["precision=tf32", "device=cpu"], "precision=tf32 cannot be computed here"),
        (["match=params"], "match=params makes models as large as the first one of a sweep"),
    ],
)
def test_a_mistake_is_one_line_and_leaves_nothing(
    main: Main, small_arguments: list[str], tmp_path: Path, arguments: list[str], message: str
) -> None:
    if "postgresql" in str(arguments):
        pytest.importorskip("psycopg")
    search = ["hydra/sweeper=optuna", "lr=interval(0.5,1)", "name=wrong"]
    typed = [
        a for a in [*small_arguments, *search] if a.partition("=")[0] not in {b.partition("=")[0] for b in arguments}
    ]
    done = main("-m", *typed, *arguments)
    assert done.status == 2, done.err
    assert re.search(message, done.err)
    assert len(done.err.strip().splitlines()) == 1
    assert "Traceback" not in done.err
    assert not list(tmp_path.glob("results/wrong/*.db"))
    assert not list(tmp_path.glob("results/wrong/runs/*"))
    assert "storage=oracle" not in str(arguments) or not (tmp_path / "results").exists()


@pytest.mark.full
def test_another_search_in_the_same_folder_is_refused_and_nothing_is_lost(
    main: Main, small_arguments: list[str], tmp_path: Path
) -> None:
    search = ["hydra/sweeper=optuna", "lr=choice(0.5,1)", "name=kept", "seeds=1", "hydra.sweeper.n_trials=2"]
    assert main("-m", *small_arguments, *search).status == 0
    before = records(tmp_path / "results" / "kept")
    (tmp_path / "results" / "kept" / ".lock").unlink()  # as in a checkout
    there = sorted((tmp_path / "results").rglob("*"))
    for changed, message in (
        ("lr=choice(0.5,2)", "another space: lr was choice(0.5, 1), now it is choice(0.5, 2)"),
        ("hydra.sweeper.objective=perplexity", "begun with the objective val_perplexity, not perplexity"),
        ("epochs=4", "begun with epochs=3, not epochs=4"),
    ):
        typed = [a for a in [*small_arguments, *search] if a.partition("=")[0] != changed.partition("=")[0]]
        done = main("-m", *typed, changed)
        assert done.status == 2
        assert message in done.err
        assert "study.db" in done.err
        assert len(done.err.strip().splitlines()) == 1
    assert records(tmp_path / "results" / "kept") == before
    assert sorted((tmp_path / "results").rglob("*")) == there, "what is refused leaves nothing"


@pytest.mark.full
def test_a_search_is_not_let_into_the_folder_of_a_sweep(main: Main, small_arguments: list[str], tmp_path: Path) -> None:
    assert main(*small_arguments, "lr=0.5,1", "name=mixed").status == 0
    there = sorted((tmp_path / "results").rglob("*"))
    done = main("-m", *small_arguments, "hydra/sweeper=optuna", "clip=choice(1,2)", "name=mixed")
    assert done.status == 2
    assert done.err.strip().endswith("holds a sweep, and a search has a folder of its own; give another name=")
    assert sorted((tmp_path / "results").rglob("*")) == there


@pytest.mark.full
def test_a_search_does_not_go_on_with_values_of_a_file_as_it_was(main: Main, tmp_path: Path) -> None:
    file = tmp_path / "curve.py"
    file.write_text("def bowl(x: float = 1.0, seed: int = 0) -> dict[str, float]:\n    return {'loss': abs(x - 1)}\n")
    space = ("x=choice(1,2,3,4,5,6)", "sampler=grid", "seeds=2", "name=edited", "race.fresh=2", "report=false")
    search = ("experiment=curve.py:bowl", *space)
    assert main(*search, "n_trials=6", module="ablate.cli.search").status == 0
    trials = (tmp_path / "results" / "edited" / "trials.csv").read_text()
    file.write_text(file.read_text().replace("x - 1", "x - 6"))
    done = main(*search, "n_trials=6", module="ablate.cli.search")
    assert done.status == 2
    assert re.search(r"trial \d was computed from other files than those of today", done.err)
    assert (tmp_path / "results" / "edited" / "trials.csv").read_text() == trials


def test_a_search_whose_study_is_elsewhere_is_one_from_its_beginning(
    main: Main, small_arguments: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As one in a PostgreSQL database that was killed: nothing that is written at its end is there."""
    searches: list[bool] = []
    monkeypatch.setattr(Search, "run", lambda self: searches.append(is_search(tmp_path / "results" / "found")))
    main("-m", *small_arguments, *SEARCH, f"hydra.sweeper.storage=sqlite:///{tmp_path / 'elsewhere.db'}")
    assert searches == [True]
