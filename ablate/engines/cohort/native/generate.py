"""`struct Cell` of kernel.h, in C++, from the equations of a cell and their derivative.

Axes: T steps, B sequences, H hidden units, L lanes of a vector.

A step forward is the stages of `Derived.forward`, each the tiles of its products, finished by one pointwise function;
a step back likewise. What a stage makes and a later one reads has a place, by its node:

    old, now    a state before and after the step
    inner       what is multiplied beside states, as R ⊙ H
    output      what is read out, where that is no state
    D           a slot for each gradient at a product or at a share of the input; forward, in the slots that are not
                written before their last use on the way back, the values that are kept
    extra       the other values that are kept
    scratch     what one stage hands to a later one of the same step, for no longer
"""

import itertools
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache

from ablate.cells.derivative import Derived
from ablate.cells.lowering import End, Underivable, arguments_of, index_of
from ablate.cells.stages import Group, Stage
from ablate.cells.trace import Value
from ablate.engines.cohort.arrangement import gradient_slots, key, made_in, same, with_inner_leaves_first
from ablate.engines.cohort.native.pointwise import Place, Pointwise

REGISTER_COLUMNS = 4
"""Columns of a product that one tile holds."""
PARTS_LIMIT = 16
"""Parts of an operand: `Operand` and `Group` of kernel.h."""


@dataclass(frozen=True)
class Chunk:
    """Columns of a product that are computed together: forward of its results, back of its operand's parts."""

    group: int
    first: int
    count: int
    column: int
    """Of the scratch panels."""


@lru_cache(256)
def source(d: Derived) -> str:
    """The translation unit. Raises Underivable for what the kernel has no form of."""
    if not d.inputs:
        raise Underivable("nothing of the input is read")
    if any(len(group.operand) > PARTS_LIMIT for group in d.groups):
        raise Underivable(f"an operand of more than {PARTS_LIMIT} parts")
    return CellCode(d).text()


