"""One rule of divergence (`ablate.engines.divergence`) in every engine: constructed gradients, whatever computes them.

The network is fixed, its gradient is not: engines are given the same row of numbers in place of what they derived, so
that what is compared is only what each makes of it. CPU, 3 s.
"""

import math
from collections.abc import Callable, Sequence
from typing import Any

import pytest
import torch
from torch import Generator, Tensor

from ablate.config.schema import Config
from ablate.engines.autograd import AutogradProgram
from ablate.engines.cohort import Cohort
from ablate.engines.cohort.native import NativeCohort, unavailable
from ablate.engines.cohort.stacked import StackedCohort
from ablate.engines.divergence import finite_rows, norm_of, norms
from tests.engines.sample_networks import batches, network, weights

V = 7
CELLS = {
    "rnn": ["model=rnn", "bias_vectors=2"],
    "rnn-relu": ["model=rnn", "model.activation=relu", "bias_vectors=2"],
    "gru": ["model=gru", "reset=after", "bias_vectors=2"],
    "lstm": ["model=lstm", "bias_vectors=2"],
}
ENGINES = [
    "eager",
    "torch_nn",
    Cohort,
    StackedCohort,
    pytest.param(
        NativeCohort, marks=pytest.mark.skipif(bool(unavailable()), reason=f"no native kernel: {unavailable()}")
    ),
]
ONE_WEIGHT = "output.b"
"""Whose first number has the constructed gradient; that of all others is 0."""


class Given:
    """A program of one replica with the gradient of one weight constructed."""

    def __init__(self, engine: Any, config: Config, monkeypatch: pytest.MonkeyPatch) -> None:
        self.gradients: list[float] = []
        parameters = weights(config, V, 0, torch.float32)
        if isinstance(engine, str):
            self.program: Any = AutogradProgram(engine, config, V, parameters, Generator())
            model = self.program.model
            for name, parameter in model.named_parameters():
                place = 0 if name == "output_b" else None
                parameter.register_hook(lambda gradient, place=place: self.construct(gradient, place))
            return
        self.program = engine([config], V, [parameters], generators=[Generator()])
        row = torch.zeros_like(self.program.grads[0])
        with torch.inference_mode():
            view = self.program.layout.named_views(self.program.grads, 0)[ONE_WEIGHT]
            place = view.storage_offset() % len(row)
        backpropagate = self.program._backpropagate

        def constructed(*given: Any) -> Tensor:
            losses = backpropagate(*given)
            self.program.grads[0] = self.construct(self.program.grads[0], place)
            return losses

        monkeypatch.setattr(self.program, "_backpropagate", constructed)
        if engine is NativeCohort and self.program.takes_portions:
            library = self.program.kernel.library

            def trained(*given: Any, rates: Tensor, **options: Any) -> Tensor:
                """What the kernel does in one call, in two."""
                if not self.program.causes[0]:
                    losses = self.program._backpropagate(*(part[0] for part in given[:2]), {})
                    self.program.last_losses.copy_(losses)
                    rows = self.program.parameters.data_ptr(), self.program.grads.data_ptr(), len(row)
                    self.program.causes[0] = library.clipped_descent(*rows, float(rates), float(self.program.clips))
                return self.program.last_losses.clone().unsqueeze(0)

            derive = self.program._minibatches
            monkeypatch.setattr(
                self.program,
                "_minibatches",
                lambda *given, **options: (trained if "rates" in options else derive)(*given, **options),
            )

    def construct(self, like: Tensor, place: int | None) -> Tensor:
        out = torch.zeros_like(like)
        if place is not None:
            out[place : place + len(self.gradients)] = torch.tensor(self.gradients)
        return out

    def step(self, gradients: Sequence[float]) -> tuple[Tensor, str, float]:
        """The movement of the first weights, what has diverged, and the loss, of one update with these gradients."""
        self.gradients = list(gradients)
        before = self.program.named_tensors(0)[ONE_WEIGHT].clone()
        (x, y) = batches(self.program.config, V, 1, 1)[0]
        loss = self.program.step(x, y, carry=False)
        moved = self.program.named_tensors(0)[ONE_WEIGHT].detach() - before
        (cause,) = self.program.divergences()
        return moved[: len(self.gradients)], cause, float(loss[0])


BIG = 3e38
CONSTRUCTED = {
    "ordinary": ([3.0, 4.0], 5.0),
    "squares overflow": ([3e20, 4e20], 5e20),
    "one number as large as can be": ([BIG], BIG),
    "the norm overflows": ([BIG, BIG], math.inf),
    "squares underflow": ([3e-25, 4e-25], 5e-25),
    "denormal": ([1e-40], 1e-40),
    "zero": ([0.0], 0.0),
    "infinite": ([math.inf], math.inf),
    "minus infinite": ([1.0, -math.inf], math.inf),
    "not a number": ([math.nan], math.nan),
}


def expected(gradients: Sequence[float], norm: float, clip: float | None, lr: float) -> tuple[list[float], str]:
    """The movement, and what has diverged, as the rule has them."""
    if not math.isfinite(norm):
        return [0.0] * len(gradients), "gradient"
    scale = clip / norm if clip is not None and norm > clip else 1.0
    return [-lr * scale * g for g in gradients], ""


