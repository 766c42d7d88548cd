"""Random numbers made by rule in place of torch's: the same on every machine and with every version of torch."""

import math
from collections.abc import Callable, Mapping, Sequence
from functools import wraps
from typing import Any, ParamSpec, TypeVar

import numpy as np
import torch
from torch import Generator, Tensor

from ablate.training.dispatch import Uncompiled

P = ParamSpec("P")
Result = TypeVar("Result")

SCALE = 2.0**-64


class FixedDraws(Uncompiled):  # type: ignore[no-untyped-call]
    """A context in which what torch draws from a generator follows from the generator's seed and what it drew before.

    torch promises the same numbers neither across its releases nor across processors. Here they are those of Philox,
    whose bits are fixed, made uniform in (0, 1) and from there what was asked for. Raises NotImplementedError for a
    way to draw that is not made by rule.
    """

    def __init__(self, from_generators: bool = False) -> None:
        """With `from_generators` a draw from none, which no seed would decide, raises NotImplementedError, too."""
        super().__init__()
        self.from_generators = from_generators
        self.streams: dict[int, np.random.Philox] = {}

    @classmethod
    def during(cls, function: Callable[P, Result]) -> Callable[P, Result]:
        """The function, with draws of its own in each call."""

        @wraps(function)
        def wrapped(*args: P.args, **kwargs: P.kwargs) -> Result:
            with cls():
                return function(*args, **kwargs)

        return wrapped

    def __torch_dispatch__(
        self, func: Any, types: Any, args: Sequence[Any] = (), kwargs: Mapping[str, Any] | None = None
    ) -> Any:
        if torch.Tag.nondeterministic_seeded not in func.tags or func in WITHOUT_DROPOUT:
            return func(*args, **(kwargs or {}))
        make = MADE.get(func)
        if make is None or (self.from_generators and (kwargs or {}).get("generator") is None):
            raise NotImplementedError(
                f"{func} draws random numbers that no seed decides; equations, update rules and losses draw none "
                "(dropout= drops), and for what else draws so ablate/training/draws.py has no rule"
            )
        return make(self, *args, **(kwargs or {}))

    def uniform(self, shape: Sequence[int], generator: Generator | None) -> Tensor:
        """Numbers in (0, 1) of this shape, in float64; without a generator, those of seed 0."""
        seed = 0 if generator is None else generator.initial_seed()
        stream = self.streams.setdefault(seed, np.random.Philox(key=seed))
        bits = np.atleast_1d(stream.random_raw(math.prod(shape))).astype(np.float64)
        return torch.from_numpy((bits + 0.5) * SCALE).clamp_(max=1 - 2.0**-53).view(tuple(shape))


def _standard_normal(uniform: Tensor) -> Tensor:
    """Normal numbers from uniform ones, by the inverse of the distribution function."""
    from scipy.special import ndtri  # here: few configs draw normal numbers, and a first run waits for its imports

    return torch.from_numpy(ndtri(uniform.numpy()))


def _uniform(draws: FixedDraws, out: Tensor, low: float = 0, high: float = 1, *, generator: Any = None) -> Tensor:
    return out.copy_(low + (high - low) * draws.uniform(out.shape, generator))


def _normal(draws: FixedDraws, out: Tensor, mean: float = 0, sd: float = 1, *, generator: Any = None) -> Tensor:
    return out.copy_(mean + sd * _standard_normal(draws.uniform(out.shape, generator)))


def _rand(draws: FixedDraws, shape: Sequence[int], *, generator: Any = None, dtype: Any = None, **_: Any) -> Tensor:
    return draws.uniform(shape, generator).to(dtype or torch.get_default_dtype())


def _randn(draws: FixedDraws, shape: Sequence[int], *, generator: Any = None, dtype: Any = None, **_: Any) -> Tensor:
    normal = _standard_normal(draws.uniform(shape, generator))
    return normal.to(dtype or torch.get_default_dtype())


def _randint_between(
    draws: FixedDraws, low: int, high: int, shape: Sequence[int], *, generator: Any = None, **_: Any
) -> Tensor:
    return (low + (high - low) * draws.uniform(shape, generator)).long()


def _randint(draws: FixedDraws, high: int, shape: Sequence[int], *, generator: Any = None, **_: Any) -> Tensor:
    return _randint_between(draws, 0, high, shape, generator=generator)


def _randperm(draws: FixedDraws, n: int, *, generator: Any = None, **_: Any) -> Tensor:
    return draws.uniform((n,), generator).argsort()


_aten = torch.ops.aten
MADE: dict[Any, Callable[..., Tensor]] = {
    _aten.uniform_.default: _uniform,
    _aten.normal_.default: _normal,
    _aten.rand.default: _rand,
    _aten.rand.generator: _rand,
    _aten.randn.default: _randn,
    _aten.randn.generator: _randn,
    _aten.randint.default: _randint,
    _aten.randint.generator: _randint,
    _aten.randint.low: _randint_between,
    _aten.randint.low_generator: _randint_between,
    _aten.randperm.default: _randperm,
    _aten.randperm.generator: _randperm,
}
"""torch's operation → the same by rule."""

WITHOUT_DROPOUT = {_aten.rnn_tanh.input, _aten.rnn_relu.input, _aten.gru.input, _aten.lstm.input}
"""torch.nn's layers, which could draw for a dropout that is never asked of them here."""
