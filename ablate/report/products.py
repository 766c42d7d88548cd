"""The files of a report: made aside, put in place together at the end, and remembered: no other file is touched."""

import hashlib
import json
import os
import shutil
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from ablate.records.files import move, remove, write_atomically

MANIFEST = ".report.json"
"""Beside the report: the names of the files that it wrote, each with the SHA-256 of what it wrote there."""
SPEED_MANIFEST = ".speed.json"
"""The same of what `ablate bench` shows, also in the folder of a sweep that has a report."""
EARLIER = "earlier-report"
"""Where files go, in a folder that is older than these lists, of which nobody can tell who wrote them."""
ASIDE = ".report-"
"""How the folder begins in which a report is made before it is put in place."""
OLD = 24 * 3600.0
"""Seconds after which such a folder is one that a killed program left behind."""

BEFORE_MANIFESTS = {
    "": ("runs.csv", "settings.csv", "figure.png", "report.html"),
    "tables": (
        *("settings", "spread", "lengths", "verdicts", "comparisons", "comparisons_perplexity"),
        *("comparisons_val_perplexity", "effects", "variance", "importance", "tuned", "path", "finalists", "trials"),
        "search_importance",
    ),
    "figures": (
        *("by_value", "curves", "pareto", "heatmap", "verdicts", "effects", "variance", "importance"),
        *("ablation_path", "search_history", "search_front", "search_importance", "search_parallel"),
        *("search_slices", "search_timeline"),
    ),
}
"""Folder → what reports wrote there before they kept a list: whole names, or names without their endings."""
ENDINGS = {"tables": (".csv", ".md", ".tex"), "figures": (".png", ".svg", ".pdf")}
LONGEST = 255
"""Bytes of a file's name."""
SUFFIXES = {".html", *(ending for endings in ENDINGS.values() for ending in endings)}


class Products:
    """The files of one report in its folder. Make them below `aside`, then `publish`.

    `manifest` is the list that tells which files are its own: another report in the same folder has another one.
    """

    def __init__(self, folder: Path, aside: Path, manifest: str = MANIFEST) -> None:
        self.folder, self.aside, self.manifest = folder, aside, manifest
        self.written = _known(folder, manifest)
        self.set_aside: list[str] = []  # files of unknown origin, moved into EARLIER

    def write(self, name: str, text: str) -> None:
        """Make one file; `name`: its path below the report's folder. What no file can hold becomes a question mark."""
        write_atomically(self.aside / name, text.encode("utf-8", "replace"))

    def publish(self, of: str | None = None, said: Sequence[str] = ()) -> list[str]:
        """Put every file in place, delete what an earlier report left; the names of those that somebody else wrote.

        A file that is there and is not as a report wrote it is somebody's own: it stays. Equal files are not touched.
        `of`: what the report was made from, to be found by `made_from`; `said`: what could not be made, and why.
        """
        made = sorted(path.relative_to(self.aside).as_posix() for path in self.aside.rglob("*") if path.is_file())
        kept = {name for name in made if not self._is_ours(name)}
        wrote = {name: _sha256(self.aside / name) for name in made if name not in kept}
        # The list first: a stop in the middle leaves no file that no report would own up to.
        before = {name: [*self.written.get(name, ()), sha] for name, sha in wrote.items()}
        changed = [name for name, sha in wrote.items() if not self._is(name, sha)]
        gone = [name for name in sorted(self.written.keys() - set(made)) if (self.folder / name).is_file()]
        gone = [name for name in gone if self._is_ours(name)]
        if changed or gone:
            self._remember(self.written | {name: list(dict.fromkeys(shas)) for name, shas in before.items()})
        for name in changed:
            if not self.written.get(name):
                self._clear(name)
            move(self.aside / name, self.folder / name)
        for name in gone:
            self._clear(name)
        self._remember({name: [sha] for name, sha in wrote.items()}, None if kept else of, said)
        return sorted(kept)

    def _is(self, name: str, sha: str) -> bool:
        target = self.folder / name
        return target.is_file() and _sha256(target) == sha

    def _clear(self, name: str) -> None:
        """Delete a file that a report wrote; one of which that is not known is moved aside."""
        path = self.folder / name
        if path.is_file() and not self.written.get(name):
            move(path, _free(self.folder / EARLIER / name))
            self.set_aside.append(name)
        else:
            remove(path)

    def _is_ours(self, name: str) -> bool:
        """Whether a file is one that a report wrote and nobody changed since; also where there is none.

        What a linked folder holds, which lies elsewhere, is not.
        """
        path = self.folder / name
        if not path.parent.resolve().is_relative_to(self.folder.resolve()):
            return False
        if not path.exists() and not path.is_symlink():
            return True
        known = self.written.get(name)
        return path.is_file() and known is not None and (not known or _sha256(path) in known)

    def _remember(self, written: dict[str, list[str]], of: str | None = None, said: Sequence[str] = ()) -> None:
        made: dict[str, Any] = {"made_from": of} if of else {}
        made |= {"said": list(said)} if of and said else {}
        text = json.dumps({"files": written} | made, indent=1, sort_keys=True) + "\n"
        path = self.folder / self.manifest
        if not path.is_file() or path.read_bytes() != text.encode():
            write_atomically(path, text.encode())


