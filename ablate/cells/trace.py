"""The graph of a cell: its equations, called once with values that note what is done with them.

Products with a state, or with what is made of one, and pointwise functions. Loads no torch.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any, NoReturn

from ablate.cells.functions import ARGUMENTS, NUMBERS, SYMBOLIC, Absent


class Untraceable(Exception):
    """What the equations do cannot be noted. Torch computes it none the less."""


class Branch(Exception):
    """The equations ask for a number of a value, as an `if` does: what they compute then depends on the numbers."""


class InPlace(Exception):
    """The equations change a value in place. A name for it that stands elsewhere would be another value then where
    tensors are computed with, and the same one in the graph; and torch may need the value as it was, for gradients."""

    def __str__(self) -> str:
        return "its equations change a value in place, as a += b does; write a = a + b"


@dataclass(frozen=True)
class Node:
    """One value of a graph: what it is made by, and of what.

    op        arguments                   of
    state     the state's name
    input     pre-activation              X W_x + b_x
    product   pre-activation, weights     the value times a matrix of these weights, (k·H,) → (H,)
    vector    pre-activation, weights     a number for each unit
    concat                                values side by side
    …         (pointwise)                 values and numbers
    """

    op: str
    of: tuple[Value | float, ...] = ()
    name: str = ""
    weights: str = ""
    width: int = 1
    """In units of H."""


@dataclass(eq=False)
class Graph:
    """Nodes in the order in which they are computed."""

    nodes: list[Node] = field(default_factory=list)
    known: dict[Any, Value] = field(default_factory=dict)
    evaluating: bool = False
    """Whether equations are being evaluated, in which `h == 0` asks for numbers that there aren't."""

    def add(self, op: str, *of: Value | float, name: str = "", weights: str = "", width: int | None = None) -> Value:
        """The value of a node; where it is already there, the same one."""
        widths = {value.node.width for value in of if isinstance(value, Value)}
        if op != "concat" and len(widths) > 1:
            raise Untraceable(f"{op} of values of {' and '.join(f'{w}·H' for w in sorted(widths))} units")
        node = Node(op, of, name, weights, width if width is not None else max(widths, default=1))
        key = (op, tuple(v.index if isinstance(v, Value) else ("number", v) for v in of), name, weights)
        if key not in self.known:
            self.known[key] = Value(self, len(self.nodes))
            self.nodes.append(node)
        return self.known[key]

    def reached(self, ends: list[Value]) -> Iterator[Value]:
        """What these values are made of, and they themselves, in the order in which they are computed."""
        wanted = {value.index for value in ends}
        for index in range(len(self.nodes) - 1, -1, -1):
            if index in wanted:
                wanted |= {of.index for of in self.nodes[index].of if isinstance(of, Value)}
        yield from (Value(self, index) for index in sorted(wanted))


