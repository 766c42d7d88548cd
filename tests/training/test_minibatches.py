"""Minibatches of a user's task: whole numbers of any type are read alike, what no network could read is refused.

Records of every engine against those of the same minibatches in int64. CPU, 20 s.
"""

from collections.abc import Iterator
from typing import Any

import pytest
import torch
from torch import Generator, Tensor

import ablate
from ablate.config.errors import UserError
from ablate.config.registry import TASKS
from ablate.config.resolved import Resolved
from ablate.data.corpora import load
from ablate.engines.cohort.native import NativeCohort, unavailable
from ablate.networks.parameters import Features, initial
from ablate.records.record import Record
from ablate.testing import check_task
from ablate.testing.tasks import small_config
from ablate.training.choice import Choice
from ablate.training.loop import train_together

pytestmark = pytest.mark.usefixtures("nothing_stays")
ENGINES = ("cohort", "eager", "torch_nn")


class Echo(ablate.Task):
    """The token, or the class of the numbers, of each step."""

    sizes = 5
    inputs_type, targets_type = torch.int64, torch.int64
    width = 0
    scored = True

    def made(self, B: int, generator: Generator) -> tuple[Tensor, Tensor]:
        tokens = torch.randint(5, (self.config.num_steps, B), generator=generator)
        X = tokens.unsqueeze(-1).expand(-1, -1, self.width) if self.width else tokens
        Y = tokens if self.scored else torch.full_like(tokens, -1)
        return X.to(self.inputs_type), Y.to(self.targets_type)

    @property
    def held_out(self) -> tuple[Tensor, Tensor]:
        return self.made(6, Generator().manual_seed(1))

    def minibatches(self, order: Generator) -> Iterator[tuple[Tensor, Tensor]]:
        for _ in range(self.epoch_updates):
            yield self.made(self.config.batch_size, order)

    def updates_per_epoch(self) -> int:
        return 3


def config_of(name: str, **facts: object) -> Resolved:
    """Of a task that is `Echo` but for these facts."""
    kind: Any = type(name, (Echo,), facts)
    ablate.task(name=name, real_inputs=isinstance(kind.sizes, Features), has_prefixes=False)(kind)
    return small_config(TASKS[name], name, num_steps=4)


def trained(config: Resolved, engine: str) -> Record:
    [record] = train_together([config], load(config.data), Choice(engine, {}))
    return record


@pytest.mark.parametrize("engine", ENGINES)
def test_whole_numbers_of_any_type_are_the_same(engine: str) -> None:
    expected = trained(config_of("echo_64"), engine).metrics
    for kind in (torch.int32, torch.uint8):
        own = trained(config_of(f"echo_{kind}".replace(".", "_"), inputs_type=kind, targets_type=torch.int16), engine)
        assert own.metrics == expected


def test_the_check_of_a_task_reads_them_alike() -> None:
    config_of("echo_checked", inputs_type=torch.int32, targets_type=torch.int16)
    check_task("echo_checked")


@pytest.mark.parametrize(
    ("facts", "says"),
    [
        (
            {"sizes": Features(3, 5), "width": 2, "inputs_type": torch.float32},
            r"with these, inputs must be \(4, ., 3\)",
        ),
        (
            {"sizes": Features(1, 5), "width": 2, "inputs_type": torch.float32},
            r"with these, inputs must be \(4, ., 1\)",
        ),
        ({"width": 2}, r"with these, inputs must be \(4, .\)"),
        ({"inputs_type": torch.float32}, "inputs are torch.float32, but tokens are whole numbers"),
        ({"targets_type": torch.float32}, "targets are torch.float32, but classes are whole numbers"),
        ({"scored": False}, "no target is scored"),
    ],
)
def test_what_no_network_could_read_is_refused(facts: dict[str, object], says: str) -> None:
    """Held-out data, and without any the first minibatch."""
    with pytest.raises(UserError, match=f"held-out data: .*{says}"):
        trained(config_of("echo_wrong", **facts), "cohort")
    if facts == {"scored": False}:
        says = "an epoch of the task echo_none has no scored target"
    with pytest.raises(UserError, match=says):
        trained(config_of("echo_none", held_out=None, **facts), "cohort")


class Few(Echo):
    """Minibatches of fewer and fewer scored targets, in the end of fewer sequences and of none."""

    def parts(self) -> list[tuple[Tensor, Tensor]]:
        X, Y = self.made(self.config.batch_size, Generator().manual_seed(1))
        some, none = Y.clone(), torch.full_like(Y, -1)
        some[1:] = -1
        return [(X, Y), (X, some), (X[:, :1], some[:, :1]), (X[:, :2], none[:, :2])]

    @property
    def held_out(self) -> tuple[Tensor, Tensor]:
        inputs, targets = zip(*self.parts(), strict=True)
        return torch.cat(inputs, 1), torch.cat(targets, 1)

    def minibatches(self, order: Generator) -> Iterator[tuple[Tensor, Tensor]]:
        yield from self.parts()


@pytest.mark.parametrize("engine", ENGINES)
def test_an_epochs_loss_is_the_mean_over_its_scored_targets(engine: str) -> None:
    """Regression: it was the mean over minibatches, and one without a scored target counted as a loss of 0."""
    ablate.task(name="few", has_prefixes=False)(Few)
    curve = trained(small_config(TASKS["few"], "few", num_steps=4).but(lr=1e-12), engine).curve
    assert curve["perplexity"] == pytest.approx(curve["val_perplexity"], rel=1e-5)


@pytest.mark.skipif(bool(unavailable()), reason=unavailable())
def test_a_kernel_reads_no_memory_but_its_minibatch() -> None:
    """The native kernel takes addresses: it is given nothing that is smaller than it reads, or of another type."""
    config = config_of("echo_kernel")
    X, Y = torch.randint(5, (2, 1, 4, 3), generator=Generator().manual_seed(0))
    program = NativeCohort([config], 5, [initial(config, 5, Generator().manual_seed(0))])
    held_out = program.evaluate(X[0], Y[0])
    assert torch.equal(program.evaluate(X[0].int(), Y[0].to(torch.int8)), held_out)
    for inputs, targets in ((X.float(), Y), (X, Y.float()), (X[..., :2], Y), (X, Y[:, :2])):
        with pytest.raises(ValueError, match=r"inputs are|whole numbers"):
            program.step(inputs, targets, carry=False)
