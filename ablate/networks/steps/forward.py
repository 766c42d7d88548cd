"""The lines of a step forward: products added to the shares of the input, pointwise functions in place.

Axes: R replicas, T steps, B sequences, H hidden units, K blocks of H columns.
"""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor

from ablate.cells.derivative import Derived
from ablate.cells.stages import LEAVES
from ablate.cells.trace import Value
from ablate.networks.pointwise import Writer
from ablate.networks.steps.buffers import Buffers, Shape, replicas_first, runs


class Forward(Buffers):
    """The way forward."""

    def __init__(self, d: Derived, shape: Shape, training: bool) -> None:
        super().__init__(d, shape, training)
        self._forward()

    def _forward(self) -> None:
        d, H = self.d, self.shape.H
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
            whole = self.batch[self.there[d.output.index]]  # of vectors alone the same at each step
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
