"""Cells that nobody would think of, as hypothesis strategies: equations of up to three states, line by line.

Values stay moderate: what is divided by is at least 0.5, roots and logarithms are of positive numbers, and every new
state is bounded. A cell that fails shrinks to few lines, and is printed as the equations that one would write.
"""

from dataclasses import dataclass, field
from typing import Any

import hypothesis.strategies as st

from ablate.cells import functions
from ablate.cells.cell import Variant, cell
from ablate.cells.derivative import Derived, derived

STATES = ("h", "c", "n")
SQUASHED = ("{}", "sigmoid({})", "tanh({})", "relu({})", "softplus({}) * 0.5")
POINTWISE = (
    "{a} + {b}",
    "{a} - {b}",
    "{a} * {b}",
    "-{a}",
    "1 - {a}",
    "0.3 * {a}",
    "{a} ** 2",
    "tanh({a})",
    "{a} / (1.5 + sigmoid({b}))",
    "2.0 / (1 + exp(-{a}))",
    "exp(-absolute({a}))",
    "exp(tanh({a})) * 0.3",
    "log(0.5 + softplus({a}))",
    "sqrt(absolute({a}) + 0.1) * 0.5",
    "maximum({a}, {b})",
    "minimum({a}, {b} * 0.7)",
    "maximum({a}, 0.2)",
    "where({a} > {b}, {c}, {a} * {b})",
    "where({a} <= 0.1, {b}, 0.0)",
    "({a} >= 0.1) * {b}",
    "relu({a}) - relu({b})",
    "sigmoid({a}) * {b} + (1 - sigmoid({a})) * {c}",
)
BOUNDED = (
    "tanh({a})",
    "sigmoid({a}) * {old} + (1 - sigmoid({a})) * tanh({b})",
    "0.5 * {old} + tanh({a}) * 0.5",
    "maximum(minimum({a}, 2.0), -2.0)",
    "maximum(tanh({a}), 0.9 * {old})",
    "{old}",
    "sigmoid({a})",
)
"""New states, of an old one and other values."""
NAMES = {name: getattr(functions, name) for name in dir(functions) if not name.startswith("_")}
NAMES["absolute"] = lambda a: functions.apply("abs", a)


@dataclass(frozen=True)
class RandomCell:
    """The equations as text, and what a model makes of them."""

    text: str
    held: dict[str, float] = field(default_factory=dict)
    """Gates held at constants."""
    readout: str = "state"
    write_back: bool = True
    bias_vectors: int = 1

    def __repr__(self) -> str:
        options = f"readout={self.readout} write_back={self.write_back} bias_vectors={self.bias_vectors}"
        return f"\n{self.text}\n# gates held: {self.held or 'none'}; {options}\n"

    def _repr_pretty_(self, printer: Any, cycle: bool) -> None:
        printer.text(repr(self))

    @property
    def variant(self) -> Variant:
        """The cell with its gates held."""
        there: dict[str, Any] = dict(NAMES)
        exec(compile(self.text, "<random cell>", "exec"), there)
        made = cell(register=False)(there["random"])
        return made._variant(self.held, {knob.name: knob.default for knob in made.knobs}, None)

    def derived(self) -> Derived:
        return derived(self.variant.structure, self.readout, self.write_back, self.bias_vectors)


