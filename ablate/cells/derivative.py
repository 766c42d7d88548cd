"""From a cell's graph, once: what every engine needs to take a step forward and back.

    lowered     values as wide as a state, biases of products explicit, constants folded
    derived     reverse-mode differentiation, what must be kept for it, and the order: stages with products between
    affine      a value as a sum of coefficients times others: what a scan over time and batched derivatives need

The way back is a graph of the same kind, in the same `Graph`. Its leaves are

    adjoint     the gradient that comes in at a value of the end: at the output, and at each new state
    back        the gradient at one part of an inner product's operand: Σ D Wᵀ over the products of a group

Loads no torch. Axes: … replicas and sequences, H hidden units.
"""

from __future__ import annotations

import operator
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache, partial

from ablate.cells.cell import variant_of
from ablate.cells.functions import NUMBERS
from ablate.cells.structure import Structure
from ablate.cells.trace import Graph, Node, Value
from ablate.config.schema import Config, resolve

End = Value | float
"""A value of the graph, or the number that it always is."""

ARITHMETIC: Mapping[str, Callable[..., float]] = {
    "add": operator.add,
    "sub": operator.sub,
    "mul": operator.mul,
    "div": operator.truediv,
    "neg": operator.neg,
    "gt": operator.gt,
    "lt": operator.lt,
    "ge": operator.ge,
    "le": operator.le,
}
CHEAP = frozenset((*ARITHMETIC, "where", "maximum", "minimum", "relu", "abs")) - {"div"}
"""What is computed again on the way back rather than kept, where its arguments are there."""


class Underivable(Exception):
    """What no derived engine computes. Autograd does."""


@dataclass(frozen=True)
class Group:
    """The products of one operand: of its parts, side by side, with one matrix after the other."""

    operand: tuple[int, ...]
    """Nodes, (H,) each."""
    products: tuple[int, ...]
    """Nodes of the results, (H,) each, in the order of the matrix's columns."""
    weights: tuple[tuple[str, str], ...]
    """(pre-activation, weights) of each."""
    recurrent: bool
    """Whether the operand is old states alone: then the products can be taken before the step, together."""


@dataclass(frozen=True)
class Stage:
    """A part of a step: some products, then pointwise functions of what is there."""

    groups: tuple[int, ...]
    """The numbers of the groups: forward those whose products are taken; on the way back those whose operand's
    gradient is."""
    values: tuple[int, ...]
    """Nodes, in the order in which they are computed."""


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


# ---- lowering ----------------------------------------------------------------------------------------------------


def made(graph: Graph, op: str, *of: End) -> End:
    """The value of a node, or what is known of it beforehand: numbers folded, nothing added, multiplied by one."""
    if not any(isinstance(value, Value) for value in of):
        function = ARITHMETIC.get(op) or NUMBERS[op]
        return float(function(*of))
    if op in ("add", "sub", "mul", "div"):
        return _made_of_two(graph, op, *of)
    if op == "neg" and isinstance(of[0], Value) and of[0].node.op == "neg":
        return of[0].node.of[0]
    if op == "where" and (not isinstance(of[0], Value) or _same(of[1], of[2])):
        return of[1] if isinstance(of[0], Value) or of[0] else of[2]
    return graph.add(op, *of)


def _made_of_two(graph: Graph, op: str, a: End, b: End) -> End:
    if op == "add":
        if a == 0.0 or b == 0.0:
            return b if a == 0.0 else a
        if isinstance(b, Value) and b.node.op == "neg":
            return made(graph, "sub", a, b.node.of[0])
        if isinstance(a, Value) and a.node.op == "neg":
            return made(graph, "sub", b, a.node.of[0])
    elif op == "sub":
        if b == 0.0:
            return a
        if a == 0.0:
            return made(graph, "neg", b)
    elif op == "mul":
        if a == 0.0 or b == 0.0:
            return 0.0
        if a == 1.0 or b == 1.0:
            return b if a == 1.0 else a
    elif b == 1.0 or a == 0.0:
        return a
    return graph.add(op, a, b)


def _same(a: End, b: End) -> bool:
    return a == b if not (isinstance(a, Value) and isinstance(b, Value)) else a.index == b.index


