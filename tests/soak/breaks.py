"""The ways in which a command is disturbed, each at a moment drawn at random within a phase that it still has."""

import os
import random
import signal
import subprocess
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field, replace
from pathlib import Path

from clocks import Clock
from programs import Program, Way
from subjects import Subject, Workplace, finished_runs, is_begun, is_compacted, is_compacting, starts
from wanted import (
    ALL,
    CLOCK,
    DRAWING,
    FULL,
    HALTED,
    HUNG_PROCESS,
    HUNG_TWICE,
    MAIN,
    READ_ONLY,
    TRAINING,
    TWICE,
    ZONE,
    Strike,
)

ZONES = ("UTC", "Europe/Berlin", "Pacific/Kiritimati", "America/Los_Angeles", "Asia/Kathmandu")
SMALL_DISK = 24 * 2**20
STOPPED_S = 1.0
WORKER_S = 30.0
"""So long a command is given to begin processes, one of which is to be killed."""
THREADS = (1, 2, 4)
LOOKS = 40
"""After at most so many looks at whether it has to stop, a training hangs."""
ROOM = 2**12
"""A page: the disk is full after so many bytes, or some times as many."""


@dataclass(frozen=True)
class Broken:
    """A command that was disturbed, or was to be."""

    kind: str
    phase: str
    status: int | None
    said: str
    wrong: str = ""
    """What it should not have done."""
    struck: int = 1
    """How many breaks it was; 0 of one that came when there was nothing to be disturbed."""
    also: tuple[Strike, ...] = ()
    """What else it was."""


