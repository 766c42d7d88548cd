"""Rounds: a command that is typed again and again and disturbed each time but the last, and then what must hold."""

import random
import shutil
import signal
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from breaks import Broken, Round
from programs import Way
from subjects import SEARCH, SWEEPS, Left, Subject, Workplace, undisturbed, what_is_left

MOST_BREAKS = 10
"""Of a sweep; of a search two, as a trial whose process has died three times has failed."""
GRINDS = 30
"""Compactions of one sweep that are killed."""
MEMORY = Subject("memory", ("model=gru", "num_hiddens=8,2500", "seeds=1", "engine=eager", "epochs=1", "threads=1"), 2)
TIGHT = 200 * 2**20
"""Memory of which 8 hidden units have enough, and 2,500 have not."""


@dataclass
class Soak:
    """What the rounds share."""

    place: Workplace
    chance: random.Random
    disk: Path | None
    """A small one, which may be filled."""
    number: int = 0
    known: dict[tuple[str, bool], tuple[Left, dict[str, float]]] = field(default_factory=dict)
    _server: Any = None

    def round(self, subject: Subject, results: Path | None = None, figures: bool = False) -> Round:
        self.number += 1
        name = f"{subject.name.replace(' ', '-')}-{self.number}"
        where = results or self.place.folder / f"results-{self.number}"  # of their own: nothing is reused
        return Round(self.place, subject, where, name, self.expected(subject, figures)[1], self.chance, figures)

    def expected(self, subject: Subject, figures: bool = False) -> tuple[Left, dict[str, float]]:
        if (subject.name, figures) not in self.known:
            self.known[subject.name, figures] = undisturbed(self.place, subject, figures)
        return self.known[subject.name, figures]

    def concluded(self, one: Round, *more: str) -> Broken:
        """The same command once more, undisturbed; `wrong`, where anything is otherwise than it has to be."""
        program = one.start(*more)
        status = program.wait()
        faults = [] if status == 0 else [f"exit status {status}: {program.last_words}"]
        if status == 0:
            faults += differences(what_is_left(one.folder, one.subject), self.expected(one.subject, one.figures)[0])
        if left := program.left_behind():
            faults.append(f"{len(left)} of its processes live on")
            program.end()
        said = "\n".join(["", *program.lines]) if faults else ""
        return Broken("undisturbed", "at last", status, program.last_words, "; ".join(faults) + said)


def differences(found: Left, expected: Left) -> list[str]:
    out = list(found.wrong)
    if gone := expected.runs.keys() - found.runs.keys():
        out.append(f"{len(gone)} runs are missing")
    if more := found.runs.keys() - expected.runs.keys():
        out.append(f"{len(more)} runs too many")
    if other := [run for run, outcome in found.runs.items() if expected.runs.get(run, outcome) != outcome]:
        out.append(f"{len(other)} runs came out otherwise: {', '.join(other[:3])}")
    out += [f"{name} is another table" for name, of in found.tables.items() if expected.tables[name] != of]
    if found.trials != expected.trials:
        out.append(f"other trials: {found.trials}, not {expected.trials}")
    return out


def of_a_sweep(soak: Soak, figures: bool = False) -> Iterator[Broken]:
    one = soak.round(soak.chance.choice(SWEEPS), figures=figures)
    ways = [one.killed] * 6 + [one.stopped] * 2 + [one.halted, one.twice, one.read_only]
    ways += [one.killed_worker] * (4 if one.subject.devices > 1 or figures else 0)
    for _ in range(soak.chance.randint(2, MOST_BREAKS)):
        yield soak.chance.choice(ways)()
    yield soak.concluded(one)
    shutil.rmtree(one.results)


def with_figures(soak: Soak) -> Iterator[Broken]:
    yield from of_a_sweep(soak, figures=True)


def of_a_full_disk(soak: Soak) -> Iterator[Broken]:
    if soak.disk is None:
        return
    one = soak.round(soak.chance.choice(SWEEPS), soak.disk)
    for _ in range(soak.chance.randint(1, 3)):
        yield soak.chance.choice([one.without_room, one.without_room, one.killed])()
    yield soak.concluded(one)
    for path in soak.disk.iterdir():
        shutil.rmtree(path) if path.is_dir() else path.unlink()