def lowered(structure: Structure, bias_vectors: int, ends: Sequence[Value]) -> tuple[Graph, list[End], frozenset[str]]:
    """The graph anew, and what its ends have become: every value as wide as a state, b_h as a vector of its own.

    Third, the pre-activations whose b_h is left out, since it is simply added to the share of the input.
    """
    old, graph = structure.graph, Graph()
    assert old is not None
    order = [value.index for value in old.reached(list(ends))]
    folded = _folded(old.nodes, order, ends)
    now: dict[int, tuple[End, ...]] = {}

    def parts(of: Value | float, width: int) -> tuple[End, ...]:
        return now[of.index] if isinstance(of, Value) else (float(of),) * width

    for index in order:
        node = old.nodes[index]
        if node.op in ("state", "input", "vector"):
            now[index] = (graph.add(node.op, name=node.name, weights=node.weights),)
        elif node.op == "concat":
            now[index] = tuple(part for of in node.of for part in parts(of, 1))
        elif node.op == "product":
            operand = parts(node.of[0], 1)
            if all(isinstance(part, Value) for part in operand):
                value: End = graph.add("product", *operand, name=node.name, weights=node.weights)
            elif any(part != 0.0 for part in operand):
                raise Underivable(f"a product of a number with {node.weights}.{node.name}")
            else:
                value = 0.0
            if bias_vectors == 2 and node.weights == "W" and node.name not in folded:
                value = made(graph, "add", value, graph.add("vector", name=node.name, weights="b_h"))
            now[index] = (value,)
        else:
            columns = zip(*(parts(of, node.width) for of in node.of), strict=True)
            now[index] = tuple(made(graph, node.op, *of) for of in columns)
    return graph, [now[end.index][0] for end in ends], folded


def _folded(nodes: Sequence[Node], order: Sequence[int], ends: Sequence[Value]) -> frozenset[str]:
    """The pre-activations whose product is a term of the same sum as the share of the input, and used there alone."""
    users: dict[int, list[int | None]] = {index: [] for index in order}
    for index in order:
        for of in nodes[index].of:
            if isinstance(of, Value):
                users[of.index].append(index)
    for end in ends:
        users[end.index].append(None)

    def sum_of(index: int) -> int | None:
        """The outermost sum of which a value is a term, if it is used there alone."""
        top = None
        while len(users[index]) == 1 and (user := users[index][0]) is not None and nodes[user].op == "add":
            top = index = user
        return top

    inputs = {nodes[index].name: sum_of(index) for index in order if nodes[index].op == "input"}
    products = [index for index in order if nodes[index].op == "product" and nodes[index].weights == "W"]
    names = [nodes[index].name for index in products]
    return frozenset(
        nodes[index].name
        for index in products
        if sum_of(index) is not None
        and sum_of(index) == inputs.get(nodes[index].name)
        and names.count(nodes[index].name) == 1
    )


# ---- differentiation ---------------------------------------------------------------------------------------------


def local_gradients(graph: Graph, y: Value, g: End) -> list[End]:
    """What reaches each argument of a pointwise node y, of the gradient g at it. At kinks as torch has it."""

    def op(name: str, *of: End) -> End:
        return made(graph, name, *of)

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


def derivative_of(config: Config) -> Derived:
    """Of the cell of a config, as its model has it. Raises Underivable."""
    model = config.model
    return derived(variant_of(config).structure, model.readout, model.write_back, resolve(config).bias_vectors or 1)


def why_underivable(config: Config) -> str:
    """Why the cell of a config has no derivative here, with the operation and its line; empty where it has one."""
    try:
        derivative_of(config)
    except Underivable as error:
        return str(error)
    return ""


