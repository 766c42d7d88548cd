"""Many minibatches in one call of the native kernel, against the same minibatches one by one: bit for bit.

CPU; needs a C++ compiler. 5 s, most of it to compile.
"""

from collections.abc import Sequence

import pytest
import torch
from torch import Generator, Tensor

from ablate.config.resolved import Resolved
from ablate.engines.cohort.native import NativeCohort, program, unavailable
from ablate.engines.cohort.portions import Stacked, Windows
from tests.engines.sample_networks import Batch, batches, network, weights

pytestmark = [
    pytest.mark.full,
    pytest.mark.skipif(bool(unavailable()), reason=f"no native kernel: {unavailable()}"),
]
V, R, J = 7, 3, 5
CASES = {
    "carried states": ((), True, True),
    "from zero": ((), False, False),
    "the first goes on, the others do not": ((), True, False),
    "schedule": (("schedule=cosine",), False, True),
    "dropout": (("layers=2", "dropout=0.3"), False, True),
}
"""Overrides, carry, carries."""


def cohort_of(config: Resolved) -> NativeCohort:
    """Replicas that differ in their rates; the last diverges."""
    configs = [config.but(lr=lr, clip=clip) for lr, clip in ((0.1, 1.0), (0.5, None), (1e38, None))]
    parameters = [weights(config, V, seed, torch.float32) for seed in range(R)]
    generators = [Generator().manual_seed(seed) for seed in range(R)]
    return NativeCohort(configs, V, parameters, generators=generators, updates=2 * J)


def stacked(minibatches: Sequence[Batch]) -> Stacked:
    return Stacked(*(torch.stack(parts) for parts in zip(*minibatches, strict=True)))


def assert_same(one: NativeCohort, other: NativeCohort) -> None:
    for own, theirs in zip(one.replica_states(), other.replica_states(), strict=True):
        torch.testing.assert_close(own, theirs, rtol=0, atol=0, equal_nan=True)


@pytest.mark.parametrize("at_once", [1, 2**30], ids=["a call for each", "one call"])
@pytest.mark.parametrize("case", CASES)
def test_portions_are_single_steps(case: str, at_once: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(program, "MULTIPLICATIONS_AT_ONCE", at_once)
    overrides, carry, carries = CASES[case]
    config = network("model=gru", *overrides)
    minibatches = batches(config, V, R, 2 * J)
    steps, portions = cohort_of(config), cohort_of(config)
    expected, found = list[Tensor](), list[Tensor]()
    for part in (minibatches[:J], minibatches[J:]):
        expected += [steps.step(x, y, carry=carry if k == 0 else carries) for k, (x, y) in enumerate(part)]
        found.append(portions.train(stacked(part), carry=carry, carries=carries))
    torch.testing.assert_close(torch.cat(found), torch.stack(expected), rtol=0, atol=0, equal_nan=True)
    assert portions.divergences() == steps.divergences()
    assert portions.alive.tolist() == [True, True, False]
    assert_same(steps, portions)


def test_windows_of_a_text_are_what_they_hold() -> None:
    config = network("model=lstm")
    T, B = config.num_steps, config.batch_size
    text = torch.randint(V, (90,), generator=Generator().manual_seed(0)).to(torch.uint8)
    starts = torch.randint(90 - T, (J, R, B), generator=Generator().manual_seed(1))
    where = starts.unsqueeze(-2) + torch.arange(T).unsqueeze(1)
    held = Stacked(text[where].long(), text[where + 1].long())
    one, other = cohort_of(config), cohort_of(config)
    assert torch.equal(one.train(Windows(text, starts, T), carry=False), other.train(held, carry=False))
    assert_same(one, other)


def test_single_steps_and_portions_may_alternate() -> None:
    """The rate of a schedule is that of its update, whatever came before."""
    config = network("model=rnn", "schedule=step")
    minibatches = batches(config, V, R, 2 * J)
    steps, mixed = cohort_of(config), cohort_of(config)
    for k, (x, y) in enumerate(minibatches):
        steps.step(x, y, carry=k > 0)
    mixed.step(*minibatches[0], carry=False)
    mixed.train(stacked(minibatches[1:J]), carry=True)
    for x, y in minibatches[J:]:
        mixed.step(x, y, carry=True)
    assert_same(steps, mixed)


def test_a_request_to_stop_is_heard_between_two_calls(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(program, "MULTIPLICATIONS_AT_ONCE", 1)
    config = network("model=rnn")
    cohort, reference = cohort_of(config), cohort_of(config)
    minibatches = batches(config, V, R, J)
    heard = iter([False, False, True])

    def between() -> None:
        if next(heard):
            raise InterruptedError

    with pytest.raises(InterruptedError):
        cohort.train(stacked(minibatches), carry=False, between=between)
    for k, (x, y) in enumerate(minibatches[:2]):
        reference.step(x, y, carry=k > 0)
    assert_same(cohort, reference)


def test_a_token_outside_the_vocabulary_changes_nothing() -> None:
    config = network("model=rnn")
    cohort, untouched = cohort_of(config), cohort_of(config)
    minibatches = batches(config, V, R, J)
    minibatches[-1][1][-1, -1, -1] = V
    with pytest.raises(IndexError, match=str(V)):
        cohort.train(stacked(minibatches), carry=False)
    assert torch.equal(cohort.parameters, untouched.parameters)
