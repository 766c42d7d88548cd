"""What equations are made of: their parameters, states, gates and graph, found by evaluating them with stand-ins.

With the values of a trace, which loads no torch; where the equations do what cannot be traced, with small tensors.
Axes: … replicas and sequences, H hidden units.
"""

from __future__ import annotations

import traceback
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from ablate.cells.functions import ABSENT
from ablate.cells.trace import Branch, Graph, InPlace, Matrix, Names, Untraceable, Value
from ablate.config.errors import ConfigError, counted, listing, place

if TYPE_CHECKING:
    from ablate.cells.cell import Cell, Variant


def parameter(name: str, weights: str) -> str:
    """The name of a parameter by those of its pre-activation and its weights in the equations: W is W_h."""
    return f"{name}.{'W_h' if weights == 'W' else weights}"


@dataclass(frozen=True, eq=False)
class Structure:
    """The parameters and states of a variant, and its graph where its equations could be traced."""

    preactivations: tuple[str, ...]
    """What has parameters: neither fixed nor unused."""
    reads_input: frozenset[str]
    matrices: Mapping[tuple[str, str], int]
    """(pre-activation, weights) → rows, in units of H."""
    vectors: frozenset[tuple[str, str]]
    gates: tuple[str, ...]
    carried: tuple[int, ...]
    """Which of the cell's states are carried, by their numbers."""
    state_names: tuple[str, ...]
    graph: Graph | None = None
    new_states: tuple[Value, ...] = ()
    candidate: Value | None = None
    untraceable: str = ""
    """Why there is no graph: the operation, and its line."""

    def shapes(self, weights: Sequence[str], inputs: int, H: int, bias_vectors: int) -> dict[str, tuple[int, ...]]:
        """Name → shape of the parameters, in the order in which they are drawn."""
        out: dict[str, tuple[int, ...]] = {}
        for name in self.preactivations:
            product = self.matrices.get((name, "W"))
            if name in self.reads_input:
                out[f"{name}.W_x"] = (inputs, H)
            if product:
                out[f"{name}.W_h"] = (product * H, H)
            if name in self.reads_input:
                out[f"{name}.b_x"] = (H,)
            if product and bias_vectors == 2:
                out[f"{name}.b_h"] = (H,)
            for kind in weights:
                if (name, kind) in self.vectors:
                    out[f"{name}.{kind}"] = (H,)
                elif kind != "W" and (name, kind) in self.matrices:
                    out[f"{name}.{kind}"] = (self.matrices[name, kind] * H, H)
        return out


def structure_of(variant: Variant) -> Structure:
    """Raises ConfigError, one line, for equations that cannot be evaluated."""
    equations = variant.cell.equations
    try:
        return _traced(variant)
    except (Untraceable, TypeError) as error:  # TypeError: a function that knows tensors only; or a mistake, told then
        return _measured(variant, f"{error} ({_line(error, equations)})")
    except Exception as error:
        raise _mistake(variant.cell, error) from error


class _Notes:
    """What is asked for while equations are evaluated with stand-ins."""

    def __init__(self, variant: Variant) -> None:
        self.fixed = variant.fixed
        self.names: dict[str, None] = {}
        self.reads_input: set[str] = set()
        self.vectors: set[tuple[str, str]] = set()

    def unless_fixed(self, name: str, make: Callable[[], Any]) -> Any:
        if name in self.fixed:
            return ABSENT
        self.names[name] = None
        return make()

    def input(self, name: str, make: Callable[[], Any]) -> Any:
        if name not in self.fixed:
            self.reads_input.add(name)
        return self.unless_fixed(name, make)

    def vector(self, name: str, weights: str, make: Callable[[], Any]) -> Any:
        if name not in self.fixed:
            self.vectors.add((name, weights))
        return self.unless_fixed(name, make)


def _is_vector(weights: str) -> bool:
    return weights.startswith("P")


