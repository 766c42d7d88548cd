"""One kernel for each stage of a step, of pointwise functions alone: products are taken between them.

Axes: R replicas, B sequences, H hidden units.
"""

from __future__ import annotations

from ablate.cells.trace import Value
from ablate.engines.cohort.cuda.code import Code, Kernel
from ablate.engines.cohort.cuda.places import Place, Places


def stage_kernels(places: Places) -> tuple[list[Kernel], list[Kernel]]:
    """Forward and back, one for each stage; of a cell without training, forward alone."""
    forward = [StageCode(places, f"forward{n}", n, back=False).made() for n in range(len(places.forward))]
    count = len(places.backward) if places.training else 0
    return forward, [StageCode(places, f"backward{n}", n, back=True).made() for n in range(count)]


class StageCode(Code):
    """Products wait in buffers (R, B, n·H), one for each group: `product0`, …, and those of the way back `reach0`, ….

    What goes on to the step before is in `carried` (2, n, R, B, H), by the parity of the step it was made at.
    """

    def __init__(self, places: Places, name: str, stage: int, back: bool) -> None:
        d = places.d
        products = [f"{'reach' if back else 'product'}{k}" for k in range(len(d.groups))]
        buffers = ("shares", "vectors", "states", "kept", "output")
        more = ("D", "d_output", "carried", "crossing") if back else ()
        super().__init__(places, name, (*buffers, *more, *products, "t"))
        self.stage, self.back = stage, back

    def made(self) -> Kernel:
        self._back() if self.back else self._forth()
        return self.kernel(self.lines)

    def at(self, place: Place, rows: str = "rows", cols: str = "cols") -> str:
        count = len(self.d.states)
        if place.buffer == "carried":
            return (
                f"carried + (((t + {place.after}) % 2 * {count} + {place.slot}) * R + r) * B * H + {rows} * H + {cols}"
            )
        if place.buffer == "crossing":
            return f"crossing + ({place.slot} * R + r) * B * H + {rows} * H + {cols}"
        if place.buffer.startswith(("product", "reach")):
            group = self.d.groups[int(place.buffer.removeprefix("product").removeprefix("reach"))]
            width = len(group.operand if self.back else group.products)
            return f"{place.buffer} + (r * B + {rows}) * ({width} * H) + {place.slot} * H + {cols}"
        return super().at(place, rows, cols)

    def load(self, index: int) -> str:
        d, p = self.d, self.places
        if not self.back:
            for k, group in enumerate(d.groups):
                if index in group.products:
                    return self.read(Place(f"product{k}", group.products.index(index)))
            return super().load(index)
        if index in d.d_states:
            number = d.d_states.index(index)
            terms = [Place("carried", number, 1)]
            for k, group in enumerate(d.groups):
                places = [place for place, part in enumerate(group.operand) if part == d.states[number]]
                terms += [Place(f"reach{k}", place) for place in places if group.recurrent]
            return " + ".join(map(self.read, terms))
        for k, leaves in d.backs.items():
            if index in leaves:
                return self.read(Place(f"reach{k}", leaves.index(index)))
        if index in p.crossing:
            return self.read(Place("crossing", p.crossing.index(index)))
        if index in p.gone and index != d.d_output:
            slot = next(k for k, end in enumerate(p.slots) if isinstance(end, Value) and end.index == index)
            return self.read(Place("D", slot))
        return super().load(index)

    def _forth(self) -> None:
        d, p, last = self.d, self.places, len(self.places.forward) - 1
        self.writer.compute(p.forward[self.stage].values)
        for index, place in p.of.items():
            leaf = d.graph.nodes[index].op in ("input", "vector")
            if place.buffer == "kept" and p.made.get(index, 0 if leaf else last) == self.stage:
                self.store(Value(d.graph, index), place)
        ends = [(end, Place("states", number, 1)) for number, end in enumerate(d.new_states) if p.recurs]
        ends += [(d.output, Place("output"))] if p.own_output else []
        for end, place in ends:
            if (p.made.get(end.index, last) if isinstance(end, Value) else last) == self.stage:
                self.store(end, place)

    def _back(self) -> None:
        p = self.places
        self.writer.compute(p.backward[self.stage].values)
        for end, place in p.ends_known(self.stage):
            self.store(end, place)
        for slot, index in enumerate(p.crossing):
            if p.gone[index] == self.stage:
                self.store(Value(self.d.graph, index), Place("crossing", slot))
