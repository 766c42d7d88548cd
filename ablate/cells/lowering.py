"""The graph of a cell as engines want it: values as wide as a state, biases of products explicit, constants folded.

Loads no torch. Axes: … replicas and sequences, H hidden units.
"""

from __future__ import annotations

import operator
from collections.abc import Callable, Iterable, Mapping, Sequence

from ablate.cells.functions import NUMBERS
from ablate.cells.structure import Structure
from ablate.cells.trace import Graph, Node, Value

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


class Underivable(Exception):
    """What no derived engine computes. Autograd does."""


def order_of(graph: Graph, ends: Iterable[End]) -> list[int]:
    """What these are made of, in the order in which it is computed."""
    return [value.index for value in graph.reached([end for end in ends if isinstance(end, Value)])]


def index_of(end: End) -> int:
    """Of a number, none."""
    return end.index if isinstance(end, Value) else -1


def arguments_of(node: Node) -> list[int]:
    """The nodes that a node is computed of."""
    return [of.index for of in node.of if isinstance(of, Value)]


def simplified(graph: Graph, op: str, *of: End) -> End:
    """The value of a node, or what is known of it beforehand: numbers folded, nothing added, multiplied by one."""
    if not any(isinstance(value, Value) for value in of):
        function = ARITHMETIC.get(op) or NUMBERS[op]
        try:
            return float(function(*of))
        except (ArithmeticError, ValueError) as error:  # where a tensor would hold what is infinite, or no number
            raise Underivable(f"{op} of {' and '.join(map(str, of))}, which is no number") from error
    if op in ("add", "sub", "mul", "div"):
        return _simplified_of_two(graph, op, *of)
    if op == "neg" and isinstance(of[0], Value) and of[0].node.op == "neg":
        return of[0].node.of[0]
    if op == "where" and (not isinstance(of[0], Value) or _same(of[1], of[2])):
        return of[1] if isinstance(of[0], Value) or of[0] else of[2]
    return graph.add(op, *of)


def _simplified_of_two(graph: Graph, op: str, a: End, b: End) -> End:
    if op == "add":
        if a == 0.0 or b == 0.0:
            return b if a == 0.0 else a
        if isinstance(b, Value) and b.node.op == "neg":
            return simplified(graph, "sub", a, b.node.of[0])
        if isinstance(a, Value) and a.node.op == "neg":
            return simplified(graph, "sub", b, a.node.of[0])
    elif op == "sub":
        if b == 0.0:
            return a
        if a == 0.0:
            return simplified(graph, "neg", b)
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
                value = simplified(graph, "add", value, graph.add("vector", name=node.name, weights="b_h"))
            now[index] = (value,)
        else:
            columns = zip(*(parts(of, node.width) for of in node.of), strict=True)
            now[index] = tuple(simplified(graph, node.op, *of) for of in columns)
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