@lru_cache(1024)
def derived(structure: Structure, readout: str, write_back: bool, bias_vectors: int) -> Derived:
    """A step of the cell and its derivative.

    Raises Underivable for equations that could not be traced, or in which a matrix multiplies two different values.
    """
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
    order = _order(graph, [output, *new])
    groups = _groups(nodes, order, set(states))

    d_output = graph.add("adjoint", name="output")
    d_states = [graph.add("adjoint", name=name) for name in structure.state_names]
    at_ends = [(output, d_output), *(zip(new, d_states, strict=True) if write_back else ())]
    gradient, backs = _differentiated(graph, order, groups, at_ends)

    def at(index: int) -> End:
        return gradient.get(index, 0.0)

    d_products = {product: at(product) for group in groups for product in group.products}
    inputs = {nodes[index].name: index for index in order if nodes[index].op == "input"}
    groups = tuple(_arranged(nodes, group, d_products, inputs, gradient) for group in groups)
    inputs = _with_products_first(nodes, inputs, groups, d_products, gradient)
    d_inputs = {name: at(index) for name, index in inputs.items()}
    vectors = {(nodes[i].name, nodes[i].weights): i for i in order if nodes[i].op == "vector"}
    d_vectors = {key: at(index) for key, index in vectors.items()}
    carried = tuple(at(state) if write_back else 0.0 for state in states)

    back_ends = [*d_products.values(), *d_inputs.values(), *d_vectors.values(), *carried]
    own = set(order)
    back_order = [index for index in _order(graph, back_ends) if index not in own]
    forward = _forward_stages(nodes, order, groups)
    free = {*states, *vectors.values(), *(_index(end) for end in new)}
    read = {i for index in back_order for i in _arguments(nodes[index])} | {_index(end) for end in back_ends}
    crossing = _crossing(nodes, forward)
    kept = crossing | _kept(nodes, [index for index in order if index in read], free | crossing)
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
        tuple(at(_index(end)) for end in new),
        backs,
        d_inputs,
        d_products,
        d_vectors,
        carried,
        _backward_stages(nodes, order, back_order, kept | free, backs),
        _scan(graph, states, new, order) if write_back else None,
    )


def _differentiated(
    graph: Graph, order: Sequence[int], groups: Sequence[Group], at_ends: Iterable[tuple[End, Value]]
) -> tuple[dict[int, End], dict[int, tuple[int, ...]]]:
    """The gradient at each node that any reaches, and the leaves of what comes back through inner products."""
    gradient: dict[int, End] = {}

    def receive(value: End, g: End) -> None:
        if isinstance(value, Value) and g != 0.0:
            gradient[value.index] = made(graph, "add", gradient.get(value.index, 0.0), g)

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


# ---- what is multiplied, and in which order ----------------------------------------------------------------------


def _order(graph: Graph, ends: Iterable[End]) -> list[int]:
    """What these are made of, in the order in which it is computed."""
    return [value.index for value in graph.reached([end for end in ends if isinstance(end, Value)])]


def _index(end: End) -> int:
    """Of a number, none."""
    return end.index if isinstance(end, Value) else -1


def _arguments(node: Node) -> list[int]:
    return [of.index for of in node.of if isinstance(of, Value)]


def _groups(nodes: Sequence[Node], order: Sequence[int], states: set[int]) -> tuple[Group, ...]:
    products = [index for index in order if nodes[index].op == "product"]
    weights = [(nodes[index].name, nodes[index].weights) for index in products]
    for name, kind in weights:
        if weights.count((name, kind)) > 1:
            raise Underivable(f"{kind}.{name} multiplies two different values")
    by_operand: dict[tuple[int, ...], list[int]] = {}
    for index in products:
        by_operand.setdefault(tuple(_arguments(nodes[index])), []).append(index)
    return tuple(
        Group(
            operand,
            tuple(of_it),
            tuple((nodes[index].name, nodes[index].weights) for index in of_it),
            set(operand) <= states,
        )
        for operand, of_it in by_operand.items()
    )


def _arranged(
    nodes: Sequence[Node],
    group: Group,
    d_products: Mapping[int, End],
    inputs: Mapping[str, int],
    gradient: Mapping[int, End],
) -> Group:
    """The group with those products last whose gradient is that of a share of the input, too: these by their function.

    What goes through the same function lies side by side then.
    """
    functions = {of: node.op for node in nodes for of in _arguments(node) if node.op in NUMBERS}
    sums = {of: at for at, node in enumerate(nodes) for of in _arguments(node) if node.op == "add"}

    def function(product: int) -> str:
        while product in sums and product not in functions:
            product = sums[product]
        return functions.get(product, "")

    def place(product: int) -> tuple[bool, str]:
        shared = _shared(nodes, product, d_products, inputs, gradient)
        return shared, function(product) if shared else ""

    order = sorted(group.products, key=place)
    return Group(group.operand, tuple(order), tuple((nodes[i].name, nodes[i].weights) for i in order), group.recurrent)


