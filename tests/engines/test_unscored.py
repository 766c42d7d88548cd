"""Targets that do not count: every engine against the readable cells under autograd, and what nothing scored means.

CPU, 8 s. The float32 kernel is compared to 2e-5 of the largest gradient, the rest in float64 to 1e-10.
"""

import math
from collections.abc import Callable

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Generator, Tensor
from torch.nn import functional as F

from ablate.config.metrics import UNSCORED
from ablate.config.schema import Config
from ablate.engines.autograd import AutogradProgram
from ablate.engines.cohort import Cohort, output
from ablate.engines.cohort.native import NativeCohort, unavailable
from ablate.networks.language_model import EagerModel
from tests.engines.sample_networks import CELLS, Batch, backpropagate, batches, named_gradients, network, train, weights

needs_kernel = pytest.mark.skipif(bool(unavailable()), reason=f"no native kernel: {unavailable()}")
ENGINES = [Cohort, pytest.param(NativeCohort, marks=needs_kernel)]
V, R = 7, 3


def some_of_each(targets: Tensor) -> Tensor:
    """Replica k keeps about one target in k + 1, and its first token's in any case."""
    shares = 1 / torch.arange(1, len(targets) + 1)
    kept = torch.rand(targets.shape, generator=Generator().manual_seed(1)) < shares.view(-1, 1, 1)
    kept[:, 0, 0] = True
    return torch.where(kept, targets, UNSCORED)


def last_step(targets: Tensor) -> Tensor:
    out = torch.full_like(targets, UNSCORED)
    out[:, -1] = targets[:, -1]
    return out


def one_token(targets: Tensor) -> Tensor:
    """A different one in each replica."""
    out = torch.full_like(targets, UNSCORED).flatten(1)
    for k, own in enumerate(targets.flatten(1)):
        place = 5 * k % len(own)
        out[k, place] = own[place]
    return out.view_as(targets)


MASKS = [some_of_each, last_step, one_token]


def compare(engine: type[Cohort], config: Config, V: int, mask: Callable[[Tensor], Tensor], dtype: torch.dtype) -> None:
    """Loss and gradients of the second minibatch, states carried."""
    parameters = [weights(config, V, seed, dtype) for seed in range(R)]
    exact = [{name: value.double() for name, value in own.items()} for own in parameters]
    minibatches = [(x, mask(y)) for x, y in batches(config, V, R, 2)]
    cohort, stepped = (engine([config] * R, V, parameters) for _ in range(2))
    for i, (x, y) in enumerate(minibatches):
        ours = cohort.gradients(x, y, carry=i > 0)
    stepped.gradients(*minibatches[0], carry=False)
    losses = stepped.step(*minibatches[1], carry=True).double()
    relative = 1e-10 if dtype == torch.float64 else 2e-5
    for k in range(R):
        model = EagerModel(config, V, exact[k])
        loss = backpropagate(model, [(x[k], y[k]) for x, y in minibatches], carry=True)
        torch.testing.assert_close(losses[k], loss, rtol=relative, atol=relative)
        expected = named_gradients(model)
        largest = max(float(gradient.abs().max()) for gradient in expected.values())
        assert ours[k].keys() == expected.keys()
        for name, gradient in expected.items():
            error = float((ours[k][name].double() - gradient).abs().max())
            assert error <= relative * largest + 1e-7 * (dtype == torch.float32), f"{k} {name}: {error:.1e}"


@pytest.mark.full
@pytest.mark.parametrize("mask", MASKS)
@pytest.mark.parametrize("layers", [1, 2])
@pytest.mark.parametrize("T", [1, 4])
@pytest.mark.parametrize("cell", CELLS)
def test_gradients(cell: str, T: int, layers: int, mask: Callable[[Tensor], Tensor]) -> None:
    config = network(*CELLS[cell], num_steps=T, layers=layers, bias_vectors=2)
    compare(Cohort, config, V, mask, torch.float64)


@pytest.mark.full
@needs_kernel
@pytest.mark.parametrize("mask", MASKS)
@pytest.mark.parametrize("layers", [1, 2])
@pytest.mark.parametrize("cell", CELLS)
def test_gradients_of_the_kernel(cell: str, layers: int, mask: Callable[[Tensor], Tensor]) -> None:
    for T, B, H in ((1, 3, 33), (6, 9, 20)):  # 54 tokens: more than a block of the output layer
        config = network(*CELLS[cell], num_steps=T, batch_size=B, num_hiddens=H, layers=layers, bias_vectors=2)
        compare(NativeCohort, config, 28, mask, torch.float32)


