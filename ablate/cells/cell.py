"""A recurrent cell is its equations: a function of one step, from which all else that is known of it follows.

    @cell(source="Cho et al. 2014, first version")
    def gru(x, h, *, W, gate, candidate):
        R = gate.reset(x.reset + h @ W.reset)
        Z = gate.update(x.update + h @ W.update)
        H_tilde = candidate(x.candidate + (R * h) @ W.candidate)
        return Z * h + (1 - Z) * H_tilde

x               what gates and candidate make of the input: `x.reset` is X W_x + b_x with the parameters of `reset`
h, c …          the states by name, zero at the start; the first is the output, and the function returns the new ones
W               matrices of products with a state, or with what is made of states: h W_h, with a bias of its own under
                bias_vectors=2. W_other is a further matrix of that name for each gate
P               vectors, a number for each unit: `c * P.input` is a peephole; P_other likewise
gate            σ, or the constant at which a model holds this gate, which then has no parameters and costs nothing.
                `gate.reset(a, relu)` has another function in the place of σ
candidate       the new content, φ of its argument: φ is the knob `activation`, and `readout` may choose it as output
reset           where the reset gate acts, "before" or "after" the product: the knob `reset`
name = default  a knob of the cell's own; its choices are those of a Literal

A new state that is None or a number is not carried, nor is one that nothing reads. The functions to write equations
with are those of `ablate.cells.functions`; other ones of torch's work, but are computed more slowly.
Loads no torch. Axes: … replicas and sequences, H hidden units.
"""

from __future__ import annotations

import dis
import inspect
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, Literal, get_args, get_origin, get_type_hints, overload

from ablate.cells.functions import ACTIVATIONS, Absent, sigmoid
from ablate.cells.structure import Structure, structure_of
from ablate.config.errors import ConfigError, check_function, listing, place
from ablate.config.registry import CELLS, TYPED, Knob
from ablate.config.resolved import Resolved

PROVIDED = ("gate", "candidate", "reset")
"""What equations may ask for by name, beside weights and knobs."""