@dataclass
class Draft:
    """Equations while they are drawn."""

    draw: Any
    states: tuple[str, ...]
    recurrent: bool
    lines: list[str] = field(default_factory=list)
    values: list[str] = field(default_factory=list)
    """Names that may be read: of values of every unit; numbers, which held gates are, are in `numbers`."""
    numbers: set[str] = field(default_factory=set)
    held: dict[str, float] = field(default_factory=dict)
    used: set[str] = field(default_factory=set)

    def one_of(self, choices: Any) -> Any:
        return self.draw(st.sampled_from(tuple(choices)))

    def yes(self) -> bool:
        return bool(self.draw(st.booleans()))

    def value(self) -> str:
        return str(self.one_of((*reversed(self.values), *self.states)))  # shrinks towards what was made last

    def varying(self) -> str:
        """A value that is no number."""
        return str(self.one_of((*(v for v in reversed(self.values) if v not in self.numbers), *self.states)))

    def operand(self) -> str:
        """What a matrix multiplies: one value, or several side by side."""
        parts = [self.varying() for _ in range(self.one_of((1, 1, 1, 2, 3)))]
        return str(parts[0] if len(parts) == 1 else f"concat({', '.join(parts)})")

    def line(self, made: str) -> str:
        name = f"v{len(self.lines)}"
        self.lines.append(f"{name} = {made}")
        self.values.append(name)
        return name

    def pointwise(self) -> None:
        a, b, c = (self.value() for _ in range(3))
        template = self.one_of(POINTWISE)
        read = [value for key, value in (("{a}", a), ("{b}", b), ("{c}", c)) if key in template]
        name = self.line(template.format(a=a, b=b, c=c))
        if self.numbers.issuperset(read):
            self.numbers.add(name)

    def preactivation(self) -> None:
        """A share of the input, products, a vector: the sum of some of them, squashed, perhaps by a gate."""
        name = f"p{len(self.lines)}"
        terms = [f"x.{name}"] if self.yes() or not self.recurrent else []
        if self.recurrent:
            if not terms or self.yes():
                terms.append(f"{self.operand()} @ W.{name}")
                self.used.add("W")
            if self.one_of((False, False, True)):
                terms.append(f"{self.operand()} @ W_b.{name}")
                self.used.add("W_b")
            if self.one_of((False, False, True)):
                terms.append(f"{self.value()} * P.{name}")
                self.used.add("P")
        if self.one_of((False, False, True)):
            terms.append(self.value())
        total = " + ".join(terms)
        kind = self.one_of((*SQUASHED, "gate", "gate", "held", "candidate"))
        if kind in ("gate", "held"):
            self.used.add("gate")
            made = self.line(f"gate.{name}({total})")
            if kind == "held":
                self.held[name] = self.one_of((1.0, 0.0, 0.3))
                self.numbers.add(made)
        elif kind == "candidate" and "candidate" not in self.used:
            self.used.add("candidate")
            self.line(f"candidate({total})")
        else:
            self.line((kind if "{" in kind else "{}").format(total))

    def cell(self, returned: list[str]) -> RandomCell:
        signature = ", ".join(("x", *self.states))
        asked = [name for name in ("W", "W_b", "P", "gate", "candidate") if name in self.used]
        head = f"def random({signature}{', *, ' if asked else ''}{', '.join(asked)}):"
        text = "\n    ".join([head, *self.lines, f"return {', '.join(returned)}"])
        readout = self.one_of(("state", "candidate")) if "candidate" in self.used else "state"
        write_back = self.one_of((True, True, True, False))
        return RandomCell(text, self.held, readout, write_back, self.draw(st.integers(1, 2)))


@st.composite
def random_cells(draw: Any) -> RandomCell:
    """Products of states and of what was made of them, of several parts; vectors; a second matrix; any functions."""
    draft = Draft(draw, STATES[: draw(st.integers(1, 3))], recurrent=True)
    for _ in range(draw(st.integers(0, 9))):
        draft.one_of((draft.pointwise, draft.preactivation, draft.preactivation))()
    last = draft.line(draft.one_of(("tanh(x.last)", "x.last", "sigmoid(x.last)")))
    alone = draft.one_of((False, False, False, False, True))  # then much of what was made is not read
    made = last if alone else draft.line(f"0.3 * ({' + '.join(draft.values)})")
    returned = [draft.one_of(BOUNDED[:5]).format(a=made, b=draft.value(), old="h")]  # which reads the input
    returned += [draft.one_of(BOUNDED).format(a=draft.varying(), b=draft.value(), old=s) for s in draft.states[1:]]
    return draft.cell(returned)


FOUND = {
    "a slope that is kept, and what it is the negative of is not": RandomCell("""\
def random(x, h, c):
    v0 = x.p0
    v1 = -(v0 + v0)
    v2 = v1 * v1
    v3 = 0.3 * (v0 + v1 + v2 + x.last)
    return tanh(v3), sigmoid(v3) * c + (1 - sigmoid(v3)) * tanh(v2)"""),
    "a dead share of a state that nothing reads": RandomCell("""\
def random(x, h, c, *, W):
    v0 = x.p0 + concat(h, c) @ W.p0
    v1 = h @ W.p1 + c @ W.p2
    v2 = where(h > 0, c, h)
    return tanh(x.last + h @ W.last), sigmoid(x.last)"""),
    "a choice by a held gate": RandomCell(
        """\
def random(x, h, *, W, gate):
    v0 = gate.p0(x.p0)
    return where(v0 > 0.5, h, tanh(x.last + h @ W.last))""",
        held={"p0": 0.3},
    ),
    "a choice between numbers": RandomCell("""\
def random(x, h):
    v0 = where(h <= 0.1, 1.0, 0.3)
    return tanh(v0 + v0 + x.last)"""),
    "a slope of vectors alone": RandomCell("""\
def random(x, h, *, P):
    v0 = maximum(P.p0, 0.2) ** 2
    return tanh(x.last + h * v0)"""),
    "a coefficient, and the same one negative": RandomCell("""\
def random(x, h, c, *, W_b):
    v0 = tanh(concat(h, c) @ W_b.p0)
    return tanh(x.last), tanh(1 - (v0 + h))"""),
    "an operand of which one part needs no gradient": RandomCell(
        """\
def random(x, h, *, W):
    v0 = h @ W.p0
    return tanh(x.last + concat(h, v0 + v0) @ W.p1)""",
        write_back=False,
    ),
}
"""Cells that one engine or another had wrong at first."""
