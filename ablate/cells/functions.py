"""The functions that equations of cells are written with: of tensors, of numbers, and of the values of a trace.

Loads no torch before a tensor comes. Axes: … replicas and sequences, H hidden units, last.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from functools import cache
from typing import Any

NUMBERS: Mapping[str, Callable[..., float]] = {
    "sigmoid": lambda a: 1 / (1 + math.exp(-a)),
    "tanh": math.tanh,
    "relu": lambda a: max(a, 0.0),
    "exp": math.exp,
    "log": math.log,
    "sqrt": math.sqrt,
    "abs": abs,
    "softplus": lambda a: math.log1p(math.exp(a)),
    "maximum": max,
    "minimum": min,
    "where": lambda condition, a, b: a if condition else b,
}
"""The pointwise functions by name, of numbers. torch has each of them under the same name."""

ARGUMENTS: Mapping[str, int] = {"maximum": 2, "minimum": 2, "where": 3}
"""How many each takes, where that is not one."""


def apply(name: str, *arguments: Any) -> Any:
    """A pointwise function of what may be tensors, values of a trace, or numbers."""
    for argument in arguments:
        if type(argument) in SYMBOLIC:
            return argument.apply_pointwise(name, *arguments)
    if all(isinstance(argument, float | int) for argument in arguments):
        return NUMBERS[name](*arguments)
    if name == "where" and isinstance(arguments[0], float | int):  # torch chooses by tensors of true and false only
        return arguments[1] if arguments[0] else arguments[2]
    return torch_function(name)(*_tensors(arguments))


def _tensors(arguments: tuple[Any, ...]) -> list[Any]:
    """With numbers as tensors like the others, though not of true and false: `h > 0` of `where(h > 0, 1.0, 0.3)`.

    They are filled in on the device: a copy from the CPU would wait for a GPU, and break off the recording of a graph.
    """
    import torch

    there = [argument for argument in arguments if not isinstance(argument, float | int)]
    real = next((tensor for tensor in there if tensor.dtype != torch.bool), None)
    dtype = torch.get_default_dtype() if real is None else real.dtype
    device = there[0].device
    return [torch.full((), a, dtype=dtype, device=device) if isinstance(a, float | int) else a for a in arguments]


SYMBOLIC: set[type] = set()
"""The types that note what is done with them, by a method `apply_pointwise(name, *arguments)`."""


@cache
def torch_function(name: str) -> Callable[..., Any]:
    """The function of torch, of tensors."""
    import torch

    function: Callable[..., Any] = torch.nn.functional.softplus if name == "softplus" else getattr(torch, name)
    return function


def _unary(name: str) -> Callable[[Any], Any]:
    """`apply` of one argument, for which a tensor is tried first: equations are evaluated at every step."""

    def function(a: Any) -> Any:
        kind = type(a)
        if kind in SYMBOLIC or kind is float or kind is int:
            return apply(name, a)
        return torch_function(name)(a)

    return function


sigmoid, tanh, relu = _unary("sigmoid"), _unary("tanh"), _unary("relu")
exp, log, sqrt, softplus = _unary("exp"), _unary("log"), _unary("sqrt"), _unary("softplus")


def maximum(a: Any, b: Any) -> Any:
    return apply("maximum", a, b)


def minimum(a: Any, b: Any) -> Any:
    return apply("minimum", a, b)


def where(condition: Any, a: Any, b: Any) -> Any:
    """`a` where the condition holds, `b` elsewhere: `where(c > 0, c, 0.1 * c)`."""
    return apply("where", condition, a, b)


def identity(a: Any) -> Any:
    return a


def concat(*parts: Any) -> Any:
    """Side by side, (…, H) each → (…, k·H); states that the model does without are left out.

    A number, as a gate that the model fixes is one, stands for (…, H) of them.
    """
    there = [part for part in parts if part is not None and not isinstance(part, Absent)]
    if not there:
        return ABSENT
    like = next((part for part in there if not isinstance(part, float | int)), None)
    if like is None:
        raise TypeError("concat of numbers alone, which held gates are, has no units; put a state beside them")
    symbolic = getattr(like, "apply_concat", None)
    if symbolic:
        return symbolic(*there)
    import torch

    tensors = [one for one in there if not isinstance(one, float | int)]
    if len(tensors) == len(there) and len({one.shape[:-1] for one in tensors}) == 1:
        return torch.cat(there, -1)
    # Of vectors none.
    rows = torch.broadcast_shapes(*(one.shape[:-1] for one in tensors))  # type: ignore[no-untyped-call]
    H = min(one.shape[-1] for one in tensors)
    return torch.cat(
        [like.new_full((*rows, H), one) if isinstance(one, float | int) else one.expand(*rows, -1) for one in there], -1
    )


ACTIVATIONS: Mapping[str, Callable[[Any], Any]] = {"tanh": tanh, "relu": relu, "identity": identity}
"""What may squash the new content of a cell, by the name that a knob has for it."""


class Absent:
    """What a cell would compute for a gate that the model fixes, and does not: whatever is done with it, it remains.

    So `gate.reset(x.reset + h @ W.reset)` can be written once; a fixed gate takes no notice of its argument.
    """

    def __repr__(self) -> str:
        return "nothing (of a gate that is fixed)"

    def _stay(self, *_: Any) -> Absent:
        return self

    __add__ = __radd__ = __sub__ = __rsub__ = __mul__ = __rmul__ = __truediv__ = __rtruediv__ = _stay
    __matmul__ = __rmatmul__ = __neg__ = __pow__ = __gt__ = __lt__ = __ge__ = __le__ = apply_pointwise = _stay
    __floordiv__ = __rfloordiv__ = __mod__ = __rmod__ = __rpow__ = __abs__ = __getitem__ = _stay
    __iter__ = None  # which Python would make of __getitem__, without an end

    def __call__(self, *_: Any, **__: Any) -> Absent:
        return self

    def __getattr__(self, name: str) -> Absent:
        """A method of a tensor's, or a fact about it."""
        if name.startswith("__"):
            raise AttributeError(name)
        return self

    @classmethod
    def __torch_function__(cls, function: Any, types: Any, args: Any = (), kwargs: Any = None) -> Absent:
        return ABSENT


ABSENT = Absent()
SYMBOLIC.add(Absent)