@dataclass(frozen=True, eq=False)
class Cell:
    """A cell by its name. All facts but those that `cell` is told are found by calling the equations once."""

    name: str
    equations: Callable[..., Any]
    states: tuple[str, ...]
    """What is carried from step to step, by the names in the equations; the next layer reads the first."""
    weights: tuple[str, ...] = ()
    """W, P …: what the equations take of parameters beside the input's."""
    summary: str = ""
    source: str = ""
    """The paper, and which version of it."""
    knobs: tuple[Knob, ...] = ()
    takes: frozenset[str] = frozenset()
    """Which of `PROVIDED` the equations ask for."""
    forget_gate: str | None = None
    """The gate whose initial bias `forget_bias` sets: near 1 it keeps the state."""
    timescales: Mapping[str, int] = field(default_factory=dict)
    """The gates whose initial biases `forget_bias=chrono` draws: 1 for one that keeps the state near 1, −1 near 0."""
    torch_nn: str = ""
    """The module of torch.nn that computes the same, with the knobs at their defaults and no gate fixed."""
    torch_nn_knobs: Mapping[str, tuple[Any, ...]] = field(default_factory=dict)
    """Other values of its knobs that torch.nn has, too."""
    own_check: Callable[[Any], None] | None = None
    variants: dict[Any, Variant] = field(default_factory=dict, repr=False)
    """Those that were asked for."""

    def __call__(self, *arguments: Any, **keywords: Any) -> Any:
        """The equations themselves."""
        return self.equations(*arguments, **keywords)

    @cached_property
    def plain(self) -> Variant:
        """With no gate fixed and its knobs at their defaults."""
        return self._variant({}, {knob.name: knob.default for knob in self.knobs}, self._default_reset)

    @cached_property
    def gates(self) -> tuple[str, ...]:
        """What a model may hold at a constant, model.gates.NAME=: the gates under any choice of the knobs."""
        return tuple(dict.fromkeys(gate for variant in self._choices() for gate in variant.structure.gates))

    @property
    def preactivations(self) -> tuple[str, ...]:
        """The gates and the candidate, all that has weights on the input, in the order of the equations."""
        return self.plain.structure.preactivations

    @property
    def recurrent(self) -> bool:
        """Whether it has products with the state, and so weights W_h."""
        return any(weights == "W" for _, weights in self.plain.structure.matrices)

    @property
    def reset_gate(self) -> str | None:
        """The gate that `reset` applies before or after the product with the state."""
        return "reset" if "reset" in self.takes else None

    @property
    def has_candidate(self) -> bool:
        """Whether the equations name their new content, which `activation` squashes and `readout` may choose."""
        return "candidate" in self.takes

    @property
    def _default_reset(self) -> str | None:
        return "before" if self.reset_gate else None

    def variant(self, model: Any, reset: str | None = None) -> Variant:
        """As `model` (a ModelConfig) has it: its gates held, its knobs set."""
        own = {knob.name: getattr(model, knob.name, knob.default) for knob in self.knobs}
        return self._variant(model.gates, own, reset)

    def _variant(self, gates: Mapping[str, float], own: Mapping[str, Any], reset: str | None) -> Variant:
        key = (tuple(sorted(gates.items())), repr(sorted(own.items())), reset)
        if key not in self.variants:
            self.variants[key] = Variant(self, dict(gates), dict(own), reset)
        return self.variants[key]

    def _choices(self) -> Iterator[Variant]:
        """The plain variant, and one for each other choice of each knob."""
        yield self.plain
        usual = self.plain.own
        for knob in self.knobs:
            for choice in knob.choices or ((True, False) if knob.kind is bool else ()):
                if choice != knob.default:
                    yield self._variant({}, {**usual, knob.name: choice}, self._default_reset)

    def check(self, model: Any) -> None:
        """Raise ConfigError for values of a model that mean nothing together in this cell."""
        if model.readout == "candidate" and not self.has_candidate:
            what = f"model.readout is candidate, but a {self.name} has no candidate"
            raise ConfigError(f"{what}; use model.readout=state")
        if self.own_check is not None:
            self.own_check(model)
        there = self.variant(model, self._default_reset).structure.gates
        for gate in model.gates:
            if gate in self.gates and gate not in there:
                raise ConfigError(
                    f"model.gates.{gate} is {model.gates[gate]}, but a {self.name} with these knobs does without its "
                    f"{gate} gate; leave it out"
                )

    def beyond_torch_nn(self, model: Any) -> str:
        """What of a model torch.nn has not (a knob and its value), or an empty string; fixed gates apart."""
        if not self.torch_nn:
            return f"model.cell={self.name}"
        for knob in self.knobs:
            value = getattr(model, knob.name, knob.default)
            if value != knob.default and value not in self.torch_nn_knobs.get(knob.name, ()):
                return f"model.{knob.name}={str(value).lower() if isinstance(value, bool) else value}"
        return ""


class Gates:
    """`gate.reset`: σ, or for a fixed gate its constant. What was asked for is kept, in order."""

    def __init__(self, fixed: Mapping[str, float]) -> None:
        self._fixed = fixed

    def __getattr__(self, name: str) -> Callable[..., Any]:
        if name.startswith("__"):
            raise AttributeError(name)
        constant = self._fixed.get(name)
        function = _squashed if constant is None else lambda *_, **__: constant
        setattr(self, name, function)
        return function

    def __getitem__(self, name: str) -> Callable[..., Any]:
        return getattr(self, name)  # type: ignore[no-any-return]

    @property
    def _asked(self) -> tuple[str, ...]:
        return tuple(name for name in vars(self) if name != "_fixed")


def _squashed(argument: Any, function: Callable[[Any], Any] = sigmoid) -> Any:
    return function(argument)


