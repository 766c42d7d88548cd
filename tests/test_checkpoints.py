"""Checkpoints: training that was stopped goes on with the same trajectory, to the last bit. CPU, 3 s."""

from collections.abc import Callable
from pathlib import Path

import pytest

from ablate.checkpoints import Checkpoints, path_of, reached
from ablate.config import Config, with_seed
from ablate.data.corpora import Corpus
from ablate.engines import Choice
from ablate.identity import run_id
from ablate.results import Record
from ablate.training import train_together
from ablate.trajectory import Stopped

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


@pytest.mark.parametrize(
    "overrides",
    [
        ["model=gru", "sampling=random", "layers=2", "dropout=0.4"],
        ["model=lstm", "optimizer=adam"],
        ["model=rnn", "optimizer=momentum"],
        ["model=rnn", "optimizer=rmsprop"],
    ],
)
@pytest.mark.parametrize("engine", ["api", "scratch", "cohort"])
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


def test_a_run_that_has_diverged_stays_so(small: Configs, corpus: Corpus, tmp_path: Path) -> None:
    calm, wild = members(small, "cohort", "model.activation=relu", "clip=null", "lr=0.1")[:2]
    wild.lr = 300.0
    whole = train_together([calm, wild], corpus, Choice("cohort", {}))
    assert [record.status for record in whole] == ["ok", "diverged"]
    ids = [record.run_id for record in whole]
    stopped_after(5, [calm, wild], corpus, Checkpoints(tmp_path, ids, every_s=0))
    resumed = train_together([calm, wild], corpus, Choice("cohort", {}), checkpoints=Checkpoints(tmp_path, ids))
    assert [outcome(record) for record in resumed] == [outcome(record) for record in whole]


def test_no_checkpoint_before_its_time(small: Configs, corpus: Corpus, tmp_path: Path) -> None:
    configs = members(small, "api")
    stopped_after(5, configs, corpus, Checkpoints(tmp_path, ["a"], every_s=1e6))
    assert list(tmp_path.iterdir()) == []
    assert reached(tmp_path, "a")[0] == 0


@pytest.mark.parametrize("damage", ["cut", "empty", "text", "of another engine", "of another run"])
def test_a_checkpoint_that_cannot_be_used_starts_from_the_beginning(
    small: Configs, corpus: Corpus, tmp_path: Path, damage: str
) -> None:
    configs = members(small, "api")
    ids, engine = [run_id(configs[0], corpus.sha256)], "api"
    stopped_after(3, configs, corpus, Checkpoints(tmp_path, ids, every_s=0))
    path = path_of(tmp_path, ids[0])
    assert Checkpoints(tmp_path, ids).load(engine) is not None
    match damage:
        case "cut":
            path.write_bytes(path.read_bytes()[:200])
        case "empty":
            path.write_bytes(b"")
        case "text":
            path.write_text("not a checkpoint")
        case "of another engine":
            engine = "scratch"
        case "of another run":
            ids = [*ids, "0" * 12]  # one of the two that train together has none
    assert Checkpoints(tmp_path, ids).load(engine) is None
    if damage in ("cut", "empty", "text"):
        assert reached(tmp_path, ids[0])[0] == 0


def test_checkpoints_are_removed(small: Configs, corpus: Corpus, tmp_path: Path) -> None:
    configs = members(small, "api")
    checkpoints = Checkpoints(tmp_path, [run_id(configs[0], corpus.sha256)], every_s=0)
    stopped_after(2, configs, corpus, checkpoints)
    assert all(path.is_file() for path in checkpoints.paths)
    checkpoints.remove()
    assert not any(path.exists() for path in checkpoints.paths)
