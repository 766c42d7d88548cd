"""From a cell's graph, once: what every engine needs to take a step forward and back, by reverse mode.

    lowering    the graph before it is differentiated
    stages      the order in which both ways are computed, and what is kept between them
    affine      gradients as sums, and linear recurrences

The way back is a graph of the same kind, in the same `Graph`. Its leaves are

    adjoint     the gradient that comes in at a value of the end: at the output, and at each new state
    back        the gradient at one part of an inner product's operand: Σ D Wᵀ over the products of a group

Loads no torch. Axes: … replicas and sequences, H hidden units.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache

from ablate.cells.affine import scan_of
from ablate.cells.cell import variant_of
from ablate.cells.lowering import End, Underivable, arguments_of, index_of, lowered, order_of, simplified
from ablate.cells.stages import (
    Group,
    Stage,
    arranged,
    backward_stages,
    crossing_stages,
    forward_stages,
    groups_of,
    kept_of,
    with_products_first,
)
from ablate.cells.structure import Structure
from ablate.cells.trace import Graph, Node, Value
from ablate.config.resolved import Resolved


@dataclass(frozen=True, eq=False)
class Derived:
    """One step of a cell, forward and back. Numbers are those of the nodes of `graph`."""

    graph: Graph
    inputs: Mapping[str, int]
    """Pre-activation → the node of its share of the input, in the order in which they are laid out."""
    states: tuple[int, ...]
    """The old states that are carried."""
    vectors: Mapping[tuple[str, str], int]
    """(pre-activation, weights) → a number for each unit; weights b_h for the bias of a product of its own."""
    folded: frozenset[str]
    """Pre-activations whose bias b_h is simply added to b_x: it belongs to the share of the input."""
    groups: tuple[Group, ...]
    new_states: tuple[End, ...]
    output: End
    forward: tuple[Stage, ...]
    kept: tuple[int, ...]
    """What the way back reads of the way forward beside states and vectors; the rest it computes again."""

    d_output: int
    d_states: tuple[int, ...]
    """The leaves: what comes in at the output, and at each new state from the steps after it."""
    totals: tuple[End, ...]
    """The whole gradient at each new state: with what comes through the output and through other states."""
    backs: Mapping[int, tuple[int, ...]]
    """The number of an inner group → the leaves, one for each part of its operand."""
    d_inputs: Mapping[str, End]
    d_products: Mapping[int, End]
    """Of each product's node the gradient, D: dW = Σ operandᵀ D."""
    d_vectors: Mapping[tuple[str, str], End]
    """The gradient at each vector, to be summed over steps and sequences."""
    carried: tuple[End, ...]
    """What reaches each old state, past the products of recurrent groups."""
    backward: tuple[Stage, ...]
    scan: tuple[tuple[End, End], ...] | None
    """(a, b) of each state, new = a ⊙ old + b, where neither reads any state: the steps can be taken in parallel."""

    def node(self, index: int) -> Node:
        return self.graph.nodes[index]


def local_gradients(graph: Graph, y: Value, g: End) -> list[End]:
    """What reaches each argument of a pointwise node y, of the gradient g at it. At kinks as torch has it."""

    def op(name: str, *of: End) -> End:
        return simplified(graph, name, *of)

    node = y.node
    a, b = (*node.of, 0.0, 0.0)[:2]
    match node.op:
        case "add":
            return [g, g]
        case "sub":
            return [g, op("neg", g)]
        case "mul":
            return [op("mul", g, b), op("mul", g, a)]
        case "div":
            share = op("div", g, b)
            return [share, op("neg", op("mul", share, y))]
        case "neg":
            return [op("neg", g)]
        case "sigmoid":
            return [op("mul", g, op("mul", y, op("sub", 1.0, y)))]
        case "tanh":
            return [op("mul", g, op("sub", 1.0, op("mul", y, y)))]
        case "relu":
            return [op("where", op("gt", y, 0.0), g, 0.0)]
        case "exp":
            return [op("mul", g, y)]
        case "log":
            return [op("div", g, a)]
        case "sqrt":
            return [op("div", op("mul", g, 0.5), y)]
        case "abs":
            return [op("where", op("gt", a, 0.0), g, op("where", op("lt", a, 0.0), op("neg", g), 0.0))]
        case "softplus":
            return [op("mul", g, op("sigmoid", a))]
        case "maximum" | "minimum":  # where both are equal, torch gives each a half
            more, less = (a, b) if node.op == "maximum" else (b, a)
            half = op("mul", g, 0.5)
            first = op("where", op("gt", more, less), g, op("where", op("lt", more, less), 0.0, half))
            second = op("where", op("gt", more, less), 0.0, op("where", op("lt", more, less), g, half))
            return [first, second]
        case "where":
            _, a, b = node.of
            return [0.0, op("where", node.of[0], g, 0.0), op("where", node.of[0], 0.0, g)]
        case "gt" | "lt" | "ge" | "le":
            return [0.0, 0.0]
    raise Underivable(f"the function {node.op}")


def derivative_of(config: Resolved) -> Derived:
    """Of the cell of a config, as its model has it. Raises Underivable."""
    model = config.model
    return derived(variant_of(config).structure, model.readout, model.write_back, config.bias_vectors)


def why_underivable(config: Resolved) -> str:
    """Why the cell of a config has no derivative here, with the operation and its line; empty where it has one."""
    try:
        derivative_of(config)
    except Underivable as error:
        return str(error)
    return ""


