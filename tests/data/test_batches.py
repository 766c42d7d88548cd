"""Minibatches against the rules of the course, on tokens that are their own positions. CPU, 3 s."""

import itertools
from collections.abc import Callable

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Generator

from ablate.config.schema import Config
from ablate.data import batches
from ablate.data.corpora import tokens_needed

SAMPLERS = {"sequential": batches.sequential, "random": batches.random}


def largest_offset(sampling: str, T: int) -> int:
    return T - 1 if sampling == "random" else T


def offset_of(sampling: str, minibatches: list, T: int) -> int:
    """The offset of an epoch over tokens 0, 1, 2, …: where its first (lowest) subsequence starts."""
    return int(minibatches[0][0][0, 0]) if sampling == "sequential" else int(minibatches[0][0][0, 0]) % T


def epochs_with_every_offset(sampling: str, n: int, B: int, T: int) -> dict[int, list]:
    """Offset → minibatches of one epoch, for every offset that can be drawn; empty epochs are told by their draw."""
    out: dict[int, list] = {}
    for seed in range(2_000):
        high = largest_offset(sampling, T) + 1
        drawn = int(torch.randint(0, high, (), generator=Generator().manual_seed(seed)))
        if drawn not in out:
            out[drawn] = list(SAMPLERS[sampling](torch.arange(n), B, T, Generator().manual_seed(seed)))
        if len(out) == high:
            return out
    raise AssertionError(f"only {len(out)} offsets in 2,000 draws")


@pytest.mark.parametrize("sampling", ["sequential", "random"])
def test_offsets_are_uniform_on_their_range(sampling: str) -> None:
    T, generator, seen = 7, Generator().manual_seed(1), []
    for _ in range(2_000):
        epoch = list(SAMPLERS[sampling](torch.arange(100), 2, T, generator))
        seen.append(offset_of(sampling, epoch, T))
    expected = range(largest_offset(sampling, T) + 1)
    assert set(seen) == set(expected)  # 0 … T inclusive where sequential, 0 … T−1 where random
    assert min(seen.count(offset) for offset in expected) > 2_000 / len(expected) * 0.7


@pytest.mark.parametrize(
    ("sampling", "n", "expected"),
    [("sequential", 10_000, 8), ("random", 10_000, 8), ("sequential", 170_580, 152)],
)
def test_batches_per_epoch_of_the_course_whatever_the_offset(sampling: str, n: int, expected: int) -> None:
    epochs = epochs_with_every_offset(sampling, n, 32, 35)
    assert {len(epoch) for epoch in epochs.values()} == {expected}
    if n == 10_000:
        assert {sum(X.numel() for X, _ in epoch) for epoch in epochs.values()} == {8_960}


@pytest.mark.full
@pytest.mark.parametrize("sampling", ["sequential", "random"])
@given(B=st.integers(1, 6), T=st.integers(1, 6), extra=st.integers(0, 80), seed=st.integers(0, 1000))
def test_targets_are_the_inputs_one_token_later(sampling: str, B: int, T: int, extra: int, seed: int) -> None:
    tokens = torch.arange(B * T + 1 + T + extra)
    epoch = list(SAMPLERS[sampling](tokens, B, T, Generator().manual_seed(seed)))
    assert epoch
    for X, Y in epoch:
        assert X.shape == Y.shape == (T, B)
        assert torch.equal(Y, X + 1)
        assert torch.equal(X, X[0] + torch.arange(T).unsqueeze(1))  # each column is a stretch of the text