def of_compaction(soak: Soak) -> Iterator[Broken]:
    """A sweep that has ended is compacted, and taken apart again, each time killed in the middle."""
    one = soak.round(soak.chance.choice(SWEEPS))
    one.start("report=false").wait()
    took = 0.1
    for number in range(GRINDS):
        words = ["compact", *["--undo"] * (number % 2), str(one.folder)]
        program = soak.place.start(words, Way())
        until = time.monotonic() + soak.chance.random() * took
        while program.runs and time.monotonic() < until:
            time.sleep(0.0005)
        program.send(signal.SIGKILL)
        yield one.ended("kill -9", "compact" + " --undo" * (number % 2), program, {0, -signal.SIGKILL})
        if soak.chance.random() < 0.3:
            began = time.monotonic()
            again = soak.place.start(words, Way())
            status = again.wait()
            took = time.monotonic() - began
            yield Broken("undisturbed", words[0], status, again.last_words, "" if status == 0 else "it fails")
    yield soak.concluded(one)
    shutil.rmtree(one.results)


def of_memory(soak: Soak) -> Iterator[Broken]:
    """One setting needs more than there is: it alone fails, and is trained where there is more."""
    one = soak.round(MEMORY)
    program = one.start(way=Way(more_bytes=TIGHT))
    found = one.ended("a memory limit", "training", program, {1}, says=("memory",))
    yield found if found.wrong else replace(found, wrong="" if _stored(one) == 1 else "the other one is not stored")
    yield soak.concluded(one)
    shutil.rmtree(one.results)


def _stored(one: Round) -> int:
    return len(list((one.folder / "runs").glob("*.json"))) + (one.folder / "runs.parquet").exists()


def of_a_search(soak: Soak, storage: str | None = None) -> Iterator[Broken]:
    """Two processes on one study, one of which is disturbed."""
    more = [f"hydra.sweeper.storage={storage}"] if storage else []
    one = soak.round(SEARCH)
    for _ in range(soak.chance.randint(1, 2)):
        other = one.start(*more)
        program = one.start(*more)
        phase = one.moment(program)
        number = soak.chance.choice([signal.SIGKILL, signal.SIGKILL, signal.SIGTERM, signal.SIGSTOP])
        program.send(number)
        if number == signal.SIGSTOP:
            time.sleep(soak.chance.random())
            program.send(signal.SIGCONT)
        yield one.ended(f"{number.name} of one of two", phase, program, {0, 130, -number})
        yield one.ended("the other of two", phase, other, {0})
    yield soak.concluded(one, *more)
    shutil.rmtree(one.results)


def of_a_journal(soak: Soak) -> Iterator[Broken]:
    yield from of_a_search(soak, "journal")


def of_a_database(soak: Soak) -> Iterator[Broken]:
    """A PostgreSQL that is restarted in the middle of a search."""
    with database(soak) as (server, url):
        if server is None:
            return
        one = soak.round(SEARCH)
        more = [f"hydra.sweeper.storage={url}"]
        for _ in range(soak.chance.randint(1, 2)):
            program = one.start(*more)
            phase = one.moment(program)
            server.stop()
            time.sleep(soak.chance.random())
            server.start()
            yield one.ended("PostgreSQL restarted", phase, program, {0, 2}, says=("the same command goes on", "reach"))
        yield soak.concluded(one, *more)
        shutil.rmtree(one.results)


@contextmanager
def database(soak: Soak) -> Iterator[tuple[Any, str]]:
    """A server and a new database in it; none where PostgreSQL is not installed."""
    sys.path.append(str(Path(__file__).parents[1] / "searching"))
    server = None
    with suppress(ImportError), ExitStack() as stack:
        from postgres_server import NotInstalled, Server

        with suppress(NotInstalled):
            server = stack.enter_context(Server())
            yield server, server.database("soak")
    if server is None:
        yield None, ""


ROUNDS: dict[str, Callable[[Soak], Iterator[Broken]]] = {
    "sweep": of_a_sweep,
    "figures": with_figures,
    "full-disk": of_a_full_disk,
    "compaction": of_compaction,
    "memory": of_memory,
    "search": of_a_search,
    "journal": of_a_journal,
    "database": of_a_database,
}
OFTEN = {"sweep": 6, "compaction": 3}
"""How often a kind is drawn, where that is not once."""
