"""Runs that somebody has excluded from a sweep, and why: they stay stored, and no table, test or figure has them.

results/<sweep>/excluded.json    the exclusions, each with its runs, what was given to choose them, reason and date
"""

from collections.abc import Collection, Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from ablate.config.columns import columns, gate_named
from ablate.config.errors import UserError, listing, nearest
from ablate.config.knobs import no_gate
from ablate.records import results
from ablate.records.files import remove, write_json
from ablate.records.flat import flat
from ablate.records.kinds import fits, misfit
from ablate.records.reading import RecordError, read_json

MOST_NAMED = 8

KINDS: dict[str, Any] = {"runs": list[str], "given": list[str], "because": str, "at": str}
"""What is kept of each exclusion, with its type."""


@dataclass(frozen=True)
class Exclusion:
    """Runs that were excluded together."""

    runs: tuple[str, ...]
    given: tuple[str, ...]
    because: str
    at: str

    def __str__(self) -> str:
        many = "1 run is" if len(self.runs) == 1 else f"{len(self.runs)} runs are"
        return f"{many} excluded ({' '.join(self.given)}): {self.because}"


def excluded_path(sweep: Path) -> Path:
    return sweep / "excluded.json"


def exclusions(sweep: Path) -> list[Exclusion]:
    """The exclusions of a sweep. Raises RecordError for a damaged file: whom it excluded is not known."""
    path = excluded_path(sweep)
    if not path.exists():
        return []
    stored: Any = read_json(path).get("excluded")
    if not fits(stored, list[dict[str, Any]]):
        raise RecordError(f"{path}: not a list of exclusions")
    if not all(KINDS.keys() <= one.keys() and not misfit(one, KINDS) for one in stored):
        raise RecordError(f"{path}: not a list of exclusions, each with {listing(KINDS)}")
    return [Exclusion(tuple(one["runs"]), tuple(one["given"]), one["because"], one["at"]) for one in stored]


def excluded_runs(sweep: Path) -> frozenset[str]:
    """The ids of the runs that are excluded from a sweep. Raises RecordError as `exclusions` does."""
    return frozenset(run for one in exclusions(sweep) for run in one.runs)


def exclude(sweep: Path, given: Sequence[str], because: str) -> Exclusion:
    """Exclude the runs that are `given`: run ids, or KNOB=VALUE, all of which a run must have.

    Raises UserError where there is no reason, where nothing fits, or where all that fits is excluded already.
    """
    if not because.strip():
        raise UserError('give a reason: --because "the disk was full"')
    known = _known(sweep)
    before = {run for one in known for run in one.runs}
    runs = [run for run in chosen(sweep, given) if run not in before]
    if not runs:
        raise UserError(f"{sweep}: what fits {' '.join(given)} is excluded already")
    made = Exclusion(tuple(runs), tuple(given), because.strip(), datetime.now(UTC).isoformat(timespec="seconds"))
    write_exclusions(sweep, [*known, made])
    return made


def include(sweep: Path, given: Sequence[str]) -> list[str]:
    """Take the exclusion of these runs back; of all where nothing is given. Raises UserError where none is excluded."""
    known = _known(sweep)
    before = [run for one in known for run in one.runs]
    back = [run for run in (chosen(sweep, given) if given else before) if run in before]
    if not back:
        raise UserError(f"{sweep}: none of these runs is excluded")
    left = [Exclusion(tuple(r for r in one.runs if r not in back), one.given, one.because, one.at) for one in known]
    write_exclusions(sweep, [one for one in left if one.runs])
    return back


def write_exclusions(sweep: Path, known: Sequence[Exclusion]) -> None:
    """Raises StorageError."""
    if known:
        write_json(excluded_path(sweep), {"excluded": [asdict(one) for one in known]})
    else:
        remove(excluded_path(sweep))


def chosen(sweep: Path, given: Sequence[str]) -> list[str]:
    """The runs that are given: by their ids, or by KNOB=VALUE. Raises UserError where none fits."""
    rows = [flat(record) for record in results.summaries(sweep) if not isinstance(record, RecordError)]
    ids = [word for word in given if "=" not in word]
    pairs = [word.partition("=") for word in given if "=" in word]
    if missing := [run for run in ids if run not in {row["run_id"] for row in rows}]:
        raise UserError(f"{sweep} holds no run {missing[0]}; its ids are in the column run_id of runs.parquet")
    names = {name for row in rows for name in row}
    wanted = []
    for key, _, value in pairs:
        gate, known = gate_named(key), _named(key, names)
        if rows and not gate and known not in names:
            knobs = sorted(
                name for name in names if name in columns() and len({str(row.get(name)) for row in rows}) > 1
            )
            told = listing(["seed", *knobs][:MOST_NAMED])
            raise UserError(
                f"no run of {sweep} has {key}; give a run id, or KNOB=VALUE of {told}{nearest(key, ['seed', *knobs])}"
            )
        held = [row.get("model.gates") or {} for row in rows]
        if gate and (line := no_gate(gate, held)):
            raise UserError(line)
        column: list[Any] = [gates.get(gate) if gate else row.get(known) for row, gates in zip(rows, held, strict=True)]
        if not any(_same(one, value) for one in column):
            numbers: set[Any] = {one for one in column if _is_number(one)}
            there = [*sorted(numbers), *(one for one in column if not _is_number(one))]
            values = list(dict.fromkeys(map(_text, there)))
            raise UserError(f"no run of {sweep} has {key}={value}; there is {listing(values[:MOST_NAMED])}")
        wanted.append([_same(one, value) for one in column])
    fitting = [row["run_id"] for row, *fit in zip(rows, *wanted, strict=True) if wanted and all(fit)]
    if pairs and not fitting:
        raise UserError(f"no run of {sweep} has all of {' '.join(given)}")
    return list(dict.fromkeys([*ids, *fitting]))


def _known(sweep: Path) -> list[Exclusion]:
    try:
        return exclusions(sweep)
    except RecordError as error:
        raise UserError(f"{error}; mend it, or delete it") from error


def _named(key: str, names: Collection[str]) -> str:
    """The name of a knob as it is typed, also if it is given as tables name it: `a` for `model.a`."""
    fitting = [name for name in names if "." in name and name.rpartition(".")[2] == key]
    return fitting[0] if key not in names and len(fitting) == 1 else key


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _text(value: Any) -> str:
    """A value as it is typed."""
    if value is None or isinstance(value, bool):
        return {None: "null", True: "true", False: "false"}[value]
    return f"{value:g}" if isinstance(value, float) else str(value)


def _same(value: Any, typed: str) -> bool:
    if _text(value) == typed:
        return True
    try:
        return _is_number(value) and float(typed) == value
    except ValueError:
        return False
