"""The order of a step: groups of products of one operand, and the stages of pointwise functions between them.

Of both ways: what a step computes as early as can be, what is kept of it for the way back, what that computes again.
Loads no torch. Axes: … replicas and sequences, H hidden units.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass

from ablate.cells.functions import NUMBERS
from ablate.cells.lowering import ARITHMETIC, Underivable, arguments_of
from ablate.cells.trace import Node

CHEAP = frozenset((*ARITHMETIC, "where", "maximum", "minimum", "relu", "abs")) - {"div"}
"""What is computed again on the way back rather than kept, where its arguments are there."""


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


def groups_of(nodes: Sequence[Node], order: Sequence[int], states: set[int]) -> tuple[Group, ...]:
    products = [index for index in order if nodes[index].op == "product"]
    weights = [(nodes[index].name, nodes[index].weights) for index in products]
    for name, kind in weights:
        if weights.count((name, kind)) > 1:
            raise Underivable(f"{kind}.{name} multiplies two different values")
    by_operand: dict[tuple[int, ...], list[int]] = {}
    for index in products:
        by_operand.setdefault(tuple(arguments_of(nodes[index])), []).append(index)
    return tuple(
        Group(
            operand,
            tuple(of_it),
            tuple((nodes[index].name, nodes[index].weights) for index in of_it),
            set(operand) <= states,
        )
        for operand, of_it in by_operand.items()
    )


def arranged(nodes: Sequence[Node], group: Group, shared: Collection[int]) -> Group:
    """The group with those products last that share their gradient with the input: these by their function.

    What goes through the same function lies side by side then.
    """
    functions = {of: node.op for node in nodes for of in arguments_of(node) if node.op in NUMBERS}
    sums = {of: at for at, node in enumerate(nodes) for of in arguments_of(node) if node.op == "add"}

    def function(product: int) -> str:
        while product in sums and product not in functions:
            product = sums[product]
        return functions.get(product, "")

    def place(product: int) -> tuple[bool, str]:
        return product in shared, function(product) if product in shared else ""

    order = sorted(group.products, key=place)
    return Group(group.operand, tuple(order), tuple((nodes[i].name, nodes[i].weights) for i in order), group.recurrent)


def with_products_first(
    nodes: Sequence[Node], inputs: Mapping[str, int], groups: Sequence[Group], shared: Collection[int]
) -> dict[str, int]:
    """The shares of the input in the order of the products whose gradient is theirs, then the others."""
    first = [nodes[product].name for group in groups for product in group.products if product in shared]
    names = dict.fromkeys([*first, *inputs])
    return {name: inputs[name] for name in names}


def forward_stages(nodes: Sequence[Node], order: Sequence[int], groups: Sequence[Group]) -> tuple[Stage, ...]:
    """Every value as early as can be, but before the first products only what these need."""
    level: dict[int, int] = {}
    for index in order:
        of = max((level[i] for i in arguments_of(nodes[index])), default=0)
        level[index] = of + 1 if nodes[index].op == "product" else of
    count = max(level.values(), default=0)
    if count:
        first = [index for group in groups if level[group.products[0]] == 1 for index in group.operand]
        needed = set(first)
        for index in reversed(order):
            if index in needed:
                needed.update(arguments_of(nodes[index]))
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
        cheap = op in CHEAP and at_hand.issuperset(arguments_of(nodes[index]))
        if op in LEAVES[:3] or cheap or op not in (*CHEAP, "product"):
            at_hand.add(index)
    first_use: dict[int, int] = {}
    for index in reversed(order):
        node = nodes[index]
        if node.op in CHEAP and index in first_use and at_hand.issuperset(arguments_of(node)):
            level[index] = first_use[index]
        for of in arguments_of(node):
            use = level[index] - (node.op == "product")
            first_use[of] = min(first_use.get(of, use), use)


def crossing_stages(nodes: Sequence[Node], stages: Sequence[Stage]) -> set[int]:
    """Values of one stage that a later one reads, beside what it multiplies."""
    at = {index: number for number, stage in enumerate(stages) for index in stage.values}
    return {
        of
        for number, stage in enumerate(stages)
        for index in stage.values
        for of in arguments_of(nodes[index])
        if at.get(of, number) < number
    }


def kept_of(nodes: Sequence[Node], read: Sequence[int], free: set[int]) -> set[int]:
    """Of the forward values that the way back reads, those that it does not compute again from others."""
    kept = {index for index in read if index not in free and nodes[index].op not in CHEAP}
    there = kept | free
    for index in read:
        if index not in there:
            if not set(arguments_of(nodes[index])) <= there:
                kept.add(index)
            there.add(index)
    return kept


def backward_stages(
    nodes: Sequence[Node],
    order: Sequence[int],
    back_order: Sequence[int],
    there: set[int],
    backs: Mapping[int, Sequence[int]],
) -> tuple[Stage, ...]:
    """What depends on no gradient, and is not kept of the way forward, is computed in each stage that needs it."""
    level: dict[int, int] = {}
    for index in back_order:
        above = [level[i] for i in arguments_of(nodes[index]) if i in level]
        if nodes[index].op in ("adjoint", "back") or above:
            level[index] = max(above, default=0) + (nodes[index].op == "back")
    own = {*order, *back_order}
    stages = []
    for at in range(max(level.values(), default=0) + 1):
        values = {index for index, of in level.items() if of == at and nodes[index].op not in LEAVES}
        missing = list(values)
        while missing:
            read = {i for i in arguments_of(nodes[missing.pop()]) if i in own and i not in level} - there - values
            values |= read
            missing += read
        numbers = tuple(number for number, leaves in backs.items() if any(level.get(leaf) == at for leaf in leaves))
        stages.append(Stage(numbers, tuple(sorted(values))))  # a node's arguments have lower numbers
    return tuple(stages)
