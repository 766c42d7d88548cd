"""A layer over all its steps, forward and back, for many replicas at once: torch's form of a cell's derivative.

Axes: R replicas, T steps, B sequences, H hidden units, K blocks of H columns. Two layouts:

    (R, T, B, …)  what enters a product over all steps at once, one `bmm` over (R, T·B, …): states, gradients `D`
    (T, R, B, …)  what a step's product is added to, because torch batches only products whose result is
                  contiguous: pre-activations, gradients at the states

Everything follows from a `Derived` (`ablate.cells.derivative`), with nothing of any cell in particular:

    forward    products with a state are added to the shares of the input, in place; the pointwise functions behind
               them are computed there too, for neighbours at once
    after it   every gradient is a sum of coefficients times few others (what comes in at a state or an output, and
               through an inner product). The coefficients depend on kept values alone: all steps at once
    back       per step, these sums, and the products with the transposed weights
    after it   gradients of weights, one product each over all steps; those of vectors as sums

Buffers and the views of each step are made once: a step of a small network costs as much as calling torch does.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from threading import Lock
from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from ablate.cells.affine import affine
from ablate.cells.derivative import Derived
from ablate.cells.lowering import End
from ablate.cells.trace import Graph, Value
from ablate.networks.pointwise import Writer, function_of
from ablate.networks.products import Product
from ablate.networks.scan import scanned

LEAVES = ("state", "input", "vector", "product", "adjoint", "back")
Terms = dict[int, End]
"""Source → coefficient, of a gradient Σ coefficient ⊙ source."""


@dataclass
class Shape:
    """Sizes of one batched program, which allocates its buffers here."""

    R: int
    T: int
    B: int
    H: int
    dtype: torch.dtype
    device: torch.device
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


class Gradients:
    """What the way back computes: sums of coefficients times sources. Of the graph alone, without sizes."""

    def __init__(self, d: Derived, graph: Graph) -> None:
        self.d, self.graph = d, graph
        nodes = graph.nodes
        self.ends = [*d.d_inputs.values(), *d.d_products.values(), *d.d_vectors.values(), *d.carried]
        order = [v.index for v in graph.reached([e for e in self.ends if isinstance(e, Value)])]
        self.leaves = [d.d_output, *d.d_states, *(leaf for leaves in d.backs.values() for leaf in leaves)]
        linear = set(self.leaves)
        for index in order:
            if any(isinstance(of, Value) and of.index in linear for of in nodes[index].of):
                linear.add(index)
        self.linear = linear
        users = dict.fromkeys(linear, 0)
        for index in order:
            for of in nodes[index].of:
                if isinstance(of, Value) and of.index in linear and index in linear:
                    users[of.index] += 1
        for end in self.ends:
            if isinstance(end, Value) and end.index in linear:
                users[end.index] += 1
        totals = {end.index for end in d.totals if isinstance(end, Value)} - set(self.leaves)
        self.pivots: dict[int, Terms] = {}
        for index in order:
            if index in linear and index not in self.leaves and (users[index] > 1 or index in totals):
                terms = self._terms(Value(graph, index))
                if len(terms) > 1 or index in totals:
                    self.pivots[index] = terms
        self.carried = [self.terms(end) for end in d.carried]

    def terms(self, end: End) -> Terms:
        """Of an end: what it is made of, or it alone where it is a source."""
        if not isinstance(end, Value) or end.index not in self.linear:
            assert end == 0.0, "a gradient is linear in what comes in"
            return {}
        if end.index in self.pivots or end.index in self.leaves:
            return {end.index: 1.0}
        return self._terms(end)

    def _terms(self, value: Value) -> Terms:
        sums = affine(self.graph, value, [*self.leaves, *self.pivots])
        assert sums is not None, "a gradient is linear in what comes in"
        return {source: coefficient for source, coefficient in sums[0].items() if coefficient != 0.0}


class Steps:
    """The buffers of one layer, and its way forward and back. Without `training`, those of the way back are left out.

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
        self._constants()
        self._arrange()
        self._place_states()
        self.there: dict[int, str] = {}
        """Node → the name of what holds its value after the last step."""
        self._forward()
        if training:
            self._backward()

    # ---- what is where ---------------------------------------------------------------------------------------------

    def _constants(self) -> None:
        """Vectors, and what is computed of vectors alone: once for each binding."""
        self.constant: dict[int, str] = {}
        R, H = self.shape.R, self.shape.H
        self.vectors = [self.shape.zeros(R, 1, H) for _ in self.d.vectors]
        for buffer, index in zip(self.vectors, self.d.vectors.values(), strict=True):
            self.constant[index] = self._name(f"c{index}", buffer, buffer.unsqueeze(1))
        made = []
        for index in self.order:
            of = [a.index for a in self.nodes[index].of if isinstance(a, Value)]
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
            elif index in self.gradients.linear:
                pass
            stack += [of.index for of in self.nodes[index].of if isinstance(of, Value)]
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

    # ---- forward ---------------------------------------------------------------------------------------------------

    def _forward(self) -> None:
        d, _nodes, H = self.d, self.nodes, self.shape.H
        self.products = 0
        self.made_products: list[tuple[int, slice, bool, bool]] = []  # group, columns, transposed, added
        there: dict[int, str] = {**self.constant, **{state: f"s{number}" for state, number in self.number.items()}}
        for index, block in self.alias.items():
            there[index] = self._block(block)
        homes: dict[int, str] = {}
        for number, end in enumerate(d.new_states):
            if isinstance(end, Value) and end.index not in there and self.nodes[end.index].op not in LEAVES:
                homes.setdefault(end.index, f"n{number}")
        self._place_operands(there, homes)
        own_products = self._place_products(there)
        writer = Writer(self.graph, there, self._step_scratch, self._scalar)
        writer.in_place = {
            self._block(block) for index, block in self.alias.items() if self._once(index) and self._ends(index)
        }
        roots = [i for i in self.order if (i in homes or i in self.stored) and i not in there]
        writer.plan([Value(self.graph, index) for index in roots])
        lines = writer.lines
        for stage in d.forward:
            for number in stage.groups:
                self._multiply(number, lines, writer, own_products)
            self._side_by_side(stage.values, homes, writer)
            for index in stage.values:
                if index in roots and index not in there:
                    self._compute(index, homes, writer)
        for number, end in enumerate(d.new_states):
            if not isinstance(end, Value) or there.get(end.index) == f"n{number}":
                continue
            if self.recurs:
                lines.append(f"n{number}.copy_({there[end.index]})")
        self._run_forward = self._loop(lines)
        for index, name in there.items():  # what is still there after the last step
            if index in self.stored or index in self.constant or index in self.number or index in homes:
                self.there[index] = name
        for number, end in enumerate(d.new_states):
            if isinstance(end, Value) and end.index not in self.number:
                self.there[end.index] = f"n{number}"
        if isinstance(d.output, Value):
            self.output = self.batch[self.there[d.output.index]]
        else:
            whole = self.shape.zeros(1, 1, 1, 1) + d.output
            self.output = whole.expand(self.shape.R, self.shape.T, self.shape.B, H)

    def _ends(self, index: int) -> bool:
        """Whether nothing more is added to a block after this value of it."""
        return self.users[index][0] not in self.alias

    def _place_operands(self, there: dict[int, str], homes: dict[int, str]) -> None:
        """What groups multiply: a view of states, or a buffer of its own, which values are computed into."""
        R, T, B, H = self.shape.R, self.shape.T, self.shape.B, self.shape.H
        self.operands: list[Tensor] = []  # (R, T, B, n·H)
        self.copies: dict[int, list[tuple[str, int]]] = {}  # group → parts that have to be copied
        for number, group in enumerate(self.d.groups):
            places = [self._place(self.number[part]) for part in group.operand] if group.recurrent else []
            if places and len({c for c, _ in places}) == 1 and len(runs([p for _, p in places])) == 1:
                cluster, first = places[0]
                whole = self.S[cluster][..., first * H : (first + len(places)) * H]
                self._name(f"x{number}", self._each_old(whole), self._old(whole))
                self.operands.append(self._old(whole))
                continue
            whole = self.shape.zeros(R, T, B, len(group.operand) * H)
            self.operands.append(whole)
            self._name(f"x{number}", list(whole.unbind(1)), whole)
            for place, part in enumerate(group.operand):
                own = whole[..., place * H : (place + 1) * H]
                name = self._name(f"x{number}_{place}", list(own.unbind(1)), own)
                if part in there or self.nodes[part].op in LEAVES or part in homes:
                    self.copies.setdefault(number, []).append((name, part))
                else:
                    homes[part] = name

    def _place_products(self, there: dict[int, str]) -> dict[int, str]:
        """Buffers of products that are not added to a block where they are made: group → the buffer's name."""
        R, T, B, H = self.shape.R, self.shape.T, self.shape.B, self.shape.H
        out = {}
        for number, group in enumerate(self.d.groups):
            if self.targets[number].part >= 0:
                continue
            keeps = any(product in self.stored for product in group.products)
            whole = self.shape.zeros(T if keeps else 1, R, B, len(group.products) * H)
            out[number] = self._name(f"r{number}", list(whole.unbind(0)) if keeps else whole[0])
            for place, product in enumerate(group.products):
                own = whole[..., place * H : (place + 1) * H]
                name = f"r{number}_{place}"
                self._name(name, list(own.unbind(0)) if keeps else own[0], replicas_first(own) if keeps else None)
                if self.targets[number].blocks[place] < 0:
                    there[product] = name
        return out

    def _product(self, group: int, columns: slice, transposed: bool, added: bool) -> str:
        """The name of a product in the loops."""
        self.made_products.append((group, columns, transposed, added))
        self.products = len(self.made_products)
        return f"p{self.products - 1}"

    def _multiply(self, number: int, lines: list[str], writer: Writer, own: dict[int, str]) -> None:
        """A group's products, added to where they belong."""
        group, target = self.d.groups[number], self.targets[number]
        for name, part in self.copies.get(number, ()):
            writer.value(Value(self.graph, part), name)
        every = slice(0, len(group.products) * self.shape.H)
        if target.part >= 0:
            at = self.whole[target.part]
            to = self._blocks(at.start, at.stop - at.start)
            lines.append(f"{self._product(number, every, False, True)}({to}, x{number})")
            return
        lines.append(f"{self._product(number, every, False, False)}({own[number]}, x{number})")
        for place, block in enumerate(target.blocks):
            if block >= 0:
                lines.append(f"{self._block(block)}.add_(r{number}_{place})")

    def _side_by_side(self, values: Sequence[int], homes: dict[int, str], writer: Writer) -> None:
        """The same function of neighbouring blocks, once for all of them."""
        found: dict[str, dict[int, int]] = {}
        for index in values:
            node = self.nodes[index]
            of = node.of[0] if node.of else None
            if node.op not in ("sigmoid", "tanh") or index in homes or index in writer.there:
                continue
            if isinstance(of, Value) and of.index in self.alias and writer.there[of.index] in writer.in_place:
                found.setdefault(node.op, {})[self.alias[of.index]] = index
        for op, at in found.items():
            blocks = sorted(at, key=lambda block: self.at[block])
            keys = [1000 * self.at[block][0] + self.at[block][1] for block in blocks]
            for place, _, length in runs(keys):
                joint = self._blocks(blocks[place], length)
                writer.lines.append(f"{op}({joint}, out={joint})")
                for block in blocks[place : place + length]:
                    writer.there[at[block]] = self._block(block)

    def _compute(self, index: int, homes: dict[int, str], writer: Writer) -> None:
        """A value that has a place of its own."""
        value = Value(self.graph, index)
        if index in homes:
            writer.value(value, homes[index])
            return
        if name := writer.overwrites(index):
            writer.value(value, name)
            return
        whole = self.shape.zeros(self.shape.T, self.shape.R, self.shape.B, self.shape.H)
        writer.value(value, self._name(f"a{index}", list(whole.unbind(0)), replicas_first(whole)))

    # ---- back ------------------------------------------------------------------------------------------------------

    def _backward(self) -> None:
        assert self.gradients is not None
        d, made = self.d, self.gradients
        R, T, B, H = self.shape.R, self.shape.T, self.shape.B, self.shape.H
        own_products = [p for p, to in self._block_of_products().items() if to < 0]
        ends: list[End] = [
            *(d.d_products[node] if self.nodes[node].op == "product" else made.ends[k - self._alone()]
              for k, node in enumerate(self.rows)),
            *(d.d_products[product] for product in own_products),
        ]  # fmt: skip
        known = {end.index for end in ends if isinstance(end, Value)}
        apart = [end for end in d.d_vectors.values() if isinstance(end, Value) and not self._follows(end, known)]
        ends += apart
        self.block_of_product = self._block_of_products()
        for place, product in enumerate(own_products):
            self.block_of_product[product] = len(self.rows) + place
        self.D = self.shape.zeros(R, T, B, len(ends) * H)
        self.blocks_back = self.D.view(R, T, B, -1, H)
        for block in range(len(ends)):
            whole = self.blocks_back[:, :, :, block]
            self._name(f"d{block}", list(whole.unbind(1)), whole)
        self._place_gradients()
        jacobian = Writer(self.graph, dict(self.there), self._batch_scratch, self._scalar)
        self.coefficient_of: dict[int, str] = {}
        lines, carry = self._back_lines(ends, jacobian)
        self._jacobian = self._batched(jacobian.lines)
        self._run_backward = self._loop(
            [*lines, *(["if go:", *(f"    {line}" for line in carry)] if carry else [])], True
        )
        self._vectors(ends)

    def _alone(self) -> int:
        """The blocks in front of the shares of the input."""
        return self.from_input.start // self.shape.H

    def _block_of_products(self) -> dict[int, int]:
        return {
            product: block
            for number, group in enumerate(self.d.groups)
            for product, block in zip(group.products, self.targets[number].blocks, strict=True)
        }

    def _follows(self, end: Value, known: set[int]) -> bool:
        """Whether a gradient can be computed after the loop, of the gradients at products and inputs."""
        assert self.gradients is not None
        stack = [end.index]
        while stack:
            index = stack.pop()
            if index in known or index not in self.gradients.linear:
                continue
            if index in self.gradients.leaves:
                return False
            stack += [of.index for of in self.nodes[index].of if isinstance(of, Value)]
        return True

    def _batch_scratch(self) -> str:
        shape = self.shape
        return self._scratch("v", shape.zeros(shape.R, shape.T, shape.B, shape.H))

    def _place_gradients(self) -> None:
        """Gradients at the states, `g` after a step and `h` before it, and at the output, `o0`."""
        assert self.gradients is not None
        d, made = self.d, self.gradients
        R, T, B, H = self.shape.R, self.shape.T, self.shape.B, self.shape.H
        self.prefilled = self._prefilled()
        self.G: list[list[Tensor]] = []  # of each cluster: before the first step, and after each
        self.d_output = self.shape.zeros(R, 0, B, H)
        for cluster in self.clusters:
            width = len(cluster) * H
            if self.prefilled in [self.number[state] for state in cluster]:
                whole = self.shape.zeros(T + 1, R, B, width)
                slots = list(whole.unbind(0))
                number = self.prefilled
                place = cluster.index(d.states[number])
                self.d_output = replicas_first(whole[1:, ..., place * H : (place + 1) * H])
            else:
                pair = [self.shape.zeros(R, B, width) for _ in range(2)]
                slots = [pair[t % 2] for t in range(T + 1)]
            self.G.append(slots)
            for place, state in enumerate(cluster):
                own = [slot[..., place * H : (place + 1) * H] for slot in slots]
                self._name(f"g{self.number[state]}", own[1:])
                self._name(f"h{self.number[state]}", own[:-1])
        self.source: dict[int, str] = {leaf: f"g{number}" for number, leaf in enumerate(d.d_states)}
        if self.prefilled >= 0:
            self.source[d.d_output] = f"g{self.prefilled}"
        else:
            whole = self.shape.zeros(T, R, B, H)
            self.d_output = replicas_first(whole)
            self.source[d.d_output] = self._name("o0", list(whole.unbind(0)))
        self.written_forms = [*made.pivots.values(), *map(made.terms, made.ends)]

    def _prefilled(self) -> int:
        """The state in whose gradient that of the output is written beforehand, since it is but added; or −1."""
        assert self.gradients is not None
        d, made = self.d, self.gradients
        for number, (leaf, total) in enumerate(zip(d.d_states, d.totals, strict=True)):
            if not isinstance(total, Value) or total.index not in made.pivots:
                continue
            terms = made.pivots[total.index]
            both = (d.d_output, leaf)
            others = [t for index, t in made.pivots.items() if index != total.index]
            others += [made.terms(end) for end in made.ends]
            if all(terms.get(of) == 1.0 for of in both) and not any(of in t for t in others for of in both):
                return number
        return -1

    def _back_lines(self, ends: Sequence[End], jacobian: Writer) -> tuple[list[str], list[str]]:
        """The lines of a step back, and those that carry on to the step before it."""
        assert self.gradients is not None
        d, made = self.d, self.gradients
        forms = [made.terms(end) for end in ends]
        jacobian.plan(
            [
                c
                for terms in (*made.pivots.values(), *forms, *made.carried)
                for c in terms.values()
                if isinstance(c, Value)
            ]
        )
        for block, terms in enumerate(forms):
            if (coefficient := self._first_coefficient(terms)) is not None:
                jacobian.homes.setdefault(coefficient.index, f"d{block}")
        lines: list[str] = []
        done = {d.d_output, *d.d_states}
        pivots, blocks = dict(made.pivots), dict(enumerate(forms))
        inner = list(d.backs)
        while True:
            ready = [index for index, terms in pivots.items() if set(terms) <= done]
            for index in ready:
                lines += self._pivot(index, pivots.pop(index), jacobian)
                done.add(index)
            if ready:
                continue
            now = {block: terms for block, terms in blocks.items() if set(terms) <= done}
            lines += self._gradient_blocks(now, jacobian)
            blocks = {block: terms for block, terms in blocks.items() if block not in now}
            number = next(
                (k for k in inner if all(self.block_of_product[p] not in blocks for p in d.groups[k].products)), None
            )
            if number is None:
                assert not pivots
                assert not blocks, "a gradient that depends on itself"
                break
            inner.remove(number)
            lines += self._multiply_back(number)
            done |= set(d.backs[number])
        return lines, self._carry(jacobian) if self.carries else []

    def _coefficient(self, coefficient: Value, jacobian: Writer) -> tuple[str, int]:
        """The name of a coefficient at each step, and its sign."""
        if coefficient.node.op == "neg" and isinstance(coefficient.node.of[0], Value):
            name, sign = self._coefficient(coefficient.node.of[0], jacobian)
            return name, -sign
        index = coefficient.index
        if index in self.there:
            return self.there[index], 1
        if index not in self.coefficient_of:
            whole = self.shape.zeros(self.shape.T, self.shape.R, self.shape.B, self.shape.H)
            name = self._name(f"e{index}", list(whole.unbind(0)), replicas_first(whole))
            jacobian.value(coefficient, name)
            self.coefficient_of[index] = name
        return self.coefficient_of[index], 1

    def _accumulated(self, to: str, terms: Iterable[tuple[str, End]], jacobian: Writer, first: bool) -> list[str]:
        """Lines that add Σ coefficient ⊙ source to a tensor, or with `first` that write it there."""
        lines = []
        for source, coefficient in terms:
            if not isinstance(coefficient, Value):
                if not first:
                    alpha = "" if coefficient == 1.0 else f", alpha={coefficient!r}"
                    lines.append(f"{to}.add_({source}{alpha})")
                elif coefficient == 1.0:
                    lines.append(f"{to}.copy_({source})")
                else:
                    lines.append(f"mul({source}, {coefficient!r}, out={to})")
            else:
                name, sign = self._coefficient(coefficient, jacobian)
                if first and sign > 0:
                    lines.append(f"mul({source}, {name}, out={to})")
                elif first:
                    lines.append(f"addcmul({self._scalar(0.0)}, {source}, {name}, value=-1, out={to})")
                else:
                    lines.append(f"{to}.addcmul_({source}, {name}{'' if sign > 0 else ', value=-1'})")
            first = False
        return lines

    def _pivot(self, index: int, terms: Terms, jacobian: Writer) -> list[str]:
        """In the place of a gradient that it is made of, where that is not needed otherwise."""
        rest = dict(terms)
        home = ""
        for leaf in terms:
            used = sum(leaf in form for form in self.written_forms)
            if terms[leaf] == 1.0 and used == 1 and self.source[leaf][0] in "go" and not home:
                home = self.source[leaf]
                del rest[leaf]
        if home:
            rest = {leaf: c for leaf, c in rest.items() if not (self.source[leaf] == home and c == 1.0)}
        name = home or self._step_scratch()
        self.source[index] = name
        return self._accumulated(name, ((self.source[s], c) for s, c in rest.items()), jacobian, first=not home)

    def _gradient_blocks(self, now: dict[int, Terms], jacobian: Writer) -> list[str]:
        """Gradients at pre-activations and products; neighbours that follow from the same one at once."""
        lines: list[str] = []
        together: dict[str, list[int]] = {}
        for block, terms in now.items():
            if not terms:
                continue
            (source, coefficient), *_ = terms.items()
            if (own := self._first_coefficient(terms)) is not None:
                together.setdefault(self.source[source], []).append(block)
                jacobian.value(own, f"d{block}")
            else:
                lines += self._accumulated(f"d{block}", [(self.source[source], coefficient)], jacobian, first=True)
        for name, of_it in together.items():
            lines += [self._scaled(first, length, name) for _, first, length in runs(of_it)]
        for block, terms in now.items():
            others = [(self.source[s], c) for s, c in list(terms.items())[1:]]
            lines += self._accumulated(f"d{block}", others, jacobian, first=False)
        return lines

    def _first_coefficient(self, terms: Terms) -> Value | None:
        """That of the first source, where it is to be computed into the gradient's block before the loop."""
        first = next(iter(terms.values()), None)
        if not isinstance(first, Value) or first.node.op == "neg" or first.index in self.there:
            return None
        return first

    def _scaled(self, first: int, count: int, source: str) -> str:
        """Coefficients in neighbouring blocks times a source."""
        if count == 1:
            return f"d{first}.mul_({source})"
        whole = self.blocks_back[:, :, :, first : first + count]
        name = self._name(f"dd{first}_{count}", list(whole.unbind(1)))
        view = self.views[source]
        wide = f"u{source}"
        self._name(wide, view.unsqueeze(2) if isinstance(view, Tensor) else [v.unsqueeze(2) for v in view])
        return f"{name}.mul_({wide})"

    def _runs_back(self, number: int) -> list[tuple[slice, str, Tensor]]:
        """The products of a group whose gradients lie side by side: columns of the matrix, name, (R, T, B, k·H)."""
        H = self.shape.H
        out = []
        live = list(self.d.groups[number].products)
        for place, first, length in runs([self.block_of_product[p] for p in live]):
            whole = self.D[..., first * H : (first + length) * H]
            name = self._name(f"m{number}_{place}", list(whole.unbind(1)))
            out.append((slice(place * H, (place + length) * H), name, whole))
        return out

    def _multiply_back(self, number: int) -> list[str]:
        """The gradient at the operand of an inner product."""
        H, parts = self.shape.H, len(self.d.groups[number].operand)
        whole = self.shape.zeros(self.shape.R, self.shape.B, parts * H)
        name = self._name(f"q{number}", whole)
        for place, leaf in enumerate(self.d.backs[number]):
            self.source[leaf] = self._name(f"q{number}_{place}", whole[..., place * H : (place + 1) * H])
        return [
            f"{self._product(number, columns, True, k > 0)}({name}, {D})"
            for k, (columns, D, _) in enumerate(self._runs_back(number))
        ]

    def _carry(self, jacobian: Writer) -> list[str]:
        """What reaches the old states: past the recurrent products, and through them."""
        assert self.gradients is not None
        lines: list[str] = []
        H = self.shape.H
        written = set()
        for number, terms in enumerate(self.gradients.carried):
            filled = self._cluster_is_prefilled(number)
            named = [(self.source[source], c) for source, c in terms.items()]
            lines += self._accumulated(f"h{number}", named, jacobian, first=not filled)
            if filled or named:
                written.add(number)
        groups = [k for k, group in enumerate(self.d.groups) if group.recurrent]
        later: list[str] = []
        for k in groups:
            operand = self.d.groups[k].operand
            numbers = [self.number[state] for state in operand]
            places = [self._place(number) for number in numbers]
            alike = len({c for c, _ in places}) == 1 and len(runs([p for _, p in places])) == 1
            if alike:
                cluster, first = places[0]
                at = slice(first * H, (first + len(places)) * H)
                name = self._name(f"j{k}", [slot[..., at] for slot in self.G[cluster][:-1]])
                fresh = not written & set(numbers)
                if not fresh:
                    lines += [f"h{number}.zero_()" for number in numbers if number not in written]
                written |= set(numbers)
            else:
                whole = self.shape.zeros(self.shape.R, self.shape.B, len(operand) * H)
                name, fresh = self._name(f"j{k}", whole), True
                for place, number in enumerate(numbers):
                    part = self._name(f"j{k}_{place}", whole[..., place * H : (place + 1) * H])
                    later.append(f"h{number}.{'add_' if number in written else 'copy_'}({part})")
                    written.add(number)
            for columns, D, _ in self._runs_back(k):
                lines.append(f"{self._product(k, columns, True, not fresh)}({name}, {D})")
                fresh = False
            lines += later
            later = []
        missing = [number for number in range(len(self.d.states)) if number not in written]
        return [*(f"h{number}.zero_()" for number in missing), *lines]

    def _cluster_is_prefilled(self, number: int) -> bool:
        return self.prefilled >= 0 and self._place(number)[0] == self._place(self.prefilled)[0]

    def _vectors(self, ends: Sequence[End]) -> None:
        """Gradients of vectors: sums over steps and sequences, after the loop."""
        there = dict(self.there) | {
            e.index: f"d{k}" for k, e in reversed(list(enumerate(ends))) if isinstance(e, Value)
        }
        writer = Writer(self.graph, there, self._batch_scratch, self._scalar)
        given = [end for end in self.d.d_vectors.values() if isinstance(end, Value)]
        writer.plan(given)
        self.vector_gradient: list[str | None] = [
            writer.value(end) if isinstance(end, Value) else None for end in self.d.d_vectors.values()
        ]
        self._sum_vectors = self._batched(writer.lines)

    # ---- what is called --------------------------------------------------------------------------------------------

    def bind(self, matrices: Sequence[Tensor], vectors: Sequence[Tensor]) -> None:
        """Take the weights of this minibatch: matrices (R, n·H, k·H) of the groups, vectors (R, 1, H)."""
        for own, given in zip(self.vectors, vectors, strict=True):
            own.copy_(given)
        self._compute_constants()
        made: dict[tuple[int, int, int, bool], Product] = {}
        self.bound: list[Callable[..., None]] = []
        for number, columns, transposed, added in self.made_products:
            key = (number, columns.start, columns.stop, transposed)
            if key not in made:
                W = matrices[number][..., columns]
                made[key] = Product(W.transpose(1, 2) if transposed else W, self.shape.H, self.shape.B)
            self.bound.append(made[key].add_to if added else made[key].write_to)

    def prefill(self, rows: Tensor) -> None:
        """Add to rows (R, n, K·H) the vectors that are simply added to a block."""
        H = self.shape.H
        for block, name in self.prefills:
            rows[..., block * H : (block + 1) * H] += self.batch[name][:, 0]

    def load(self, states: Sequence[Tensor]) -> None:
        """Start from these states, (R, B, H) each."""
        for number, state in enumerate(states):
            self.state(number)[:, 0].copy_(state)

    def store(self, states: Sequence[Tensor]) -> None:
        """Copy the states after the last step out, for the next minibatch."""
        if self.recurs:
            for number, state in enumerate(states):
                state.copy_(self.state(number)[:, -1])

    def split(self, rows: Tensor) -> list[tuple[Tensor, Tensor]]:
        """Columns (…, K·H) → the parts of the pre-activations that they belong in, (T, R, B, k·H), with those."""
        return [(part, rows[..., at]) for part, at in self.parts]

    def forward(self) -> None:
        """From what is in the parts and the states loaded to `output` (R, T, B, H) and the new states."""
        self._run_forward(self.bound, True)

    def backward(self, final: Sequence[Tensor] | None = None, initial: bool = False) -> None:
        """From the gradients at the output, in `d_output`, and at the last states (zero if there are none) to `D`.

        With `initial` on to the states before the first step: `initial_gradients`.
        """
        for number in range(len(self.d.states)):
            last = self._of_cluster([slots[-1] for slots in self.G], number)
            if number == self.prefilled:
                if final is not None:
                    last.add_(final[number])
                continue
            if self._cluster_is_prefilled(number):
                for slot in self.G[self._place(number)[0]]:
                    self._of_cluster([slot] * len(self.G), number).zero_()
            last.zero_() if final is None else last.copy_(final[number])
        if initial and self.prefilled >= 0:
            self._of_cluster([slots[0] for slots in self.G], self.prefilled).zero_()
        self._jacobian()
        self._run_backward(self.bound, initial)

    def initial_gradients(self) -> list[Tensor]:
        """The gradients at the states before the first step, (R, B, H) each."""
        return [self._of_cluster([slots[0] for slots in self.G], number) for number in range(len(self.d.states))]

    def matrix_gradients(self, out: Sequence[Tensor]) -> None:
        """Those of the groups' matrices (R, n·H, k·H)."""
        for number, (operand, into) in enumerate(zip(self.operands, out, strict=True)):
            for columns, _, D in self._runs_back(number):
                torch.bmm(operand.flatten(1, 2).transpose(1, 2), D.flatten(1, 2), out=into[..., columns])

    def vector_gradients(self) -> list[Tensor]:
        """Those of the vectors, (R, 1, H) each."""
        self._sum_vectors()
        return [
            torch.zeros_like(own) if name is None else self.batch[name].sum((1, 2)).unsqueeze(1)
            for name, own in zip(self.vector_gradient, self.vectors, strict=True)
        ]


