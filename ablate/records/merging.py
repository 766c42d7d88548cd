"""One sweep that several machines have trained, each in a folder of its own, in one folder: by content, not by name."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ablate.config.errors import UserError
from ablate.records import results, weights
from ablate.records import timings as stored_timings
from ablate.records.compaction import compact
from ablate.records.curves import curve_csv
from ablate.records.design import Declared, Designs, as_manifest, one_history
from ablate.records.exclusion import add_exclusions, exclusions
from ablate.records.failures import failures
from ablate.records.files import (
    compact_json,
    entries,
    exact_json,
    make_folder,
    remove,
    remove_unfinished,
    write_json,
    write_text,
)
from ablate.records.manifest import damaged_manifest, load_manifest
from ablate.records.places import (
    OF_SEARCHES,
    curve_path,
    failure_path,
    holds_runs,
    holds_timings,
    is_sweep,
    manifest_path,
    no_sweep,
    record_path,
    timing_path,
)
from ablate.records.planned import seeds_of, with_planned
from ablate.records.reading import RecordError, read_json


@dataclass(frozen=True)
class Conflict:
    """What is not the same in two folders."""

    setting_id: str
    which: str  # of this setting
    differing: str


@dataclass
class Merged:
    """What came together, and each thing that is not the same in two folders: there the first one counts."""

    runs: int = 0
    equal: int = 0
    timings: int = 0
    failures: int = 0  # settings that could not be run, and of which there are not all runs now
    conflicts: list[Conflict] = field(default_factory=list)
    left: list[str] = field(default_factory=list)  # what is none, cannot be read or cannot be merged


def merge(folders: Sequence[Path], into: Path) -> Merged:
    """Put the runs and timings of these folders into one; nothing that is there already is changed.

    A run that is in two folders counts once if its outcome is the same. Raises UserError for a folder without runs, a
    target that holds sweeps, sweeps of different presets, and a damaged file of exclusions; StorageError. The caller
    holds `into`.
    """
    for folder in folders:
        if folder.resolve() == into.resolve():
            raise UserError(f"{into} is to be merged into itself; what it holds stays there anyway, leave it out")
        if not holds_runs(folder) and not holds_timings(folder) and not failures(folder):
            raise no_sweep(folder, "no runs")
    if not is_sweep(into) and (below := next((one.name for one in entries(into) if is_sweep(one)), None)):
        raise UserError(f"{into} holds sweeps, such as {below}; give a folder of its own: --into {into / 'both'}")
    manifest = _manifest([*([into] if into.exists() else []), *folders])
    excluded = [one for folder in folders for one in exclusions(folder)]
    make_folder(into)
    remove_unfinished(into)  # of a merge that was killed
    add_exclusions(into, excluded)  # before the runs: nobody sees one that is excluded as one that counts
    if manifest:
        write_json(manifest_path(into), manifest)
    done = Merged(left=[line for folder in folders for line in _left_behind(folder)])
    there = dict.fromkeys(_records(into, done), into)
    for folder in folders:
        for run_id, record in _records(folder, done).items():
            if run_id not in there:
                _copy(folder, into, record)
                there[run_id] = folder
                done.runs += 1
            elif differing := _difference(folder, into, record):
                than = f"{differing} in {folder} than in {there[run_id]}, whose run is the one that is kept"
                done.conflicts.append(Conflict(record["setting_id"], f"seed {record['seed']} ({run_id})", than))
            else:
                if weights.are_stored(folder, run_id) and not weights.are_stored(into, run_id):
                    weights.copy(folder, into, run_id)
                done.equal += 1
        _merge_timings(folder, into, done)
    _merge_failures(folders, into, done)
    compact(into)
    return done


def _records(folder: Path, done: Merged) -> dict[str, dict[str, Any]]:
    found = {}
    for record in results.records(folder):
        if isinstance(record, RecordError):
            done.left.append(str(record))
        else:
            found[record["run_id"]] = dict(record)
    return found


def _copy(folder: Path, into: Path, record: dict[str, Any]) -> None:
    """The weights where they are kept, the curve, then the record. Raises UserError for a run without its curve."""
    run_id = record["run_id"]
    try:
        curve = results.load_curve(folder, run_id)
    except RecordError as error:
        raise UserError(f"{error}; {run_id} cannot be merged without its curve") from error
    if weights.are_stored(folder, run_id):
        weights.copy(folder, into, run_id)
    write_text(curve_path(into, run_id), curve_csv(curve))
    write_text(record_path(into, run_id), exact_json(record))


def _difference(folder: Path, into: Path, record: dict[str, Any]) -> str:
    """What came out otherwise; empty where the run is the same."""
    other = results.read(into, record["run_id"])
    for part in ("status", "metrics", "divergence"):
        if compact_json(record[part]) != compact_json(other[part]):
            return f"other {part}{_values(record[part], other[part])}"
    try:
        one, two = (results.load_curve(where, record["run_id"]) for where in (folder, into))
    except RecordError as error:
        return f"no curve ({error})"
    if compact_json(one) != compact_json(two):
        return "another curve"
    kept = [weights.weights_path(where, record["run_id"]) for where in (folder, into)]
    same = not all(map(Path.is_file, kept)) or kept[0].read_bytes() == kept[1].read_bytes()
    return "" if same else "other weights"


def _values(one: Any, two: Any) -> str:
    """What differs, in both: a word, or the first number; empty where there is none."""
    if isinstance(one, str) and isinstance(two, str):
        return f" ({one}, not {two})"
    if not isinstance(one, dict) or not isinstance(two, dict):
        return ""
    for name in one:
        if name in two and compact_json(one[name]) != compact_json(two[name]):
            return f" ({name} {one[name]}, not {two[name]})"
    return ""


def _merge_timings(folder: Path, into: Path, done: Merged) -> None:
    there = {stored_timings.timing_key(timing): timing for timing in stored_timings.timings(into)}
    for timing in stored_timings.timings(folder):
        key = stored_timings.timing_key(timing)
        if key not in there:
            path = timing_path(into, timing["setting_id"], timing["threads"], timing["machine"])
            write_text(path, exact_json(timing))
            done.timings += 1
        elif there[key] != timing:
            than = f"another one in {folder} than in {into}, which is kept"
            done.conflicts.append(Conflict(key[0], f"timing on machine {key[1]}", than))


def _merge_failures(folders: Sequence[Path], into: Path, done: Merged) -> None:
    """What could not be run in one of them, and whose runs have come from none of the others."""
    there = {one.setting_id for one in failures(into)}
    for folder in folders:
        for one in failures(folder):
            if one.setting_id in there:
                continue
            if one.config is None:
                done.left.append(f"{failure_path(folder, one.setting_id)} is damaged")
                continue
            there.add(one.setting_id)
            write_json(failure_path(into, one.setting_id), read_json(failure_path(folder, one.setting_id)))
    still = {one.setting_id for one in failures(into)}
    for setting_id in there - still:  # the runs that one folder lacks, another has
        remove(failure_path(into, setting_id))
    done.failures = len(still)


def _manifest(folders: Sequence[Path]) -> dict[str, Any]:
    """The manifests as one: all commands, and the values of all knobs. Raises UserError for different presets."""
    found: dict[str, Any] = {}
    designs: dict[str, Declared] = {}
    for folder in folders:
        more = _designs(folder)
        designs = {name: one_history([designs.get(name, ()), more.get(name, ())]) for name in {**more, **designs}}
        try:
            one = load_manifest(folder)
        except RecordError:
            continue
        if found and one["preset"] != found["preset"]:
            raise UserError(
                f"{folder} is the sweep of preset {one['preset']}, and {folders[0]} that of {found['preset']}: "
                "another question, to be kept in another folder"
            )
        commands = list(dict.fromkeys([*found.get("commands", ()), *one["commands"]]))
        knobs = dict(found.get("knobs", {}))
        for name, values in one.get("knobs", {}).items():
            known = knobs.get(name, [])
            knobs[name] = [*known, *(value for value in values if value not in known)]
        planned = with_planned(
            found.get("planned", {}), {key: seeds_of(text) for key, text in one.get("planned", {}).items()}
        )
        asked_as = one.get("asked_as", {}) | found.get("asked_as", {})
        files = {**one.get("plugins", {}), **found.get("plugins", {})}
        found = one | {name: value for name, value in found.items() if value is not None} | {"commands": commands}
        found |= {"knobs": knobs} if knobs else {}
        found |= {"planned": planned} if planned else {}
        found |= {"asked_as": asked_as} if asked_as else {}
        found |= {"plugins": files} if files else {}
    return found | ({"design": as_manifest(designs)} if found and designs else {})


def _left_behind(folder: Path) -> list[str]:
    """A line on what of a folder is no run and does not come along."""
    damaged = damaged_manifest(folder)
    return [*[str(damaged)] * (damaged is not None), *_search(folder)]


def _search(folder: Path) -> list[str]:
    """A line, where a folder is that of a search: the runs of several are no search."""
    names = [path.name for path in entries(folder) if path.name in OF_SEARCHES]
    return [f"{folder}: {', '.join(names)}, of its search, whose runs come along"] if names else []


def _designs(folder: Path) -> dict[str, Declared]:
    """What each setting of a folder is declared with; nothing of one of which that is not known, as of a search: the
    commands of another folder say nothing of it."""
    settings = {record["setting_id"] for record in results.summaries(folder) if not isinstance(record, RecordError)}
    known = Designs.read(folder, settings)
    return {name: known.history(name) for name in sorted({*settings, *known.of_setting})}