class Variant:
    """A cell with some gates held at constants and its knobs at some values."""

    def __init__(self, cell: Cell, fixed: Mapping[str, float], own: Mapping[str, Any], reset: str | None) -> None:
        self.cell, self.fixed, self.own, self.reset = cell, fixed, own, reset
        self.gates = Gates(fixed)
        given = {"gate": self.gates, "reset": reset}
        self.keywords = {name: given[name] for name in given if name in cell.takes}
        self.keywords |= {name: value for name, value in own.items() if name != "activation" or not cell.has_candidate}
        self.activation = ACTIVATIONS[own["activation"]] if cell.has_candidate else None

    def __call__(self, x: Any, states: Sequence[Any], weights: Mapping[str, Any]) -> tuple[tuple[Any, ...], Any]:
        """One step by the equations → the new states, all that they return, and the candidate (else the output)."""
        if self.activation is None:
            new = self.cell.equations(x, *states, **weights, **self.keywords)
            new = new if isinstance(new, tuple) else (new,)
            return new, new[0]
        squash, noted = self.activation, []

        def candidate(argument: Any) -> Any:
            noted.append(squash(argument))
            return noted[-1]

        new = self.cell.equations(x, *states, **weights, **self.keywords, candidate=candidate)
        new = new if isinstance(new, tuple) else (new,)
        return new, noted[-1] if noted and not isinstance(noted[-1], float | int | Absent) else new[0]

    @cached_property
    def structure(self) -> Structure:
        """What the equations are made of. Raises ConfigError, one line, where they cannot be evaluated."""
        return structure_of(self)


def variant_of(config: Resolved) -> Variant:
    """The cell of a config, as its model has it."""
    cell: Cell = CELLS[config.model.cell]
    return cell.variant(config.model, config.reset)


def live_gates(config: Resolved) -> tuple[str, ...]:
    """The gates that have parameters, and the candidate: all but those fixed at a constant, or coupled to another."""
    return variant_of(config).structure.preactivations


@overload
def cell(function: Callable[..., Any], /) -> Cell: ...


@overload
def cell(
    *,
    name: str | None = ...,
    source: str = ...,
    activation: str = ...,
    knobs: Sequence[Knob] = ...,
    forget_gate: str | None = ...,
    timescales: Mapping[str, int] | None = ...,
    torch_nn: str = ...,
    torch_nn_knobs: Mapping[str, tuple[Any, ...]] | None = ...,
    check: Callable[[Any], None] | None = ...,
    register: bool = ...,
) -> Callable[[Callable[..., Any]], Cell]: ...


def cell(
    function: Callable[..., Any] | None = None,
    /,
    *,
    name: str | None = None,
    source: str = "",
    activation: str = "tanh",
    knobs: Sequence[Knob] = (),
    forget_gate: str | None = None,
    timescales: Mapping[str, int] | None = None,
    torch_nn: str = "",
    torch_nn_knobs: Mapping[str, tuple[Any, ...]] | None = None,
    check: Callable[[Any], None] | None = None,
    register: bool = True,
) -> Any:
    """Make a cell from equations (`docs/cells.md` says how to write them), and register it under the function's name.

    `activation` is the default φ of the candidate. `knobs` says more about a knob than the signature can. `forget_gate`
    is the gate whose bias `forget_bias` sets. `check` raises ConfigError for combinations of knobs without a meaning.
    Raises ConfigError, with file and line, for equations that cannot be evaluated.
    """

    def make(equations: Callable[..., Any]) -> Cell:
        check_function(equations, "cell")
        states, weights, takes, own = _read(equations)
        if "candidate" in takes:
            words = "what squashes the new content"
            own = [Knob("activation", str, activation, words, tuple(ACTIVATIONS), absent="tanh"), *own]
        told = {knob.name: knob for knob in knobs}
        scales = dict(timescales or ({forget_gate: 1} if forget_gate else {}))

        made = Cell(
            name or equations.__name__,
            equations,
            states,
            weights,
            (inspect.getdoc(equations) or "").partition("\n")[0].removesuffix("."),
            source,
            tuple(told.get(knob.name, knob) for knob in own),
            takes,
            forget_gate,
            scales,
            torch_nn,
            torch_nn_knobs or {},
            check,
        )
        gates = made.gates  # which evaluates the equations: a mistake in them is told here
        names = dict.fromkeys((*gates, *made.preactivations))
        if strange := [one for one in names if not (one.isascii() and one.isidentifier())]:
            what = "gate" if strange[0] in gates else "share of the input"
            raise ConfigError(
                f"cell {made.name}: its {what} cannot be called {strange[0]!r}; give it another name{TYPED}"
            )
        if forget_gate is not None and forget_gate not in gates:
            raise ConfigError(f"cell {made.name}: forget_gate is {forget_gate!r}, but its gates are {listing(gates)}")
        for gate, sign in scales.items():
            if gate not in gates or sign not in (1, -1):
                raise ConfigError(
                    f"cell {made.name}: timescales has {gate!r}: {sign!r}; write 1 or -1 for some of its gates, "
                    f"{listing(gates) or 'of which it has none'}"
                )
        return CELLS.add(made) if register else made

    return make if function is None else make(function)


