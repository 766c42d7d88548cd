"""Where the values of a cell's steps lie between kernels, and who stores what.

Axes: R replicas, T steps, B sequences, H hidden units. Buffers, all contiguous:

    shares    (T, R, B, K·H)       of the input, in the order of `d.inputs`
    vectors   (R, n·H)             in the order of `d.vectors`
    states    (n, R, T + 1, B, H)  before the first step and after each; of a cell that reads anew, before it alone
    kept      (n, R, T, B, H)      what is multiplied beside states, and what the way back reads
    output    (R, T, B, H)         where that is no state
    D         (R, T, B, n·H)       gradients at products and shares, side by side; behind them those at vectors
"""

from __future__ import annotations

from dataclasses import dataclass

from ablate.cells.derivative import Derived
from ablate.cells.lowering import End, Underivable, index_of
from ablate.cells.stages import Stage, crossing_stages
from ablate.cells.trace import Value
from ablate.engines.cohort.arrangement import gradient_slots, key, made_in, same, with_inner_leaves_first

LEAVES = ("state", "input", "vector")


@dataclass(frozen=True)
class Place:
    """A value at one step: a buffer, a slot of it, and for a state whether before the step (0) or after it (1)."""

    buffer: str
    slot: int = 0
    after: int = 0


class Places:
    """Of a derivative. Without `training`, what the way back reads is not stored; `whole_steps` says that one kernel
    takes whole steps, in which what a stage hands to the next needs no place.

    Raises Underivable for a cell that reads nothing of the input.
    """

    def __init__(self, d: Derived, training: bool, whole_steps: bool) -> None:
        if not d.inputs:
            raise Underivable("nothing of the input is read")
        self.d, self.training = d, training
        self.nodes = d.graph.nodes
        self.recurs = tuple(index_of(end) for end in d.new_states) != d.states
        self.own_output = not (self.recurs and same(d.output, d.new_states[0]))
        self.forward: tuple[Stage, ...] = with_inner_leaves_first(d) or (Stage((), ()),)
        self.backward: tuple[Stage, ...] = d.backward or (Stage((), ()),)
        self.of: dict[int, Place] = {}
        """Node → where its value is stored by the way forward."""
        if self.recurs:
            for number, end in enumerate(d.new_states):
                self._place(end, Place("states", number, 1))
        if self.own_output:
            self._place(d.output, Place("output"))
        self.kept: list[int] = []
        inner = [part for group in d.groups for part in group.operand]
        crossing = set() if whole_steps else crossing_stages(self.nodes, d.forward)
        for index in (*inner, *(d.kept if training else sorted(crossing))):
            if index not in self.of and (self.nodes[index].op not in LEAVES or self._is_copied(index, inner)):
                self.of[index] = Place("kept", len(self.kept))
                self.kept.append(index)
        slots, self.group_slot, self.input_slot = gradient_slots(d)
        self.slots: list[End] = list(slots)
        """What is in each slot of D."""
        for end in d.d_vectors.values():
            if isinstance(end, Value) and key(end) not in [key(slot) for slot in self.slots]:
                self.slots.append(end)
        there = [key(slot) for slot in self.slots]
        self.vector_slots = [there.index(key(end)) if isinstance(end, Value) else -1 for end in d.d_vectors.values()]
        self.made = made_in(self.forward, d.groups, lambda group: group.products)
        self.gone = made_in(self.backward, d.groups, lambda group: d.backs.get(d.groups.index(group), ()))
        self.gone |= dict.fromkeys((d.d_output, *d.d_states), 0)
        self.crossing = self._crossing()

    def _place(self, end: End, place: Place) -> None:
        if isinstance(end, Value) and end.node.op not in LEAVES:
            self.of.setdefault(end.index, place)

    def _is_copied(self, index: int, inner: list[int]) -> bool:
        """A share of the input, or a vector, that is multiplied as such."""
        return index in inner and self.nodes[index].op != "state"

    def operand(self, part: int) -> Place:
        """Of a part of what a group multiplies."""
        if part in self.d.states:
            return Place("states", self.d.states.index(part))
        return self.of[part]

    def ends_known(self, stage: int) -> list[tuple[End, Place]]:
        """What the way back leaves behind at a stage: gradients, and what goes on to the step before."""
        ends = [(end, Place("D", slot)) for slot, end in enumerate(self.slots)]
        ends += [(end, Place("carried", number)) for number, end in enumerate(self.d.carried) if self.recurs]
        return [(end, place) for end, place in ends if self.gone_at(end) == stage]

    def gone_at(self, end: End) -> int:
        """The stage of the way back at which a gradient is known; that of a number from the first on."""
        return self.gone.get(end.index, 0) if isinstance(end, Value) else 0

    def _crossing(self) -> list[int]:
        """Gradients that a later stage of the way back reads, and that are in no slot of D."""
        out: dict[int, None] = {}
        leaves = {self.d.d_output, *self.d.d_states, *(leaf for of in self.d.backs.values() for leaf in of)}
        slots = {key(end) for end in self.slots}
        for number, stage in enumerate(self.backward):
            read = [of.index for i in stage.values for of in self.nodes[i].of if isinstance(of, Value)]
            for index in read:
                crosses = self.gone.get(index, number) < number and index not in stage.values
                if crosses and index not in leaves and index not in slots:
                    out[index] = None
        return list(out)
