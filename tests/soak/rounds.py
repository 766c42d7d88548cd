"""Rounds: a command that is typed again and again and disturbed each time but the last, and then what must hold."""

import os
import random
import shutil
import signal
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from breaks import Broken, Round
from clocks import Clock
from programs import Program, Way
from subjects import (
    HUNG_PROCESSES,
    HUNG_THREADS,
    JOBS,
    ONE_BY_ONE,
    PROCESSES,
    SEARCH,
    SWEEPS,
    Left,
    Subject,
    Workplace,
    is_compacted,
    starts,
    undisturbed,
    what_is_left,
)
from wanted import (
    ALL,
    COMPACT,
    DATABASE,
    DRAWING,
    FULL,
    HALTED,
    HALTED_LONG,
    HUNG,
    HUNG_TWICE,
    JOB,
    LAUNCHER,
    MAIN,
    MEMORY,
    RAY_LAUNCHER,
    RAY_NODE,
    READ_ONLY,
    REPORT,
    SEARCHING,
    TRAINING,
    TWICE,
    UNDO,
    Strike,
    Tally,
)

if TYPE_CHECKING:
    from local_slurm import Slurm
    from ray_nodes import Nodes

MOST_BREAKS = 10
"""Of a sweep; of a search two, as a trial whose process has died three times has failed."""
LONG_S = 120.0
DRAWN = 4
"""Reports of one sweep that are broken: with figures they take long."""
GRINDS = 30
"""Compactions of one sweep that are killed."""
TOO_LARGE = Subject(
    "memory", ("model=gru", "num_hiddens=8,2500", "seeds=1", "engine=eager", "epochs=1", "threads=1"), 2
)
TIGHT = 200 * 2**20
"""Memory of which 8 hidden units have enough, and 2,500 have not."""


@dataclass
class Soak:
    """What the rounds share."""

    place: Workplace
    chance: random.Random
    disk: Path | None
    """A small one, which may be filled."""
    tally: Tally
    stack: ExitStack
    """What is closed at the end: a database, a SLURM."""
    number: int = 0
    known: dict[tuple[str, bool], tuple[Left, dict[str, float]]] = field(default_factory=dict)
    _cluster: "Slurm | None" = None
    _nodes: "Nodes | None" = None

    def round(self, subject: Subject, results: Path | None = None, figures: bool = False) -> Round:
        self.number += 1
        name = f"{subject.name.replace(' ', '-')}-{self.number}"
        where = results or self.place.folder / f"results-{self.number}"  # of their own: nothing is reused
        return Round(self.place, subject, where, name, self.expected(subject, figures)[1], self.chance, figures)

    def expected(self, subject: Subject, figures: bool = False) -> tuple[Left, dict[str, float]]:
        if (subject.name, figures) not in self.known:
            self.known[subject.name, figures] = undisturbed(self.place, subject, figures)
        return self.known[subject.name, figures]

    def cluster(self) -> "Slurm | None":
        """A SLURM of this machine alone; None where there is none to be had."""
        if self._cluster is None:
            sys.path.append(str(Path(__file__).parents[1] / "sweeping" / "launching"))
            from local_slurm import lacking, running_slurm

            if lacking():
                return None
            self._cluster = self.stack.enter_context(running_slurm(self.place.folder / "slurm"))
        return self._cluster

    def ray(self) -> "Nodes | None":
        """A Ray cluster of this machine alone; None where there is none to be had."""
        import ray_nodes

        if self._nodes is None and ray_nodes.is_there():
            self._nodes = self.stack.enter_context(ray_nodes.running_ray(self.place.folder))
        return self._nodes

    def concluded(self, one: Round, *more: str, environment: Mapping[str, str] | None = None) -> Broken:
        """The same command once more, undisturbed; `wrong`, where anything is otherwise than it has to be."""
        program = one.start(*more, environment=environment)
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


def of_a_sweep(soak: Soak) -> Iterator[Broken]:
    one = soak.round(soak.chance.choice(SWEEPS))
    for _ in range(soak.chance.randint(4, MOST_BREAKS)):
        phases = one.ahead()
        if phases == ["start"]:
            break
        ways: list[Strike] = [(kind, phase) for kind in (MAIN, "SIGTERM", "SIGHUP", "SIGINT") for phase in phases]
        ways += [(kind, phase) for kind in (HALTED, TWICE, READ_ONLY) for phase in phases if phase != "start"]
        kind, phase = soak.tally.choose("sweep", ways)
        if kind in signal.Signals.__members__:
            yield one.stopped(kind, phase)
        else:
            how = {MAIN: one.killed, HALTED: one.halted, TWICE: one.twice, READ_ONLY: one.read_only}
            yield how[kind](phase)
    yield soak.concluded(one)
    shutil.rmtree(one.results)


