"""Checkpoints: training that was stopped goes on with the same trajectory, to the last bit. CPU, 3 s."""

import errno
import math
import os
import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from ablate.config.errors import ConfigError
from ablate.config.identity import run_id
from ablate.config.schema import PACKAGE_DIR, Config, with_seed
from ablate.data.corpora import Corpus
from ablate.records.record import Record
from ablate.sweeping.launch import run_sweep
from ablate.training import loop as training
from ablate.training.checkpoints import Checkpoints, path_of, reached, sources
from ablate.training.choice import Choice
from ablate.training.loop import train_together
from ablate.training.trajectory import Stopped

Configs = Callable[..., Config]


def outcome(record: Record) -> tuple[object, ...]:
    return record.run_id, record.status, record.curve, record.metrics, record.text, record.counts, record.divergence


def members(small: Configs, engine: str, *overrides: str) -> list[Config]:
    config = small("epochs=8", f"engine={engine}", *overrides)
    return [with_seed(config, k) for k in range(3 if engine == "cohort" else 1)]


def stopped_after(epochs: int, configs: list[Config], corpus: Corpus, checkpoints: Checkpoints) -> None:
    """Train, with a checkpoint after every epoch, until `epochs` are done; then be stopped in the next one."""
    done = []
    with pytest.raises(Stopped):
        train_together(
            configs,
            corpus,
            Choice(configs[0].engine, {}),
            on_epoch=lambda epoch, _: done.append(epoch),
            checkpoints=checkpoints,
            stop=lambda: len(done) == epochs,
        )
    assert done == list(range(1, epochs + 1))


@pytest.mark.full
@pytest.mark.parametrize(
    "overrides",
    [
        ["model=gru", "sampling=random", "layers=2", "dropout=0.4"],
        ["model=lstm", "optimizer=adam"],
        ["model=rnn", "optimizer=momentum"],
        ["model=rnn", "optimizer=rmsprop"],
    ],
)
@pytest.mark.parametrize("engine", ["torch_nn", "eager", "cohort"])
def test_a_run_goes_on_as_if_nothing_had_happened(
    small: Configs, corpus: Corpus, tmp_path: Path, engine: str, overrides: list[str]
) -> None:
    configs = members(small, engine, *overrides)
    whole = train_together(configs, corpus, Choice(engine, {}))
    ids = [run_id(config, corpus.sha256) for config in configs]
    stopped_after(3, configs, corpus, Checkpoints(tmp_path, ids, every_s=0))
    assert [reached(tmp_path, one)[0] for one in ids] == [3] * len(ids)

    epochs = []
    resumed = train_together(
        configs,
        corpus,
        Choice(engine, {}),
        on_epoch=lambda epoch, _: epochs.append(epoch),
        checkpoints=Checkpoints(tmp_path, ids),
    )
    assert epochs == [4, 5, 6, 7, 8]
    assert [record.timing["resumed_at_epoch"] for record in resumed] == [3] * len(ids)
    assert [outcome(record) for record in resumed] == [outcome(record) for record in whole]


@pytest.mark.full
def test_a_run_that_has_diverged_stays_so(small: Configs, corpus: Corpus, tmp_path: Path) -> None:
    calm, wild = members(small, "cohort", "model.activation=relu", "clip=null", "lr=0.1")[:2]
    wild = wild.but(lr=300.0)
    whole = train_together([calm, wild], corpus, Choice("cohort", {}))
    assert [record.status for record in whole] == ["ok", "diverged"]
    ids = [record.run_id for record in whole]
    stopped_after(5, [calm, wild], corpus, Checkpoints(tmp_path, ids, every_s=0))
    resumed = train_together([calm, wild], corpus, Choice("cohort", {}), checkpoints=Checkpoints(tmp_path, ids))
    assert [outcome(record) for record in resumed] == [outcome(record) for record in whole]


