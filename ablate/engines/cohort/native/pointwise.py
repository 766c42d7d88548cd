"""The pointwise function of one stage, in C++: what finishes the tiles of a product (`generate`).

Axes: T steps, B sequences, H hidden units, L lanes of a vector.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from ablate.cells.lowering import End, Underivable, arguments_of
from ablate.cells.trace import Node, Value

if TYPE_CHECKING:
    from ablate.engines.cohort.native.generate import CellCode

COMPARISONS = {"gt": ">", "lt": "<", "ge": ">=", "le": "<="}
BINARY = {"add": "+", "sub": "-", "mul": "*", "div": "/"}
FUNCTIONS = {
    "sigmoid": "sigmoid",
    "tanh": "tanh_",
    "relu": "relu",
    "exp": "exponential",
    "log": "logarithm",
    "sqrt": "square_root",
    "abs": "absolute",
    "softplus": "softplus",
    "maximum": "maximum",
    "minimum": "minimum",
}
"""The pointwise functions of kernel.h."""


@dataclass(frozen=True)
class Place:
    """Where a value of one step lies: a name of `Step`, a slot, and how many slots a row there has."""

    panels: str
    slot: int = 0
    slots: str = "1"


@dataclass
class Pointwise:
    """The pointwise function of one stage."""

    cell: CellCode
    name: str
    values: Sequence[int]
    results: Mapping[int, str | Place]
    """Of products: the tile's, or where they wait."""
    stores: Sequence[tuple[End, Place]]
    sums: Mapping[int, End]
    """The number of a vector → what is added to its gradient."""
    masked: tuple[str, ...]
    """Panels that a product reads: zero where there is no unit."""
    reaching: Mapping[int, Sequence[str | Place]] = field(default_factory=dict)
    """What the gradient at a state is the sum of."""
    forward: bool = False
    before: list[str] = field(default_factory=list)
    """Once for all rows."""
    lines: list[str] = field(default_factory=list)
    known: dict[int, str] = field(default_factory=dict)
    masks: set[int] = field(default_factory=set)
    bases: dict[str, str] = field(default_factory=dict)

    def text(self) -> str:
        nodes = self.cell.nodes
        wanted = [end.index for end, _ in self.stores if isinstance(end, Value)]
        wanted += [end.index for end in self.sums.values() if isinstance(end, Value)]
        here = set(self.values)
        read = [of for value in self.values for of in arguments_of(nodes[value])]
        for index in (*read, *wanted):
            if index not in here and index not in self.known:
                self._load(index)
        for index in self.values:
            self._compute(index)
        for end, place in self.stores:
            self.lines.append(f"store({self._at(place)}, {self._vector(end)});")
        after = []
        for k, end in self.sums.items():
            self.before.append(f"float *const sum{k} = s.d_vectors(u, 0) + {k} * L;")
            self.before.append(f"vec total{k} = load(sum{k});")
            self.lines.append(f"total{k} += {self._vector(end)};")
            after.append(f"store(sum{k}, total{k});")
        clears = [
            f"clear(s.lanes, {self._at(place, '0')}, {place.slots} * L, rows);"
            for _, place in self.stores
            if place.panels.startswith(self.masked)
        ]
        if clears:
            after += ["if (u == s.partial) {", *(f"    {line}" for line in clears), "}"]
        onward = ", p += stride" if any("p[" in line for line in self.lines) else ""
        body = [
            "const auto &s = *(const Step<Cell> *)with;",
            *self.before,
            f"for (i64 r = 0; r < rows; r++{onward}) {{",
            *(f"    {line}" for line in self.lines),
            "}",
            *after,
        ]
        lines = "".join(f"        {line}\n" for line in body)
        head = f"    static void {self.name}(const void *with, i64 u, i64 b, i64 rows, const vec *p, i64 stride) {{\n"
        return head + lines + "    }\n"

    def _at(self, place: Place, row: str = "r") -> str:
        if place.panels not in self.bases:
            self.bases[place.panels] = base = place.panels.replace("[", "").replace("]", "") + "_at"
            self.before.append(f"float *const {base} = s.{place.panels}(u, b);")
        base = self.bases[place.panels]
        return f"{base} + ({row} * {place.slots} + {place.slot}) * L"

    def _load(self, index: int) -> None:
        cell, node = self.cell, self.cell.nodes[index]
        name = f"v{index}"
        self.known[index] = name
        if index in self.results:
            self._define(name, self._read(self.results[index]))
        elif index in self.reaching:
            terms = [self._read(of) for of in self.reaching[index]]
            self._define(name, " + ".join(terms) or "vec{}")
        elif index == cell.d.d_output:
            self._define(name, self._read(Place("above")))
        elif not self.forward and index in cell.back_places:
            self._define(name, self._read(cell.back_places[index]))
        elif node.op == "vector":
            number = list(cell.d.vectors.values()).index(index)
            self.before.append(f"const vec {name} = load(s.vectors(u, 0) + {number} * L);")
        elif node.op == "input" and self.forward:
            number = list(cell.d.inputs.values()).index(index)
            if "X" not in self.bases:
                self.bases["X"] = "X"
                self.before.append("const float *const X_at = s.X.at + u * s.X.panel;")
                self.before.append("const i64 X_row = s.X.row, X_slot = s.X.slot;")
                self.before.append("const i64 *const words = s.words ? s.words + b : nullptr;")
                self.lines.insert(0, "const float *const X = X_at + (words ? words[r] : b + r) * X_row;")
            self._define(name, f"load_anywhere(X + {number} * X_slot)")
        else:
            self._define(name, self._read(cell.places[index]))

    def _read(self, of: str | Place) -> str:
        return of if isinstance(of, str) else f"load({self._at(of)})"

    def _define(self, name: str, value: str) -> None:
        self.lines.append(f"const vec {name} = {value};")

    def _compute(self, index: int) -> None:
        node = self.cell.nodes[index]
        name = self.known[index] = f"v{index}"
        if node.op in COMPARISONS:
            a, b = (self._number(of) for of in node.of)
            self.masks.add(index)
            self.lines.append(f"const ivec {name} = {a} {COMPARISONS[node.op]} {b};")
        else:
            self._define(name, self._expression(node))

    def _expression(self, node: Node) -> str:
        if node.op in BINARY:
            a, b = (self._number(of) for of in node.of)
            return f"{a} {BINARY[node.op]} {b}"
        if node.op == "neg":
            return f"-{self._number(node.of[0])}"
        if node.op == "where":
            condition, *both = node.of
            return f"select({self._mask(condition)}, {', '.join(map(self._vector, both))})"
        if node.op in FUNCTIONS:
            return f"{FUNCTIONS[node.op]}({', '.join(self._vector(of) for of in node.of)})"
        raise Underivable(f"the function {node.op}")

    def _number(self, end: End) -> str:
        """A vector, or a number where the other side is a vector."""
        if not isinstance(end, Value):
            return _literal(end)
        name = self.known[end.index]
        return f"number({name})" if end.index in self.masks else name

    def _vector(self, end: End) -> str:
        return self._number(end) if isinstance(end, Value) else f"all({_literal(end)})"

    def _mask(self, end: End) -> str:
        if isinstance(end, Value) and end.index in self.masks:
            return self.known[end.index]
        return f"({self._vector(end)} != 0.f)"


# ---- order -------------------------------------------------------------------------------------------------------


def _literal(number: float) -> str:
    text = {"inf": "INFINITY", "-inf": "-INFINITY", "nan": "NAN"}.get(repr(number))
    return text or (f"{number!r}f" if number >= 0 else f"({number!r}f)")
