"""Which runs the commands of a sweep ask for, as its manifest keeps them, and how many of them are missing."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from ablate.records import results
from ablate.records.manifest import load_manifest, ranges_of
from ablate.records.reading import RecordError


def with_planned(planned: Mapping[str, str], asked: Mapping[str, Iterable[int]]) -> dict[str, str]:
    """The runs that the commands of a sweep ask for, with those of one more: setting_id → its seeds, `0-4,7`."""
    seeds = {key: {*seeds_of(text)} for key, text in planned.items()}
    for key, more in asked.items():
        seeds.setdefault(key, set()).update(more)
    return {key: _ranges(sorted(own)) for key, own in seeds.items() if own}


def seeds_of(text: str) -> Iterator[int]:
    """0, 1, 2, 7 of `0-2,7`."""
    for first, last in ranges_of(text):
        yield from range(first, last + 1)


def _ranges(numbers: Sequence[int]) -> str:
    there = {*numbers}
    ends = [number for number in numbers if number + 1 not in there]
    starts = [number for number in numbers if number - 1 not in there]
    return ",".join(f"{a}-{b}" if b > a else str(a) for a, b in zip(starts, ends, strict=True))


def missing(sweep: Path, records: Iterable[Mapping[str, Any]]) -> int | None:
    """How many of the runs that a sweep's commands ask for are not among its records.

    None where that is not known: of a search, or of a sweep of an older version.
    """
    try:
        planned = load_manifest(sweep).get("planned")
        wanted = {key: {*seeds_of(text)} for key, text in planned.items()} if planned else None
    except (RecordError, AttributeError, TypeError, ValueError):
        return None
    if wanted is None:
        return None
    there = {(record["setting_id"], record["seed"]) for record in records}
    settings = {setting for setting, _ in there}
    today = results.former_settings(sweep) if wanted.keys() - settings else {}
    return sum((today.get(key, key), seed) not in there for key, seeds in wanted.items() for seed in seeds)
