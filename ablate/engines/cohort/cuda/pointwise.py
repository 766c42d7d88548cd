"""Pointwise nodes of a cell's graph as lines of Triton, on tiles of sequences and hidden units.

A line computes a node once; what it is made of is loaded when it is first asked for. Nothing here is one of Triton's
own compiled functions (tl.sigmoid, tl.zeros): those are bound to a GPU or to the interpreter when triton is imported.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from ablate.cells.lowering import End, Underivable
from ablate.cells.trace import Graph, Node, Value

COMPARISONS = {"gt": ">", "lt": "<", "ge": ">=", "le": "<="}
BINARY = {"add": "+", "sub": "-", "mul": "*", "div": "/"}


class Writer:
    """Lines that compute nodes. `load` gives the expression of one that is not computed here."""

    def __init__(self, graph: Graph, load: Callable[[int], str]) -> None:
        self.graph, self._load = graph, load
        self.known: dict[int, str] = {}
        self.masks: set[str] = set()
        """Names of values that are true or false."""
        self.lines: list[str] = []

    def name(self, end: End) -> str:
        """Of a value as a number; what is known of it beforehand as a tile of one."""
        if not isinstance(end, Value):
            return literal(end)
        if end.index not in self.known:
            name = self.known[end.index] = f"v{end.index}"
            self.lines.append(f"{name} = {self._load(end.index)}")
        name = self.known[end.index]
        return f"{name}.to(DT)" if name in self.masks else name

    def compute(self, values: Sequence[int]) -> None:
        """Those of these nodes that are not known."""
        for index in values:
            if index not in self.known:
                self._line(f"v{index}", self.graph.nodes[index])
                self.known[index] = f"v{index}"

    def _line(self, v: str, node: Node) -> None:
        if node.op in COMPARISONS:
            a, b = (self.name(of) for of in node.of)
            self.lines.append(f"{v} = {a} {COMPARISONS[node.op]} {b}")
            self.masks.add(v)
        elif node.op == "where":
            condition, *both = node.of
            mask = self.name(condition).removesuffix(".to(DT)")
            mask = mask if mask in self.masks else f"{mask} != 0.0"
            self.lines.append(f"{v} = tl.where({mask}, {', '.join(self.name(of) for of in both)})")
        elif node.op in BINARY:
            a, b = (self.name(of) if isinstance(of, Value) else number(of) for of in node.of)
            self.lines.append(f"{v} = {a} {BINARY[node.op]} {b}")
        else:
            self.lines += _function(v, node.op, [self.name(of) for of in node.of])


def _function(v: str, op: str, of: Sequence[str]) -> list[str]:
    """As torch has it at kinks, at what is not a number, and where exp overflows."""
    a, b = (*of, "")[:2]
    match op:
        case "neg":
            return [f"{v} = -{a}"]
        case "sigmoid":
            return [f"{v} = 1.0 / (1.0 + tl.exp(-{a}))"]
        case "tanh":
            return [
                f"{v} = tl.exp(-2.0 * tl.abs({a}))",
                f"{v} = (1.0 - {v}) / (1.0 + {v})",
                f"{v} = tl.where({a} < 0.0, -{v}, {v})",
            ]
        case "relu":
            return [f"{v} = tl.maximum({a}, {literal(0.0)}, propagate_nan=tl.PropagateNan.ALL)"]
        case "softplus":
            larger = f"tl.maximum({a}, {literal(0.0)}, propagate_nan=tl.PropagateNan.ALL)"
            return [f"{v} = {larger} + tl.log(1.0 + tl.exp(-tl.abs({a})))"]
        case "exp" | "log" | "sqrt" | "abs":
            return [f"{v} = tl.{op}({a})"]
        case "maximum" | "minimum":
            return [f"{v} = tl.{op}({a}, {b}, propagate_nan=tl.PropagateNan.ALL)"]
    raise Underivable(f"the function {op}")


def number(value: float) -> str:
    """As Triton takes it beside a tile."""
    text = repr(float(value))
    return f'float("{text}")' if text in ("inf", "-inf", "nan") else text if value >= 0 else f"({text})"


def literal(value: float) -> str:
    """A tile of one number, of the type of the others."""
    return f"tl.full((1, 1), {number(value)}, DT)"
