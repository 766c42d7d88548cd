"""The timings of a sweep, as single files or in speed.parquet, each setting under its id of today."""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

from ablate.records import tables
from ablate.records.files import entries
from ablate.records.kinds import is_name, misfit
from ablate.records.parquet_files import TableError
from ablate.records.places import speed_path, timing_path, timings_dir
from ablate.records.reading import RecordError, from_json, read_json
from ablate.records.results import former_settings

KEY: dict[str, Any] = {"setting_id": str, "machine": str, "threads": int}
"""What tells two timings apart, each with its type."""

KINDS: dict[str, Any] = KEY | {
    **dict.fromkeys(("config", "machine_facts", "facts", "protocol"), dict[str, Any]),
    "samples": dict[str, list[dict[str, Any]]],
    "summary": dict[str, dict[str, Any]],
    "measured_at": str,
    "spent_s": float,
    "failure": str,
}
"""What a timing holds, each with its type."""

WITHIN: dict[str, dict[str, Any]] = {
    "machine_facts": dict.fromkeys(("id", "cpu", "gpu"), str | None),
    "facts": {
        "engine": str,
        "last_epoch_readings": list[float],
        **dict.fromkeys(("parameters", "replicas_together"), int),
        **dict.fromkeys(("flops_per_token", "gemm_limit_gflops", "memory_bytes"), float | None),
    },
    "protocol": dict.fromkeys(("level", "precision"), float),
}
"""The types of what a table takes from its parts."""
OF_SAMPLE: dict[str, Any] = {"tokens_per_s": float, "launch": int, "unclean": str}
OF_SUMMARY: dict[str, Any] = {"tokens_per_s": float | None, "n": int, "why": str, "checked": bool}


def timing_key(timing: Mapping[str, Any]) -> tuple[str, str, int]:
    """What tells two timings apart: setting, machine and number of threads."""
    return timing["setting_id"], timing["machine"], timing["threads"]


def whole_timing(timing: dict[str, Any], path: Path) -> dict[str, Any]:
    """A timing as the speed lane writes it. Raises RecordError for anything else."""
    lacking = [name for name in (*KEY, "config") if name not in timing]
    wrong = lacking[0] if lacking else misfit(timing, KINDS) or _misfit_within(timing)
    if wrong or not (is_name(timing["setting_id"]) and is_name(timing["machine"])):
        raise RecordError(f"{path}: not a timing of ablate ({wrong or 'setting_id, machine'})")
    return timing


def _misfit_within(timing: Mapping[str, Any]) -> str:
    parts = [(timing.get(part, {}), kinds) for part, kinds in WITHIN.items()]
    parts += [(sample, OF_SAMPLE) for samples in timing.get("samples", {}).values() for sample in samples]
    parts += [(found, OF_SUMMARY) for found in timing.get("summary", {}).values()]
    return next((wrong for values, kinds in parts if (wrong := misfit(values, kinds))), "")


def timings(sweep: Path) -> Iterator[dict[str, Any]]:
    """Every timing of a sweep, as the speed lane wrote it, each setting under its id of today.

    Not what is damaged, nor a copy under another name.
    """
    loose: list[dict[str, Any]] = []
    for path in entries(timings_dir(sweep)):
        with suppress(RecordError):
            timing = whole_timing(read_json(path), path)
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
            with suppress(RecordError):
                yield _unpacked(text, sweep)


def all_packed(sweep: Path) -> list[dict[str, Any]]:
    """Every timing in speed.parquet. Raises TableError and RecordError where it, or one of them, is damaged."""
    return [_unpacked(text, sweep) for text in tables.timings_of(sweep)]


def _unpacked(text: str, sweep: Path) -> dict[str, Any]:
    return whole_timing(from_json(text, speed_path(sweep)), speed_path(sweep))


def read_timing(sweep: Path, setting_id: str, threads: int, machine: str, former: Sequence[str] = ()) -> dict[str, Any]:
    """The timing of a setting, in whichever form; `former`: ids that it had before. Raises RecordError."""
    for one in (setting_id, *former):
        with suppress(RecordError):
            path = timing_path(sweep, one, threads, machine)
            return whole_timing(read_json(path), path) | {"setting_id": setting_id}
    for timing in packed_timings(sweep):
        if timing_key(timing) in {(one, machine, threads) for one in (setting_id, *former)}:
            return timing | {"setting_id": setting_id}
    path = timing_path(sweep, setting_id, threads, machine)
    return whole_timing(read_json(path), path)