class Value:
    """A value of a graph, in the place of a tensor."""

    def __init__(self, graph: Graph, index: int) -> None:
        self.graph, self.index = graph, index

    @property
    def node(self) -> Node:
        return self.graph.nodes[self.index]

    def apply_pointwise(self, name: str, *arguments: Any) -> Any:
        for argument in arguments:
            if isinstance(argument, Absent):
                return argument
            if not isinstance(argument, Value | float | int):
                raise Untraceable(f"{name} of {argument!r}")
        first = arguments[0]
        if name == "where" and isinstance(first, Value) and not is_truth(first):
            raise Untraceable("where by a value that is no comparison")
        if name in REAL_ALONE and is_whole(first):
            raise Untraceable(f"{name} of a comparison")
        return self.graph.add(name, *arguments)

    def apply_concat(self, *parts: Value | float) -> Value:
        width = sum(part.node.width if isinstance(part, Value) else 1 for part in parts)
        return self.graph.add("concat", *parts, width=width)

    def _with(self, op: str, other: Any, swapped: bool = False) -> Any:
        if isinstance(other, Absent):
            return other
        if not isinstance(other, Value | float | int):
            return NotImplemented
        truths = [is_truth(self), is_truth(other)]
        if (op == "sub" and any(truths)) or (op == "add" and all(truths)):
            raise Untraceable(f"{op} of a comparison")
        neutral = not isinstance(other, Value) and other == _NEUTRAL.get(op)
        if neutral and not truths[0] and not (swapped and op in ("sub", "div")):
            return self
        return self.graph.add(op, *((other, self) if swapped else (self, other)))

    def __add__(self, other: Any) -> Any:
        return self._with("add", other)

    def __radd__(self, other: Any) -> Any:
        return self._with("add", other, swapped=True)

    def __sub__(self, other: Any) -> Any:
        return self._with("sub", other)

    def __rsub__(self, other: Any) -> Any:
        return self._with("sub", other, swapped=True)

    def __mul__(self, other: Any) -> Any:
        return self._with("mul", other)

    def __rmul__(self, other: Any) -> Any:
        return self._with("mul", other, swapped=True)

    def __truediv__(self, other: Any) -> Any:
        return self._with("div", other)

    def __rtruediv__(self, other: Any) -> Any:
        return self._with("div", other, swapped=True)

    def __gt__(self, other: Any) -> Any:
        return self._with("gt", other)

    def __lt__(self, other: Any) -> Any:
        return self._with("lt", other)

    def __ge__(self, other: Any) -> Any:
        return self._with("ge", other)

    def __le__(self, other: Any) -> Any:
        return self._with("le", other)

    def __eq__(self, other: object) -> bool:
        if self is other or not self.graph.evaluating or not isinstance(other, Value | float | int):
            return self is other
        raise Untraceable("== of a value")

    __hash__ = object.__hash__

    def __neg__(self) -> Value:
        if is_truth(self):
            raise Untraceable("neg of a comparison")
        return self.graph.add("neg", self)

    def __pow__(self, exponent: Any) -> Any:
        if exponent == 2:
            return self * self
        raise Untraceable(f"the power {exponent!r}")

    def __matmul__(self, other: Any) -> Any:
        return other if isinstance(other, Absent) else NotImplemented

    def _in_place(self, other: Any) -> NoReturn:
        raise InPlace

    __iadd__ = __isub__ = __imul__ = __itruediv__ = _in_place

    def __bool__(self) -> bool:
        raise Branch

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        raise Untraceable(f"the method or attribute {name!r} of a value")

    @classmethod
    def __torch_function__(cls, function: Any, types: Any, args: Any = (), kwargs: Any = None) -> Value:
        """A function of torch that has a name here is noted, too."""
        name = getattr(function, "__name__", str(function))
        if name in CONCAT and _last_axis(*args, **(kwargs or {})):
            there = [part for part in args[0] if not isinstance(part, Absent)]
            return there[0].apply_concat(*there)  # type: ignore[no-any-return]
        if name not in NUMBERS or kwargs or len(args) != ARGUMENTS.get(name, 1):
            raise Untraceable(f"torch's {name}")
        graph = next(a.graph for a in args if isinstance(a, Value))
        value: Value = Value(graph, 0).apply_pointwise(name, *args)
        return value


COMPARISONS = ("gt", "lt", "ge", "le")

REAL_ALONE = ("relu", "softplus")
"""Functions that torch has not of true and false, or of whole numbers."""


def is_truth(value: Any) -> bool:
    """Whether it is true or false in torch, and no number: the sum of two is true or false, too, and a difference is
    refused."""
    if not isinstance(value, Value):
        return False
    op, of = value.node.op, value.node.of
    if op in ("mul", "maximum", "minimum", "where", "concat"):
        return all(map(is_truth, of[-2:] if op == "where" else of))
    return op in COMPARISONS


def is_whole(value: Any) -> bool:
    """Whether it is a whole number in torch, or true or false: made of comparisons and whole numbers alone."""
    if not isinstance(value, Value):
        return isinstance(value, int)
    op, of = value.node.op, value.node.of
    if op in ("add", "sub", "mul", "neg", "abs", "relu"):
        return all(map(is_whole, of))
    if op in ("maximum", "minimum", "where", "concat"):
        return all(isinstance(one, Value) and is_whole(one) for one in (of[-2:] if op == "where" else of))
    return op in COMPARISONS


CONCAT = ("cat", "concat", "concatenate")
"""torch's names for `ablate.cells.functions.concat`."""


def _last_axis(parts: Any = (), dim: int = 0, **others: Any) -> bool:
    """Whether torch.cat is asked to put values side by side."""
    return dim == -1 and not others and bool(parts) and all(isinstance(part, Value | Absent) for part in parts)


SYMBOLIC.add(Value)

_NEUTRAL = {"add": 0, "sub": 0, "mul": 1, "div": 1}


class Matrix:
    """A matrix of weights that values may be multiplied by."""

    def __init__(self, name: str, weights: str) -> None:
        self.name, self.weights = name, weights

    def __rmatmul__(self, value: Any) -> Any:
        if not isinstance(value, Value):
            return NotImplemented
        if is_whole(value):
            raise Untraceable("a product of a comparison")
        return value.graph.add("product", value, name=self.name, weights=self.weights, width=1)


class Names:
    """`x.reset`, or `x["reset"]`: what `made` makes of the name of a gate, or of the candidate."""

    def __init__(self, made: Callable[[str], Any]) -> None:
        self._made = made

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        return self._made(name)

    def __getitem__(self, name: str) -> Any:
        return self._made(name)
