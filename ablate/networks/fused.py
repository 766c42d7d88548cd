"""One step of a cell as a function made from its graph: what multiplies one state is one product, its sums with it.

Axes: R replicas (optional, first), B sequences, H hidden units, K pre-activations.
"""

import math
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import torch
from torch import Tensor

from ablate.cells.functions import NUMBERS, maximum, minimum, torch_function
from ablate.cells.structure import Structure, parameter
from ablate.cells.trace import Node, Value

OPERATORS = {"add": "+", "sub": "-", "mul": "*", "div": "/", "gt": ">", "lt": "<", "ge": ">=", "le": "<="}

FUNCTIONS: dict[str, Callable[..., Any]] = {name: torch_function(name) for name in NUMBERS}
FUNCTIONS |= {"maximum": maximum, "minimum": minimum}  # also of a number
SCOPE: dict[str, Any] = {**FUNCTIONS, "cat": torch.cat, "inf": math.inf, "nan": math.nan}

Step = Callable[..., tuple[Tensor, tuple[Tensor, ...]]]
"""Shares of the input (…, B, K·H) and the states (…, B, H) → the output and the new states."""


@dataclass(frozen=True)
class Fused:
    """A step, and what it takes of the input."""

    names: tuple[str, ...]
    """The pre-activations in the order of the shares of the input."""
    folded: frozenset[str]
    """Those whose second bias, that of the product, belongs to the share of the input."""
    bind: Callable[[Mapping[str, Tensor], int, Callable[..., Tensor]], Step]
    """Parameters, H, and addmm or baddbmm → the step."""


@lru_cache(1024)
def fused(structure: Structure, readout: str, write_back: bool, bias_vectors: int) -> Fused:
    """The step of a cell that could be traced."""
    assert structure.graph is not None
    assert structure.candidate is not None
    output = structure.candidate if readout == "candidate" else structure.new_states[0]
    ends = [output, *(structure.new_states if write_back else ())]
    order = [value.index for value in structure.graph.reached(ends)]
    nodes = structure.graph.nodes
    mates = _added(nodes, order, ends)
    folded = frozenset(nodes[product].name for product in mates if nodes[product].weights == "W")

    groups: dict[int, dict[str, int]] = {}  # state → pre-activation → its product with that state
    for product in mates:
        (value,) = nodes[product].of
        assert isinstance(value, Value)
        taken = any(nodes[product].name in group for group in groups.values())
        if value.node.op == "state" and not taken:
            groups.setdefault(value.index, {})[nodes[product].name] = product
    in_groups = [name for group in groups.values() for name in group]
    inputs = {nodes[index].name: index for index in order if nodes[index].op == "input"}
    alone = [name for name in inputs if name not in in_groups]

    outer, inner = [], []
    parts = [*(f"g{state}" for state in groups), *(f"v{inputs[name]}" for name in alone)]
    sizes = [len(group) for group in groups.values()] + [1] * len(alone)
    if len(parts) > 1:
        outer.append(f"sizes = [size * H for size in {sizes}]")
        inner.append(f"{', '.join(parts)} = share.split(sizes, -1)")
    else:
        inner.append(f"{parts[0]} = share")
    for state, group in groups.items():
        matrices = [f"p[{parameter(name, nodes[product].weights)!r}]" for name, product in group.items()]
        together = f"cat(({', '.join(matrices)}), -1)" if len(matrices) > 1 else matrices[0]
        outer.append(f"W{state} = {together}")
        made = f"addmm(g{state}, v{state}, W{state})"
        targets = [f"v{inputs[name]}" for name in group]
        inner.append(f"{', '.join(targets)} = {made if len(targets) == 1 else f'{made}.chunk({len(targets)}, -1)'}")

    gone = {product for group in groups.values() for product in group.values()}
    alias: dict[int, str] = {}
    for index in order:
        node = nodes[index]
        operands = [alias.get(of.index, f"v{of.index}") if isinstance(of, Value) else repr(of) for of in node.of]
        kept = [o for o, of in zip(operands, node.of, strict=True) if not (isinstance(of, Value) and of.index in gone)]
        if node.op in ("state", "input") or index in gone:
            continue
        if node.op == "add" and len(kept) == 1:
            alias[index] = kept[0]  # the other one is in it already
        elif node.op == "vector":
            outer.append(f"v{index} = p[{parameter(node.name, node.weights)!r}]")
        elif node.op == "product":
            outer.append(f"W{index} = p[{parameter(node.name, node.weights)!r}]")
            has_bias = bias_vectors == 2 and node.weights == "W" and node.name not in folded
            if has_bias:
                outer.append(f"b{index} = p['{node.name}.b_h']")
            inner.append(f"v{index} = {operands[0]} @ W{index}{f' + b{index}' if has_bias else ''}")
        else:
            inner.append(f"v{index} = {_written(node, operands)}")

    def said(value: Value) -> str:
        return alias.get(value.index, f"v{value.index}")

    states = _state_names(structure)
    new = [said(value) for value in structure.new_states] if write_back else states
    lines = [
        "def bind(p, H, addmm):",
        *(f"    {line}" for line in outer),
        f"    def step({', '.join(['share', *states])}):",
        *(f"        {line}" for line in inner),
        f"        return {said(output)}, ({', '.join(new)},)",
        "    return step",
    ]
    names: dict[str, Any] = {}
    exec(compile("\n".join(lines), "<a cell's step>", "exec"), SCOPE, names)
    return Fused((*in_groups, *alone), folded, names["bind"])


def _state_names(structure: Structure) -> list[str]:
    """The carried states, by the numbers of their nodes."""
    assert structure.graph is not None
    numbers = {node.name: index for index, node in enumerate(structure.graph.nodes) if node.op == "state"}
    return [f"v{numbers[name]}" for name in structure.state_names]


def _added(nodes: list[Node], order: list[int], ends: list[Value]) -> list[int]:
    """The products that are added to the share of the input of their pre-activation, and neither used elsewhere."""
    users: dict[int, list[int | None]] = {index: [] for index in order}
    for index in order:
        for of in nodes[index].of:
            if isinstance(of, Value):
                users[of.index].append(index)
    for value in ends:
        users[value.index].append(None)

    def sum_of(index: int) -> int | None:
        """The outermost sum that a value is a term of, if it is used there alone."""
        top = None
        while len(users[index]) == 1 and (user := users[index][0]) is not None and nodes[user].op == "add":
            top = index = user
        return top

    inputs = {nodes[index].name: sum_of(index) for index in order if nodes[index].op == "input"}
    products = [index for index in order if nodes[index].op == "product"]
    found = [i for i in products if sum_of(i) is not None and sum_of(i) == inputs.get(nodes[i].name)]
    twice = Counter((nodes[i].name, nodes[i].weights) for i in products)
    return [i for i in found if twice[nodes[i].name, nodes[i].weights] == 1]


def _written(node: Node, operands: list[str]) -> str:
    if node.op in OPERATORS:
        return f"{operands[0]} {OPERATORS[node.op]} {operands[1]}"
    if node.op == "neg":
        return f"-{operands[0]}"
    if node.op == "concat":
        return f"cat(({', '.join(operands)},), -1)"
    return f"{node.op}({', '.join(operands)})"