def derived(structure: Structure, readout: str, write_back: bool, bias_vectors: int) -> Derived:
    """A step of the cell and its derivative.

    Raises Underivable for equations that could not be traced, or in which a matrix multiplies two different values.
    """
    found = derived_or_why_not(structure, readout, write_back, bias_vectors)
    if isinstance(found, str):
        raise Underivable(found)
    return found


@lru_cache(1024)
def derived_or_why_not(structure: Structure, readout: str, write_back: bool, bias_vectors: int) -> Derived | str:
    """As `derived`; where there is none, the reason. Either is found once."""
    try:
        return _derived(structure, readout, write_back, bias_vectors)
    except Underivable as error:
        return str(error)


def _derived(structure: Structure, readout: str, write_back: bool, bias_vectors: int) -> Derived:
    if structure.graph is None:
        raise Underivable(structure.untraceable)
    assert structure.candidate is not None
    ends = [structure.candidate if readout == "candidate" else structure.new_states[0]]
    ends += structure.new_states if write_back else []
    graph, (output, *new), folded = lowered(structure, bias_vectors, ends)
    nodes = graph.nodes
    states = tuple(graph.add("state", name=name).index for name in structure.state_names)
    if not write_back:  # each step starts anew from the states before the first
        new = [Value(graph, state) for state in states]
    order = order_of(graph, [output, *new])
    groups = groups_of(nodes, order, set(states))

    d_output = graph.add("adjoint", name="output")
    d_states = [graph.add("adjoint", name=name) for name in structure.state_names]
    at_ends = [(output, d_output), *(zip(new, d_states, strict=True) if write_back else ())]
    gradient, backs = _differentiated(graph, order, groups, at_ends)

    def at(index: int) -> End:
        return gradient.get(index, 0.0)

    d_products = {product: at(product) for group in groups for product in group.products}
    inputs = {nodes[index].name: index for index in order if nodes[index].op == "input"}
    d_shares = {name: index_of(at(index)) for name, index in inputs.items()}
    # The products whose gradient is that of the input's share of their pre-activation.
    shared = [p for p, d in d_products.items() if isinstance(d, Value) and d.index == d_shares.get(nodes[p].name)]
    groups = tuple(arranged(nodes, group, shared) for group in groups)
    inputs = with_products_first(nodes, inputs, groups, shared)
    d_inputs = {name: at(index) for name, index in inputs.items()}
    vectors = {(nodes[i].name, nodes[i].weights): i for i in order if nodes[i].op == "vector"}
    d_vectors = {key: at(index) for key, index in vectors.items()}
    carried = tuple(at(state) if write_back else 0.0 for state in states)

    back_ends = [*d_products.values(), *d_inputs.values(), *d_vectors.values(), *carried]
    own = set(order)
    back_order = [index for index in order_of(graph, back_ends) if index not in own]
    forward = forward_stages(nodes, order, groups)
    free = {*states, *vectors.values(), *(index_of(end) for end in new)}
    read = {i for index in back_order for i in arguments_of(nodes[index])} | {index_of(end) for end in back_ends}
    crossing = crossing_stages(nodes, forward)
    kept = crossing | kept_of(nodes, [index for index in order if index in read], free | crossing)
    return Derived(
        graph,
        inputs,
        states,
        vectors,
        folded,
        groups,
        tuple(new),
        output,
        forward,
        tuple(sorted(kept)),
        d_output.index,
        tuple(d.index for d in d_states),
        tuple(at(index_of(end)) for end in new),
        backs,
        d_inputs,
        d_products,
        d_vectors,
        carried,
        backward_stages(nodes, order, back_order, kept | free, backs),
        scan_of(graph, states, new, order) if write_back else None,
    )


def _differentiated(
    graph: Graph, order: Sequence[int], groups: Sequence[Group], at_ends: Iterable[tuple[End, Value]]
) -> tuple[dict[int, End], dict[int, tuple[int, ...]]]:
    """The gradient at each node that any reaches, and the leaves of what comes back through inner products."""
    gradient: dict[int, End] = {}

    def receive(value: End, g: End) -> None:
        if isinstance(value, Value) and g != 0.0:
            gradient[value.index] = simplified(graph, "add", gradient.get(value.index, 0.0), g)

    for end, leaf in at_ends:
        receive(end, leaf)
    first = {min(group.products): number for number, group in enumerate(groups) if not group.recurrent}
    backs: dict[int, tuple[int, ...]] = {}
    for index in reversed(order):
        y = Value(graph, index)
        if index in first:  # by now the gradient at each product of the group is complete
            group, number = groups[first[index]], first[index]
            D = [gradient.get(product, 0.0) for product in group.products]
            if any(isinstance(d, Value) for d in D):
                parts = range(len(group.operand))
                leaves = [graph.add("back", *D, name=str(number), weights=str(part)) for part in parts]
                backs[number] = tuple(leaf.index for leaf in leaves)
                for part, leaf in zip(group.operand, leaves, strict=True):
                    receive(Value(graph, part), leaf)
        elif index in gradient and y.node.op not in ("state", "input", "vector", "product"):
            for of, g in zip(y.node.of, local_gradients(graph, y, gradient[index]), strict=False):
                receive(of, g)
    return gradient, backs
