"""What is disturbed: tiny sweeps and searches, each with what comes out of it where nobody disturbs it."""

import csv
import hashlib
import json
import os
import random
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any

from programs import Program, Way

KNOBS = ("num_steps=5", "max_tokens=800", "val_tokens=100", "batch_size=32", "num_hiddens=8", "prefixes=[the]")
RULE = ("num_hiddens=8", "num_steps=5", "epochs=8")
TIMES = ("wall_s", "started", "threads", "reused_from", "git_commit", "git_dirty")
"""How the names of columns begin that tell how long something took, and where."""


@dataclass(frozen=True)
class Subject:
    """A command, and how many runs or trials it is to end with."""

    name: str
    words: tuple[str, ...]
    count: int
    """Of runs; of trials of a search."""
    devices: int = 1
    search: bool = False
    any_threads: bool = False
    """Whether each command trains another number of programs side by side."""


SWEEPS = (
    Subject("cohorts", ("model=gru,lstm,rnn", "seeds=3", "engine=cohort", "epochs=150", "threads=2"), 9),
    Subject("one by one", ("model=rnn,gru", "lr=0.5,1", "seeds=2", "engine=torch_nn", "epochs=20", "threads=2"), 8),
    Subject("with weights", ("model=gru,mgu", "seeds=2", "engine=eager", "epochs=8", "keep=weights", "threads=1"), 4),
    Subject(
        "any number of threads",
        ("model=gru,rnn", "seeds=3", "engine=auto", "deterministic=true", "batch_size=5", "epochs=20"),
        6,
        any_threads=True,
    ),
    Subject("a rule", ("task=memory", "data=first-token", "model=rnn,gru", "seeds=2", "engine=cohort", "threads=2"), 4),
)
ONE_BY_ONE = SWEEPS[1]
PROCESSES = Subject(
    "two processes", ("model=gru,lstm", "seeds=3", "engine=cohort", "epochs=600", "threads=1"), 6, devices=2
)
HANGING = ("model=gru,lstm", "seeds=2", "engine=cohort", "epochs=600", "stalled_min=1")
"""What is given up after a minute: on a machine that does much else, another one may be silent for half of it."""
HUNG_THREADS = Subject("hung threads", (*HANGING, "threads=2"), 4)
HUNG_PROCESSES = Subject("hung processes", (*HANGING, "threads=1"), 4, devices=2)
JOBS = Subject("jobs", ("model=gru,lstm", "seeds=2", "engine=cohort", "epochs=1500", "threads=1"), 4)
SEARCH = Subject(
    "search",
    (
        "hydra/sweeper=optuna",
        "model=choice(rnn,gru)",
        "lr=choice(0.5,1,2)",
        "hydra.sweeper.sampler=grid",
        "hydra.sweeper.race=null",
        "hydra.sweeper.n_trials=6",
        "seeds=2",
        "engine=torch_nn",
        "epochs=6",
        "threads=1",
    ),
    6,
    search=True,
)


@dataclass
class Workplace:
    """A folder in which commands are typed, and what they say."""

    folder: Path
    text: Path
    words: dict[str, list[str]] = field(default_factory=dict)
    number: int = 0

    @classmethod
    def at(cls, folder: Path) -> "Workplace":
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "said").mkdir(exist_ok=True)
        source, words = (
            random.Random(7),
            ("the", "cell", "keeps", "a", "state", "and", "forgets", "what", "it", "has", "read", "quickly"),
        )
        lines = (" ".join(source.choices(words, k=9)).capitalize() + "." for _ in range(150))
        text = folder / "text.txt"
        text.write_text("\n".join(lines) + "\n")
        return cls(folder, text)

    def command(self, subject: Subject, results: Path, name: str, *more: str) -> list[str]:
        """The words of a subject's command."""
        data = RULE if "task=memory" in subject.words else ("data=text_file", f"data.path={self.text}", *KNOBS)
        own = {word.partition("=")[0] for word in subject.words}
        data = [word for word in data if word.partition("=")[0] not in own]
        return [*subject.words, *data, f"results_dir={results}", f"name={name}", *more]

    def start(self, words: Sequence[str], way: Way) -> Program:
        self.number += 1
        return Program(list(words), self.folder, self.folder / "said" / f"{self.number:05d}.txt", way)


@dataclass(frozen=True)
class Left:
    """What a sweep has left: what has to be equal, and what may not be there."""

    runs: dict[str, str]
    """Run → a hash of all that comes out of it."""
    tables: dict[str, str]
    """Table → a hash of it, without what tells of times."""
    trials: dict[str, Any]
    """The values of a search's grid → what came out."""
    wrong: list[str]


