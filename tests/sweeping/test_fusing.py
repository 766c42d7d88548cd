"""What trains together: seeds and settings that differ in lr or clip share programs and come out as if alone.

Compares runs of fused sweeps with the same runs trained one by one, and a killed cohort with an undisturbed one.
CPU, 15 s.
"""

import itertools
import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from ablate.config.resolved import Resolved, resolve
from ablate.config.schema import Config
from ablate.data.corpora import Corpus
from ablate.records import results
from ablate.sweeping import schedule
from ablate.sweeping.plan import Plan, Setting, make_plan
from ablate.training.checkpoints import Checkpoints, path_of, reached
from ablate.training.choice import Choice
from ablate.training.loop import train_together
from ablate.training.trajectory import Stopped

Configs = Callable[..., Config]
COHORT = "engine=cohort"


@pytest.fixture
def plan(compose: Configs, tmp_path: Path) -> Callable[[list[Config]], Plan]:
    return lambda configs: make_plan(configs, tmp_path / "sweep", compose("data=python_docs").data)


@pytest.mark.full
def test_settings_that_differ_in_lr_and_clip_are_one_group(
    small: Configs, plan: Callable[[list[Config]], Plan]
) -> None:
    settings = [small(COHORT, "seeds=2", f"lr={lr}", f"clip={clip}") for lr in (0.5, 1) for clip in ("1", "null")]
    [group] = schedule.groups(plan(settings))
    assert len(group.runs) == 8
    assert len(group.settings) == 4
    assert [len(task.runs) for task in schedule.programs(group, 1, threads=1)] == [8]


@pytest.mark.parametrize("other", ["num_hiddens=9", "model=gru", "epochs=4", "sampling=random", "optimizer=adam"])
def test_settings_that_differ_otherwise_are_not(
    small: Configs, plan: Callable[[list[Config]], Plan], other: str
) -> None:
    assert len(schedule.groups(plan([small(COHORT), small(COHORT, other)]))) == 2


def test_a_group_by_itself_is_cut_for_all_cores(small: Configs, plan: Callable[[list[Config]], Plan]) -> None:
    [group] = schedule.groups(plan([small(COHORT, "seeds=8")]))
    assert [len(task.runs) for task in schedule.programs(group, 2, threads=2)] == [4, 4]
    assert [len(task.runs) for task in schedule.programs(group, 3, threads=3)] == [3, 3, 2]
    shares = [schedule.share_of(side_by_side=4, groups=groups) for groups in (1, 2, 3, 4, 100)]
    assert shares == [4, 2, 2, 1, 1]


def test_where_epochs_differ_in_length_each_run_is_a_program(
    small: Configs, plan: Callable[[list[Config]], Plan]
) -> None:
    """101 tokens in batches of 4 by 5: an offset of 0 leaves 5 minibatches, one of 5 leaves 4."""
    [group] = schedule.groups(plan([small(COHORT, "seeds=3", "max_tokens=101")]))
    assert [len(task.runs) for task in schedule.programs(group, 1, threads=1)] == [1, 1, 1]


def test_what_does_not_fit_into_memory_is_refused_with_a_remedy(
    small: Configs, plan: Callable[[list[Config]], Plan], monkeypatch: pytest.MonkeyPatch
) -> None:
    [group] = schedule.groups(plan([small(COHORT, "seeds=3")]))
    timed: list[int] = []
    monkeypatch.setattr(schedule, "choose", lambda *of: timed.append(of[-1]) or Choice("cohort", {}))
    monkeypatch.setattr(schedule, "free_memory", lambda _: 1000)
    with pytest.raises(MemoryError, match="lower num_hiddens"):
        schedule.programs(group, 1, threads=1)
    assert not timed  # engines are timed on networks that fit
    one = schedule.memory_bytes(group.config, 1, len(group.corpus.vocabulary))
    monkeypatch.setattr(schedule, "free_memory", lambda _: 2 * one)
    assert [len(task.runs) for task in schedule.programs(group, 1, threads=1)] == [2, 1]
    assert timed == [2]


