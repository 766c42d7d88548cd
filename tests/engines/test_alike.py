"""Of every knob that decides what a run computes: the replicas of a cohort agree in it, or each has its own, as alone.

A new knob of the config fails here until it has a case. CPU, 1 s.
"""

from dataclasses import fields

import pytest
import torch
from torch import Generator, Tensor

from ablate.config.resolved import Resolved
from ablate.config.schema import Config
from ablate.engines.cohort import Cohort
from ablate.engines.cohort.alike import check_alike
from tests.engines.sample_networks import batches, composed, weights

V, UPDATES = 7, 4
SHARED = {
    "model": ([], "model=lstm"),
    "optimizer": ([], "optimizer=adam"),
    "task": (["task=fill_in"], "task.masked=0.5"),
    "num_hiddens": ([], "num_hiddens=6"),
    "layers": ([], "layers=2"),
    "dropout_mask": (["layers=2", "dropout=0.3"], "dropout_mask=variational"),
    "init": ([], "init=normal"),
    "init_scale": (["init=orthogonal"], "init_scale=2"),
    "forget_bias": (["model=lstm"], "forget_bias=1"),
    "t_max": (["model=lstm", "forget_bias=chrono"], "t_max=50"),
    "reset": ([], "reset=before"),
    "bias_vectors": (["formulation=textbook"], "bias_vectors=2"),
    "num_steps": ([], "num_steps=9"),
    "batch_size": ([], "batch_size=64"),
    "sampling": ([], "sampling=random"),
    "max_tokens": ([], "max_tokens=5000"),
    "val_tokens": ([], "val_tokens=5000"),
    "test_tokens": ([], "test_tokens=100"),
    "clip_by": ([], "clip_by=value"),
    "precision": ([], "precision=bf16"),
    "epochs": ([], "epochs=3"),
}
"""Knob → overrides with which it decides something, and one that changes it."""
OF_EACH = {
    "schedule": "schedule=cosine",
    "dropout": "dropout=0.5",
    "dropout_in": "dropout_in=0.5",
    "dropout_out": "dropout_out=0.5",
    "lr": "lr=0.3",
    "clip": "clip=0.01",
    "patience": "patience=3",
    "until": "until=perplexity<2",
    "budget": "budget=1h",
    "seed": "seed=5",
}


def config_of(*overrides: str) -> Resolved:
    return composed("model=gru", "num_hiddens=5", "num_steps=4", "lr=0.1", *overrides)


def deciding(per_replica: bool) -> set[str]:
    """The knobs of every config that decide what a run computes, by themselves."""
    return {
        f.name
        for f in fields(Config)
        if f.metadata.get("identity", True)
        and "through" not in f.metadata
        and bool(f.metadata.get("per_replica")) == per_replica
    }


def test_every_knob_has_a_case() -> None:
    assert set(SHARED) == deciding(per_replica=False)
    assert set(OF_EACH) == deciding(per_replica=True)


@pytest.mark.parametrize("knob", SHARED)
def test_replicas_agree_in(knob: str) -> None:
    base, other = SHARED[knob]
    with pytest.raises(ValueError, match=f"must agree in {knob}"):
        check_alike([config_of(*base), config_of(*base), config_of(*base, other)])


def test_widths_may_differ_where_they_are_filled_up_and_nothing_else() -> None:
    narrow, wide = config_of(), config_of("num_hiddens=6")
    check_alike([narrow, wide], any_width=True)
    with pytest.raises(ValueError, match="must agree in layers"):
        check_alike([narrow, config_of("num_hiddens=6", "layers=2")], any_width=True)


def trained(configs: list[Resolved], who: list[int]) -> list[list[Tensor]]:
    """The losses and parameters of these replicas, trained as one program."""
    own = [configs[k] for k in who]
    parameters = [weights(one, V, k, torch.float32) for k, one in zip(who, own, strict=True)]
    generators = [Generator().manual_seed(one.seed) for one in own]
    cohort = Cohort(own, V, parameters, generators=generators, updates=UPDATES)
    losses = [cohort.step(x[who], y[who], carry=True) for x, y in batches(own[0], V, len(configs), UPDATES)]
    return [[*(loss[k] for loss in losses), *cohort.named_tensors(k).values()] for k in range(len(who))]


@pytest.mark.parametrize("knob", [knob for knob in OF_EACH if knob not in ("dropout_in", "dropout_out")])
def test_each_replica_has_its_own(knob: str) -> None:
    """Not where words are dropped: those networks are no `Cohort` (`tests/engines/test_word_level_networks.py`)."""
    base = ["layers=2", "dropout=0.2"]
    configs = [config_of(*base), config_of(*base, OF_EACH[knob])]
    together, alone = trained(configs, [0, 1]), [trained(configs, [k])[0] for k in range(2)]
    for own, theirs in zip(together, alone, strict=True):
        assert all(torch.equal(a, b) for a, b in zip(own, theirs, strict=True))