@pytest.mark.full
@pytest.mark.parametrize("clip", [None, 1.0])
@pytest.mark.parametrize("constructed", CONSTRUCTED)
@pytest.mark.parametrize("cell", CELLS)
@pytest.mark.parametrize("engine", ENGINES)
def test_what_a_gradient_does(
    engine: Any, cell: str, constructed: str, clip: float | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    gradients, norm = CONSTRUCTED[constructed]
    given = Given(engine, network(*CELLS[cell], clip=clip, lr=1e-2), monkeypatch)
    moved, cause, loss = given.step(gradients)
    movement, wanted = expected(gradients, norm, clip, 1e-2)
    assert cause == wanted
    assert math.isfinite(loss)
    torch.testing.assert_close(moved, torch.tensor(movement), rtol=2e-5, atol=2e-7)
    again, cause, repeated = given.step([1.0])
    assert cause == wanted
    if wanted:
        assert (float(again), repeated) == (0, loss)


@pytest.mark.parametrize(
    "optimizer",
    ["sgd", *(pytest.param(name, marks=pytest.mark.full) for name in ("momentum", "adam", "adamw", "rmsprop"))],
)
@pytest.mark.parametrize("engine", ENGINES)
def test_an_update_that_overflows_is_a_divergence(engine: Any, optimizer: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """A weight of sgd beyond float32; of the others, the gradient's square in a moment, which ends all movement."""
    config = network("model=gru", "reset=after", "bias_vectors=2", f"optimizer={optimizer}", clip=None, lr=1e20)
    given = Given(engine, config, monkeypatch)
    _, cause, loss = given.step([1e25])
    assert (cause, math.isfinite(loss)) == ("update", True)
    moved, cause, repeated = given.step([1.0])
    assert (cause, repeated) == ("update", loss)
    assert float(moved) == 0 or math.isnan(moved)  # infinite − infinite


def test_neighbours_of_a_gradient_that_overflows_are_undisturbed(monkeypatch: pytest.MonkeyPatch) -> None:
    config = network("model=gru", clip=1.0)
    parameters = [weights(config, V, seed, torch.float32) for seed in range(3)]
    minibatches = batches(config, V, 3, 4)
    calm = Cohort([config] * 3, V, parameters)
    disturbed = Cohort([config] * 3, V, parameters)
    backpropagate = disturbed._backpropagate

    def overflowing(*given: Any) -> Tensor:
        losses = backpropagate(*given)
        disturbed.grads[1] = 1e38
        return losses

    monkeypatch.setattr(disturbed, "_backpropagate", overflowing)
    for x, y in minibatches:
        wanted, got = calm.step(x, y, carry=True), disturbed.step(x, y, carry=True)
        assert torch.equal(wanted[[0, 2]], got[[0, 2]])
    assert disturbed.divergences() == ["", "gradient", ""]
    assert all(torch.equal(parameters[1][name], value) for name, value in disturbed.named_tensors(1).items())
    restored = Cohort([config] * 3, V, parameters)
    restored.load_replica_states(disturbed.replica_states())
    assert restored.divergences() == ["", "gradient", ""]


@pytest.mark.parametrize("change", [lambda config: config, lambda config: config.but(clip=None)])
@pytest.mark.parametrize("engine", ENGINES)
def test_a_weight_that_is_not_finite_is_a_divergence_even_where_no_loss_shows_it(
    engine: Any, change: Callable[[Config], Config]
) -> None:
    """An infinite row of W_x that no token of the minibatch reads, or tanh swallows: gathering engines see nothing."""
    config = change(network("model=rnn", "bias_vectors=2"))
    parameters = weights(config, V, 0, torch.float32)
    parameters["0.candidate.W_x"][V - 1] = math.inf
    program: Any = (
        AutogradProgram(engine, config, V, parameters) if isinstance(engine, str) else engine([config], V, [parameters])
    )
    tokens = torch.zeros(1, config.num_steps, config.batch_size, dtype=torch.long)
    program.step(tokens, tokens, carry=False)
    assert program.divergences()[0] != ""


@pytest.mark.parametrize("gradients", [value[0] for value in CONSTRUCTED.values()], ids=list(CONSTRUCTED))
def test_norms(gradients: list[float]) -> None:
    """Against float64, of one row and of its parts; a row's norm does not depend on its neighbour's."""
    row = torch.tensor([*gradients, 0.0])
    true = torch.linalg.vector_norm(row.double()).float()
    both = norms(torch.stack([row, torch.ones_like(row)])).squeeze(1)
    torch.testing.assert_close(both[0], true, equal_nan=True)
    torch.testing.assert_close(both[1], torch.tensor(len(row) ** 0.5))
    torch.testing.assert_close(norm_of(list(row.split(1))), true, equal_nan=True)


def test_finite_is_about_each_number_not_about_their_sum() -> None:
    rows = torch.tensor([[BIG, BIG], [BIG, math.inf], [1.0, math.nan], [math.inf, -math.inf], [0.0, 1e-40]])
    assert finite_rows(rows).tolist() == [True, False, False, False, True]