@pytest.mark.full
@settings(max_examples=25, deadline=None, derandomize=True)
@given(
    engine=st.sampled_from([Cohort] if unavailable() else [Cohort, NativeCohort]),
    cell=st.sampled_from(list(CELLS)),
    H=st.integers(1, 20),
    T=st.integers(1, 6),
    B=st.integers(1, 19),
    V=st.integers(1, 40),
    mask=st.sampled_from(MASKS),
)
def test_any_shape(
    engine: type[Cohort], cell: str, H: int, T: int, B: int, V: int, mask: Callable[[Tensor], Tensor]
) -> None:
    dtype = torch.float64 if engine is Cohort else torch.float32
    compare(engine, network(*CELLS[cell], num_hiddens=H, num_steps=T, batch_size=B), V, mask, dtype)


def test_replicas_and_autograd_train_alike() -> None:
    config = network("model=gru", lr=0.1)
    parameters = [weights(config, V, seed) for seed in range(R)]
    minibatches = [(x, mask(y)) for (x, y), mask in zip(batches(config, V, R, 6), MASKS * 2, strict=True)]
    cohort = Cohort([config] * R, V, parameters)
    ours = torch.stack([cohort.step(x, y, carry=i > 0) for i, (x, y) in enumerate(minibatches)])
    for k in range(R):
        expected, end = train("eager", config, V, parameters[k], [(x[k], y[k]) for x, y in minibatches], carry=True)
        torch.testing.assert_close(ours[:, k].tolist(), expected, rtol=1e-10, atol=1e-10)
        for name, tensor in cohort.named_tensors(k).items():
            torch.testing.assert_close(tensor, end[name], rtol=1e-10, atol=1e-10)
        for engine in ("eager", "torch_nn"):
            program = AutogradProgram(engine, config, V, parameters[k])
            losses = [
                float(program.step(x[k : k + 1], y[k : k + 1], carry=i > 0)) for i, (x, y) in enumerate(minibatches)
            ]
            torch.testing.assert_close(losses, expected, rtol=1e-10, atol=1e-10)


@pytest.mark.parametrize("engine", ENGINES)
def test_factors_of_one_change_no_bit(engine: type[Cohort], monkeypatch: pytest.MonkeyPatch) -> None:
    """On a GPU there are always factors; and the kernel counts what it scores."""
    config = network("model=lstm", num_hiddens=19, num_steps=7, batch_size=6, layers=2)
    parameters = [weights(config, 28, seed, torch.float32) for seed in range(R)]

    def gradients() -> list[Tensor]:
        cohort = engine([config] * R, 28, parameters)
        found = [cohort.gradients(x, y, carry=True) for x, y in batches(config, 28, R, 3)][-1]
        return [tensor for own in found for tensor in own.values()]

    plain = gradients()
    monkeypatch.setattr(output, "lowest_of", lambda words, allowed: None)
    assert all(torch.equal(a, b) for a, b in zip(plain, gradients(), strict=True))


@pytest.mark.parametrize("engine", ENGINES)
def test_nothing_scored_is_a_loss_of_zero_that_moves_nothing(engine: type[Cohort]) -> None:
    config = network("model=gru", layers=2)
    parameters = [weights(config, V, seed, torch.float32) for seed in range(R)]
    (x, y), (after_x, after_y) = batches(config, V, R, 2)
    y[1] = UNSCORED  # of one replica; the others train on
    cohort = engine([config] * R, V, parameters)
    for gradient in cohort.gradients(x, y, carry=False)[1].values():
        assert not gradient.any()
    losses = cohort.step(x, y, carry=False)
    assert losses[1] == 0
    assert (losses[[0, 2]] > 0).all()
    for name, tensor in cohort.named_tensors(1).items():
        assert torch.equal(tensor, parameters[1][name]), name
    assert cohort.alive.tolist() == [True] * R
    assert cohort.step(after_x, after_y, carry=True).isfinite().all()
    assert cohort.evaluate(x, y)[1] == 0