def of_processes(soak: Soak) -> Iterator[Broken]:
    """A sweep that several processes train, as for several GPUs."""
    one = soak.round(PROCESSES)
    for _ in range(MOST_BREAKS):
        if is_compacted(one.folder):
            break
        kind, phase = soak.tally.choose("processes", [(TRAINING, "training"), (ALL, "training")])
        yield one.killed_worker(phase) if kind == TRAINING else one.killed_all(phase)
    yield soak.concluded(one)
    shutil.rmtree(one.results)


def of_a_report(soak: Soak) -> Iterator[Broken]:
    """A sweep that has ended is drawn again and again, with figures, by processes of their own."""
    one = soak.round(ONE_BY_ONE, figures=True)
    one.start("report=false").wait()
    for _ in range(DRAWN):
        kind, _ = soak.tally.choose("figures", [(DRAWING, "report"), (REPORT, "report")])
        yield one.report_killed(kind)
    yield soak.concluded(one)
    shutil.rmtree(one.results)


def of_a_full_disk(soak: Soak) -> Iterator[Broken]:
    if soak.disk is None:
        return
    one = soak.round(soak.chance.choice(SWEEPS), soak.disk)
    for _ in range(soak.chance.randint(2, 4)):
        if not (phases := one.ahead()[1:]):
            break
        _, phase = soak.tally.choose("full-disk", [(FULL, phase) for phase in phases])
        yield one.without_room(phase)
    yield soak.concluded(one)
    for path in soak.disk.iterdir():
        shutil.rmtree(path) if path.is_dir() else path.unlink()


def of_a_clock(soak: Soak, subject: Subject = ONE_BY_ONE) -> Iterator[Broken]:
    """A clock that is set back while a sweep or a search is trained, and is right again for the next command."""
    try:
        Clock(soak.place.folder)
    except OSError:
        return
    one = soak.round(subject)
    yield one.clock_set_back()
    yield soak.concluded(one)
    shutil.rmtree(one.results)


def of_a_clock_in_a_search(soak: Soak) -> Iterator[Broken]:
    yield from of_a_clock(soak, SEARCH)


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
        yield one.ended(UNDO if number % 2 else COMPACT, "compaction", program, {0, -signal.SIGKILL})
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
    one = soak.round(TOO_LARGE)
    program = one.start(way=Way(more_bytes=TIGHT))
    found = one.ended(MEMORY, "training", program, {1}, says=("memory",))
    yield found if found.wrong else replace(found, wrong="" if _stored(one) == 1 else "the other one is not stored")
    yield soak.concluded(one)
    shutil.rmtree(one.results)


def _stored(one: Round) -> int:
    return len(list((one.folder / "runs").glob("*.json"))) + (one.folder / "runs.parquet").exists()


