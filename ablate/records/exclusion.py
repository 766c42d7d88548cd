"""Runs that somebody has excluded from a sweep, and why: they stay stored, and no table, test or figure has them.

results/<sweep>/excluded.json    the exclusions, each with its runs, what was given to choose them, reason and date

A run is excluded whatever it is called: what was excluded under the id of an older version is so under that of today.
"""

from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from ablate.config.columns import columns, gate_named
from ablate.config.errors import UserError, listing, nearest
from ablate.config.identity import former_ids
from ablate.config.knobs import no_gate
from ablate.records import results
from ablate.records.files import remove, write_json
from ablate.records.flat import flat
from ablate.records.kinds import fits, is_name, misfit
from ablate.records.locks import InUse, gone_if_refused, held_soon
from ablate.records.reading import RecordError, read_json

MOST_NAMED = 8

WAIT_S = 10.0
"""How long to wait for another command that is changing what is excluded."""

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
    known = [Exclusion(tuple(one["runs"]), tuple(one["given"]), one["because"], one["at"]) for one in stored]
    today = _ids_today(sweep, {run for one in known for run in one.runs})
    return [replace(one, runs=tuple(dict.fromkeys(today.get(run, run) for run in one.runs))) for one in known]


def _ids_today(sweep: Path, runs: Collection[str]) -> Mapping[str, str]:
    """Id of a run when it was excluded → that of today, of those that have another one."""
    stored = results.read_some(sweep, sorted(filter(is_name, runs)))
    found = {run: str(record["run_id"]) for run, record in stored.items() if record["run_id"] != run}
    lacking = {*runs} - stored.keys()  # deleted, or stored under its id of today by now
    if lacking:
        for record in results.summaries(sweep):
            with suppress(RecordError):
                if not isinstance(record, RecordError):
                    found |= {one: record["run_id"] for one in former_ids(dict(record["identity"])) if one in lacking}
    return found


def excluded_runs(sweep: Path) -> frozenset[str]:
    """The ids of the runs that are excluded from a sweep. Raises RecordError as `exclusions` does."""
    return frozenset(run for one in exclusions(sweep) for run in one.runs)


def exclude(sweep: Path, given: Sequence[str], because: str) -> Exclusion:
    """Exclude the runs that are `given`: run ids, or KNOB=VALUE, all of which a run must have.

    Raises UserError where there is no reason, where nothing fits, or where all that fits is excluded already.
    """
    if not because.strip():
        raise UserError('give a reason: --because "the disk was full"')
    fitting = chosen(sweep, given)
    with _one_at_a_time(sweep):
        known = _known(sweep)
        before = {run for one in known for run in one.runs}
        runs = [run for run in fitting if run not in before]
        if not runs:
            raise UserError(f"{sweep}: what fits {' '.join(given)} is excluded already")
        made = Exclusion(tuple(runs), tuple(given), because.strip(), datetime.now(UTC).isoformat(timespec="seconds"))
        _write(sweep, [*known, made])
    return made


def include(sweep: Path, given: Sequence[str]) -> list[str]:
    """Take the exclusion of these runs back; of all where nothing is given. Raises UserError where none is excluded."""
    fitting = chosen(sweep, given) if given else None
    with _one_at_a_time(sweep):
        known = _known(sweep)
        before = [run for one in known for run in one.runs]
        back = [run for run in (before if fitting is None else fitting) if run in before]
        if not back:
            raise UserError(f"{sweep}: none of these runs is excluded")
        _write(sweep, _without(known, back))
    return back


def add_exclusions(sweep: Path, others: Sequence[Exclusion]) -> None:
    """Exclude here what was excluded from other sweeps, each run once: for the reason that was there first.

    Raises RecordError, StorageError, UserError.
    """
    if not others:
        return
    with _one_at_a_time(sweep):
        known = exclusions(sweep)
        for other in others:
            known += _without([other], [run for one in known for run in one.runs])
        _write(sweep, known)


def _without(known: Sequence[Exclusion], runs: Collection[str]) -> list[Exclusion]:
    """The exclusions of other runs than these."""
    left = [replace(one, runs=tuple(run for run in one.runs if run not in runs)) for one in known]
    return [one for one in left if one.runs]


@contextmanager
def _one_at_a_time(sweep: Path) -> Iterator[None]:
    """Read and write what is excluded as one: two commands at once lose nothing. A sweep may train meanwhile."""
    lock, without = sweep / ".excluded.lock", "change what is excluded by no other command meanwhile"
    try:
        with gone_if_refused(lock), held_soon(lock, without, within_s=WAIT_S):
            yield
    except InUse as error:
        raise UserError(f"another command is changing what is excluded from {sweep}; give yours again") from error


def _write(sweep: Path, known: Sequence[Exclusion]) -> None:
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