def left_in(folder: Path, subject: Subject) -> Left:
    """To be called in a fork: it begins threads."""
    from ablate.records import results
    from ablate.records.reading import RecordError

    runs: dict[str, str] = {}
    wrong: list[str] = []
    for record in results.records(folder):
        if isinstance(record, RecordError):
            wrong.append(f"a torn record: {record}")
            continue
        if record["run_id"] in runs:
            wrong.append(f"run {record['run_id']} is there twice")
        try:
            curve = results.load_curve(folder, record["run_id"])
        except RecordError as error:
            wrong.append(f"a record without its curve: {error}")
            continue
        outcome = [record[key] for key in ("seed", "status", "metrics", "text", "counts", "identity", "corpus")]
        runs[record["run_id"]] = _hash([*outcome, {name: list(map(str, values)) for name, values in curve.items()}])
        if "keep=weights" in subject.words and not (folder / "weights" / f"{record['run_id']}.safetensors").is_file():
            wrong.append(f"run {record['run_id']} has no weights")
    wrong += [f"left behind: {path}" for path in litter(folder)]
    tables = {} if subject.search else {name: _table(folder / name) for name in ("runs.csv", "settings.csv")}
    return Left(runs, tables, _trials(folder) if subject.search else {}, wrong)


def litter(folder: Path) -> list[str]:
    """Files that nobody needs once a sweep has ended. (What a killed report leaves aside is deleted a day later.)"""
    found = [path for path in folder.rglob("*.tmp") if not path.relative_to(folder).parts[0].startswith(".report-")]
    for name in ("checkpoints", "runs", "curves", "failures", "jobs"):
        found += (folder / name).rglob("*")
    return sorted({str(path.relative_to(folder)) for path in found if path.is_file()})


def _hash(value: Any) -> str:
    return hashlib.sha256(json.dumps(value, sort_keys=True).encode()).hexdigest()[:16]


def _table(path: Path) -> str:
    with path.open(newline="") as file:
        rows = [{key: value for key, value in row.items() if not key.startswith(TIMES)} for row in csv.DictReader(file)]
    return _hash(rows)


def _trials(folder: Path) -> dict[str, Any]:
    with (folder / "trials.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    return {
        f"{row['model']} {row['lr']}": {key: value for key, value in row.items() if key.startswith("values")}
        for row in rows
        if row["state"] in ("done", "diverged", "dropped")
    } | {f"trial {row['number']}": row["state"] for row in rows if row["state"] in ("running", "waiting", "failed")}


def starts(folder: Path) -> dict[str, float]:
    """When each run began, by the clock of what trained it: seconds since 1970."""

    def read() -> dict[str, float]:
        from ablate.records import results

        stored = [record for record in results.records(folder) if isinstance(record, dict)]
        return {record["run_id"]: datetime.fromisoformat(record["timing"]["started"]).timestamp() for record in stored}

    found: dict[str, float] = in_a_fork(read)
    return found


def in_a_fork(function: Callable[[], Any]) -> Any:
    """What a function returns, as JSON has it, called where its threads do not stay."""
    reading, writing = os.pipe()
    pid = os.fork()
    if pid == 0:
        status = 1
        try:
            with os.fdopen(writing, "w") as file:
                json.dump(function(), file)
            status = 0
        except BaseException:
            import traceback

            traceback.print_exc()
        finally:
            os._exit(status)
    os.close(writing)
    with os.fdopen(reading) as file:
        text = file.read()
    _, how = os.waitpid(pid, 0)
    if how:
        raise RuntimeError("what a sweep left could not be read")
    return json.loads(text)


def what_is_left(folder: Path, subject: Subject) -> Left:
    return Left(**in_a_fork(lambda: vars(left_in(folder, subject))))


# --- how far a sweep is, by what is on disk ------------------------------------------------------------------


def finished_runs(folder: Path) -> int:
    return sum(path.suffix == ".json" for path in _listed(folder / "runs"))


def is_begun(folder: Path) -> bool:
    return (folder / "sweep.json").exists()


def is_compacting(folder: Path) -> bool:
    """From here on, until it is done."""
    return (folder / "curves.parquet").exists()


def is_compacted(folder: Path) -> bool:
    return (folder / "runs.parquet").exists() and not _listed(folder / "runs")


def _listed(folder: Path) -> list[Path]:
    try:
        return list(folder.iterdir())
    except OSError:
        return []


def undisturbed(place: Workplace, subject: Subject, figures: bool) -> tuple[Left, dict[str, float]]:
    """What comes out of a subject, and at what second of it which phase began."""
    results = place.folder / "undisturbed"
    name = f"{subject.name.replace(' ', '-')}{'-figures' * figures}"
    folder = results / name
    began = time.monotonic()
    program = place.start(place.command(subject, results, name), Way(devices=subject.devices, figures=figures))
    phases = {"start": 0.0}
    conditions = {
        "training": lambda: is_begun(folder),
        "compaction": lambda: finished_runs(folder) >= subject.count or is_compacting(folder),
        "report": lambda: is_compacted(folder),
    }
    while program.runs:
        for phase, holds in conditions.items():
            if phase not in phases and holds():
                phases[phase] = time.monotonic() - began
        time.sleep(0.001)
    if program.wait():
        raise RuntimeError(f"{subject.name} fails undisturbed: {program.last_words}")
    phases["end"] = time.monotonic() - began
    return what_is_left(folder, subject), phases
