"""Settings that could not be run, `failures/<setting>.json`, until all their runs are there after all: by the same
command, by a search, or from another machine (`ablate merge`)."""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ablate.config.registry import TASKS, task_name
from ablate.records import results
from ablate.records.files import entries
from ablate.records.kinds import fits
from ablate.records.manifest import MOST_SEEDS
from ablate.records.places import failures_dir
from ablate.records.reading import RecordError, read_json

DAMAGED = "its record is damaged"


@dataclass(frozen=True)
class Failure:
    """Why a setting could not be run, in a line."""

    setting_id: str
    error: str
    config: Mapping[str, Any] | None = None
    """None where the file is damaged."""
    had: frozenset[int] = frozenset()
    """The seeds of which there were runs already: by other code, or fewer than were asked for."""

    @property
    def name(self) -> str:
        """`gru (b3e854abc455)`"""
        if self.config is None:
            return self.setting_id
        task = TASKS.known(task_name(self.config))
        return f"{self.config['model']['name'] if task.has_network else task.name} ({self.setting_id})"

    @property
    def seeds(self) -> set[int]:
        """Those that were asked for when it failed."""
        config = self.config or {}
        first = int(config.get("seed", 0))
        return {*range(first, first + int(config.get("seeds", 1)))}


def failures(sweep: Path, records: Iterable[Mapping[str, Any]] | None = None) -> list[Failure]:
    """The failures that no finished runs have overtaken; `records` are those of the sweep, where they are at hand."""
    found = list(_stored(sweep))
    if not found:
        return []
    if records is None:
        records = [record for record in results.summaries(sweep) if isinstance(record, Mapping)]
    seeds: dict[str, set[int]] = {}
    for record in records:
        seeds.setdefault(record["setting_id"], set()).add(int(record["seed"]))
    today = {} if all(one.setting_id in seeds for one in found) else results.former_settings(sweep)

    def overtaken(one: Failure) -> bool:
        there = seeds.get(today.get(one.setting_id, one.setting_id), set())
        return one.seeds <= there and not one.seeds <= one.had

    return [one for one in found if not overtaken(one)]


def _stored(sweep: Path) -> Iterator[Failure]:
    for path in sorted(entries(failures_dir(sweep))):
        if path.suffix != ".json":
            continue
        try:
            stored = read_json(path)
            if stored["setting_id"] == path.stem:  # else a copy
                said = str(stored["error"]).splitlines()[0]
                one = Failure(path.stem, said, stored["config"], frozenset(stored.get("had", ())))
                yield one if _is_whole(one) else Failure(path.stem, DAMAGED)
        except (RecordError, ValueError, KeyError, TypeError, IndexError, AttributeError):
            yield Failure(path.stem, DAMAGED)


def _is_whole(one: Failure) -> bool:
    """Whether a failure has a name, and seeds that a command could have asked for."""
    config = one.config or {}
    numbers = [config.get("seed", 0), config.get("seeds", 1), *one.had]
    return all(fits(number, int) for number in numbers) and 0 < numbers[1] <= MOST_SEEDS and bool(one.name)
