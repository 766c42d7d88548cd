"""Which breaks have to have struck, how often and in which phase of a command, and the round that brings each."""

import random
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from breaks import Broken

Strike = tuple[str, str]
"""A kind of break, and the phase of the command that it struck."""

MAIN, TRAINING, DRAWING, ALL = (
    "kill -9 of the main process",
    "kill -9 of a process that trains",
    "kill -9 of a process that draws",
    "kill -9 of all processes at once",
)
COMPACT, UNDO, REPORT = "kill -9 of compact", "kill -9 of compact --undo", "kill -9 of report"
SEARCHING, LAUNCHER, JOB = "kill -9 of one of two searches", "kill -9 of a launcher", "kill -9 of a SLURM job"
RAY_LAUNCHER, RAY_NODE = "kill -9 of a launcher of Ray", "a Ray node lost"
HALTED, HALTED_LONG, TWICE = "SIGSTOP, SIGCONT", "SIGSTOP for two minutes", "two at once"
FULL, READ_ONLY, MEMORY = "disk full", "read-only", "a memory limit"
CLOCK, ZONE, DATABASE = "clock set back", "another time zone", "PostgreSQL restarted"
HUNG, HUNG_TWICE, HUNG_PROCESS = "a hung thread", "a thread hung twice", "a hung process that trains"

WANTED: dict[str, dict[Strike, int]] = {
    "sweep": {
        (MAIN, "start"): 10,
        (MAIN, "training"): 36,
        (MAIN, "compaction"): 5,
        (MAIN, "report"): 5,
        **{(name, phase): 2 for name in ("SIGTERM", "SIGHUP", "SIGINT") for phase in ("training", "report")},
        (HALTED, "training"): 4,
        (TWICE, "training"): 4,
        (READ_ONLY, "training"): 3,
        (READ_ONLY, "compaction"): 1,
        (READ_ONLY, "report"): 1,
        (ZONE, "training"): 10,
    },
    "processes": {(TRAINING, "training"): 15, (ALL, "training"): 6},
    "figures": {(DRAWING, "report"): 4, (REPORT, "report"): 5},
    "compaction": {(COMPACT, "compaction"): 50, (UNDO, "compaction"): 50},
    "full-disk": {(FULL, "training"): 4, (FULL, "compaction"): 2, (FULL, "report"): 2},
    "clock": {(CLOCK, "training"): 4},
    "memory": {(MEMORY, "training"): 2},
    "search": {(SEARCHING, "training"): 4, (HALTED, "training"): 5, (ZONE, "training"): 2},
    "journal": {(SEARCHING, "training"): 8, (HALTED_LONG, "training"): 2},
    "clock-search": {(CLOCK, "training"): 2},
    "database": {(DATABASE, "training"): 4},
    "hung": {(HUNG, "training"): 3, (HUNG_TWICE, "training"): 3},
    "hung-process": {(HUNG_PROCESS, "training"): 3},
    "slurm": {(LAUNCHER, "training"): 10, (JOB, "training"): 9},
    "ray": {(RAY_LAUNCHER, "training"): 3, (RAY_NODE, "training"): 3},
}
"""Kind of round → strikes, each with how many there have to be."""


@dataclass
class Tally:
    """What has struck, and what is still lacking."""

    chance: random.Random
    struck: Counter[Strike] = field(default_factory=Counter)
    missed: Counter[str] = field(default_factory=Counter)
    """Breaks that came too late, or too early, to be one."""

    def lacking(self, kind: str) -> dict[Strike, int]:
        """Of the strikes that a kind of round brings: how many are to come."""
        return {one: n for one, count in WANTED[kind].items() if (n := count - self.struck[one]) > 0}

    def round(self, kinds: Iterable[str]) -> str | None:
        """The kind of round to be had next, one of those of which the largest share is lacking; None where none is."""
        left = {kind: sum(self.lacking(kind).values()) / sum(WANTED[kind].values()) for kind in kinds}
        most = max(left.values(), default=0.0)
        return self.chance.choice([kind for kind, share in left.items() if share == most]) if most else None

    def choose(self, kind: str, possible: Iterable[Strike]) -> Strike:
        """One of the strikes that are possible now, above all of those that are lacking."""
        lacking, ways = self.lacking(kind), list(possible)
        return self.chance.choices(ways, [lacking.get(one, 0) + 0.2 for one in ways])[0]

    def count(self, one: "Broken") -> None:
        if one.struck:
            self.struck[one.kind, one.phase] += one.struck
        else:
            self.missed[f"{one.kind}, {one.phase}"] += 1
        self.struck.update(one.also)

    @property
    def killed(self) -> int:
        return sum(count for (kind, _), count in self.struck.items() if kind.startswith("kill -9"))

    def lines(self, kinds: Iterable[str]) -> list[str]:
        """What has struck how often; what did not, of what was tried; what was wanted and is lacking."""
        out = [f"{count:5d}  {kind}, {phase}" for (kind, phase), count in sorted(self.struck.items())]
        out += [
            f"{count:5d}  came when there was nothing to be disturbed: {what}"
            for what, count in sorted(self.missed.items())
        ]
        lacking = Counter({one: count for kind in kinds for one, count in self.lacking(kind).items()})
        return out + [f"{count:5d}  LACKING: {kind}, {phase}" for (kind, phase), count in sorted(lacking.items())]
