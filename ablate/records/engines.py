"""Which engine engine=auto has come to, kept in the sweep's folder: what is resumed goes on with it.

results/<sweep>/engines.json    shape of runs → engine

It is measured which engine is the fastest, and two that are about as fast round differently.
"""

from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path

from ablate.records.files import write_json
from ablate.records.locks import InUse, held_soon
from ablate.records.reading import RecordError, read_json

WAIT_S = 10.0
"""How long to wait for another job of the sweep that is writing its own."""


def engines_path(sweep: Path) -> Path:
    return sweep / "engines.json"


def kept_engines(sweep: Path) -> dict[str, str]:
    """Shape of runs → engine; nothing where there is no such file, or a damaged one."""
    with suppress(RecordError):
        return {shape: engine for shape, engine in read_json(engines_path(sweep)).items() if isinstance(engine, str)}
    return {}


def keep_engines(sweep: Path, chosen: Mapping[str, str], anew: bool = False) -> dict[str, str]:
    """Keep what was chosen of shapes that have none yet, or `anew`; of several jobs the first one decides. What counts.

    Raises StorageError.
    """
    lock, without = sweep / ".engines.lock", "jobs of this sweep may choose different engines"
    with suppress(InUse), held_soon(lock, without, within_s=WAIT_S, say=lambda _: None):
        return _kept(sweep, chosen, anew)
    return _kept(sweep, chosen, anew)


def _kept(sweep: Path, chosen: Mapping[str, str], anew: bool) -> dict[str, str]:
    before = kept_engines(sweep)
    now = {**before, **chosen} if anew else {**chosen, **before}
    if now != before:
        write_json(engines_path(sweep), dict(sorted(now.items())))
    return now