@pytest.mark.full
def test_no_checkpoint_before_its_time(small: Configs, corpus: Corpus, tmp_path: Path) -> None:
    configs = members(small, "torch_nn")
    train_together(configs, corpus, Choice("torch_nn", {}), checkpoints=Checkpoints(tmp_path, ["a"], every_s=1e6))
    assert list(tmp_path.iterdir()) == []
    assert reached(tmp_path, "a")[0] == 0


def test_how_often_is_said_in_seconds(monkeypatch: pytest.MonkeyPatch, small: Configs, tmp_path: Path) -> None:
    for given, seconds in {"": 120.0, "0.5": 0.5, "inf": math.inf}.items():
        monkeypatch.setenv("ABLATE_CHECKPOINT_S", given)
        assert Checkpoints(tmp_path, ["a"]).every_s == seconds
    for given in ("two minutes", "nan", "-1"):
        monkeypatch.setenv("ABLATE_CHECKPOINT_S", given)
        with pytest.raises(ConfigError, match=f"ABLATE_CHECKPOINT_S is '{given}'; give it seconds"):
            run_sweep([small(f"results_dir={tmp_path}")], "made-up", "ablate")
    assert list(tmp_path.iterdir()) == []


# --- what no run can go on from ---------------------------------------------------------------------------


def damaged(state: dict[str, Any], damage: str) -> Any:
    """What is left of a checkpoint."""
    match damage:
        case "a list":
            return [1, 2]
        case "a number":
            return 7
        case "a tensor":
            return torch.zeros(3)
        case "foreign":
            return {"state_dict": {"weight": torch.zeros(2)}, "epoch": 3}
        case "without a kernel":  # as an older version wrote it
            return {name: value for name, value in state.items() if name not in ("kernel", "build", "run_id")}
        case "epoch as text":
            return state | {"epoch": "3"}
        case "epoch 0":
            return state | {"epoch": 0}
        case "order as text":
            return state | {"order": "…"}
        case "of another run":
            return state | {"run_id": "0" * 12}
        case "of another build":
            return state | {"build": "0" * 16}
    raise AssertionError(damage)


@pytest.mark.full
@pytest.mark.parametrize(
    "damage",
    [
        *("cut", "empty", "text", "binary", "pickle", "folder", "dangling link"),
        *("a list", "a number", "a tensor", "foreign", "without a kernel", "epoch as text", "epoch 0", "order as text"),
        *("of another run", "of another build"),
    ],
)
def test_what_cannot_be_loaded_counts_as_none(small: Configs, corpus: Corpus, tmp_path: Path, damage: str) -> None:
    """And one line says so."""
    configs = members(small, "torch_nn")
    ids = [run_id(configs[0], corpus.sha256)]
    stopped_after(3, configs, corpus, Checkpoints(tmp_path, ids, every_s=0))
    path, said = path_of(tmp_path, ids[0]), list[str]()
    assert Checkpoints(tmp_path, ids).load("torch_nn") is not None
    match damage:
        case "cut":
            path.write_bytes(path.read_bytes()[:200])
        case "empty":
            path.write_bytes(b"")
        case "text":
            path.write_text("not a checkpoint")
        case "binary":
            path.write_bytes(bytes(range(256)) * 20)
        case "pickle":
            path.write_bytes(pickle.dumps(Path("/")))  # would be executed, were it not for weights_only
        case "folder":
            path.unlink()
            path.mkdir()
        case "dangling link":
            path.unlink()
            path.symlink_to(tmp_path / "nowhere")
        case _:
            torch.save(damaged(torch.load(path, weights_only=True), damage), path)
    assert reached(tmp_path, ids[0], said.append) == (0, None)
    assert len(said) == 1
    assert str(path) in said[0]
    assert Checkpoints(tmp_path, ids).load("torch_nn") is None


