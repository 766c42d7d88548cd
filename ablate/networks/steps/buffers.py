"""What the steps of a layer are computed in: tensors by name, whole and of each step, and lines bound to them.

Axes: R replicas, T steps, B sequences, H hidden units, K blocks of H columns.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from ablate.cells.derivative import Derived
from ablate.cells.lowering import End, arguments_of
from ablate.cells.stages import LEAVES
from ablate.cells.trace import Graph, Value
from ablate.networks.pointwise import Writer, function_of
from ablate.networks.products import EXACT, Products
from ablate.networks.steps.sums import Gradients


@dataclass
class Shape:
    """Sizes of one batched program, which allocates its buffers here."""

    R: int
    T: int
    B: int
    H: int
    dtype: torch.dtype
    device: torch.device
    products: Products = EXACT
    allocated_bytes: int = 0

    def zeros(self, *sizes: int) -> Tensor:
        buffer = torch.zeros(sizes, dtype=self.dtype, device=self.device)
        self.allocated_bytes += buffer.numel() * buffer.element_size()
        return buffer


def replicas_first(buffer: Tensor) -> Tensor:
    """(T, R, …) ↔ (R, T, …), a view."""
    return buffer.transpose(0, 1)


def runs(numbers: Sequence[int]) -> list[tuple[int, int, int]]:
    """Numbers in order → their runs of successive ones: (place in the sequence, first number, length)."""
    out: list[tuple[int, int, int]] = []
    for place, number in enumerate(numbers):
        if out and number == out[-1][1] + out[-1][2]:
            start, first, length = out[-1]
            out[-1] = (start, first, length + 1)
        else:
            out.append((place, number, 1))
    return out


@dataclass(frozen=True)
class Target:
    """Where the products of a group go."""

    blocks: tuple[int, ...]
    """The block that each is added to; −1 for one that is a value of its own."""
    part: int
    """The part of the pre-activations that all are added to at once; −1 where there is none."""


class Buffers:
    """What a layer's steps are computed in, by name. Without `training`, what the way back needs is left out.

    The shares of the input are blocks of H columns in the order of `d.inputs`; in front of them stand the products
    that begin a pre-activation of their own. `parts` says where the columns of these rows belong.
    """

    def __init__(self, d: Derived, shape: Shape, training: bool) -> None:
        self.d, self.shape, self.training = d, shape, training
        self.graph = Graph(list(d.graph.nodes), dict(d.graph.known))
        self.nodes = self.graph.nodes
        self.order = [
            v.index for v in self.graph.reached([e for e in (d.output, *d.new_states) if isinstance(e, Value)])
        ]
        self.number = {state: number for number, state in enumerate(d.states)}
        own = [isinstance(end, Value) and end.index == state for end, state in zip(d.new_states, d.states, strict=True)]
        self.recurs = not all(own)
        """Whether a step reads the states that the step before it made; else all read those before the first."""
        self.carries = self.recurs or any(end != 0.0 for end in d.carried)
        self.views: dict[str, Tensor | list[Tensor]] = {}
        """Name → a tensor, or the tensors of each step."""
        self.batch: dict[str, Tensor] = {}
        """Name → the tensors of all steps as one, (R, T, B, H), or (R, 1, 1, H) where it is the same at each."""
        self.scalars: dict[float, str] = {}
        self.gradients = Gradients(d, self.graph) if training else None
        self.products = 0
        """How many products the loops take."""
        self.there: dict[int, str] = {}
        """Node → the name of what holds its value after the last step."""
        self._constants()
        self._arrange()
        self._place_states()

    # ---- what is where ---------------------------------------------------------------------------------------------

    def _constants(self) -> None:
        """Vectors, and what is computed of vectors alone, on either way: once for each binding."""
        self.constant: dict[int, str] = {}
        R, H = self.shape.R, self.shape.H
        self.vectors = [self.shape.zeros(R, 1, H) for _ in self.d.vectors]
        for buffer, index in zip(self.vectors, self.d.vectors.values(), strict=True):
            self.constant[index] = self._name(f"c{index}", buffer, buffer.unsqueeze(1))
        made = []
        back = [e for e in self._coefficients() if isinstance(e, Value)] if self.training else []
        for index in dict.fromkeys([*self.order, *(v.index for v in self.graph.reached(back))]):
            of = arguments_of(self.nodes[index])
            if of and self.nodes[index].op not in LEAVES and all(i in self.constant for i in of):
                buffer = self.shape.zeros(R, 1, H)
                self.constant[index] = self._name(f"c{index}", buffer, buffer.unsqueeze(1))
                made.append(index)
        there = {i: name for i, name in self.constant.items() if i not in made}
        writer = Writer(self.graph, there, lambda: self._scratch("y", self.shape.zeros(R, 1, H)), self._scalar)
        for index in made:
            writer.plan([Value(self.graph, index)])
            writer.value(Value(self.graph, index), self.constant[index])
        self._compute_constants = self._fixed(writer.lines)

    def _arrange(self) -> None:
        """Which products are added to which block, and the parts that blocks lie in."""
        d = self.d
        self.stored = self._needed()
        if isinstance(d.output, Value) and not self._is_state(d.output.index):
            self.stored.add(d.output.index)
        self.users: dict[int, list[int]] = {index: [] for index in self.order}
        for index in self.order:
            for of in self.nodes[index].of:
                if isinstance(of, Value):
                    self.users[of.index].append(index)
        for end in (d.output, *d.new_states):
            if isinstance(end, Value):
                self.users[end.index].append(-1)
        names = list(d.inputs)
        first = next((number for number, group in enumerate(d.groups) if group.recurrent), None)
        alone: tuple[int, ...] = ()
        if first is not None:
            products = d.groups[first].products
            _, added, _ = self._added({}, ())
            start = next(k for k in range(len(products) + 1) if self._ends_at(products[k:], added, names))
            alone = products[:start]
        self.rows: list[int] = [*alone, *d.inputs.values()]  # nodes that blocks begin with
        blocks = {index: block for block, index in enumerate(self.rows)}
        self.alias, self.added, self.prefills = self._added(blocks, alone)
        parts: list[slice] = []
        self.targets: dict[int, Target] = {}
        taken: set[int] = set()
        numbers = range(len(d.groups))
        for number in sorted(numbers, key=lambda k: k != first):
            group = d.groups[number]
            to = tuple(blocks[p] if p in alone else self.added.get(p, -1) for p in group.products)
            part = -1
            if len(runs(to)) == 1 and to[0] >= 0 and not taken & set(to):
                part = len(parts)
                parts.append(slice(to[0], to[0] + len(to)))
                taken |= set(to)
            self.targets[number] = Target(to, part)
        for _, start, length in runs([block for block in range(len(self.rows)) if block not in taken]):
            parts.append(slice(start, start + length))
        H, (R, T, B) = self.shape.H, (self.shape.R, self.shape.T, self.shape.B)
        self.columns = len(self.rows) * H
        self.from_input = slice(len(alone) * H, self.columns)
        self.parts = [
            (self.shape.zeros(T, R, B, (at.stop - at.start) * H), slice(at.start * H, at.stop * H)) for at in parts
        ]
        self.at = {
            block: (number, block - at.start) for number, at in enumerate(parts) for block in range(at.start, at.stop)
        }
        self.whole = parts

    def _ends_at(self, products: Sequence[int], added: dict[int, int], names: Sequence[str]) -> bool:
        """Whether these products are added to the first shares of the input, in this order."""
        own = [self.d.inputs[name] for name in names[: len(products)]]
        return [added.get(product, -1) for product in products] == own

    def _added(
        self, blocks: dict[int, int], alone: Sequence[int]
    ) -> tuple[dict[int, int], dict[int, int], list[tuple[int, str]]]:
        """What is added to the share of an input in place: node → block, product → block, (block, vector's name).

        Blocks by the nodes that they begin with; without `blocks`, these nodes themselves.
        """
        begins = [*alone, *self.d.inputs.values()]
        alias = {index: blocks.get(index, index) for index in begins}
        added: dict[int, int] = {}
        prefills: list[tuple[int, str]] = []
        for index in self.order:
            node = self.nodes[index]
            if node.op != "add":
                continue
            for a, b in (node.of, node.of[::-1]):
                if not (isinstance(a, Value) and isinstance(b, Value)) or a.index not in alias:
                    continue
                if not self._once(a.index):
                    continue
                if b.node.op == "product" and self._once(b.index) and b.index not in alias:
                    added[b.index] = alias[index] = alias[a.index]
                elif b.node.op == "vector":
                    prefills.append((alias[a.index], self.constant[b.index]))
                    alias[index] = alias[a.index]
                else:
                    continue
                break
        return alias, added, prefills

    def _once(self, index: int) -> bool:
        """Whether a value is needed for one other alone."""
        users = self.users[index]
        return len(users) == 1 and users[0] >= 0 and index not in self.stored

    def _is_state(self, index: int) -> bool:
        return index in self.number or any(isinstance(e, Value) and e.index == index for e in self.d.new_states)

    def _needed(self) -> set[int]:
        """The values that the way back reads of the way forward, beside states and vectors."""
        if self.gradients is None:
            return set()
        out: set[int] = set()
        own, kept = set(self.order), set(self.d.kept)
        stack = [e.index for e in self._coefficients() if isinstance(e, Value)]
        seen: set[int] = set()
        while stack:
            index = stack.pop()
            if index in seen:
                continue
            seen.add(index)
            if index in own:
                if index in self.constant or self._is_state(index):
                    continue
                if index in kept or self.nodes[index].op in LEAVES:
                    out.add(index)
                    continue
            stack += arguments_of(self.nodes[index])
        return out

    def _coefficients(self) -> Iterable[End]:
        assert self.gradients is not None
        for terms in (*self.gradients.pivots.values(), *map(self.gradients.terms, self.gradients.ends)):
            yield from terms.values()
        yield from self.d.d_vectors.values()

    def _place_states(self) -> None:
        """States that one product reads together lie side by side; the others by themselves."""
        d, (R, T, B, H) = self.d, (self.shape.R, self.shape.T, self.shape.B, self.shape.H)
        self.clusters: list[list[int]] = []
        several = [group.operand for group in d.groups if group.recurrent and len(group.operand) > 1]
        for states in (*several, *((state,) for state in d.states)):
            if fresh := [s for s in dict.fromkeys(states) if not any(s in cluster for cluster in self.clusters)]:
                self.clusters.append(fresh)
        self.S = [self.shape.zeros(R, T + 1, B, len(cluster) * H) for cluster in self.clusters]
        for cluster, S in zip(self.clusters, self.S, strict=True):
            for place, state in enumerate(cluster):
                number, whole = self.number[state], S[..., place * H : (place + 1) * H]
                self._name(f"s{number}", self._each_old(whole), self._old(whole))
                self._name(f"n{number}", list(whole[:, 1:].unbind(1)), whole[:, 1:])
                new = d.new_states[number]
                if not isinstance(new, Value):
                    whole[:, 1:] = new

    def _old(self, whole: Tensor) -> Tensor:
        """(R, T + 1, B, …) → the state that each step reads, (R, T, B, …)."""
        return whole[:, :-1] if self.recurs else whole[:, :1].expand_as(whole[:, 1:])

    def _each_old(self, whole: Tensor) -> list[Tensor]:
        return list(self._old(whole).unbind(1))

    def state(self, number: int) -> Tensor:
        """A state before the first step and after each, (R, T + 1, B, H)."""
        return self._of_cluster(self.S, number)

    def _of_cluster(self, buffers: Sequence[Tensor], number: int) -> Tensor:
        """The columns of a state, of one buffer for each cluster."""
        cluster, place = self._place(number)
        return buffers[cluster][..., place * self.shape.H : (place + 1) * self.shape.H]

    def _place(self, number: int) -> tuple[int, int]:
        state = self.d.states[number]
        return next((c, cluster.index(state)) for c, cluster in enumerate(self.clusters) if state in cluster)

    def _name(self, name: str, each: Tensor | list[Tensor], whole: Tensor | None = None) -> str:
        self.views[name] = each
        if whole is not None:
            self.batch[name] = whole
        return name

    def _scalar(self, number: float) -> str:
        if number not in self.scalars:
            value = torch.tensor(number, dtype=self.shape.dtype, device=self.shape.device)
            self.scalars[number] = self._name(f"k{len(self.scalars)}", value, value)
        return self.scalars[number]

    def _scratch(self, kind: str, buffer: Tensor) -> str:
        return self._name(f"{kind}{sum(name.startswith(kind) for name in self.views)}", buffer, buffer)

    def _step_scratch(self) -> str:
        return self._scratch("w", self.shape.zeros(self.shape.R, self.shape.B, self.shape.H))

    def _block(self, block: int) -> str:
        """The name of a block of the pre-activations."""
        return self._blocks(block, 1)

    def _blocks(self, first: int, count: int) -> str:
        """The name of several that lie side by side."""
        name = f"b{first}_{count}"
        if name not in self.views:
            part, place = self.at[first]
            whole = self.parts[part][0][..., place * self.shape.H : (place + count) * self.shape.H]
            self._name(name, list(whole.unbind(0)), replicas_first(whole))
        return name

    # ---- functions of the lines ------------------------------------------------------------------------------------

    def _names_in(self, lines: Sequence[str], of: Iterable[str]) -> list[str]:
        known = set(of)
        return [name for name in dict.fromkeys(re.findall(r"\b[a-z]+\d\w*", "\n".join(lines))) if name in known]

    def _fixed(self, lines: Sequence[str]) -> Callable[[], None]:
        """What computes these lines on tensors that are the same at each step."""
        return self._bound(lines, {n: v for n, v in self.views.items() if isinstance(v, Tensor)})

    def _batched(self, lines: Sequence[str]) -> Callable[[], None]:
        """What computes these lines for all steps at once."""
        return self._bound(lines, self.batch)

    def _bound(self, lines: Sequence[str], tensors: dict[str, Tensor]) -> Callable[[], None]:
        if not lines:
            return lambda: None
        names = self._names_in(lines, tensors)
        function, own = function_of(lines, ", ".join(names)), [tensors[name] for name in names]
        return lambda: function(*own)

    def _loop(
        self, lines: Sequence[str], backwards: bool = False
    ) -> Callable[[Sequence[Callable[..., None]], bool], None]:
        """What computes these lines at one step after the other, by products (`p0`, …).

        Of the way back, those after `if go:` are left out at the last step, t = 0, unless it is asked for.
        """
        if not lines:
            return lambda products, go: None
        varying = self._names_in(lines, (n for n, v in self.views.items() if isinstance(v, list)))
        fixed = self._names_in(lines, (n for n, v in self.views.items() if isinstance(v, Tensor)))
        steps = [self.views[name] for name in varying]
        T = self.shape.T
        each = [tuple(view[t] for view in steps) for t in range(T)]
        if backwards:
            each = each[::-1]
        own = tuple(self.views[name] for name in fixed)
        count = self.products
        products = [f"p{k}" for k in range(count)]
        body = [
            *([f"{', '.join(products)}, = products"] if products else []),
            *([f"{', '.join(fixed)}, = fixed"] if fixed else []),
            f"for {''.join(f'{name}, ' for name in [*varying, 'go'])}in steps:",
            *(f"    {line}" for line in lines),
        ]
        function = function_of(body, "steps, fixed, products")
        stops = [(*step, t + 1 < T or not backwards) for t, step in enumerate(each)]
        goes_on = [*stops[:-1], (*stops[-1][:-1], True)]
        return lambda products, go: function(goes_on if go else stops, own, products[:count])
