"""The folder of a sweep: where each thing that it keeps is, and what it holds.

results/<sweep>/runs/<run_id>.json      a record
results/<sweep>/curves/<run_id>.csv     its curve: epoch, perplexity, held-out perplexity where it was measured
results/<sweep>/speed/<setting>-<machine>-<threads>.json    a timing
results/<sweep>/runs.parquet            the records of a sweep that has ended; beside it curves.parquet, speed.parquet
results/<sweep>/failures/<setting>.json  a setting that could not be run, with its traceback
results/<sweep>/sweep.json              the manifest: the commands given, their preset, its question

Everything that may be there is listed in docs/reference/files.md; what is not here is named where it is written.
"""

from collections.abc import Sequence
from difflib import get_close_matches
from pathlib import Path

from ablate.config.choice_files import choices
from ablate.config.errors import UserError
from ablate.config.plugins import MANIFEST
from ablate.records.files import entries, present

SQLITE, JOURNAL = "study.db", "study.journal"
"""Where a search keeps its study unless it is told otherwise, in its folder."""
TRIALS, SUMMARY = "trials.csv", "search.json"
"""The table of its trials, and what it has found once it is concluded."""
OF_SEARCHES = (SQLITE, JOURNAL, TRIALS, SUMMARY)
"""Files that only searches write."""


def runs_dir(sweep: Path) -> Path:
    return sweep / "runs"


def curves_dir(sweep: Path) -> Path:
    return sweep / "curves"


def timings_dir(sweep: Path) -> Path:
    return sweep / "speed"


def failures_dir(sweep: Path) -> Path:
    return sweep / "failures"


def checkpoints_dir(sweep: Path) -> Path:
    return sweep / "checkpoints"


def begun(sweep: Path) -> int:
    """How many runs have a checkpoint, from which the same command resumes them."""
    return sum(1 for path in entries(checkpoints_dir(sweep)) if not path.name.startswith("."))


def record_path(sweep: Path, run_id: str) -> Path:
    return runs_dir(sweep) / f"{run_id}.json"


def curve_path(sweep: Path, run_id: str) -> Path:
    return curves_dir(sweep) / f"{run_id}.csv"


def timing_path(sweep: Path, setting_id: str, threads: int, machine: str) -> Path:
    return timings_dir(sweep) / f"{setting_id}-{machine}-{threads}.json"


def failure_path(sweep: Path, setting_id: str) -> Path:
    return failures_dir(sweep) / f"{setting_id}.json"


def manifest_path(sweep: Path) -> Path:
    return sweep / MANIFEST


def runs_path(sweep: Path) -> Path:
    """The records of a sweep that has ended, in one file."""
    return sweep / "runs.parquet"


def curves_path(sweep: Path) -> Path:
    """The curves of a sweep that has ended, in one file."""
    return sweep / "curves.parquet"


def speed_path(sweep: Path) -> Path:
    """The timings of a sweep that has ended, in one file."""
    return sweep / "speed.parquet"


def holds_runs(sweep: Path) -> bool:
    """Whether a folder has records, in either form."""
    return present(runs_path(sweep)) == "file" or any(path.suffix == ".json" for path in entries(runs_dir(sweep)))


def holds_timings(sweep: Path) -> bool:
    """Whether a folder has timings, in either form."""
    return present(speed_path(sweep)) == "file" or present(timings_dir(sweep)) == "folder"


def is_search(folder: Path) -> bool:
    """Whether a search has been in this folder: what came out decided which runs there are, and how many.

    A search that is under way has its study, or, where that is in a database elsewhere, its table of trials.
    """
    return any(path.name in OF_SEARCHES for path in entries(folder))


def is_sweep(folder: Path) -> bool:
    """Whether a folder has a place for records, or records."""
    return present(runs_dir(folder)) == "folder" or present(runs_path(folder)) == "file"


def no_run(sweep: Path, problems: Sequence[object]) -> UserError:
    """What is said of a folder without a finished run that can be read; `problems`: what is wrong with its files."""
    if not problems:
        return no_sweep(sweep, "no finished run yet" if is_sweep(sweep) else "no sweep")
    more = f" (and {len(problems) - 1} more)" if len(problems) > 1 else ""
    return UserError(f"{sweep} holds no finished run that can be read: {problems[0]}{more}")


def no_sweep(folder: Path, what: str = "no sweep") -> UserError:
    """What is said of a folder that holds no sweep, with the sweep below `results/`, or the preset, of that name."""
    below = Path("results") / folder.name
    beside = [one.name for one in entries(folder.parent) if is_sweep(one)]
    if str(folder).startswith("plugins="):  # metrics and figures of a file that the sweep does not know yet
        meant = f"; to give a stored sweep what a file brings, run its command again with {folder}"
    elif folder != below and is_sweep(below):
        meant = f"; did you mean {below}?"
    elif not folder.exists() and (close := get_close_matches(folder.name, beside, 1)):
        meant = f"; did you mean {folder.parent / close[0]}?"
    elif folder.name in choices("sweeps"):
        meant = f"; {folder.name} is a preset, which ablate run sweeps={folder.name} trains"
    else:
        meant = "; give a folder that ablate has written, such as results/NAME"
    return UserError(f"{folder} holds {what}{meant}")