class CellCode:
    def __init__(self, d: Derived) -> None:
        self.d = d
        self.nodes = d.graph.nodes
        self.recurs = tuple(index_of(end) for end in d.new_states) != d.states
        self.forward_stages = with_inner_leaves_first(d) or (Stage((), ()),)
        self.backward_stages = d.backward or (Stage((), ()),)
        self.slots, self.group_slot, self.input_slot = gradient_slots(d)
        self.forth, forth_columns = _chunks(d.groups, self.forward_stages, lambda group: len(group.products))
        recurrent = tuple(k for k, group in enumerate(d.groups) if group.recurrent and self.recurs)
        back = [Stage((*recurrent, *stage.groups) if n == 0 else stage.groups, stage.values)
                for n, stage in enumerate(self.backward_stages)]  # fmt: skip
        self.backward_stages = tuple(back)
        self.back, back_columns = _chunks(d.groups, self.backward_stages, lambda group: len(group.operand))

        self.made = made_in(self.forward_stages, d.groups, lambda group: group.products)
        self.gone = made_in(self.backward_stages, d.groups, lambda group: d.backs.get(d.groups.index(group), ()))
        for leaf in (d.d_output, *d.d_states):
            self.gone[leaf] = 0
        self.own_output = not (self.recurs and same(d.output, d.new_states[0]))
        self.places: dict[int, Place] = {}
        self.inner: list[int] = []
        self._place_states_and_operands()
        self.extras = self._place_kept()
        self.forth_waiting = self._place_crossing(self._forward_reads(), self.made, forth_columns)
        self.back_places: dict[int, Place] = {}
        self.back_waiting = self._place_back_crossing(back_columns)
        self.scratch = max(1, self.forth_waiting, self.back_waiting)
        self.carried, self.incoming = self._carried()

    # ---- places

    def _place_states_and_operands(self) -> None:
        d = self.d
        for number, state in enumerate(d.states):
            self.places[state] = Place(f"old[{number}]")
        if self.recurs:
            for number, end in enumerate(d.new_states):
                if isinstance(end, Value):
                    self.places.setdefault(end.index, Place(f"now[{number}]"))
        if self.own_output and isinstance(d.output, Value):
            self.places.setdefault(d.output.index, Place("output"))
        for group in d.groups:
            for part in group.operand:
                if part not in self.places:
                    self.places[part] = Place(f"inner[{len(self.inner)}]")
                    self.inner.append(part)

    def _place_kept(self) -> int:
        """A kept value goes where a gradient will be, if it is last read before that is written. How many do not."""
        d = self.d
        kept = [index for index in d.kept if index not in self.places]
        last = dict.fromkeys(kept, 0)
        for number, stage in enumerate(self.backward_stages):
            for index in itertools.chain(stage.values, self._ends_at(number)):
                for of in (index, *arguments_of(self.nodes[index])):
                    if of in last:
                        last[of] = number
        free = {slot: self._gone(end) for slot, end in enumerate(self.slots)}
        extras = 0
        for index in sorted(kept, key=lambda index: (-last[index], index)):
            slot = next((s for s, written in free.items() if written >= last[index]), None)
            if slot is None:
                self.places[index] = Place("extra", extras, "EXTRAS")
                extras += 1
            else:
                del free[slot]
                self.places[index] = Place("D", slot, "SLOTS")
        return extras

    def _forward_reads(self) -> Iterator[tuple[int, int]]:
        for number, stage in enumerate(self.forward_stages):
            for index in stage.values:
                yield from ((of, number) for of in arguments_of(self.nodes[index]))

    def _place_crossing(self, reads: Iterable[tuple[int, int]], made: Mapping[int, int], columns: int) -> int:
        for of, number in reads:
            if made.get(of, number) < number and of not in self.places:
                self.places[of] = Place("scratch", columns, "SCRATCH")
                columns += 1
        return columns

    def _place_back_crossing(self, columns: int) -> int:
        for number, stage in enumerate(self.backward_stages):
            for index in itertools.chain(stage.values, self._ends_at(number)):
                for of in (index, *arguments_of(self.nodes[index])):
                    crosses = of in self.gone and self.gone[of] < number and of not in stage.values
                    if crosses and of != self.d.d_output and of not in self.back_places:
                        self.back_places[of] = Place("scratch", columns, "SCRATCH")
                        columns += 1
        return columns

    def _gone(self, end: End) -> int:
        """The stage of the way back at which a gradient is known; that of a number from the first on."""
        return self.gone.get(end.index, 0) if isinstance(end, Value) else 0

    def _back_ends(self) -> list[tuple[End, Place]]:
        """What the way back leaves behind."""
        d = self.d
        ends = [(end, Place("D", slot, "SLOTS")) for slot, end in enumerate(self.slots)]
        carried = zip(d.carried, itertools.count(), strict=False)
        return ends + [(end, Place(f"carried[{number}]")) for end, number in carried if end != 0.0]

    def _ends_at(self, number: int) -> list[int]:
        """Nodes of the ends that are known at a stage, and of what is summed up for the vectors."""
        ends = [end for end, _ in self._back_ends()] + [end for _, end in self._summed()]
        return [end.index for end in ends if isinstance(end, Value) and self._gone(end) == number]

    def _summed(self) -> list[tuple[int, End]]:
        """Vectors whose gradient is in no slot."""
        keys = [key(end) for end in self.slots]
        return [(k, end) for k, end in enumerate(self.d.d_vectors.values()) if key(end) not in keys]

    def _carried(self) -> tuple[list[bool], list[int]]:
        """Of each state whether anything reaches it past the products; and the column for what comes from outside."""
        d = self.d
        carried = [end != 0.0 for end in d.carried]
        incoming = [-1] * len(carried)
        for chunk in self.back:
            group = d.groups[chunk.group]
            if not group.recurrent:
                continue
            for place, part in enumerate(group.operand[chunk.first : chunk.first + chunk.count]):
                state = d.states.index(part)
                if not carried[state] and incoming[state] < 0:
                    incoming[state] = chunk.column + place
        return carried, incoming

    # ---- text

    def text(self) -> str:
        cell = f"struct Cell {{\n{self._facts()}\n{self._functions()}}};\n"
        # Without a name of its own, or a process that loads two cells would take the facts of one for the other's.
        return f'#include "kernel.h"\n\nnamespace {{\n{cell}}}\n\n#include "calls.h"\n'

    def _facts(self) -> str:
        d = self.d
        counts = {
            "STATES": len(d.states),
            "INPUTS": len(d.inputs),
            "PRODUCTS": sum(len(group.products) for group in d.groups),
            "SLOTS": len(self.slots),
            "EXTRAS": self.extras,
            "INNERS": len(self.inner),
            "VECTORS": len(d.vectors),
            "GROUPS": len(d.groups),
            "FORTHS": len(self.forth),
            "BACKS": len(self.back),
            "SCRATCH": self.scratch,
            "D_INPUTS": self.input_slot,
        }
        slots = [key(end) for end in self.slots]
        vector_slots = [slots.index(key(end)) if key(end) in slots else -1 for end in d.d_vectors.values()]
        chunks = "{{{0.group}, {0.first}, {0.count}, {0.column}}}".format
        groups = [self._group(number, group) for number, group in enumerate(d.groups)]
        lines = [
            f"static constexpr int {', '.join(f'{name} = {count}' for name, count in counts.items())};",
            f"static constexpr bool RECURS = {_cpp(self.recurs)}, OWN_OUTPUT = {_cpp(self.own_output)};",
            _array("Group", "GROUP", groups, "{}"),
            _array("Chunk", "FORTH", map(chunks, self.forth), "{}"),
            _array("Chunk", "BACK", map(chunks, self.back), "{}"),
            _array("int", "VECTOR_SLOT", map(str, vector_slots), "-1"),
            _array("int", "INCOMING", map(str, self.incoming), "-1"),
            _array("bool", "CARRIED", map(_cpp, self.carried), "false"),
        ]
        return "".join(f"    {line}\n" for line in lines)

    def _group(self, number: int, group: Group) -> str:
        parts = ", ".join(self._part(part) for part in group.operand)
        head = f"{len(group.operand)}, {len(group.products)}, {self.group_slot[number]}, {_cpp(group.recurrent)}"
        return f"{{{head}, {{{parts}}}}}"

    def _part(self, index: int) -> str:
        name, _, number = self.places[index].panels.rstrip("]").partition("[")
        return f"{{{name.upper()}, {number or 0}}}"

    def _functions(self) -> str:
        parts: list[str] = []
        forward, backward = [], []
        for number, stage in enumerate(self.forward_stages):
            parts.append(self._forward_stage(number, stage))
            forward += _steps(
                "forth", f"forward{number}", [k for k, c in enumerate(self.forth) if c.group in stage.groups]
            )
        for number, stage in enumerate(self.backward_stages):
            parts.append(self._backward_stage(number, stage))
            chunks = [k for k, c in enumerate(self.back) if c.group in stage.groups]
            steps = _steps("back", f"backward{number}", chunks)
            if number == 0 and chunks:
                at_last = f"net.pointwise(s, backward0, {self.back[chunks[-1]].column});"
                steps = [f"if (s.last) {at_last}", "else {", *(f"    {step}" for step in steps), "}"]
            backward += steps
        first = [
            f"net.template to_first_state<{k}>(s);" for k, c in enumerate(self.back) if self.d.groups[c.group].recurrent
        ]
        for name, lines in (("forward", forward), ("backward", backward), ("to_first_states", first)):
            body = "".join(f"        {line}\n" for line in lines)
            parts.append(
                f"    template <class Net> static void {name}(Net &net, const Step<Cell> &s) {{\n{body}    }}\n"
            )
        return "\n".join(parts)

    def _forward_stage(self, number: int, stage: Stage) -> str:
        d, last = self.d, len(self.forward_stages) - 1
        stores: list[tuple[End, Place]] = []

        def here(end: End) -> bool:
            at = self.made.get(end.index) if isinstance(end, Value) else None
            return (last if at is None else at) == number

        if self.recurs:
            stores += [(end, Place(f"now[{k}]")) for k, end in enumerate(d.new_states) if here(end)]
        if self.own_output and here(d.output):
            stores.append((d.output, Place("output")))
        for index, place in self.places.items():
            if place.panels.startswith(("old", "now", "output")):
                continue
            made = self.made.get(index)
            if made is None:  # a leaf: there before its product, else at the end
                made = 0 if place.panels.startswith("inner") else last
            if made == number:
                stores.append((Value(d.graph, index), place))
        chunks = [c for c in self.forth if c.group in stage.groups]
        results = {}
        for chunk in chunks:
            for k, product in enumerate(d.groups[chunk.group].products[chunk.first : chunk.first + chunk.count]):
                results[product] = f"p[{k}]" if chunk is chunks[-1] else Place("scratch", chunk.column + k, "SCRATCH")
        masked = ("now", "inner", "output")
        return Pointwise(self, f"forward{number}", stage.values, results, stores, {}, masked, forward=True).text()

    def _backward_stage(self, number: int, stage: Stage) -> str:
        d = self.d
        stores = [(end, place) for end, place in self._back_ends() if self._gone(end) == number]
        stores += [
            (Value(d.graph, index), place) for index, place in self.back_places.items() if self.gone[index] == number
        ]
        sums = {k: end for k, end in self._summed() if self._gone(end) == number}
        chunks = [c for c in self.back if c.group in stage.groups]
        results: dict[int, str | Place] = {}
        reaching: dict[int, list[str | Place]] = {leaf: [] for leaf in d.d_states}
        for chunk in chunks:
            group = d.groups[chunk.group]
            for k in range(chunk.count):
                result = f"p[{k}]" if chunk is chunks[-1] else Place("scratch", chunk.column + k, "SCRATCH")
                if group.recurrent:
                    state = d.states.index(group.operand[chunk.first + k])
                    reaching[d.d_states[state]].append(result)
                else:
                    results[d.backs[chunk.group][chunk.first + k]] = result
        if number == 0:
            for state, leaf in enumerate(d.d_states):
                if self.carried[state] or (self.incoming[state] < 0 and self.recurs):
                    reaching[leaf].append(Place(f"carried[{state}]"))
                    if not self.carried[state]:
                        stores.append((0.0, Place(f"carried[{state}]")))
        return Pointwise(
            self, f"backward{number}", stage.values, results, stores, sums, ("D",), reaching if number == 0 else {}
        ).text()


