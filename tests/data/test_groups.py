"""The groups of state tracking, and their running products found again one by one in plain Python. CPU, 1 s."""

from itertools import product

import pytest
import torch
from torch import Generator, Tensor

from ablate.config.schema import DataConfig
from ablate.data.groups import GROUPS, Group

SIZES = {"parity": 2, "modular": 7, "s3": 6, "s5": 120}


def group(name: str) -> Group:
    given = {"modulus": 7} if name == "modular" else {}
    return GROUPS[name](DataConfig(name, "word", "keep", own=given))


def table_of(made: Group) -> Tensor:
    """(n, n), in which a·b stands at [a, b]."""
    elements = torch.arange(len(made.words))
    return made.product(elements[:, None], elements)


def times(name: str, a: str, b: str) -> str:
    """a·b, of elements by their names."""
    if name in ("parity", "modular"):
        return str((int(a) + int(b)) % SIZES[name])
    return "".join(b[int(place) - 1] for place in a)


@pytest.mark.parametrize("name", GROUPS)
def test_elements_are_those_of_the_group(name: str) -> None:
    words = group(name).words
    assert len(words) == len(set(words)) == SIZES[name]


@pytest.mark.parametrize("name", ["parity", "modular", "s3"])
def test_it_is_a_group(name: str) -> None:
    words = group(name).words
    products = table_of(group(name)).tolist()
    table = {(a, b): words[products[i][j]] for i, a in enumerate(words) for j, b in enumerate(words)}
    assert all(sorted(table[a, b] for b in words) == sorted(words) for a in words)
    assert all(table[table[a, b], c] == table[a, table[b, c]] for a, b, c in product(words, repeat=3))
    assert table[words[-1], words[0]] == table[words[0], words[-1]] == words[-1]


@pytest.mark.parametrize("T", [1, 2, 3, 8, 41])
@pytest.mark.parametrize("name", GROUPS)
def test_targets_are_the_running_products(name: str, T: int) -> None:
    made = group(name)
    X, Y = made.make(T, 9, Generator().manual_seed(3))
    assert X.shape == Y.shape == (T, 9)
    for read, wanted in zip(X.T.tolist(), Y.T.tolist(), strict=True):
        state = made.words[read[0]]
        states = [state]
        for element in read[1:]:
            state = times(name, state, made.words[element])
            states.append(state)
        assert [made.words[y] for y in wanted] == states


def test_s5_is_not_commutative() -> None:
    table = table_of(group("s5"))
    assert not torch.equal(table, table.T)


def test_sequences_follow_the_generator() -> None:
    made = group("s3")
    first, again, other = (made.make(20, 4, Generator().manual_seed(seed))[0] for seed in (1, 1, 2))
    assert torch.equal(first, again)
    assert not torch.equal(first, other)