def test_nothing_scored_moves_nothing_under_autograd() -> None:
    config = network("model=gru")
    parameters = weights(config, V, 0)
    program = AutogradProgram("eager", config, V, parameters)
    x, y = batches(config, V, 1, 1)[0]
    assert program.step(x, torch.full_like(y, UNSCORED), carry=False).tolist() == [0]
    assert program.evaluate(x[0], torch.full_like(y[0], UNSCORED)).tolist() == [0]
    for name, tensor in program.named_tensors().items():
        assert torch.equal(tensor, parameters[name]), name


@pytest.mark.full
@pytest.mark.parametrize("engine", [*ENGINES, "eager"])
def test_evaluation_is_the_sum_over_the_scored_by_their_number(engine: type[Cohort] | str) -> None:
    """Over pieces of unequal counts, of which one has none."""
    config = network("model=lstm", num_hiddens=9)
    dtype = torch.float32 if engine is NativeCohort else torch.float64
    parameters = [weights(config, V, seed, dtype) for seed in range(R)]
    x = torch.randint(V, (R, 600, 3), generator=Generator().manual_seed(0))
    y = some_of_each(x.roll(-1, 1))
    y[:, 8:16] = UNSCORED
    y[1, :250] = UNSCORED
    if isinstance(engine, str):
        own = zip(parameters, x, y, strict=True)
        losses = torch.cat([AutogradProgram(engine, config, V, p).evaluate(*batch) for p, *batch in own])
    else:
        losses = engine([config] * R, V, parameters).evaluate(x, y)
    for k in range(R):
        model = EagerModel(config, V, {name: value.double() for name, value in parameters[k].items()})
        logits = model(x[k], model.initial_state(3))[0].detach()
        each = F.cross_entropy(logits, y[k].flatten().clamp(min=0), reduction="none")[y[k].flatten() >= 0]
        tolerance = 1e-5 if dtype == torch.float32 else 1e-12
        assert float(losses[k]) == pytest.approx(float(each.mean()), rel=tolerance)


@pytest.mark.parametrize("engine", [*ENGINES, "eager"])
def test_what_overflows_where_nothing_counts_is_no_loss(engine: type[Cohort] | str) -> None:
    config = network("model=rnn", "model.activation=relu")
    parameters = weights(config, V, 0, torch.float32)
    parameters = {name: value.abs() * (1e20 if name.endswith("W_h") else 1) for name, value in parameters.items()}
    x, y = batches(config, V, 1, 1)[0]

    def loss(y: Tensor) -> float:
        if isinstance(engine, str):
            return float(AutogradProgram(engine, config, V, parameters).step(x, y, carry=False))
        return float(engine([config], V, [parameters]).step(x, y, carry=False))

    first = y.clone()
    first[:, 1:] = UNSCORED
    assert math.isfinite(loss(first))
    assert not math.isfinite(loss(y))


def wrong(batch: Batch, of: str, word: int) -> Batch:
    x, y = (words.clone() for words in batch)
    (x if of == "token" else y)[-1, 0, 0] = word
    return x, y


@pytest.mark.parametrize(("of", "word"), [("token", -1), ("token", V), ("target", -2), ("target", V)])
@pytest.mark.parametrize("engine", ENGINES)
def test_other_words_are_refused(engine: type[Cohort], of: str, word: int) -> None:
    for T in (1, 4):  # fewer and more tokens than words
        config = network("model=rnn", num_steps=T)
        cohort = engine([config] * R, V, [weights(config, V, seed, torch.float32) for seed in range(R)])
        batch = wrong(batches(config, V, R, 1)[0], of, word)
        with pytest.raises(IndexError, match="outside the vocabulary of 7"):
            cohort.step(*batch, carry=False)
        with pytest.raises(IndexError, match="outside the vocabulary of 7"):
            cohort.evaluate(*batch)


@pytest.mark.parametrize("word", [-2, V])
def test_other_targets_are_refused_under_autograd(word: int) -> None:
    config = network("model=rnn")
    program = AutogradProgram("eager", config, V, weights(config, V, 0))
    with pytest.raises(IndexError):
        program.step(*wrong(batches(config, V, 1, 1)[0], "target", word), carry=False)
