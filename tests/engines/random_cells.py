"""Cells that nobody would think of: random equations of two states, by seed, with values that stay moderate."""

import random
from collections.abc import Callable
from typing import Any

from ablate.cells.cell import Cell, cell
from ablate.cells.functions import (
    apply,
    concat,
    exp,
    log,
    maximum,
    minimum,
    relu,
    sigmoid,
    softplus,
    sqrt,
    tanh,
    where,
)

POINTWISE: tuple[Callable[[Any, Any, Any], Any], ...] = (
    lambda a, b, c: a * b,
    lambda a, b, c: a + b,
    lambda a, b, c: a - b,
    lambda a, b, c: -a,
    lambda a, b, c: a / (1.5 + sigmoid(b)),
    lambda a, b, c: exp(-apply("abs", a)),
    lambda a, b, c: exp(tanh(a)) * 0.3,
    lambda a, b, c: log(0.5 + softplus(a)),
    lambda a, b, c: sqrt(apply("abs", a) + 0.1) * 0.5,
    lambda a, b, c: maximum(a, b),
    lambda a, b, c: minimum(a, b * 0.7),
    lambda a, b, c: where(a > b, c, a * b),
    lambda a, b, c: (a > 0.1) * b,
    lambda a, b, c: softplus(a) * 0.5,
    lambda a, b, c: relu(a) - relu(b),
    lambda a, b, c: sigmoid(a) * b + (1 - sigmoid(a)) * c,
)
SQUASHED: tuple[Callable[[Any], Any], ...] = (sigmoid, tanh, relu, lambda a: a * 0.5)


def random_cell(seed: int) -> Cell:
    """Up to six products, of states or of what was made of them, of several parts; vectors; a second matrix."""

    def equations(x: Any, h: Any, c: Any, *, W: Any, W_b: Any, P: Any) -> Any:
        r = random.Random(seed)
        names = iter("abcdefgjkl")
        pool = [h, c]

        def one() -> Any:
            return r.choice([*pool[-4:], h, c])

        def pointwise() -> Any:
            return r.choice(POINTWISE)(one(), one(), one())

        for _ in range(r.randint(0, 6)):
            name = next(names)
            operands = (
                one,
                one,
                lambda: r.choice([h, c]),
                lambda: concat(h, one()),
                lambda: concat(one(), one(), one()),
            )
            value = r.choice(operands)() @ W[name]
            value = value + x[name] if r.random() < 0.8 else value
            value = value + one() @ W_b[name] if r.random() < 0.25 else value
            value = value + one() * P[name] if r.random() < 0.3 else value
            pool.append(r.choice(SQUASHED)(value))
            if r.random() < 0.5:
                pool.append(pointwise())
        pool.append(sigmoid(x[next(names)]))
        pool.append(tanh(x[next(names)] * pool[-1] + one()))
        pool += [pointwise() for _ in range(r.randint(1, 5))]
        mixed = pool[-1] * 0.5 + pool[-2] * pool[-3] - 0.3 * pool[2] + 0.2 * sum(pool[3:], 0.0)
        new_h = r.choice([mixed, tanh(mixed), maximum(mixed, pool[-1])])
        return new_h, r.choice([pool[-2], tanh(pool[-2] + new_h), c * 0.5 + pool[-1] * 0.3, h, one()])

    return cell(register=False, name=f"random{seed}")(equations)