def _chunks(groups: Sequence[Group], stages: Sequence[Stage], width: Callable[[Group], int]) -> tuple[list[Chunk], int]:
    """As few as can be, of equal sizes, the widest last in each stage; and how many columns wait at most."""
    out, most = [], 0
    for stage in stages:
        parts = []
        for k in stage.groups:
            total = width(groups[k])
            count = -(-total // REGISTER_COLUMNS)
            cuts = [total * i // count for i in range(count + 1)]
            parts += [(k, start, end - start) for start, end in itertools.pairwise(cuts)]
        column = 0
        for k, start, columns in sorted(parts, key=lambda part: part[2]):
            out.append(Chunk(k, start, columns, column))
            column += columns
        most = max(most, column)
    return out, most


def _steps(way: str, finish: str, chunks: Sequence[int]) -> list[str]:
    if not chunks:
        return [f"net.pointwise(s, {finish}, 0);"]
    return [f"net.template {way}<{k}>(s);" for k in chunks[:-1]] + [
        f"net.template {way}<{chunks[-1]}>(s, {finish}, &s);"
    ]


# ---- C++ ---------------------------------------------------------------------------------------------------------


def _cpp(value: bool) -> str:
    return "true" if value else "false"


def _array(kind: str, name: str, items: Iterable[str], empty: str) -> str:
    return f"static constexpr {kind} {name}[] = {{{', '.join(items) or empty}}};"
