"""Runs that are stopped in the middle of a program: the others go on as if alone, bit for bit. CPU, 3 s."""

from collections.abc import Callable, Sequence
from pathlib import Path

import pytest

from ablate.config.resolved import Resolved, resolve
from ablate.config.schema import Config, with_seed
from ablate.data.corpora import Corpus
from ablate.training.checkpoints import Checkpoints, path_of
from ablate.training.choice import Choice
from ablate.training.loop import train_together
from ablate.training.trajectory import Replica

Configs = Callable[..., Config]
COHORT = Choice("cohort", {})


@pytest.fixture
def configs(small: Configs) -> list[Resolved]:
    """Four seeds of a network with dropout and Adam: everything that a replica carries from epoch to epoch."""
    shape = ("model=lstm", "layers=2", "batch_size=32", "num_steps=3")
    config = resolve(small(*shape, "dropout=0.3", "optimizer=adam", "epochs=6"))
    return [with_seed(config, seed) for seed in range(4)]


@pytest.mark.full
def test_those_that_go_on_are_not_disturbed(configs: list[Resolved], corpus: Corpus) -> None:
    seen: list[tuple[int, list[int]]] = []

    def watch(epoch: int, replicas: Sequence[Replica]) -> list[bool]:
        seen.append((epoch, [replica.config.seed for replica in replicas]))
        drop = {2: {0, 2}, 4: {3}}.get(epoch, set())
        return [replica.config.seed not in drop for replica in replicas]

    whole = train_together(configs, corpus, COHORT)
    [left] = train_together(configs, corpus, COHORT, watch=watch)
    assert seen == [(1, [0, 1, 2, 3]), (2, [0, 1, 2, 3]), (3, [1, 3]), (4, [1, 3]), (5, [1])]
    assert (left.seed, left.status) == (1, "ok")
    assert left.curve == whole[1].curve
    assert left.text == whole[1].text


@pytest.mark.parametrize("engine", ["cohort", "torch_nn", "eager"])
def test_where_nobody_goes_on_there_is_no_record(engine: str, configs: list[Resolved], corpus: Corpus) -> None:
    epochs = []

    def watch(epoch: int, replicas: Sequence[Replica]) -> list[bool]:
        epochs.append(epoch)
        return [epoch < 3] * len(replicas)

    own = [configs[0].but(engine=engine)]
    assert train_together(own, corpus, Choice(engine, {}), watch=watch) == []
    assert epochs == [1, 2, 3]


@pytest.mark.full
def test_checkpoints_of_those_that_stop_are_removed(configs: list[Resolved], corpus: Corpus, tmp_path: Path) -> None:
    names = [f"run{seed}" for seed in range(4)]
    checkpoints = Checkpoints(tmp_path, names, every_s=0)
    found: list[list[bool]] = []

    def watch(epoch: int, replicas: Sequence[Replica]) -> list[bool]:
        found.append([path_of(tmp_path, name).exists() for name in names])
        return [epoch != 3 or replica.config.seed % 2 == 1 for replica in replicas]

    records = train_together(configs, corpus, COHORT, checkpoints=checkpoints, watch=watch)
    assert [record.seed for record in records] == [1, 3]
    assert found == [[False] * 4, [True] * 4, [True] * 4, [False, True, False, True], [False, True, False, True]]
    states = checkpoints.load("cohort", "native") or checkpoints.load("cohort", records[0].timing["kernel"])
    assert states is not None
    assert len(states) == 2
