"""The ways in which a command is disturbed, each at a moment drawn at random among the phases that it still has."""

import os
import random
import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from pathlib import Path

from programs import Program, Way
from subjects import Subject, Workplace, finished_runs, is_begun, is_compacted, is_compacting

ZONES = ("UTC", "Europe/Berlin", "Pacific/Kiritimati", "America/Los_Angeles", "Asia/Kathmandu")
FAKETIME = sorted(Path("/usr/lib").glob("*/faketime/libfaketime.so.1"))
SMALL_DISK = 24 * 2**20
STOPPED_S = 1.0
WORKER_S = 10.0
"""So long a command is given to begin processes, one of which is to be killed."""


@dataclass(frozen=True)
class Broken:
    """A command that was disturbed."""

    kind: str
    phase: str
    status: int | None
    said: str
    wrong: str = ""
    """What it should not have done."""


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

    @property
    def folder(self) -> Path:
        return self.results / self.name

    @property
    def words(self) -> list[str]:
        return self.place.command(self.subject, self.results, self.name)

    def way(self) -> Way:
        """As a person's next try could be: in another time zone, with a clock that was set back, from a shell."""
        found = Way({"TZ": self.chance.choice(ZONES)}, devices=self.subject.devices, figures=self.figures)
        if self.subject.devices == 1 and self.figures and self.chance.random() < 0.5:
            found = replace(found, executed=True)
            if FAKETIME and self.chance.random() < 0.5:
                back = {"LD_PRELOAD": str(FAKETIME[0]), "FAKETIME": f"-{self.chance.randint(1, 400)}d"}
                found = replace(found, environment={**found.environment, **back})
        return found

    def start(self, *more: str, way: Way | None = None) -> Program:
        return self.place.start([*self.words, *more], way or self.way())

    # --- when ---------------------------------------------------------------------------------------------

    def moment(self, program: Program) -> str:
        """Wait until it is time, or the command has ended; the phase in which that is."""
        ahead = [phase for phase, is_over in self._over().items() if not is_over]
        phase = self.chance.choice(ahead)
        share = self.chance.random()
        first = phase == ahead[1] if len(ahead) > 1 else False  # it begins with what the command does first
        begun: dict[str, Callable[[], bool]] = {
            "start": lambda: True,
            "training": lambda: is_begun(self.folder),
            "compaction": lambda: finished_runs(self.folder) >= self.subject.count or is_compacting(self.folder),
            "report": lambda: is_compacted(self.folder),
        }
        if phase == "training" and not self.subject.search:
            done = min(finished_runs(self.folder), self.subject.count - 1)  # all, where it was killed right after
            wanted = self.chance.randint(done, self.subject.count - 1)
            begun["training"] = lambda: is_begun(self.folder) and finished_runs(self.folder) >= wanted
            share /= self.subject.count
        while program.runs and not begun[phase]():
            time.sleep(0.001)
        until = time.monotonic() + share * (self._length(phase) + first * self._length("start"))
        while program.runs and time.monotonic() < until:
            time.sleep(0.001)
        return phase

    def _over(self) -> dict[str, bool]:
        if self.subject.search:
            return {"start": False, "training": False}
        done = is_compacted(self.folder)
        drawn = done and (self.folder / "report.html").exists()
        return {"start": False, "training": done, "compaction": done, "report": drawn}

    def _length(self, phase: str) -> float:
        names = list(self.phases)
        place = names.index(phase) if phase in names else 0
        return max(0.01, self.phases[names[place + 1]] - self.phases[names[place]])

    # --- how ----------------------------------------------------------------------------------------------

    def killed(self) -> Broken:
        program = self.start()
        phase = self.moment(program)
        program.send(signal.SIGKILL)
        return self.ended("kill -9", phase, program, {0, -signal.SIGKILL})

    def killed_worker(self) -> Broken:
        """A process that trains or draws, where there is one."""
        program = self.start()
        phase = self.moment(program)
        until = time.monotonic() + WORKER_S
        while program.runs and len(program.children()) < 2 and time.monotonic() < until:
            time.sleep(0.001)
        others = program.children()
        if others:
            with suppress(ProcessLookupError):
                os.kill(self.chance.choice(others), signal.SIGKILL)
        kind = "kill -9 of a worker" if others else "a worker to be killed, where there is none"
        return self.ended(kind, phase, program, {0, 1})

    def stopped(self) -> Broken:
        number = self.chance.choice([signal.SIGTERM, signal.SIGHUP, signal.SIGINT])
        program = self.start()
        phase = self.moment(program)
        program.send(number)
        return self.ended(number.name, phase, program, {0, 130, -number})

    def halted(self) -> Broken:
        """SIGSTOP, and SIGCONT a while later; meanwhile the same command is refused."""
        program = self.start()
        phase = self.moment(program)
        program.send(signal.SIGSTOP)
        time.sleep(STOPPED_S * self.chance.random())
        wrong = ""
        if phase == "training" and program.runs and is_begun(self.folder) and not self.subject.search:
            other = self.start()
            status = other.wait()
            if program.runs and (status != 2 or "in use" not in other.last_words):
                wrong = f"beside a stopped one the same command ended with {status}: {other.last_words}"
        program.send(signal.SIGCONT)
        return self.ended("SIGSTOP, SIGCONT", phase, program, {0}, wrong=wrong)

    def twice(self) -> Broken:
        """The same command typed in two terminals; of a search both take part."""
        one = self.start()
        phase = self.moment(one)
        other = self.start()
        status = other.wait()
        wrong = "" if status in (0, 2) else f"the second one ended with {status}: {other.last_words}"
        if status == 2 and "in use" not in other.last_words:
            wrong = f"the second one says: {other.last_words}"
        return self.ended("two at once", phase, one, {0, 2}, wrong=wrong)

    def without_room(self) -> Broken:
        """A full disk; the folder of results is on a small one."""
        program = self.start()
        phase = self.moment(program)
        ballast = self.results / "ballast"
        with suppress(OSError), ballast.open("wb", buffering=0) as file:
            while True:
                file.write(bytes(2**16))
        found = self.ended("disk full", phase, program, {0, 1, 2}, says=("disk is full",))
        ballast.unlink()
        return found

    def read_only(self) -> Broken:
        """Nothing can be written into the folder any more, and then it can again."""
        program = self.start()
        phase = self.moment(program)
        folders = [path for path in (self.results, self.folder, *self.folder.rglob("*")) if path.is_dir()]
        for path in folders:
            path.chmod(0o555)
        found = self.ended("read-only", phase, program, {0, 1, 2}, says=("permission denied",))
        for path in folders:
            path.chmod(0o755)
        return found

    def ended(
        self, kind: str, phase: str, program: Program, may: set[int], says: tuple[str, ...] = (), wrong: str = ""
    ) -> Broken:
        """Wait for its end, and judge it: its exit status, what it says, and the processes that it leaves."""
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
        return Broken(kind, phase, status, said, f"{wrong}\n{text}" if wrong else "")


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