@pytest.mark.full
@pytest.mark.parametrize("free", [2**34, 2**44])
def test_memory_that_is_plenty_is_not_counted_and_never_too_much(
    compose: Configs, free: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(schedule, "free_memory", lambda _: free)
    for model, H, T, V in itertools.product(("rnn", "lstm"), (1, 64, 512), (1, 35), (2, 5000)):
        config = resolve(compose(f"model={model}").but(num_hiddens=H, num_steps=T, batch_size=8))
        fit = schedule.runs_that_fit(config, V, torch.device("cpu"), 2)
        assert 1 <= fit <= free // (2 * schedule.memory_bytes(config, 1, V))
    counted: list[Config] = []
    monkeypatch.setattr(schedule, "memory_bytes", lambda config, *_: counted.append(config) or 1)
    schedule.runs_that_fit(resolve(compose("model=gru", "num_hiddens=8")), 28, torch.device("cpu"), 2)
    assert not counted


@pytest.mark.full
def test_a_fused_sweep_comes_out_as_its_runs_alone(small: Configs, sweep: Callable[..., Any], corpus: Corpus) -> None:
    configs = [
        small(COHORT, "model=gru", "batch_size=32", "max_tokens=1000", f"lr={lr}", "seeds=2", "threads=1")
        for lr in (0.5, 2)
    ]
    folder = sweep(configs).folder
    for path in (folder / "runs").glob("*.json"):
        record = json.loads(path.read_text())
        assert record["timing"]["trained_together"] == 4
        [own] = [c for c in configs if c.lr == record["config"]["lr"]]
        [alone] = train_together([resolve(own.but(seed=record["seed"]))], corpus, Choice("cohort", {}))
        assert alone.metrics == record["metrics"]
        assert alone.text == record["text"]


def test_a_diverging_run_leaves_its_neighbours_alone(small: Configs, corpus: Corpus) -> None:
    knobs = (COHORT, "batch_size=32", "max_tokens=1000", "model.activation=relu", "epochs=6")
    good = resolve(small(*knobs, "lr=0.5"))
    bad = good.but(lr=1e30, clip=None, seed=1)
    together = train_together([good, bad], corpus, Choice("cohort", {}))
    [alone] = train_together([good], corpus, Choice("cohort", {}))
    assert [record.status for record in together] == ["ok", "diverged"]
    assert together[0].curve == alone.curve
    assert together[1].divergence is not None


@pytest.mark.full
def test_a_killed_cohort_goes_on_with_the_same_trajectory(
    start: Callable[..., Any],
    cli: Callable[..., Any],
    program_environment: dict[str, str],
    small_arguments: list[str],
    tmp_path: Path,
) -> None:
    """kill -9 in the middle of a long setting: the rerun starts from the checkpoint and ends as if undisturbed."""
    program_environment["ABLATE_CHECKPOINT_S"] = "0.2"
    knobs = [*small_arguments, COHORT, "model=gru", "epochs=600", "seeds=3", "threads=1", "val_tokens=0"]
    knobs.append("report=false")
    process = start(*knobs, "name=killed")
    folder = tmp_path / "results" / "killed"
    while len(list((folder / "checkpoints").glob("*.pt"))) != 3:
        assert process.poll() is None, process.communicate()
    process.kill()
    process.communicate()
    halfway = {path.stem: reached(folder, path.stem)[0] for path in (folder / "checkpoints").glob("*.pt")}
    assert list((folder / "runs").glob("*.json")) == []
    assert cli(*knobs, "name=killed").status == 0
    assert cli(*knobs, "name=undisturbed", "fresh=true").status == 0
    for run_id, epoch in halfway.items():
        assert results.read(folder, run_id)["timing"]["resumed_at_epoch"] == epoch
        killed, undisturbed = (results.load_curve(folder.parent / name, run_id) for name in ("killed", "undisturbed"))
        assert list(killed) == list(undisturbed)
        assert len(killed["perplexity"]) == 600
        for column, values in killed.items():
            assert values == undisturbed[column]
    assert list((folder / "checkpoints").glob("*.pt")) == []


def test_settings_know_their_runs_after_fusing(small: Configs, plan: Callable[[list[Config]], Plan]) -> None:
    made = plan([small(COHORT, "seeds=3", "lr=0.5"), small(COHORT, "seeds=2", "lr=1")])
    tasks = [task for group in schedule.groups(made) for task in schedule.programs(group, 1, threads=1)]
    owners: list[Setting] = [setting for task in tasks for setting in task.settings]
    assert {setting.setting_id for setting in owners} == {setting.setting_id for setting in made.settings}
    assert sum(len(task.runs) for task in tasks) == 5


def test_a_rerun_goes_on_with_the_engine_of_the_checkpoint(
    small: Configs, plan: Callable[[list[Config]], Plan], corpus: Corpus
) -> None:
    """engine=auto measures; a measurement that came out otherwise must not lose what has been trained."""
    config = resolve(small("engine=auto", "epochs=8"))
    made = plan([config])
    [run] = made.settings[0].runs
    for engine in ("torch_nn", "cohort"):
        stop_after(4, config, corpus, Checkpoints(made.folder, [run.run_id], every_s=0), engine)
        [group] = schedule.groups(made)
        [task] = schedule.programs(group, 1, threads=1)
        assert task.choice == Choice(engine, {})
        [record] = train_together([config], corpus, task.choice, checkpoints=Checkpoints(made.folder, [run.run_id]))
        assert record.timing["resumed_at_epoch"] == 4
        path_of(made.folder, run.run_id).unlink()


def stop_after(epochs: int, config: Resolved, corpus: Corpus, checkpoints: Checkpoints, engine: str) -> None:
    seen = []
    with pytest.raises(Stopped):
        train_together(
            [config],
            corpus,
            Choice(engine, {}),
            on_epoch=lambda epoch, _: seen.append(epoch),
            checkpoints=checkpoints,
            stop=lambda: len(seen) >= epochs,
        )


def test_the_time_before_a_stop_counts(small: Configs, corpus: Corpus, tmp_path: Path) -> None:
    config = resolve(small("engine=torch_nn", "epochs=5"))
    checkpoints = Checkpoints(tmp_path, ["a-run"], every_s=0)
    stop_after(3, config, corpus, checkpoints, "torch_nn")
    state = torch.load(path_of(tmp_path, "a-run"), weights_only=True)
    torch.save(state | {"spent_s": 1000.0}, path_of(tmp_path, "a-run"))
    [record] = train_together([config], corpus, Choice("torch_nn", {}), checkpoints=checkpoints)
    assert record.timing["resumed_at_epoch"] == 3
    assert 1000 < record.timing["wall_s"] < 1100


@pytest.mark.full
def test_seeds_given_one_by_one_are_runs_of_one_setting(small: Configs, sweep: Callable[..., Any]) -> None:
    done = sweep([small(f"seed={seed}", "seeds=1") for seed in (0, 1, 2)])
    assert done.trained == 3
    assert len(list((done.folder / "runs").glob("*.json"))) == 3


def test_a_prefix_that_was_not_asked_for_before_is_trained_for(small: Configs, sweep: Callable[..., Any]) -> None:
    assert sweep([small("seeds=1")]).trained == 1
    again = sweep([small("seeds=1", "prefixes=[cell]")])
    assert again.trained == 1
    [path] = (again.folder / "runs").glob("*.json")
    assert list(json.loads(path.read_text())["text"]) == ["cell"]


def test_knobs_that_do_not_matter_are_said(small: Configs, plan: Callable[[list[Config]], Plan]) -> None:
    made = plan([small("optimizer.momentum=0"), small("optimizer.momentum=0.9")])
    [warning] = made.warnings
    assert re.search(r"^2 combinations .*\b1 different setting\b", warning)


@pytest.mark.full
@pytest.mark.parametrize("model", ["rnn", "gru", "lstm"])
def test_all_engines_draw_the_same_curve_over_the_first_epochs(small: Configs, corpus: Corpus, model: str) -> None:
    """30 epochs in float32 from the same weights on the same batches, at a learning rate that is not chaotic yet."""
    config = small(f"model={model}", "reset=after", "epochs=30", "lr=0.1", "layers=2")
    curves = [
        train_together([config], corpus, Choice(engine, {}))[0].curve for engine in ("eager", "torch_nn", "cohort")
    ]
    assert len(curves[0]["perplexity"]) == 30
    for other in curves[1:]:
        assert other["perplexity"] == pytest.approx(curves[0]["perplexity"], rel=2e-5)
        measured = [[value for value in curve["val_perplexity"] if value is not None] for curve in (curves[0], other)]
        assert measured[1] == pytest.approx(measured[0], rel=2e-5)