@pytest.mark.full
@pytest.mark.parametrize("engine", ["torch_nn", "eager", "cohort"])
@pytest.mark.parametrize("damage", ["shapes", "keys", "generator", "a text of updates", "updates below none"])
def test_a_state_that_does_not_fit_starts_from_the_beginning(
    small: Configs, corpus: Corpus, tmp_path: Path, engine: str, damage: str
) -> None:
    """Its parts are those of a checkpoint; what is in them is that of another network. Nothing of it stays."""
    configs = members(small, engine, "model=gru", "optimizer=adam")
    whole = train_together(configs, corpus, Choice(engine, {}))
    ids = [record.run_id for record in whole]
    stopped_after(3, configs, corpus, Checkpoints(tmp_path, ids, every_s=0))
    for path in (path_of(tmp_path, one) for one in ids):
        state = torch.load(path, weights_only=True)
        match damage:
            case "shapes":
                name = "parameters" if engine == "cohort" else "model"
                values = state["program"][name]
                smaller = values[:-1] if engine == "cohort" else {key: value[:1] for key, value in values.items()}
                state["program"] = state["program"] | {name: smaller}
            case "keys":
                state["program"] = {"model": {}}
            case "generator":
                state["order"] = torch.zeros(3, dtype=torch.uint8)
            case "a text of updates":
                state["program"] = state["program"] | {"updates": "3"}
            case "updates below none":
                state["program"] = state["program"] | {"updates": -1}
        torch.save(state, path)
    said: list[str] = []
    resumed = train_together(
        configs, corpus, Choice(engine, {}), checkpoints=Checkpoints(tmp_path, ids, say=said.append)
    )
    assert len(said) == 1
    assert [record.timing["resumed_at_epoch"] for record in resumed] == [None] * len(ids)
    assert [outcome(record) for record in resumed] == [outcome(record) for record in whole]


@pytest.mark.parametrize("lacking", ["of another engine", "of another kernel", "one of two"])
def test_a_checkpoint_of_other_means_is_not_resumed(
    small: Configs, corpus: Corpus, tmp_path: Path, lacking: str
) -> None:
    configs = members(small, "torch_nn")
    ids = [run_id(configs[0], corpus.sha256)]
    stopped_after(3, configs, corpus, Checkpoints(tmp_path, ids, every_s=0))
    means = {"of another engine": ("eager", "torch"), "of another kernel": ("torch_nn", "native")}
    asked = [*ids, "0" * 12] if lacking == "one of two" else ids
    assert Checkpoints(tmp_path, asked).load(*means.get(lacking, ("torch_nn", "torch"))) is None


def test_the_build_is_made_of_what_computes() -> None:
    names = {str(path.relative_to(PACKAGE_DIR)) for path in sources()}
    assert {"training/loop.py", "training/choice.py", "engines/cohort/native/kernel.h", "tasks/text.py"} <= names
    assert {
        "cells/gru.py",
        "cells/trace.py",
        "networks/recurrence.py",
        "engines/autograd.py",
        "data/batches.py",
        "config/metrics.py",
    } <= names
    assert not {name for name in names if name.startswith(("report", "searching", "sweeping", "cli", "records"))}


# --- being stopped ----------------------------------------------------------------------------------------


def test_a_stop_in_a_short_epoch_loses_nothing_of_it(small: Configs, corpus: Corpus, tmp_path: Path) -> None:
    """The checkpoint is not due for hours: it is the stop that saves it, at the end of its epoch."""
    configs = members(small, "cohort", "model=gru")
    whole = train_together(configs, corpus, Choice("cohort", {}))
    ids = [record.run_id for record in whole]
    stopped_after(5, configs, corpus, Checkpoints(tmp_path, ids, every_s=1e6))
    assert [reached(tmp_path, one) for one in ids] == [(5, "cohort")] * len(ids)
    resumed = train_together(configs, corpus, Choice("cohort", {}), checkpoints=Checkpoints(tmp_path, ids))
    assert [record.timing["resumed_at_epoch"] for record in resumed] == [5] * len(ids)
    assert [outcome(record) for record in resumed] == [outcome(record) for record in whole]