def _traced(variant: Variant) -> Structure:
    """Raises Untraceable."""
    cell = variant.cell
    carried = list(range(len(cell.states)))
    while True:
        graph, notes = Graph(evaluating=True), _Notes(variant)
        x = Names(_inputs(graph, notes))
        weights = {kind: _weights_of(kind, graph, notes) for kind in cell.weights}
        states = [graph.add("state", name=s) if k in carried else ABSENT for k, s in enumerate(cell.states)]
        new, candidate = variant(x, states, weights)
        graph.evaluating = False
        _check_new_states(variant, new, notes.reads_input)
        computed = [k for k in carried if isinstance(new[k], Value)]
        ends = [new[k] for k in computed] + ([candidate] if isinstance(candidate, Value) else [])
        read = {value.node.name for value in graph.reached(ends) if value.node.op == "state"}
        needed = [k for k in computed if k == 0 or cell.states[k] in read]
        if needed == carried:
            break
        carried = needed  # without the others, so that nothing is as wide as if they were there
    matrices = {(n.name, n.weights): v.node.width for n in graph.nodes if n.op == "product" for v in _values(n.of)}
    return Structure(
        tuple(notes.names),
        frozenset(notes.reads_input),
        matrices,
        frozenset(notes.vectors),
        variant.gates._asked,
        tuple(carried),
        tuple(cell.states[k] for k in carried),
        graph,
        tuple(new[k] for k in carried),
        candidate if isinstance(candidate, Value) else new[0],
    )


def _inputs(graph: Graph, notes: _Notes) -> Callable[[str], Any]:
    return lambda name: notes.input(name, lambda: graph.add("input", name=name))


def _weights_of(kind: str, graph: Graph, notes: _Notes) -> Names:
    if _is_vector(kind):
        return Names(lambda n: notes.vector(n, kind, lambda: graph.add("vector", name=n, weights=kind)))
    return Names(lambda n: notes.unless_fixed(n, lambda: Matrix(n, kind)))


def _values(of: Sequence[Any]) -> list[Value]:
    return [value for value in of if isinstance(value, Value)]


TO_NUMBERS = {"__bool__", "__float__", "__int__", "__index__", "__contains__", "item", "tolist", "numpy", "__array__"}
TO_NUMBERS |= {"is_nonzero", "equal", "allclose"}
"""What torch calls the functions that make numbers of a tensor's, or true or false."""


def _is_in_place(name: str) -> bool:
    """Whether a function of torch changes its tensor: `mul_`, which is also the name of `*=`, or `a[0] = b`."""
    return (name.endswith("_") and not name.endswith("__")) or name == "__setitem__"


MEASURED = (2, 3)
"""Sequences and hidden units of the tensors with which equations are evaluated that cannot be traced."""


