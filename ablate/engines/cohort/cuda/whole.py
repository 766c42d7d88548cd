"""One kernel that takes all steps of a layer, forward or back.

Its products either read weights that were loaded before the first step (`held`), or go through the weights again at
each step, BK rows at a time (`streamed`); what they multiply has then been stored before, for the threads of the
program to share. A tile has all units, unless the cell has no products.
Axes: R replicas, T steps, B sequences, H hidden units.
"""

from __future__ import annotations

from collections.abc import Sequence

from ablate.cells.trace import Value
from ablate.engines.cohort.cuda.code import Code, Kernel
from ablate.engines.cohort.cuda.places import Place, Places


def whole_kernels(places: Places, held: bool) -> list[Kernel]:
    """Forward, and with training back: matrices forward as they are, back transposed and contiguous."""
    made = [WholeCode(places, "forward", held, back=False).made()]
    return [*made, WholeCode(places, "backward", held, back=True).made()] if places.training else made


class WholeCode(Code):
    """States, and on the way back the gradients at them, go from step to step in registers, as `s0` and `g0`."""

    def __init__(self, places: Places, name: str, held: bool, back: bool) -> None:
        d = places.d
        buffers = ("shares", "vectors", "states", "kept", "output")
        more = ("D", "d_output", "finals", "initials") if back else ()
        weights = [f"W{k}{of}" for k in range(len(d.groups)) for of in ("", "_replica", "_row")]
        super().__init__(places, name, (*buffers, *more, *weights))
        self.held, self.back = held, back

    def made(self) -> Kernel:
        self._held_weights() if self.held else self.before.append("inner = tl.arange(0, BK)")
        body = self._back() if self.back else self._forth()
        return self.kernel(body)

    def load(self, index: int) -> str:
        d = self.d
        if index in d.states and not self.back:
            return f"s{d.states.index(index)}"
        if index in d.d_states:
            return f"g{d.d_states.index(index)}"
        return super().load(index)

    def _held_weights(self) -> None:
        for k, group in enumerate(self.d.groups):
            for p in range(len(group.operand)):
                for n in range(len(group.products)):
                    rows, cols = (n, p) if self.back else (p, n)
                    at = f"W{k} + r * W{k}_replica + ({rows} * H + deep) * W{k}_row + {cols} * H + cols"
                    self.before.append(f"W{k}_{p}_{n} = tl.load({at}, mask=(deep < H) & (cols < H), other=0.0)")
        if self.d.groups:
            self.before.insert(6, "deep = tl.arange(0, HP)[:, None]")

    def _dot(self, value: str, weights: str, to: str) -> str:
        return f"{to} = tl.dot({value}, {weights}, {to}, input_precision=PRECISION, out_dtype=DT)"

    def _streamed(self, groups: Sequence[tuple[str, str, str, Sequence[tuple[str, str]]]]) -> None:
        """Products over `length` columns of an operand: (its address, its first row of weights, length, to which
        accumulators by which weights)."""
        for operand, first, length, to in groups:
            guard = f", mask={'{}'} & (k + inner < {length}){'{}'}"
            self.lines.append(f"for k in range(0, {length}, BK):")
            inside = [
                f"a = tl.load({operand}{guard.format('(rows < B)', '[None, :]')}, other=0.0)",
                *(
                    line
                    for number, (name, weights) in enumerate(to)
                    for line in (
                        f"w{number} = tl.load({weights.format(f'({first} + k + inner)[:, None]')}"
                        f"{guard.format('(cols < H)', '[:, None]')}, other=0.0)",
                        self._dot("a", f"w{number}", name),
                    )
                ),
            ]
            self.lines += [f"    {line}" for line in inside]

    def _operand(self, name: str) -> str:
        """A value as a product reads it: a whole tile, zero where there is no unit."""
        return f"tl.where(here, {name} + whole, 0.0)"

    # ---- forward

    def _forth(self) -> list[str]:
        d, p = self.d, self.places
        states = range(len(d.states))
        first = "(T + 1) * B * H" if p.recurs else "B * H"
        before = [f"states + ({n} * R + r) * {first} + rows * H + cols" for n in states]
        start = [f"s{n} = tl.load({at}, mask=here, other=0.0)" for n, at in enumerate(before)]
        if not self.held and d.groups:
            self.lines.append("tl.debug_barrier()")  # what the step before stored, other threads read
        stored: set[int] = set()
        leaves = [i for i in p.of if self.d.graph.nodes[i].op in ("input", "vector")]
        self._store_placed(leaves, stored)
        for stage in p.forward:
            for k in stage.groups:
                self._multiply(k)
                self._store_placed(d.groups[k].products, stored)
            for index in stage.values:
                self.writer.compute([index])
                self._store_placed([index], stored)
        if p.recurs:
            for number, end in enumerate(d.new_states):
                if not (isinstance(end, Value) and p.of.get(end.index) == Place("states", number, 1)):
                    self.store(end, Place("states", number, 1))
            new = [f"{self.writer.name(end)} + whole" for end in d.new_states]
            self.lines += [f"n{n} = {value}" for n, value in enumerate(new)] + [f"s{n} = n{n}" for n in states]
        if p.own_output and not (isinstance(d.output, Value) and p.of.get(d.output.index) == Place("output")):
            self.store(d.output, Place("output"))
        return [*start, *_loop(self.lines)]

    def _store_placed(self, indices: Sequence[int], stored: set[int]) -> None:
        for index in indices:
            place = self.places.of.get(index)
            # In registers nothing else reads what is kept for products alone.
            needed = place is not None and (self.places.training or not self.held or place.buffer != "kept")
            if needed and place is not None and index not in stored:
                stored.add(index)
                self.store(Value(self.d.graph, index), place)

    def _multiply(self, k: int) -> None:
        group = self.d.groups[k]
        names = [f"v{product}" for product in group.products]
        if not self.held and any(part not in self.d.states for part in group.operand):
            self.lines.append("tl.debug_barrier()")
        self.lines += [f"{name} = tl.full((BB, HP), 0.0, DT)" for name in names]
        if self.held:
            for p, part in enumerate(group.operand):
                self.lines.append(f"a{k}_{p} = {self._operand(self.writer.name(Value(self.d.graph, part)))}")
                self.lines += [self._dot(f"a{k}_{p}", f"W{k}_{p}_{n}", name) for n, name in enumerate(names)]
        else:
            weights = [f"W{k} + r * W{k}_replica + {{}} * W{k}_row + {n} * H + cols" for n in range(len(names))]
            self._streamed(
                [
                    (
                        self.at(self.places.operand(part), cols="(k + inner)[None, :]"),
                        f"{p} * H",
                        "H",
                        list(zip(names, weights, strict=True)),
                    )
                    for p, part in enumerate(group.operand)
                ]
            )
        self.writer.known |= dict(zip(group.products, names, strict=True))

    # ---- back

    def _back(self) -> list[str]:
        d, p = self.d, self.places
        finals = "({0} * R + r) * B * H + rows * H + cols"
        states = range(len(d.states)) if p.recurs else range(0)
        start = [f"g{n} = tl.load(finals + {finals.format(n)}, mask=here, other=0.0)" for n in states]
        for number, stage in enumerate(p.backward):
            for k in stage.groups:
                leaves = dict(enumerate(d.backs[k]))
                self.lines += [f"v{leaf} = tl.full((BB, HP), 0.0, DT)" for leaf in leaves.values()]
                self._multiply_back(k, {part: f"v{leaf}" for part, leaf in leaves.items()})
                self.writer.known |= {leaf: f"v{leaf}" for leaf in leaves.values()}
            self.writer.compute(stage.values)
            for end, place in p.ends_known(number):
                if place.buffer == "D":
                    self.store(end, place)
        if p.recurs:
            self.lines += [f"n{n} = {self.writer.name(end)} + whole" for n, end in enumerate(d.carried)]
            for k, group in enumerate(d.groups):
                if group.recurrent:
                    self._multiply_back(k, {p: f"n{d.states.index(part)}" for p, part in enumerate(group.operand)})
            self.lines += [f"g{n} = n{n}" for n in states]
        ends = [f"tl.store(initials + {finals.format(n)}, g{n}, mask=here)" for n in states]
        return [*start, *_loop(["t = T - 1 - step", *self.lines], "step"), *ends]

    def _multiply_back(self, k: int, to: dict[int, str]) -> None:
        """Add D Wᵀ of a group to what each part of its operand gets."""
        group, first = self.d.groups[k], self.places.group_slot[k]
        if self.held:
            for n in range(len(group.products)):
                end = self.places.slots[first + n]
                if end == 0.0:
                    continue
                self.lines.append(f"d{k}_{n} = {self._operand(self.writer.name(end))}")
                self.lines += [self._dot(f"d{k}_{n}", f"W{k}_{p}_{n}", name) for p, name in to.items()]
            return
        self.lines.append("tl.debug_barrier()")
        weights = [f"W{k} + r * W{k}_replica + {{}} * W{k}_row + {p} * H + cols" for p in to]
        self._streamed(
            [
                (
                    self.at(Place("D", first), cols="(k + inner)[None, :]"),
                    "0",
                    f"{len(group.products)} * H",
                    list(zip(to.values(), weights, strict=True)),
                )
            ]
        )


def _loop(lines: Sequence[str], over: str = "t") -> list[str]:
    return [f"for {over} in range(T):", *(f"    {line}" for line in lines)]
