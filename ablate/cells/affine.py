"""Values as sums of coefficients times others: what batched derivatives and a scan over time need.

Loads no torch. Axes: … replicas and sequences, H hidden units.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from functools import partial

from ablate.cells.lowering import End, arguments_of, index_of, simplified
from ablate.cells.trace import Graph, Value


def affine(graph: Graph, end: End, leaves: Iterable[int]) -> tuple[dict[int, End], End] | None:
    """Coefficients of the leaves and the rest, end = Σ coefficient ⊙ leaf + rest; None where it is no such sum.

    The coefficients may still read a leaf: whoever needs them not to asks for it.
    """
    wanted = set(leaves)
    if not isinstance(end, Value):
        return {}, end
    depends = dependent(graph, end, wanted)
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
            both = {leaf: simplified(graph, node.op, p.get(leaf, 0.0), q.get(leaf, 0.0)) for leaf in (*p, *q)}
            known[index] = both, simplified(graph, node.op, r, s)
        elif node.op == "neg":
            known[index] = each(partial(simplified, graph, "neg"), of(a))
        elif node.op == "mul" and (index_of(a) in depends) != (index_of(b) in depends):
            linear, factor = (a, b) if index_of(a) in depends else (b, a)
            known[index] = each(_times(graph, "mul", factor), of(linear))
        elif node.op == "div" and index_of(b) not in depends:
            known[index] = each(_times(graph, "div", b), of(a))
        elif node.op == "where" and index_of(node.of[0]) not in depends:
            condition, (p, r), (q, s) = node.of[0], of(node.of[1]), of(node.of[2])
            both = {
                leaf: simplified(graph, "where", condition, p.get(leaf, 0.0), q.get(leaf, 0.0)) for leaf in (*p, *q)
            }
            known[index] = both, simplified(graph, "where", condition, r, s)
        else:
            return None
    return of(end)


def _times(graph: Graph, op: str, factor: End) -> Callable[[End], End]:
    """What multiplies, or divides, by a factor."""
    return lambda c: simplified(graph, op, c, factor)


def dependent(graph: Graph, end: Value, leaves: set[int]) -> set[int]:
    """The nodes below `end` that a leaf reaches."""
    out: set[int] = set()
    for value in graph.reached([end]):
        if value.index in leaves or any(of in out for of in arguments_of(value.node)):
            out.add(value.index)
    return out


def scan_of(
    graph: Graph, states: Sequence[int], new: Sequence[End], order: Sequence[int]
) -> tuple[tuple[End, End], ...] | None:
    """(a, b) of each state, where every state that is read goes on by a ⊙ old + b, with a and b of the input alone."""
    if any(graph.nodes[index].op == "product" for index in order):
        return None
    out: list[tuple[End, End]] = []
    for state, end in zip(states, new, strict=True):
        if not any(state in arguments_of(graph.nodes[index]) for index in order) and index_of(end) != state:
            out.append((0.0, end))  # nothing reads it: it is computed after the scan, of what was scanned
            continue
        sums = affine(graph, end, [state])
        if sums is None:
            return None
        a, b = sums[0].get(state, 0.0), sums[1]
        if any(isinstance(v, Value) and dependent(graph, v, set(states)) for v in (a, b)):
            return None
        out.append((a, b))
    return tuple(out)
