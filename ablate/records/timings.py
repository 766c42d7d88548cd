"""The timings of a sweep, as single files or in speed.parquet, each setting under its id of today."""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

from ablate.records import tables
from ablate.records.files import entries
from ablate.records.places import speed_path, timing_path, timings_dir
from ablate.records.reading import RecordError, from_json, read_json
from ablate.records.results import former_settings
from ablate.records.tables import TableError


def timing_key(timing: Mapping[str, Any]) -> tuple[str, str, int]:
    """What tells two timings apart: setting, machine and number of threads. Raises KeyError."""
    return timing["setting_id"], timing["machine"], timing["threads"]


def timings(sweep: Path) -> Iterator[dict[str, Any]]:
    """Every timing of a sweep, as the speed lane wrote it, each setting under its id of today.

    Not what is damaged, nor a copy under another name.
    """
    loose: list[dict[str, Any]] = []
    for path in entries(timings_dir(sweep)):
        with suppress(RecordError, KeyError):
            timing = read_json(path)
            if path == timing_path(sweep, timing["setting_id"], timing["threads"], timing["machine"]):
                loose.append(timing)
    former = former_settings(sweep) if loose else {}
    own = {timing_key(timing) for timing in loose if timing["setting_id"] not in former}
    seen: set[tuple[str, str, int]] = set()
    for timing in sorted(loose, key=lambda one: one["setting_id"] in former):
        timing["setting_id"] = former.get(timing["setting_id"], timing["setting_id"])
        if timing_key(timing) not in seen:
            seen.add(timing_key(timing))
            yield timing
    for timing in packed_timings(sweep):
        if timing_key(timing) not in seen | own:
            seen.add(timing_key(timing))
            yield timing


def packed_timings(sweep: Path) -> Iterator[dict[str, Any]]:
    """The timings in speed.parquet; nothing of a damaged one."""
    with suppress(TableError):
        for text in tables.timings_of(sweep):
            with suppress(RecordError, KeyError):
                timing = from_json(text, speed_path(sweep))
                timing_key(timing)
                yield timing


def read_timing(sweep: Path, setting_id: str, threads: int, machine: str, former: Sequence[str] = ()) -> dict[str, Any]:
    """The timing of a setting, in whichever form; `former`: ids that it had before. Raises RecordError."""
    for one in (setting_id, *former):
        with suppress(RecordError):
            return read_json(timing_path(sweep, one, threads, machine)) | {"setting_id": setting_id}
    for timing in packed_timings(sweep):
        if timing_key(timing) in {(one, machine, threads) for one in (setting_id, *former)}:
            return timing | {"setting_id": setting_id}
    return read_json(timing_path(sweep, setting_id, threads, machine))
