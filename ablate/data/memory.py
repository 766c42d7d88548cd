"""Generated sequences with a known answer: what a network must remember, skip or forget.

Axes: L length (`num_steps`), T steps, B sequences, K symbols (`task.symbols`). Every rule gives inputs (T, B) and
targets (T, B), −1 where nothing is asked, on one vocabulary of inputs and answers. Tasks of this kind go back to
Hochreiter and Schmidhuber 1997 (adding, with real numbers there) and Arjovsky, Shah and Bengio 2016 (copy).
"""

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Generator, Tensor

from ablate.config.errors import CombinationError
from ablate.config.metrics import UNSCORED

SKIPPED_SYMBOLS = 5
"""Symbols among the blanks of `skip`."""
BREAKS = 3
"""Breaks in a sequence of `reset`."""

Made = tuple[Tensor, Tensor]


@dataclass(frozen=True)
class Rule:
    """One memory task: how it is made from (L, B, K, generator), its shortest length, and its vocabulary for K."""

    make: Callable[[int, int, int, Generator], Made]
    shortest: int
    words: Callable[[int], list[str]]

    def check(self, name: str, L: int) -> None:
        """Raise CombinationError for a length at which nothing is to be remembered."""
        if self.shortest > L:
            raise CombinationError(f"data={name} needs sequences of num_steps={self.shortest} or more, not {L}")


def draw(K: int, *shape: int, generator: Generator) -> Tensor:
    """Integers from 0 to K − 1."""
    return torch.randint(K, shape, generator=generator)


def places(n: int, L: int, B: int, generator: Generator) -> Tensor:
    """n different steps of L in rising order, for each of B sequences: (n, B)."""
    return torch.rand(L, B, generator=generator).argsort(0)[:n].sort(0).values


def copy(L: int, B: int, K: int, generator: Generator) -> Made:
    """`c a b ? _ _` → `. . . c a b`: L symbols, then a sign to begin, then as many blanks. T = 2 L."""
    blank, sign = K, K + 1
    symbols = draw(K, L, B, generator=generator)
    waiting = torch.full((L, B), blank)
    waiting[0] = sign
    return torch.cat([symbols, waiting]), torch.cat([torch.full_like(symbols, UNSCORED), symbols])


def adding(L: int, B: int, K: int, generator: Generator) -> Made:
    """`3 1* 4 0 2*` → `. . . . 3`: the sum of the two marked numbers, one in each half. T = L.

    Numbers are 0 … K − 1, tokens K … 2 K − 1 the marked ones, and the answers follow: 0 … 2 K − 2.
    """
    numbers, columns = draw(K, L, B, generator=generator), torch.arange(B)
    first = draw(L // 2, B, generator=generator)
    second = L // 2 + draw(L - L // 2, B, generator=generator)
    total = numbers[first, columns] + numbers[second, columns]
    numbers[first, columns] += K
    numbers[second, columns] += K
    answer = torch.full((L, B), UNSCORED)
    answer[-1] = 2 * K + total
    return numbers, answer


def first_token(L: int, B: int, K: int, generator: Generator) -> Made:
    """`b c a d ?` → `. . . . b`: the first of L symbols, when all others have gone by. T = L + 1."""
    symbols = draw(K, L, B, generator=generator)
    answer = torch.full((L + 1, B), UNSCORED)
    answer[-1] = symbols[0]
    return torch.cat([symbols, torch.full((1, B), K)]), answer


def skip(L: int, B: int, K: int, generator: Generator) -> Made:
    """`_ c _ _ a b ? _ _` → `. . . . . . c a b`: a few symbols among L − n blanks, wanted in order. T = L + n."""
    blank, sign, n = K, K + 1, SKIPPED_SYMBOLS
    symbols = draw(K, n, B, generator=generator)
    tokens = torch.full((L + n, B), blank)
    tokens[:L].scatter_(0, places(n, L, B, generator), symbols)
    tokens[L] = sign
    return tokens, torch.cat([torch.full((L, B), UNSCORED), symbols])


def reset(L: int, B: int, K: int, generator: Generator) -> Made:
    """`1 1 0 | 1` → `1 2 2 0 1`: how many ones since the last break, modulo K. T = L.

    Tokens 0 and 1, 2 is a break; the answers follow: 0 … K − 1.
    """
    tokens = draw(2, L, B, generator=generator)
    tokens.scatter_(0, places(BREAKS, L, B, generator), 2)
    ones = (tokens == 1).long().cumsum(0)
    since = (tokens == 2).long() * ones
    return tokens, 3 + (ones - since.cummax(0).values) % K


def letters(K: int) -> list[str]:
    """Names of K symbols: a, b, … or s1, s2, … where the alphabet ends."""
    return [chr(ord("a") + k) for k in range(K)] if K <= 26 else [f"s{k + 1}" for k in range(K)]


def adding_words(K: int) -> list[str]:
    return [*map(str, range(K)), *(f"{k}*" for k in range(K)), *(f"={k}" for k in range(2 * K - 1))]


RULES = {
    "copy": Rule(copy, 1, lambda K: [*letters(K), "_", "?"]),
    "adding": Rule(adding, 2, adding_words),
    "first-token": Rule(first_token, 1, lambda K: [*letters(K), "?"]),
    "skip": Rule(skip, SKIPPED_SYMBOLS + 1, lambda K: [*letters(K), "_", "?"]),
    "reset": Rule(reset, BREAKS + 2, lambda K: ["0", "1", "|", *(f"={k}" for k in range(K))]),
}
"""By the name of `data`."""