def of_hung_threads(soak: Soak) -> Iterator[Broken]:
    """A training that hangs is begun again once and has then failed, alone; the next command trains it."""
    one = soak.round(HUNG_THREADS)
    kind, _ = soak.tally.choose("hung", [(HUNG, "training"), (HUNG_TWICE, "training")])
    if kind == HUNG_TWICE:
        found = one.hung(kind)
        failures = len(list((one.folder / "failures").glob("*.json")))
        stored = len(starts(one.folder))
        if not found.wrong and (stored, failures) != (one.subject.count // 2, 1):
            found = replace(found, wrong=f"{stored} runs are stored, and {failures} failures")
        yield found
    yield one.hung(HUNG)
    yield soak.concluded(one)
    shutil.rmtree(one.results)


def of_a_hung_process(soak: Soak) -> Iterator[Broken]:
    """One of the processes that train, as for several GPUs, comes to a stop: another one trains what it had."""
    one = soak.round(HUNG_PROCESSES)
    yield one.hung_process()
    yield soak.concluded(one)
    shutil.rmtree(one.results)


def of_a_search(soak: Soak, storage: str | None = None) -> Iterator[Broken]:
    """Two processes on one study, one of which is disturbed."""
    more = [f"hydra.sweeper.storage={storage}"] if storage else []
    one = soak.round(SEARCH)
    for _ in range(soak.chance.randint(1, 2)):
        other = one.start(*more)
        program = one.start(*more)
        phase = one.moment(program, "training")
        wanted = [(SEARCHING, "training"), (HALTED_LONG if storage else HALTED, "training")]
        kind, _ = soak.tally.choose("journal" if storage else "search", wanted)
        ran = program.runs
        if kind == SEARCHING:
            program.send(signal.SIGKILL)
            yield one.ended(kind, phase, program, {0, -signal.SIGKILL})
        else:
            program.send(signal.SIGSTOP)
            time.sleep(LONG_S if storage else soak.chance.random())
            program.send(signal.SIGCONT)
            yield one.ended(kind, phase, program, {0}, struck=ran)
        yield one.ended("the other of two", phase, other, {0}, struck=1)
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
            phase = one.moment(program, "training")
            ran = program.runs
            server.stop()
            time.sleep(soak.chance.random())
            server.start()
            says = ("run the same command again", "reach")
            yield one.ended(DATABASE, phase, program, {0, 2}, says=says, struck=ran)
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


def of_slurm(soak: Soak) -> Iterator[Broken]:
    """A sweep by jobs of a real SLURM: what launches it is killed, and so are jobs."""
    cluster = soak.cluster()
    if cluster is None:
        return
    one = soak.round(JOBS)
    more = [
        "hydra/launcher=slurm",
        "hydra.launcher.cpus=1",
        "hydra.launcher.time_min=20",
        "hydra.launcher.runs_per_job=1",
    ]
    for _ in range(6):
        if is_compacted(one.folder):
            break
        kind, phase = soak.tally.choose("slurm", [(LAUNCHER, "training"), (JOB, "training")])
        program = one.start(*more)
        if kind == LAUNCHER:
            _until(program, cluster.jobs)
            time.sleep(4 * soak.chance.random())
            program.send(signal.SIGKILL)
            yield one.ended(kind, phase, program, {0, -signal.SIGKILL})
        else:
            killed = 0
            while killed < 3 and _until(program, job_processes):
                time.sleep(2 * soak.chance.random())
                for pid in job_processes()[:1]:
                    with suppress(ProcessLookupError):
                        os.kill(pid, signal.SIGKILL)
                        killed += 1
            yield one.ended(kind, phase, program, {0, 1}, struck=killed)
    yield soak.concluded(one, *more)
    shutil.rmtree(one.results)


def of_ray(soak: Soak) -> Iterator[Broken]:
    """A sweep by tasks of a real Ray: what launches it is killed, and nodes are lost."""
    from ablate.records.jobs import batches

    nodes = soak.ray()
    if nodes is None:
        return
    one = soak.round(JOBS)
    more = ["hydra/launcher=ray", "hydra.launcher.cpus=1", "hydra.launcher.runs_per_job=1"]

    def trains() -> bool:
        new = [batch for batch in batches(one.folder) if batch.path not in before]
        return any(batch.state(job).programs for batch in new for job in range(batch.jobs))

    for _ in range(3):
        if is_compacted(one.folder):
            break
        kind, phase = soak.tally.choose("ray", [(RAY_LAUNCHER, "training"), (RAY_NODE, "training")])
        before = [batch.path for batch in batches(one.folder)]
        program = one.start(*more, environment=nodes.environment)
        there = _until(program, trains)
        time.sleep(2 * soak.chance.random())
        if kind == RAY_LAUNCHER:
            program.send(signal.SIGKILL)
            yield one.ended(kind, phase, program, {0, -signal.SIGKILL})
        else:
            struck = bool(there) and program.runs
            nodes.lose_one()
            yield one.ended(kind, phase, program, {0}, struck=struck)
    yield soak.concluded(one, *more, environment=nodes.environment)
    shutil.rmtree(one.results)


def _until(program: Program, there: Callable[[], Any]) -> Any:
    """Wait until there is something, or the command has ended; what there is."""
    while program.runs:
        if found := there():
            return found
        time.sleep(0.05)
    return None


def job_processes() -> list[int]:
    """The processes in which jobs of the soak's SLURM train."""
    configuration = f"SLURM_CONF={os.environ['SLURM_CONF']}".encode()
    found = []
    for folder in Path("/proc").iterdir():
        with suppress(OSError):
            trains = folder.name.isdigit() and b"submitit.core._submit" in (folder / "cmdline").read_bytes()
            if trains and configuration in (folder / "environ").read_bytes().split(b"\0"):
                found.append(int(folder.name))
    return found


ROUNDS: dict[str, Callable[[Soak], Iterator[Broken]]] = {
    "sweep": of_a_sweep,
    "processes": of_processes,
    "figures": of_a_report,
    "full-disk": of_a_full_disk,
    "clock": of_a_clock,
    "compaction": of_compaction,
    "memory": of_memory,
    "search": of_a_search,
    "journal": of_a_journal,
    "clock-search": of_a_clock_in_a_search,
    "database": of_a_database,
    "hung": of_hung_threads,
    "hung-process": of_a_hung_process,
    "slurm": of_slurm,
    "ray": of_ray,
}