def _shared(
    nodes: Sequence[Node],
    product: int,
    d_products: Mapping[int, End],
    inputs: Mapping[str, int],
    gradient: Mapping[int, End],
) -> bool:
    """Whether the gradient at a product is that of the input's share of its pre-activation."""
    own = gradient.get(inputs.get(nodes[product].name, -1), 0.0)
    return isinstance(own, Value) and _index(d_products[product]) == own.index


def _with_products_first(
    nodes: Sequence[Node],
    inputs: Mapping[str, int],
    groups: Sequence[Group],
    d_products: Mapping[int, End],
    gradient: Mapping[int, End],
) -> dict[str, int]:
    """The shares of the input in the order of the products whose gradient is theirs, then the others."""
    shared = [
        nodes[product].name
        for group in groups
        for product in group.products
        if _shared(nodes, product, d_products, inputs, gradient)
    ]
    names = dict.fromkeys([*shared, *inputs])
    return {name: inputs[name] for name in names}


def _forward_stages(nodes: Sequence[Node], order: Sequence[int], groups: Sequence[Group]) -> tuple[Stage, ...]:
    """Every value as early as can be, but before the first products only what these need."""
    level: dict[int, int] = {}
    for index in order:
        of = max((level[i] for i in _arguments(nodes[index])), default=0)
        level[index] = of + 1 if nodes[index].op == "product" else of
    count = max(level.values(), default=0)
    if count:
        first = [index for group in groups if level[group.products[0]] == 1 for index in group.operand]
        needed = set(first)
        for index in reversed(order):
            if index in needed:
                needed.update(_arguments(nodes[index]))
        level = {index: max(at, 0 if index in needed else 1) for index, at in level.items()}
    _sink(nodes, order, level)
    stages = [
        Stage(
            tuple(number for number, group in enumerate(groups) if level[group.products[0]] == at and at > 0),
            tuple(index for index in order if level[index] == at and nodes[index].op not in LEAVES),
        )
        for at in range(count + 1)
    ]
    return tuple(stage for stage in stages if stage.groups or stage.values)


LEAVES = ("state", "input", "vector", "product", "adjoint", "back")


def _sink(nodes: Sequence[Node], order: Sequence[int], level: dict[int, int]) -> None:
    """Move what is cheap to the stage that reads it, where that makes nothing else wait there."""
    at_hand: set[int] = set()  # what any stage may read: leaves, what is kept, and what is cheap to make of these
    for index in order:
        op = nodes[index].op
        cheap = op in CHEAP and at_hand.issuperset(_arguments(nodes[index]))
        if op in LEAVES[:3] or cheap or op not in (*CHEAP, "product"):
            at_hand.add(index)
    first_use: dict[int, int] = {}
    for index in reversed(order):
        node = nodes[index]
        if node.op in CHEAP and index in first_use and at_hand.issuperset(_arguments(node)):
            level[index] = first_use[index]
        for of in _arguments(node):
            use = level[index] - (node.op == "product")
            first_use[of] = min(first_use.get(of, use), use)


def _crossing(nodes: Sequence[Node], stages: Sequence[Stage]) -> set[int]:
    """Values of one stage that a later one reads, beside what it multiplies."""
    at = {index: number for number, stage in enumerate(stages) for index in stage.values}
    return {
        of
        for number, stage in enumerate(stages)
        for index in stage.values
        for of in _arguments(nodes[index])
        if at.get(of, number) < number
    }


def _kept(nodes: Sequence[Node], read: Sequence[int], free: set[int]) -> set[int]:
    """Of the forward values that the way back reads, those that it does not compute again from others."""
    kept = {index for index in read if index not in free and nodes[index].op not in CHEAP}
    there = kept | free
    for index in read:
        if index not in there:
            if not set(_arguments(nodes[index])) <= there:
                kept.add(index)
            there.add(index)
    return kept


def _backward_stages(
    nodes: Sequence[Node],
    order: Sequence[int],
    back_order: Sequence[int],
    there: set[int],
    backs: Mapping[int, Sequence[int]],
) -> tuple[Stage, ...]:
    """What depends on no gradient, and is not kept of the way forward, is computed in each stage that needs it."""
    level: dict[int, int] = {}
    for index in back_order:
        above = [level[i] for i in _arguments(nodes[index]) if i in level]
        if nodes[index].op in ("adjoint", "back") or above:
            level[index] = max(above, default=0) + (nodes[index].op == "back")
    own = {*order, *back_order}
    stages = []
    for at in range(max(level.values(), default=0) + 1):
        values = {index for index, of in level.items() if of == at and nodes[index].op not in LEAVES}
        missing = list(values)
        while missing:
            read = {i for i in _arguments(nodes[missing.pop()]) if i in own and i not in level} - there - values
            values |= read
            missing += read
        numbers = tuple(number for number, leaves in backs.items() if level.get(leaves[0]) == at)
        stages.append(Stage(numbers, tuple(sorted(values))))  # a node's arguments have lower numbers
    return tuple(stages)


