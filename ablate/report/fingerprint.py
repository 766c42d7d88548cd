"""What a report is made from, as one checksum: the same again gives the same files, and is not drawn again."""

import hashlib
import sys
from collections.abc import Iterable, Iterator
from functools import cache, lru_cache
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from ablate.config import plugins
from ablate.config.schema import CONFIG_ROOT, PACKAGE_DIR, PUBLISHED_DIR
from ablate.records.files import entries
from ablate.records.manifest import plugins_of
from ablate.records.places import curves_dir, failures_dir, runs_dir, timings_dir

PARTS = ("analysis", "cells", "claims", "config", "data", "optimizers", "records", "report", "stats", "tasks")
"""The parts of the package that decide what stands in a report."""
LIBRARIES = ("matplotlib", "numpy", "pandas", "scipy", "seaborn", "statsmodels", "scikit-learn", "optuna", "jinja2")
INPUTS = (
    *("runs.parquet", "curves.parquet", "speed.parquet", "sweep.json", "path.json", "excluded.json"),
    *("published.csv", "baselines.json", "quality.json"),
    *("search.json", "trials.csv", "study.db", "study.db-wal", "study.journal", "best.yaml"),
)
"""Files of a sweep that a report reads, beside its folders of files of single runs."""


def fingerprint(sweep: Path, level: float, title: str | None) -> str:
    """A checksum of the records of a sweep, of what was asked for, of the code, the libraries and the fonts."""
    digest = hashlib.sha256()
    for line in (str(sweep), sweep.resolve().name, repr(level), repr(title), code(), *_stored(sweep)):
        digest.update(f"{line}\n".encode("utf-8", "surrogateescape"))
    return digest.hexdigest()


def _stored(sweep: Path) -> Iterator[str]:
    """Small numbers of files by their content, files of single runs by their times; and what of a person's own has a
    part in it: the files of the sweep's plugins, presets with their claims and published values."""
    yield from _contents(sweep / name for name in INPUTS)
    yield from (f"{given} {plugins.present(given)}" for given in plugins_of(sweep))
    yield from _contents(sorted((Path.cwd() / "sweeps").rglob("*.[yc][as][mv]*")))
    for folder in (runs_dir(sweep), curves_dir(sweep), timings_dir(sweep), failures_dir(sweep)):
        for path in entries(folder):
            facts = path.stat()
            yield f"{folder.name}/{path.name} {facts.st_size} {facts.st_mtime_ns}"


def _contents(paths: Iterable[Path]) -> Iterator[str]:
    for path in paths:
        if path.is_file():
            facts = path.stat()
            yield f"{path.name} {_sha256(path, (facts.st_ino, facts.st_mtime_ns, facts.st_size))}"


@lru_cache(1024)
def _sha256(path: Path, _: tuple[int, ...]) -> str:
    """The checksum of a file, of which little is in memory at a time; of one that has not changed meanwhile, once."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


@cache
def code() -> str:
    """The sources, the values that comparisons are made with, the libraries, and the fonts that there are."""
    from matplotlib import font_manager

    files = [path for part in PARTS for path in sorted((PACKAGE_DIR / part).rglob("*")) if path.suffix != ".pyc"]
    files += sorted(PUBLISHED_DIR.glob("*")) + sorted((CONFIG_ROOT / "sweeps").rglob("*.yaml"))
    lines = [*_contents(files), sys.version, *(f"{name} {_version(name)}" for name in LIBRARIES)]
    lines += sorted({entry.fname for entry in font_manager.fontManager.ttflist})
    return hashlib.sha256("\n".join(lines).encode("utf-8", "surrogateescape")).hexdigest()


def _version(name: str) -> str:
    try:
        return version(name)
    except PackageNotFoundError:
        return ""