_begun: set[tuple[int, Path]] = set()
"""The folders in which reports are being made, with the process that makes them: a fork has the list of its parent."""


@contextmanager
def products(folder: Path, manifest: str = MANIFEST) -> Iterator[Products]:
    """The files of a report that is about to be made. Raises OSError where the folder cannot be written to."""
    for left in folder.glob(f"{ASIDE}*"):
        if left.is_dir() and time.time() - left.stat().st_mtime > OLD:
            shutil.rmtree(left, ignore_errors=True)
    aside = Path(tempfile.mkdtemp(prefix=ASIDE, dir=folder))
    _begun.add((os.getpid(), aside))
    try:
        yield Products(folder, aside, manifest)
    finally:  # TemporaryDirectory of Python 3.11 calls itself for ever in a folder that cannot be written to any more
        shutil.rmtree(aside, ignore_errors=True)
        _begun.discard((os.getpid(), aside))


def abandon() -> None:
    """Delete what this process has made of reports that it will not end. It has no child any more that draws them."""
    for process, aside in _begun:
        if process == os.getpid():
            shutil.rmtree(aside, ignore_errors=True)


def _known(folder: Path, manifest: str = MANIFEST) -> dict[str, list[str]]:
    """Name of a file that reports wrote → the SHA-256 of what they wrote; empty where that is not known.

    A folder with a report that is older than these lists has all files that such a report could have written.
    """
    try:
        files = json.loads((folder / manifest).read_bytes())["files"]
        return {str(name): [str(sha) for sha in shas] for name, shas in files.items() if _inside(str(name))}
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        pass
    if manifest == SPEED_MANIFEST:
        return {name: [] for name in ("speed.csv", "speed.png")}
    if not (folder / "report.html").is_file():
        return {name: [] for name in BEFORE_MANIFESTS[""] if name != "report.html"}
    return {
        f"{below}/{name}{ending}" if below else name: []
        for below, names in BEFORE_MANIFESTS.items()
        for name in names
        for ending in ENDINGS.get(below, ("",))
    }


def made_from(folder: Path) -> str | None:
    """What the report of a folder was made from, if all its files are there as they were written; else None."""
    try:
        known = json.loads((folder / MANIFEST).read_bytes())
        of, written = known["made_from"], known["files"].items()
        whole = all(_sha256(folder / name) in shas for name, shas in written if _inside(name))
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return None
    return str(of) if whole else None


def said_of(folder: Path) -> list[str]:
    """What could not be made of the report in a folder, and why."""
    try:
        return [str(line) for line in json.loads((folder / MANIFEST).read_bytes()).get("said", ())]
    except (OSError, ValueError, TypeError, AttributeError):
        return []


def _free(path: Path) -> Path:
    """This path, or one with a number where something is there."""
    names = (path.with_name(f"{path.name}.{number}") for number in range(1, 10_000))
    return path if not os.path.lexists(path) else next(one for one in names if not os.path.lexists(one))


def _inside(name: str) -> bool:
    """Whether a name of the list is one that a report could have written, whoever wrote the list."""
    path = Path(name)
    is_name = "\0" not in name and len(path.name.encode("utf-8", "surrogatepass")) <= LONGEST
    return path.parent.as_posix() in (".", "tables", "figures") and path.suffix in SUFFIXES and is_name


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