def _read(equations: Callable[..., Any]) -> tuple[tuple[str, ...], tuple[str, ...], frozenset[str], list[Knob]]:
    """The signature: states, weights, what else is provided, and knobs. Raises ConfigError for what it cannot mean."""
    where = f"cell {equations.__name__} ({place(equations)})"
    parameters = list(inspect.signature(equations).parameters.values())
    positional = [p.name for p in parameters if p.kind is p.POSITIONAL_OR_KEYWORD or p.kind is p.POSITIONAL_ONLY]
    if len(positional) < 2:
        raise ConfigError(f"{where}: it takes {listing(positional) or 'nothing'}; write def NAME(x, h, *, W, gate)")
    weights, takes, own = [], set(), []
    hints = get_type_hints(equations) if any(p.default is not p.empty for p in parameters) else {}
    for p in parameters:
        if p.kind in (p.VAR_POSITIONAL, p.VAR_KEYWORD):
            raise ConfigError(f"{where}: it takes {p}; name each state, and each knob with its default")
        if p.kind is p.KEYWORD_ONLY and p.default is not p.empty:
            own.append(_knob(p.name, hints.get(p.name, type(p.default)), p.default))
        elif p.kind is p.KEYWORD_ONLY and p.name in PROVIDED:
            takes.add(p.name)
        elif p.kind is p.KEYWORD_ONLY and p.name in ("W_x", "W_h"):
            meant = "write W" if p.name == "W_h" else "x has the products with the input"
            raise ConfigError(f"{where}: it asks for {p.name}, by which a parameter of each gate is called; {meant}")
        elif p.kind is p.KEYWORD_ONLY and p.name[0] in "WP":
            weights.append(p.name)
        elif p.kind is p.KEYWORD_ONLY:
            known = listing(("W…", "P…", *PROVIDED))
            raise ConfigError(f"{where}: it asks for {p.name}; choose {known}, or give a knob a default")
        elif p.default is not p.empty:
            raise ConfigError(f"{where}: {p.name} has a default, but a state begins at zero; put knobs behind a *")
    read = _read_names(equations)
    for name in (*sorted(takes & {"candidate", "reset"}), *(knob.name for knob in own)):
        if name not in read:
            what = "has the knob" if name not in takes else "asks for"
            raise ConfigError(f"{where}: it {what} {name} but never uses it; leave it out of the signature")
    return tuple(positional[1:]), tuple(weights), frozenset(takes), own


def _read_names(equations: Callable[..., Any]) -> set[str]:
    """The names that a function reads anywhere in its body."""
    body = inspect.unwrap(equations).__code__
    found = [one.argval for one in dis.get_instructions(body) if "LOAD" in one.opname]
    return {name for one in found for name in (one if isinstance(one, tuple) else (one,)) if isinstance(name, str)}


def _knob(name: str, kind: Any, default: Any) -> Knob:
    choices = get_args(kind) if get_origin(kind) is Literal else ()
    return Knob(name, type(default) if choices else kind, default, choices=choices, absent=default)
