"""Pointwise nodes of a cell's graph as lines of Python: operations of torch that write into places of their own.

What torch computes in one operation is one line: a sum with a product, the derivative of a sigmoid or tanh, the mean of
two values weighted by a gate. Lines are compiled once per text; they name tensors, which the caller binds.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import lru_cache
from types import CodeType
from typing import Any

import torch

from ablate.cells.lowering import End
from ablate.cells.trace import Graph, Value

COMPARED = {"gt": "lt", "lt": "gt", "ge": "le", "le": "ge"}
"""Each comparison, and the one with its arguments exchanged."""
ALIKE = ("sigmoid", "tanh", "exp", "log", "sqrt", "abs", "neg")
"""Functions that torch has under the same name."""

SCOPE: dict[str, Any] = {
    **{name: getattr(torch, name) for name in (*ALIKE, *COMPARED, "add", "sub", "mul", "div", "lerp", "addcmul")},
    **{name: getattr(torch, name) for name in ("maximum", "minimum", "where", "ne", "clamp_min", "clamp_max", "bmm")},
    "softplus": torch.ops.aten.softplus.out,
    "sigmoid_backward": torch.ops.aten.sigmoid_backward.grad_input,  # (g, σ) → g σ (1 − σ)
    "tanh_backward": torch.ops.aten.tanh_backward.grad_input,  # (g, τ) → g (1 − τ²)
    "inf": math.inf,
    "nan": math.nan,
}


def function_of(lines: Sequence[str], parameters: str) -> Callable[..., None]:
    """A function of these parameters whose body the lines are."""
    body = "\n".join(f"    {line}" for line in lines or ["pass"])
    names: dict[str, Any] = {}
    exec(_compiled(f"def computed({parameters}):\n{body}\n"), SCOPE, names)
    made: Callable[..., None] = names["computed"]
    return made


@lru_cache(1024)
def _compiled(source: str) -> CodeType:
    return compile(source, "<derived from a cell>", "exec")


Form = tuple[str, tuple[End, ...]]
"""What computes a node: the name of an operation, and its arguments, some of them deeper in the graph."""


class Writer:
    """Writes the lines that compute nodes of a graph, each node once.

    there      node → the name of the tensor that holds it; grows as nodes are computed
    scratch    makes the name of a new tensor of a value's shape
    constant   number → the name of a tensor () that holds it
    """

    def __init__(
        self, graph: Graph, there: dict[int, str], scratch: Callable[[], str], constant: Callable[[float], str]
    ) -> None:
        self.graph, self.there, self.constant = graph, there, constant
        self._scratch = scratch
        self.lines: list[str] = []
        self.forms: dict[int, Form] = {}
        self.uses: Counter[int] = Counter()
        self.lent: set[str] = set()  # scratch in use
        self.free: list[str] = []
        self.in_place: set[str] = set()  # may be overwritten by what is computed of it last
        self.homes: dict[int, str] = {}  # where a node is computed, whoever asks for it first

    def plan(self, roots: Iterable[End]) -> None:
        """Say beforehand what will be asked for: whether a node is needed once decides how it is computed."""
        ends = list(dict.fromkeys(end.index for end in roots if isinstance(end, Value)))
        users: Counter[int] = Counter(ends)
        seen: set[int] = set()
        stack = list(ends)
        while stack:
            index = stack.pop()
            if index not in seen and index not in self.there:
                seen.add(index)
                for of in self.graph.nodes[index].of:
                    if isinstance(of, Value):
                        users[of.index] += 1
                        stack.append(of.index)
        stack = list(ends)
        self.uses += Counter(ends)
        while stack:
            index = stack.pop()
            if index in self.forms or index in self.there:
                continue
            self.forms[index] = form = self._form(Value(self.graph, index), users)
            for of in form[1]:
                if isinstance(of, Value):
                    self.uses[of.index] += 1
                    stack.append(of.index)

    # ---- which operation -------------------------------------------------------------------------------------------

    def _form(self, value: Value, users: Mapping[int, int]) -> Form:
        node = value.node
        a, b = (*node.of, 0.0, 0.0)[:2]

        def part(of: End, op: str) -> tuple[End, ...] | None:
            """The arguments of an operation that is computed together with the node, where it can be."""
            if isinstance(of, Value) and of.node.op == op and users[of.index] == 1 and of.index not in self.there:
                return of.node.of
            return None

        if node.op == "add":
            p, q = part(a, "mul"), part(b, "mul")
            if p and q and (mean := self._weighted_mean(p, q)):
                return "lerp", mean
            for factors, other in ((q, a), (p, b)):
                if factors and all(isinstance(factor, Value) for factor in factors):
                    return "addcmul", (other, *factors)
                if factors and isinstance(other, Value):
                    number, factor = factors if isinstance(factors[1], Value) else factors[::-1]
                    return "add_scaled", (other, factor, number)
        elif node.op == "sub":
            q = part(b, "mul")
            if q and all(isinstance(factor, Value) for factor in q):
                return "subcmul", (a, *q)
        elif node.op == "mul" and isinstance(a, Value) and isinstance(b, Value):
            if (slope := self._slope(value)) is not None:  # σ (1 − σ)
                return "subcmul", (slope, slope, slope)
            for of, other in ((b, a), (a, b)):
                if (y := self._slope(of)) is not None:
                    return "sigmoid_backward", (other, y)
                if (t := self._slope_of_tanh(of)) is not None:
                    return "tanh_backward", (other, t)
        return node.op, node.of

    def _slope(self, value: Value) -> Value | None:
        """y of y (1 − y)."""
        if value.node.op != "mul" or value.index in self.there:
            return None
        y, other = value.node.of
        if isinstance(other, Value) and other.node.op == "sub" and isinstance(y, Value):
            one, same = other.node.of
            if one == 1.0 and isinstance(same, Value) and same.index == y.index:
                return y
        return None

    def _slope_of_tanh(self, value: Value) -> Value | None:
        """t of 1 − t²."""
        if value.node.op != "sub" or value.index in self.there or value.node.of[0] != 1.0:
            return None
        square = value.node.of[1]
        if isinstance(square, Value) and square.node.op == "mul":
            t, same = square.node.of
            if isinstance(t, Value) and isinstance(same, Value) and t.index == same.index:
                return t
        return None

    def _weighted_mean(self, p: tuple[End, ...], q: tuple[End, ...]) -> tuple[End, ...] | None:
        """(c, b, w) of w b + (1 − w) c."""
        for (w, b), (other, c) in ((i, j) for x, y in ((p, q), (q, p)) for i in (x, x[::-1]) for j in (y, y[::-1])):
            if isinstance(w, Value) and isinstance(other, Value) and other.node.op == "sub":
                one, same = other.node.of
                mean = one == 1.0 and isinstance(same, Value) and same.index == w.index
                if mean and isinstance(b, Value) and isinstance(c, Value):
                    return c, b, w
        return None

    # ---- lines -----------------------------------------------------------------------------------------------------

    def value(self, end: End, out: str | None = None, lend: bool = True) -> str:
        """The name of the tensor that holds a value, computed if need be; where `out` is given, that one.

        With `lend`, `out` may hold what the value is computed of in the meantime.
        """
        if not isinstance(end, Value):
            name = self.constant(float(end))
            return name if out is None else self._copied(name, out)
        index = end.index
        if index in self.there or (out and index in self.homes and self.homes[index] != out):
            name = self.value(end) if index not in self.there else self.there[index]
            return name if out is None or name == out else self._copied(name, out)
        out = out or self.homes.get(index)
        op, of = self.forms.get(index) or self._form(end, Counter())
        names: list[str] = []
        free = out if lend else None
        for argument in of:
            if isinstance(argument, Value) and argument.index not in self.there:
                own = free if self.uses[argument.index] <= 1 else None
                names.append(self.value(argument, own))
                free = None if own is not None else free
            elif isinstance(argument, Value):
                names.append(self.there[argument.index])
            else:
                names.append(repr(float(argument)))
        for argument in of:
            if isinstance(argument, Value):
                self.uses[argument.index] -= 1
        dying = [
            name
            for name, argument in zip(names, of, strict=True)
            if isinstance(argument, Value) and self.uses[argument.index] <= 0 and name in self.lent | self.in_place
        ]
        target = out
        if target is None:
            target = dying[0] if dying else self._new()
        for name in dying:
            if name in self.lent and name != target:
                self.lent.discard(name)
                self.free.append(name)
        self.lines.append(self._line(op, of, names, target))
        self.there[index] = target
        return target

    def overwrites(self, index: int) -> str | None:
        """The tensor in whose place a node can be computed, since what it holds is needed for the node alone."""
        of = [argument.index for argument in self.forms[index][1] if isinstance(argument, Value)]
        missing = [i for i in of if i not in self.there]
        if len(missing) == 1 and self.uses[missing[0]] == 1 and missing[0] not in self.homes:
            return self.overwrites(missing[0])
        names = [self.there[i] for i in of if i in self.there and self.uses[i] == 1]
        return next((name for name in names if name in self.in_place), None) if not missing else None

    def _new(self) -> str:
        name = self.free.pop() if self.free else self._scratch()
        self.lent.add(name)
        return name

    def _copied(self, name: str, out: str) -> str:
        self.lines.append(f"{out}.copy_({name})")
        return out

    def _line(self, op: str, of: Sequence[End], names: Sequence[str], out: str) -> str:
        numbers = [not isinstance(argument, Value) for argument in of]
        tensors = [
            self.constant(float(argument)) if not isinstance(argument, Value) else name
            for argument, name in zip(of, names, strict=True)
        ]
        a, b = (*names, "", "")[:2]
        if op == "lerp":
            return f"lerp({', '.join(tensors)}, out={out})"
        if op in ("addcmul", "subcmul"):
            return f"addcmul({', '.join(tensors)}, value={1 if op == 'addcmul' else -1}, out={out})"
        if op == "add_scaled":
            return f"add({a}, {b}, alpha={names[2]}, out={out})"
        if op in ("sigmoid_backward", "tanh_backward"):
            return f"{op}({a}, {b}, grad_input={out})"
        if op == "relu":
            return f"clamp_min({a}, 0, out={out})"
        if op == "softplus":
            return f"softplus({a}, 1, 20, out={out})"
        if op in ALIKE:
            return f"{op}({a}, out={out})"
        if op in ("maximum", "minimum"):
            if any(numbers):
                value, number = (b, a) if numbers[0] else (a, b)
                return f"{'clamp_min' if op == 'maximum' else 'clamp_max'}({value}, {number}, out={out})"
            return f"{op}({a}, {b}, out={out})"
        if op == "where":
            return f"where({a} != 0, {tensors[1]}, {tensors[2]}, out={out})"
        if numbers[0] and op in COMPARED:
            return f"{COMPARED[op]}({b}, {a}, out={out})"
        if numbers[0] and op in ("add", "mul"):
            return f"{op}({b}, {a}, out={out})"
        return f"{op}({tensors[0]}, {b}, out={out})"
