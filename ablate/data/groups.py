"""State tracking: the running product of elements of a finite group, which decides how much state a network keeps.

Axes: T steps, B sequences; n elements. Inputs (T, B) are elements drawn evenly, the target of a step is the product of
all inputs until then, so that nothing can be told without having followed all of them. Addition modulo 2 is parity;
the permutations of 5 things (S5) are the smallest group whose word problem is complete for NC¹ (Barrington 1989), which
a recurrence that is linear in its state with diagonal positive factors cannot follow over every length (Merrill,
Petty and Sabharwal 2024, The Illusion of State in State-Space Models; Grazzi et al. 2024, Unlocking State-Tracking in
Linear RNNs Through Negative Eigenvalues).
"""

from collections.abc import Callable
from dataclasses import dataclass
from itertools import permutations

import torch
from torch import Generator, Tensor

from ablate.config.schema import DataConfig
from ablate.data.memory import Made


@dataclass(frozen=True)
class Group:
    """A finite group: the names of its n elements, and the product a·b of arrays of their numbers, 0 to n − 1."""

    words: list[str]
    product: Callable[[Tensor, Tensor], Tensor]

    def make(self, T: int, B: int, generator: Generator) -> Made:
        """Elements (T, B) and their running products (T, B)."""
        inputs = torch.randint(len(self.words), (T, B), generator=generator)
        return inputs, self.products(inputs)

    def products(self, elements: Tensor) -> Tensor:
        """(T, B) → x₁, x₁·x₂, …, each the product of the elements until then."""
        found, reach = elements.clone(), 1
        while reach < len(found):  # each product of up to `reach` elements is followed by the one before it
            found[reach:] = self.product(found[:-reach], found[reach:])
            reach *= 2
        return found


def cyclic(modulus: int) -> Group:
    """Numbers under addition modulo `modulus`."""
    return Group([str(k) for k in range(modulus)], lambda a, b: (a + b) % modulus)


def symmetric(things: int) -> Group:
    """The permutations of some things, a·b: first a, then b. `231` takes the first thing to the second place."""
    every = list(permutations(range(things)))
    place = {one: k for k, one in enumerate(every)}
    table = torch.tensor([[place[tuple(b[i] for i in a)] for b in every] for a in every])
    return Group(["".join(str(i + 1) for i in one) for one in every], lambda a, b: table[a, b])


GROUPS: dict[str, Callable[[DataConfig], Group]] = {
    "parity": lambda data: cyclic(2),
    "modular": lambda data: cyclic(data.modulus),
    "s3": lambda data: symmetric(3),
    "s5": lambda data: symmetric(5),
}
"""By the name of `data`."""
