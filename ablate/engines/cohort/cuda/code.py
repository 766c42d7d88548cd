"""What the kernels of every form share: tiles, addresses, loads and stores, as lines of Triton.

Axes: R replicas, T steps, B sequences, H hidden units. A program computes a tile of BB sequences and HP units of one
replica.
"""

from __future__ import annotations

import textwrap
from collections.abc import Sequence
from dataclasses import dataclass

from ablate.cells.lowering import End
from ablate.engines.cohort.cuda.places import Place, Places
from ablate.engines.cohort.cuda.pointwise import Writer

CONSTANTS = ("H", "HP", "BB", "BK", "PRECISION", "DT")


@dataclass(frozen=True)
class Kernel:
    """A function by its name, its arguments before the constants, and its text."""

    name: str
    arguments: tuple[str, ...]
    text: str


class Code:
    """What both forms share: tiles, addresses, loads and stores."""

    def __init__(self, places: Places, name: str, arguments: Sequence[str]) -> None:
        self.places, self.d = places, places.d
        self.kernel_name, self.arguments = name, tuple(arguments)
        self.before: list[str] = [
            "R = tl.num_programs(0)",
            "r = tl.program_id(0).to(tl.int64)",
            "rows = (tl.program_id(1) * BB + tl.arange(0, BB))[:, None]",
            "cols = (tl.program_id(2) * HP + tl.arange(0, HP))[None, :]",
            "here = (rows < B) & (cols < H)",
            "whole = tl.full((BB, HP), 0.0, DT)",
        ]
        self.writer = Writer(places.d.graph, self.load)
        self.lines = self.writer.lines

    def kernel(self, body: Sequence[str]) -> Kernel:
        constants = ", ".join(f"{name}: tl.constexpr" for name in CONSTANTS)
        head = f"def {self.kernel_name}({', '.join((*self.arguments, 'T', 'B'))}, {constants}):"
        text = textwrap.indent("\n".join([*self.before, *body]), "    ")
        # A kernel for each number of steps would be compiled anew.
        varying = [name for name in (*self.arguments, "T", "B") if name in ("t", "T", "B")]
        return Kernel(self.kernel_name, self.arguments, f"@triton.jit(do_not_specialize={varying})\n{head}\n{text}\n")

    # ---- addresses

    def at(self, place: Place, rows: str = "rows", cols: str = "cols") -> str:
        """The address of a tile at step t."""
        p, slot = self.places, place.slot
        row, width = {
            "shares": (f"(t * R + r) * B + {rows}", len(self.d.inputs)),
            "states": (self._state(slot, place.after, rows), 1),
            "kept": (f"(({slot} * R + r) * T + t) * B + {rows}", 1)
            if p.training
            else (f"({slot} * R + r) * B + {rows}", 1),
            "D": (f"(r * T + t) * B + {rows}", len(p.slots)),
            "output": (f"(r * T + t) * B + {rows}", 1),
            "d_output": (f"(r * T + t) * B + {rows}", 1),
        }[place.buffer]
        inside = f" + {slot} * H" if width > 1 and slot else ""
        return f"{place.buffer} + ({row}) * {f'({width} * H)' if width > 1 else 'H'}{inside} + {cols}"

    def _state(self, slot: int, after: int, rows: str) -> str:
        if not self.places.recurs:
            return f"({slot} * R + r) * B + {rows}"
        return f"(({slot} * R + r) * (T + 1) + t{' + 1' if after else ''}) * B + {rows}"

    def read(self, place: Place) -> str:
        return f"tl.load({self.at(place)}, mask=here, other=0.0)"

    def store(self, end: End, place: Place) -> None:
        value = self.writer.name(end)
        self.lines.append(f"tl.store({self.at(place)}, {value}, mask=here)")

    def load(self, index: int) -> str:
        """The expression of a value that is not computed here."""
        node, p = self.d.graph.nodes[index], self.places
        if node.op == "vector":
            number = list(self.d.vectors.values()).index(index)
            at = f"vectors + (r * {len(self.d.vectors)} + {number}) * H + cols"
            self.before.append(f"c{index} = tl.load({at}, mask=cols < H, other=0.0)")
            return f"c{index}"
        if node.op == "input":
            return self.read(Place("shares", list(self.d.inputs.values()).index(index)))
        if node.op == "state":
            return self.read(Place("states", self.d.states.index(index)))
        if index == self.d.d_output:
            return self.read(Place("d_output"))
        return self.read(p.of[index])