# ---- as a function that autograd knows -----------------------------------------------------------------------------


def recurrence(
    d: Derived, shares: Tensor, states: Sequence[Tensor], matrices: Sequence[Tensor], vectors: Sequence[Tensor]
) -> tuple[Tensor, tuple[Tensor, ...]]:
    """Outputs (R, T, B, H) and the states after the last step, (R, B, H) each.

    `shares` (R, T, B, K·H) in the order of `d.inputs`, biases in them; `states` (R, B, H) each; `matrices`
    (R, k·H, n·H), one for each of `d.groups`; `vectors` (R, 1, H), one for each of `d.vectors`. Gradients can be taken
    once for each call. A linear recurrence is scanned on a GPU, where the launch of an operation counts; on a CPU the
    loop is 3 to 6 times as fast, since it reads and writes each number once.
    """
    if d.scan is not None and shares.is_cuda:
        return scanned(d, shares, states, matrices, vectors)
    outputs, *new = _Recurrence.apply(d, shares, *states, *matrices, *vectors)  # type: ignore[no-untyped-call]
    return outputs, tuple(new)


SPARE = 4
"""Buffers of one form that are kept for the next call."""
_spare: dict[Any, list[Steps]] = {}
_lock = Lock()


class _Recurrence(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, d: Derived, shares: Tensor, *given: Tensor) -> tuple[Tensor, ...]:
        R, T, B, width = shares.shape
        ends = [len(d.states), len(d.states) + len(d.groups)]
        states, matrices, vectors = given[: ends[0]], given[ends[0] : ends[1]], given[ends[1] :]
        shape = (R, T, B, width // len(d.inputs), shares.dtype, shares.device)
        key = d, shape, any(ctx.needs_input_grad)
        with _lock:
            spare = _spare.setdefault(key, [])
            steps = spare.pop() if spare else None
        if steps is None:
            with torch.inference_mode(False):  # so that it can be used again in any mode
                steps = Steps(d, Shape(*shape), training=any(ctx.needs_input_grad))
        steps.bind(matrices, vectors)
        rows = shares.new_zeros(R, T * B, steps.columns)
        steps.prefill(rows)
        rows[..., steps.from_input] += shares.flatten(1, 2)
        for part, of_it in steps.split(rows.view(R, T, B, -1)):
            replicas_first(part).copy_(of_it)
        steps.load(states)
        steps.forward()
        last = -1 if steps.recurs else 0
        new = [steps.state(number)[:, last].clone() for number in range(len(states))]
        outputs = steps.output.clone()
        if any(ctx.needs_input_grad):
            ctx.steps, ctx.key, ctx.matrices = steps, key, matrices
        else:
            _give_back(key, steps)
        return outputs, *new

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, d_outputs: Tensor, *d_new: Tensor) -> tuple[Tensor | None, ...]:
        steps, ctx.steps = ctx.steps, None
        if steps is None:
            raise RuntimeError("the gradients of a recurrence can be taken once")
        steps.d_output.copy_(d_outputs)
        steps.backward(d_new, initial=True)
        d_matrices = [torch.zeros_like(matrix) for matrix in ctx.matrices]
        steps.matrix_gradients(d_matrices)
        d_shares = steps.D[..., : steps.columns][..., steps.from_input].clone()
        d_vectors = [gradient.clone() for gradient in steps.vector_gradients()]
        d_states = [gradient.clone() for gradient in steps.initial_gradients()]
        _give_back(ctx.key, steps)
        return None, d_shares, *d_states, *d_matrices, *d_vectors


def _give_back(key: Any, steps: Steps) -> None:
    with _lock:
        if len(_spare[key]) < SPARE:
            _spare[key].append(steps)