# ---- sums of coefficients times values ---------------------------------------------------------------------------


def affine(graph: Graph, end: End, leaves: Iterable[int]) -> tuple[dict[int, End], End] | None:
    """Coefficients of the leaves and the rest, end = Σ coefficient ⊙ leaf + rest; None where it is no such sum.

    The coefficients may still read a leaf: whoever needs them not to asks for it.
    """
    wanted = set(leaves)
    if not isinstance(end, Value):
        return {}, end
    depends = _dependent(graph, end, wanted)
    known: dict[int, tuple[dict[int, End], End]] = {}

    def of(value: End) -> tuple[dict[int, End], End]:
        if not isinstance(value, Value) or value.index not in depends:
            return {}, value
        return known[value.index]

    def each(function: Callable[[End], End], sums: tuple[dict[int, End], End]) -> tuple[dict[int, End], End]:
        return {leaf: function(c) for leaf, c in sums[0].items()}, function(sums[1])

    for value in graph.reached([end]):
        index, node = value.index, value.node
        if index not in depends:
            continue
        if index in wanted:
            known[index] = {index: 1.0}, 0.0
            continue
        a, b = (*node.of, 0.0, 0.0)[:2]
        if node.op in ("add", "sub"):
            (p, r), (q, s) = of(a), of(b)
            both = {leaf: made(graph, node.op, p.get(leaf, 0.0), q.get(leaf, 0.0)) for leaf in (*p, *q)}
            known[index] = both, made(graph, node.op, r, s)
        elif node.op == "neg":
            known[index] = each(partial(made, graph, "neg"), of(a))
        elif node.op == "mul" and (_index(a) in depends) != (_index(b) in depends):
            linear, factor = (a, b) if _index(a) in depends else (b, a)
            known[index] = each(_times(graph, "mul", factor), of(linear))
        elif node.op == "div" and _index(b) not in depends:
            known[index] = each(_times(graph, "div", b), of(a))
        elif node.op == "where" and _index(node.of[0]) not in depends:
            condition, (p, r), (q, s) = node.of[0], of(node.of[1]), of(node.of[2])
            both = {leaf: made(graph, "where", condition, p.get(leaf, 0.0), q.get(leaf, 0.0)) for leaf in (*p, *q)}
            known[index] = both, made(graph, "where", condition, r, s)
        else:
            return None
    return of(end)


def _times(graph: Graph, op: str, factor: End) -> Callable[[End], End]:
    """What multiplies, or divides, by a factor."""
    return lambda c: made(graph, op, c, factor)


def _dependent(graph: Graph, end: Value, leaves: set[int]) -> set[int]:
    """The nodes below `end` that a leaf reaches."""
    out: set[int] = set()
    for value in graph.reached([end]):
        if value.index in leaves or any(of in out for of in _arguments(value.node)):
            out.add(value.index)
    return out


def _scan(
    graph: Graph, states: Sequence[int], new: Sequence[End], order: Sequence[int]
) -> tuple[tuple[End, End], ...] | None:
    """(a, b) of each state, where every state that is read goes on by a ⊙ old + b, with a and b of the input alone."""
    if any(graph.nodes[index].op == "product" for index in order):
        return None
    out: list[tuple[End, End]] = []
    for state, end in zip(states, new, strict=True):
        if not any(state in _arguments(graph.nodes[index]) for index in order) and _index(end) != state:
            out.append((0.0, end))  # nothing reads it: it is computed after the scan, of what was scanned
            continue
        sums = affine(graph, end, [state])
        if sums is None:
            return None
        a, b = sums[0].get(state, 0.0), sums[1]
        if any(isinstance(v, Value) and _dependent(graph, v, set(states)) for v in (a, b)):
            return None
        out.append((a, b))
    return tuple(out)