def _measured(variant: Variant, why: str) -> Structure:
    """The facts of equations that cannot be traced: they are evaluated with small tensors."""
    import torch

    B, H = MEASURED
    cell, notes, rows = variant.cell, _Notes(variant), dict[tuple[str, str], int]()
    evaluating = True  # later, equations that remember something may have kept what stood in for a tensor

    class Measured:
        """In the place of a matrix: notes how many rows it must have."""

        def __init__(self, name: str, kind: str) -> None:
            self.key = (name, kind)

        @classmethod
        def __torch_function__(cls, function: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
            value, matrix = args
            if function not in (torch.Tensor.matmul, torch.matmul, torch.Tensor.__matmul__):
                raise TypeError(f"weights are for products, value @ W.{matrix.key[0]}")
            if not value.is_floating_point():
                raise ValueError(f"W.{matrix.key[0]} multiplies a comparison, a tensor of bool or of integers")
            rows[matrix.key] = value.shape[-1] // H
            return value.new_full((*value.shape[:-1], H), 0.5)

    class Stand(torch.Tensor):
        """In the place of a tensor: its numbers are nothing that equations may decide by."""

        @classmethod
        def __torch_function__(cls, function: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
            name = getattr(function, "__name__", "")
            if evaluating and name in TO_NUMBERS:
                raise Branch
            if evaluating and _is_in_place(name):
                raise InPlace
            return super().__torch_function__(function, types, args, kwargs)  # type: ignore[no-untyped-call]

    given: list[tuple[Any, int]] = []

    def stand(*shape: int) -> Any:
        made = torch.full(shape, 0.5).as_subclass(Stand)
        given.append((made, made._version))
        return made

    def weights_of(kind: str) -> Names:
        if _is_vector(kind):
            return Names(lambda name: notes.vector(name, kind, lambda: stand(H)))
        return Names(lambda name: notes.unless_fixed(name, lambda: Measured(name, kind)))

    x = Names(lambda name: notes.input(name, lambda: stand(B, H)))
    weights = {kind: weights_of(kind) for kind in cell.weights}
    new: Sequence[Any] = [stand(B, H)] * len(cell.states)
    for _ in range(2):  # the second time without the states that the first time has shown to be none
        states = [value if isinstance(value, torch.Tensor) else ABSENT for value in new]
        rows.clear()
        try:
            new, _candidate = variant(x, states, weights)
            if any(one._version != before for one, before in given):
                raise InPlace
        except Exception as error:
            raise _mistake(cell, error) from error
        _check_new_states(variant, new, notes.reads_input)
    evaluating = False
    return Structure(
        tuple(notes.names),
        frozenset(notes.reads_input),
        rows,
        frozenset(notes.vectors),
        variant.gates._asked,
        (carried := tuple(k for k, value in enumerate(new) if isinstance(value, torch.Tensor))),
        tuple(cell.states[k] for k in carried),
        untraceable=why,
    )


def _check_new_states(variant: Variant, new: Sequence[Any], reads_input: set[str]) -> None:
    cell = variant.cell
    where = f"cell {cell.name} ({place(cell.equations)})"
    if len(new) != len(cell.states):
        raise ConfigError(
            f"{where}: its equations return {counted(len(new), 'value')}, but its states are {listing(cell.states)}; "
            "return the new value of each, in this order"
        )
    for name, value in zip(cell.states, new, strict=True):
        if shape := _wrong_shape(value):
            raise ConfigError(f"{where}: the new {name} has shape {shape}; a state has a number for each unit, (…, H)")
    if not reads_input:
        given = f" with {listing(tuple(variant.fixed))} fixed" if variant.fixed else ""
        raise ConfigError(f"{where}: its equations read nothing of the input{given}; write x.NAME for a share of it")
    if new[0] is ABSENT:
        gates = listing(tuple(variant.fixed))
        raise ConfigError(
            f"{where}: with {gates} fixed its output has no value: x, W and P of that name go with the gate; use them "
            "in gate.NAME(…) alone, and others by another name"
        )
    if new[0] is None or isinstance(new[0], float | int):
        raise ConfigError(f"{where}: its output is {new[0]}; return the new {cell.states[0]} first")


def _wrong_shape(value: Any) -> str:
    """That of a new state, where it is not that of a state."""
    if isinstance(value, Value):
        return f"(…, {value.node.width}·H)" if value.node.width != 1 else ""
    shape = MEASURED if value is ABSENT else tuple(getattr(value, "shape", MEASURED))
    return "" if shape == MEASURED else f"{shape} where that of a state is {MEASURED}"


def _mistake(cell: Cell, error: Exception) -> ConfigError:
    if isinstance(error, ConfigError):
        return error
    line = _line(error, cell.equations)
    if isinstance(error, InPlace):
        return ConfigError(f"cell {cell.name} ({line}): {error}")
    if isinstance(error, Branch):
        return ConfigError(
            f"cell {cell.name} ({line}): its equations depend on a comparison of values, or make a Python number of "
            "one; use where(condition, a, b) of ablate.cells.functions, which chooses unit by unit"
        )
    said = f"{type(error).__name__}: {error}" if str(error) else type(error).__name__
    # What torch says of comparisons, and of what is none where it wants one.
    remedy = "; where(condition, a, b) of ablate.cells.functions makes numbers of one" if "bool" in said else ""
    return ConfigError(f"cell {cell.name}: {said} ({line}){remedy}")


def _line(error: Exception, function: Callable[..., Any]) -> str:
    """Where in the equations' file it happened."""
    frames = [f for f in traceback.extract_tb(error.__traceback__) if f.filename == function.__code__.co_filename]
    return f"{frames[-1].filename}:{frames[-1].lineno}" if frames else place(function)