@given(B=st.integers(1, 6), T=st.integers(1, 6), extra=st.integers(0, 80), seed=st.integers(0, 1000))
def test_sequential_equals_the_published_rule(B: int, T: int, extra: int, seed: int) -> None:
    """((n − offset − 1)//B)·B tokens reshaped to (B, −1), cut into columns of T, the rest dropped."""
    n = B * T + 1 + T + extra
    epoch = list(batches.sequential(torch.arange(n), B, T, Generator().manual_seed(seed)))
    offset = int(epoch[0][0][0, 0])
    count = ((n - offset - 1) // B) * B
    rows = torch.arange(offset, offset + count).reshape(B, -1)
    whole = rows.shape[1] // T
    assert len(epoch) == whole
    for k, (X, _) in enumerate(epoch):
        assert torch.equal(X.T, rows[:, k * T : (k + 1) * T])


@given(B=st.integers(1, 6), T=st.integers(1, 6), extra=st.integers(0, 80), seed=st.integers(0, 1000))
def test_sequential_minibatches_continue_each_other(B: int, T: int, extra: int, seed: int) -> None:
    tokens = torch.arange(2 * B * T + 1 + T + extra)
    epoch = list(batches.sequential(tokens, B, T, Generator().manual_seed(seed)))
    assert len(epoch) >= 2
    for (_, Y), (X, _) in itertools.pairwise(epoch):
        assert torch.equal(X[0], Y[-1])


@given(B=st.integers(1, 6), T=st.integers(1, 6), extra=st.integers(0, 80), seed=st.integers(0, 1000))
def test_random_takes_each_subsequence_at_most_once(B: int, T: int, extra: int, seed: int) -> None:
    n = B * T + T + extra
    epoch = list(batches.random(torch.arange(n), B, T, Generator().manual_seed(seed)))
    starts = torch.cat([X[0] for X, _ in epoch]).tolist()
    offset = starts[0] % T
    subsequences = (n - offset - 1) // T
    assert {start % T for start in starts} == {offset}
    assert len(starts) == len(set(starts)) == subsequences // B * B
    assert set(starts) <= {offset + T * k for k in range(subsequences)}
    assert max(int(Y.max()) for _, Y in epoch) < n


def test_random_is_shuffled_anew_each_epoch() -> None:
    generator = Generator().manual_seed(0)
    orders = []
    for _ in range(3):
        epoch = list(batches.random(torch.arange(1_000), 4, 5, generator))
        orders.append([start // 5 for X, _ in epoch for start in X[0].tolist()])
    assert all(order != sorted(order) for order in orders)
    assert orders[0] != orders[1] != orders[2]


def test_a_seed_gives_the_same_minibatches_again() -> None:
    for sampler in SAMPLERS.values():
        one, again, other = (
            [X.tolist() for X, _ in sampler(torch.arange(500), 3, 4, Generator().manual_seed(seed))]
            for seed in (5, 5, 6)
        )
        assert one == again
        assert one != other


@pytest.mark.parametrize("sampling", ["sequential", "random", "sequential-reset"])
def test_sampling_names_its_sampler(small: Callable[..., Config], sampling: str) -> None:
    config = small(f"sampling={sampling}")
    tokens = torch.arange(400)
    got = [X.tolist() for X, _ in batches.epoch(config, tokens, Generator().manual_seed(2))]
    sampler = SAMPLERS["random" if sampling == "random" else "sequential"]
    assert got == [X.tolist() for X, _ in sampler(tokens, 4, 5, Generator().manual_seed(2))]
    assert batches.carries_state(config) == (sampling == "sequential")


@pytest.mark.parametrize("sampling", ["sequential", "random"])
@given(B=st.integers(1, 8), T=st.integers(1, 6))
def test_tokens_needed_is_exact(compose: Callable[..., Config], sampling: str, B: int, T: int) -> None:
    """At that number every offset gives a minibatch; with one token less some offset gives none."""
    config = compose(f"sampling={sampling}").but(batch_size=B, num_steps=T)
    needed = tokens_needed(config)
    assert all(epochs_with_every_offset(sampling, needed, B, T).values())
    assert not all(epochs_with_every_offset(sampling, needed - 1, B, T).values())


@pytest.mark.parametrize("sampling", ["sequential", "random", "sequential-reset"])
@given(B=st.integers(1, 6), T=st.integers(1, 6), extra=st.integers(0, 80))
def test_the_number_of_minibatches_is_known_beforehand(
    compose: Callable[..., Config], sampling: str, B: int, T: int, extra: int
) -> None:
    config = compose(f"sampling={sampling}").but(batch_size=B, num_steps=T)
    n = tokens_needed(config) + extra
    epochs = epochs_with_every_offset("random" if sampling == "random" else "sequential", n, B, T)
    for offset, epoch in epochs.items():
        assert batches.updates_per_epoch(config, n, offset) == len(epoch)
    counts = {len(epoch) for epoch in epochs.values()}
    assert batches.same_count_every_epoch(config, n) == (len(counts) == 1)
