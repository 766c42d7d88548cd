"""Every network and task trains on a device that is not the CPU, asks it nothing, and mixes nothing with the CPU's.

Torch's meta device has shapes and no numbers: a question to it, a copy from it, and an operation on a tensor of it and
one of the CPU are errors, as they are mistakes or waits on a GPU. CPU, 15 s.
"""

from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from ablate.config.choice_files import summaries
from ablate.config.resolved import Resolved, resolve
from ablate.config.schema import Config
from ablate.data.corpora import Corpus, load
from ablate.engines.cohort import Cohort
from ablate.networks import scan
from ablate.networks.parameters import initial
from ablate.tasks import task_of
from ablate.training.choice import build
from ablate.training.portions import portions
from ablate.training.trajectory import stream

Configs = Callable[..., Config]
META = torch.device("meta")
MODELS = sorted(summaries("model"))
OPTIMIZERS = sorted(summaries("optimizer"))
SMALL = (
    "num_hiddens=3",
    "num_steps=4",
    "batch_size=4",
    "layers=2",
    "dropout=0.3",
    "schedule=cosine",
    "cuda_graphs=false",
)
TEXT = ("max_tokens=300", "val_tokens=60")


def train(config: Resolved, corpus: Corpus) -> Cohort:
    """Two epochs of two replicas, and a reading of what is held out."""
    task = task_of(config, corpus, META)
    configs = [config.but(seed=k) for k in range(2)]
    parameters = [initial(own, task.sizes, stream(own.seed, "weights")) for own in configs]
    dropout = [stream(own.seed, "dropout") for own in configs]
    program = build("cohort", configs, task.sizes, parameters, dropout, META, config.epochs * task.epoch_updates)
    assert isinstance(program, Cohort)
    assert program.silent
    orders = [stream(own.seed, "data") for own in configs]
    for _ in range(2):
        losses: list[Tensor] = []
        for portion in portions(task, orders, updates=4):
            carry = bool(losses) and task.carries_state
            losses.append(program.train(portion, carry=carry, carries=task.carries_state))
        assert torch.cat(losses).device == META
    if task.held_out:
        assert program.evaluate(*task.held_out).device == META
    return program


def test_what_this_rests_on() -> None:
    there, here = torch.zeros(3, device="meta"), torch.zeros(3)
    for mistake in (lambda: there + here, lambda: bool(there[0] > 0), lambda: there.tolist(), lambda: there.cpu()):
        with pytest.raises((RuntimeError, NotImplementedError)):
            mistake()


@pytest.mark.full
@pytest.mark.parametrize(
    "model", [model if model in ("gru", "minlstm") else pytest.param(model, marks=pytest.mark.slow) for model in MODELS]
)
@pytest.mark.parametrize("form", ["steps", "scanned"])
def test_every_cell(compose: Configs, corpus: Corpus, monkeypatch: pytest.MonkeyPatch, model: str, form: str) -> None:
    if form == "scanned":
        monkeypatch.setattr(scan, "scans", lambda d, steps, device: d.scan is not None and steps > 1)
    for connection in ("plain", "dense"):
        train(resolve(compose(f"model={model}", f"model.connection={connection}", *SMALL, *TEXT)), corpus)


@pytest.mark.full
@pytest.mark.parametrize("optimizer", OPTIMIZERS)
def test_every_optimizer(compose: Configs, corpus: Corpus, optimizer: str) -> None:
    train(resolve(compose("model=gru", f"optimizer={optimizer}", *SMALL, *TEXT)), corpus)


@pytest.mark.full
@pytest.mark.parametrize(
    "overrides",
    [
        ("task=language_model", "sampling=random", *TEXT),
        ("task=language_model", "model.bidirectional=true", "sampling=random", *TEXT),
        ("task=fill_in", "sampling=random", *TEXT),
        ("task=fill_in", "model.bidirectional=true", "sampling=random", *TEXT),
        ("task=memory", "data=copy", "num_steps=8", "task.sequences=16"),
        ("task=memory", "data=adding", "num_steps=8", "task.sequences=16"),
        ("task=translation", "data=number_pairs", "task.pairs=34", "task.val_pairs=10"),
        ("task=translation", "data=number_pairs", "task.pairs=34", "task.val_pairs=10", "task.attention=true"),
    ],
    ids=" ".join,
)
def test_every_task(compose: Configs, corpus: Corpus, overrides: tuple[str, ...]) -> None:
    small = [one for one in SMALL if one.split("=")[0] not in {own.split("=")[0] for own in overrides}]
    config = resolve(compose("model=gru", *small, *overrides))
    train(config, corpus if "max_tokens=300" in overrides else load(config.data))