@dataclass
class Round:
    """A sweep that is disturbed again and again, and the chance that decides how."""

    place: Workplace
    subject: Subject
    results: Path
    name: str
    phases: dict[str, float]
    """At what second of an undisturbed sweep which phase began."""
    chance: random.Random
    figures: bool = False
    zone: str = ""
    """The time zone of the command before."""
    done: bool = field(default=False, init=False)
    """Whether all was trained when the last command began."""

    @property
    def folder(self) -> Path:
        return self.results / self.name

    @property
    def words(self) -> list[str]:
        return self.place.command(self.subject, self.results, self.name)

    def way(self) -> Way:
        """As a person's next try could be: in another time zone."""
        return Way({"TZ": self.chance.choice(ZONES)}, devices=self.subject.devices, figures=self.figures)

    def start(self, *more: str, way: Way | None = None, environment: Mapping[str, str] | None = None) -> Program:
        """With `environment` beside that of its way."""
        if self.subject.any_threads:
            more = (*more, f"threads={self.chance.choice(THREADS)}")
        self.done = is_compacted(self.folder)
        way = way or self.way()
        way = replace(way, environment={**way.environment, **(environment or {})})
        return self.place.start([*self.words, *more], way)

    # --- when ---------------------------------------------------------------------------------------------

    def ahead(self) -> list[str]:
        """The phases that the next command has."""
        if self.subject.search:
            return ["start", "training"]
        done = is_compacted(self.folder)
        drawn = done and (self.folder / "report.html").exists()
        over = {"start": False, "training": done, "compaction": done, "report": drawn}
        return [phase for phase, is_over in over.items() if not is_over]

    def moment(self, program: Program, phase: str) -> str:
        """Wait until a moment within this phase, or the command's end; the phase that it is in then."""
        share = self.chance.random()
        at_work = self._started(program)
        begun: dict[str, Callable[[], bool]] = {
            "start": lambda: True,
            "training": lambda: at_work() and is_begun(self.folder),
            "compaction": lambda: finished_runs(self.folder) >= self.subject.count or is_compacting(self.folder),
            "report": lambda: at_work() and is_compacted(self.folder),
        }
        if phase == "training" and not self.subject.search:
            done = min(finished_runs(self.folder), self.subject.count - 1)  # all, where it was killed right after
            wanted = self.chance.randint(done, self.subject.count - 1)
            begun["training"] = lambda: at_work() and is_begun(self.folder) and finished_runs(self.folder) >= wanted
            share /= self.subject.count
        while program.runs and not begun[phase]():
            time.sleep(0.001)
        until = time.monotonic() + share * self._length(phase)
        while program.runs and time.monotonic() < until:
            time.sleep(0.001)
        return self._phase(at_work())

    def _started(self, program: Program) -> Callable[[], bool]:
        """Whether a command has come as far as to what there is to be done: of the first one, its folder tells."""
        before, start_s = is_begun(self.folder), self.phases.get("training", 0.0)
        return lambda: time.monotonic() - program.began >= start_s if before else is_begun(self.folder)

    def _phase(self, at_work: bool) -> str:
        if not at_work:
            return "start"
        if not self.subject.search and is_compacted(self.folder):
            return "report"
        if not self.subject.search and (finished_runs(self.folder) >= self.subject.count or is_compacting(self.folder)):
            return "compaction"
        return "training"

    def _length(self, phase: str) -> float:
        names = list(self.phases)
        place = names.index(phase) if phase in names else 0
        return max(0.01, self.phases[names[place + 1]] - self.phases[names[place]])

    # --- how ----------------------------------------------------------------------------------------------

    def killed(self, phase: str) -> Broken:
        program = self.start()
        phase = self.moment(program, phase)
        program.send(signal.SIGKILL)
        return self.ended(MAIN, phase, program, {0, -signal.SIGKILL})

    def killed_all(self, phase: str) -> Broken:
        """As by a machine without power."""
        program = self.start()
        self.processes(program, TRAINING)
        phase = self.moment(program, phase)
        if program.runs:
            program.end()
        return self.ended(ALL, phase, program, {0, -signal.SIGKILL})

    def killed_worker(self, phase: str) -> Broken:
        """One of the processes that train, and sometimes each of them."""
        program = self.start()
        phase = self.moment(program, phase)
        killed = self.kill(self.processes(program, TRAINING))
        return self.ended(TRAINING, phase, program, {0, 1}, struck=killed)

    def report_killed(self, kind: str) -> Broken:
        """`ablate report`, or a process of it that draws."""
        (self.folder / "report.html").unlink(missing_ok=True)
        program = self.place.start(["report", str(self.folder)], self.way())
        self.processes(program, DRAWING)
        until = time.monotonic() + 0.7 * self.chance.random() * self._length("report")
        while program.runs and time.monotonic() < until:
            time.sleep(0.001)
        if kind == DRAWING:
            killed = self.kill(self.processes(program, DRAWING))
            return self.ended(kind, "report", program, {0}, struck=killed)
        program.send(signal.SIGKILL)
        return self.ended(kind, "report", program, {0, -signal.SIGKILL})

    def processes(self, program: Program, kind: str) -> list[int]:
        """The processes of a command that train, or draw: as soon as there is one, or it has ended."""
        until = time.monotonic() + WORKER_S
        while program.runs and time.monotonic() < until:
            trains = {pid: "device_process" in _command_of(pid) for pid in program.children()}
            if found := [pid for pid, does in trains.items() if does == (kind == TRAINING)]:
                return found
            time.sleep(0.002)
        return []

    def kill(self, processes: list[int]) -> int:
        """One of them, or all; how many that was."""
        chosen = processes if self.chance.random() < 0.3 else self.chance.sample(processes, min(1, len(processes)))
        for pid in chosen:
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        return len(chosen)

    def hung(self, kind: str) -> Broken:
        """A training that hangs in a thread: once, and it is begun again, or then once more, and it has failed."""
        times = 2 if kind == HUNG_TWICE else 1
        program = self.start(way=replace(self.way(), hangs=tuple(self.chance.randint(1, LOOKS) for _ in range(times))))
        status, says = (1, "no progress for 1 min again") if times == 2 else (0, "it is begun again")
        return self.ended(kind, "training", program, {status}, says=(says,))

    def hung_process(self) -> Broken:
        """A process that trains comes to a stop, for ever."""
        program = self.start()
        checkpoints = self.folder / "checkpoints"
        while program.runs and not any(checkpoints.glob("*.pt")):
            time.sleep(0.01)
        for pid in self.chance.sample(trains := self.processes(program, TRAINING), min(1, len(trains))):
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGSTOP)
        return self.ended(HUNG_PROCESS, "training", program, {0}, says=("it is begun again",))

    def stopped(self, name: str, phase: str) -> Broken:
        number = signal.Signals[name]
        program = self.start()
        phase = self.moment(program, phase)
        ran = program.runs
        program.send(number)
        return self.ended(name, phase, program, {0, 130, -number}, struck=ran)

    def halted(self, phase: str) -> Broken:
        """SIGSTOP, and SIGCONT a while later; meanwhile the same command is refused."""
        program = self.start()
        phase = self.moment(program, phase)
        ran = program.runs
        program.send(signal.SIGSTOP)
        time.sleep(STOPPED_S * self.chance.random())
        wrong = ""
        phase = self._phase(True) if phase == "training" else phase  # on a busy machine it went on until it heard
        if phase == "training" and program.runs and not self.subject.search:
            other = self.start()
            status = other.wait()
            refused = status == 2 and "in use" in other.last_words
            # Between training and compaction the first has let go of the folder: then there is nothing left to train.
            had_nothing = status == 0 and any(line.startswith("0 runs trained") for line in other.lines)
            if program.runs and not refused and not had_nothing:
                wrong = f"beside a stopped one the same command ended with {status}: {other.last_words}"
        program.send(signal.SIGCONT)
        return self.ended(HALTED, phase, program, {0}, wrong=wrong, struck=ran)

    def twice(self, phase: str) -> Broken:
        """The same command typed in two terminals; of a search both take part."""
        one = self.start()
        phase = self.moment(one, phase)
        other = self.start()
        status = other.wait()
        wrong = "" if status in (0, 2) else f"the second one ended with {status}: {other.last_words}"
        if status == 2 and "in use" not in other.last_words:
            wrong = f"the second one says: {other.last_words}"
        return self.ended(TWICE, phase, one, {0, 2}, wrong=wrong, struck=status == 2)

    def without_room(self, phase: str) -> Broken:
        """A disk that is full after a few more pages; the folder of results is on a small one."""
        program = self.start()
        phase = self.moment(program, phase)
        ballast = self.results / "ballast"
        disk = os.statvfs(self.results)
        with suppress(OSError), ballast.open("wb", buffering=0) as file:
            os.posix_fallocate(
                file.fileno(), 0, max(1, disk.f_bavail * disk.f_frsize - ROOM * self.chance.randrange(12))
            )
        found = self.ended(FULL, phase, program, {0, 1, 2}, says=("disk is full",), struck=False)
        ballast.unlink()
        return found

    def read_only(self, phase: str) -> Broken:
        """Nothing can be written into the folder any more, and then it can again."""
        program = self.start()
        phase = self.moment(program, phase)
        folders = [path for path in (self.results, self.folder, *self.folder.rglob("*")) if path.is_dir()]
        for path in folders:
            path.chmod(0o555)
        found = self.ended(READ_ONLY, phase, program, {0, 1, 2}, says=("permission denied",), struck=False)
        for path in folders:
            path.chmod(0o755)
        return found

    def clock_set_back(self, *more: str) -> Broken:
        """By days, while it trains; what it stores tells that it has seen that."""
        clock = Clock(self.place.folder)
        before, way = starts(self.folder), self.way()
        program = self.start(*more, way=Way({**way.environment, **clock.environment}, executed=True))
        while program.runs and not (is_begun(self.folder) and finished_runs(self.folder)):
            time.sleep(0.01)
        clock.set_back(self.chance.randint(10, 400))
        found = self.ended(CLOCK, "training", program, {0}, struck=False)
        since = starts(self.folder)
        back = [day for run, day in since.items() if run not in before and day < time.time() - 5 * 86400]
        return replace(found, struck=int(len(back) > 0))

    def ended(
        self,
        kind: str,
        phase: str,
        program: Program,
        may: set[int],
        says: tuple[str, ...] = (),
        wrong: str = "",
        struck: int | None = None,
    ) -> Broken:
        """Wait for its end, and judge it: its exit status, what it says, and the processes that it leaves.

        A break has struck where `struck` says so; else where its signal, or what it leads to, has ended the command.
        """
        status = program.wait()
        said = program.last_words
        text = "\n".join(program.lines)
        if status not in may or (-status in (signal.SIGTERM, signal.SIGHUP, signal.SIGINT) and said):  # not heard
            wrong = wrong or f"exit status {status}"
        elif "Traceback" in text:
            wrong = wrong or "a traceback"
        elif status > 0 and not said:
            wrong = wrong or "ended without a word"
        elif status not in (0, 130) and says and not any(one in text for one in says):
            wrong = wrong or f"does not say why: {says[0]}"
        if left := program.left_behind():
            wrong = wrong or f"{len(left)} of its processes live on"
            program.end()
        zone = program.way.environment.get("TZ", "")
        also = ((ZONE, phase),) if self.zone and zone != self.zone else ()
        self.zone = zone
        told = any(one in text for one in says)
        hit = int(struck) if struck else int(told if says else struck is None and status == -signal.SIGKILL)
        return Broken(kind, phase, status, said, f"{wrong}\n{text}" if wrong else "", hit, also)


def _command_of(pid: int) -> str:
    with suppress(OSError):
        return Path(f"/proc/{pid}/cmdline").read_text(errors="replace")
    return ""


@contextmanager
def small_disk(folder: Path) -> Iterator[bool]:
    """A folder that is a disk of its own, of `SMALL_DISK` bytes; whether it could be had, as root of Linux can."""
    folder.mkdir(parents=True, exist_ok=True)
    command = ["mount", "-t", "tmpfs", "-o", f"size={SMALL_DISK}", "soak", str(folder)]
    try:
        mounted = subprocess.run(command, capture_output=True).returncode == 0
    except OSError:
        mounted = False
    try:
        yield mounted
    finally:
        if mounted:
            subprocess.run(["umount", "--lazy", str(folder)], capture_output=True)