@pytest.mark.full
@pytest.mark.parametrize("engine", ["torch_nn", "eager", "cohort"])
def test_a_stop_in_a_long_epoch_goes_back_to_its_beginning(
    small: Configs, corpus: Corpus, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, engine: str
) -> None:
    """There is no time to end it: what is saved is the state from which it began, although training has gone on."""
    configs = members(small, engine, "model=gru", "optimizer=adam")
    whole = train_together(configs, corpus, Choice(engine, {}))
    ids, done, asked = [record.run_id for record in whole], [], []
    monkeypatch.setattr(training, "GRACE_S", 0.0)
    monkeypatch.setattr(training, "LONG_EPOCH_S", 0.0)

    def stop() -> bool:
        asked.append(len(done))
        return asked.count(4) > 3  # in the middle of the fifth epoch

    with pytest.raises(Stopped):
        train_together(
            configs,
            corpus,
            Choice(engine, {}),
            on_epoch=lambda epoch, _: done.append(epoch),
            checkpoints=Checkpoints(tmp_path, ids, every_s=1e6),
            stop=stop,
        )
    assert done == [1, 2, 3, 4]
    assert [reached(tmp_path, one) for one in ids] == [(4, engine)] * len(ids)
    resumed = train_together(configs, corpus, Choice(engine, {}), checkpoints=Checkpoints(tmp_path, ids))
    assert [outcome(record) for record in resumed] == [outcome(record) for record in whole]


def test_what_is_given_up_for_good_leaves_no_checkpoint(small: Configs, corpus: Corpus, tmp_path: Path) -> None:
    configs, done = members(small, "torch_nn"), []
    with pytest.raises(Stopped):
        train_together(
            configs,
            corpus,
            Choice("torch_nn", {}),
            on_epoch=lambda epoch, _: done.append(epoch),
            checkpoints=Checkpoints(tmp_path, ["a"], every_s=1e6),
            stop=lambda: len(done) == 3,
            resumes=lambda: False,
        )
    assert list(tmp_path.iterdir()) == []


def test_a_checkpoint_that_finds_no_room_costs_a_line(
    small: Configs, corpus: Corpus, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The run itself goes on: its record is smaller, and there may be room by then."""

    def full(_: int) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    said: list[str] = []
    [record] = train_together(
        members(small, "torch_nn"),
        corpus,
        Choice("torch_nn", {}),
        checkpoints=Checkpoints(tmp_path, ["a"], every_s=0, say=said.append),
    )
    assert record.status == "ok"
    assert len(said) == 1
    assert "full" in said[0]
    assert not [path for path in tmp_path.rglob("*") if path.is_file()]


def test_checkpoints_are_removed(small: Configs, corpus: Corpus, tmp_path: Path) -> None:
    configs = members(small, "torch_nn")
    checkpoints = Checkpoints(tmp_path, [run_id(configs[0], corpus.sha256)], every_s=0)
    stopped_after(2, configs, corpus, checkpoints)
    assert all(path.is_file() for path in checkpoints.paths)
    checkpoints.remove()
    assert not any(path.exists() for path in checkpoints.paths)


@pytest.mark.parametrize(
    "changes",
    [
        {"perplexity": "abc"},
        {"perplexity": [1.0]},
        {"val_perplexity": []},
        {"divergence": {"epoch": 1}},
        {"divergence": {"epoch": "x"}},
        {"divergence": {"epoch": None}},
        {"ended": {"epoch": "x"}},
        {"ended": {"epoch": True}},
        {"scores": {"accuracy": 1}},
        {"more": 1},
        {"ended": {"epoch": 1, "rule": "until", "value": "perplexity<9"}},
    ],
)
def test_a_trajectory_that_is_none_is_no_checkpoint(
    small: Configs, corpus: Corpus, tmp_path: Path, changes: dict[str, Any]
) -> None:
    """Of other types, or of another number of epochs than the checkpoint says."""
    configs = members(small, "eager")
    [name] = [run_id(config, corpus.sha256) for config in configs]
    stopped_after(2, configs, corpus, Checkpoints(tmp_path, [name], every_s=0))
    path = path_of(tmp_path, name)
    state = torch.load(path, weights_only=True)
    assert reached(tmp_path, name) == (2, "eager")
    torch.save(state | {"trajectory": state["trajectory"] | changes}, path)
    said: list[str] = []
    assert reached(tmp_path, name, said.append) == (0, None)
    assert len(said) == 1
