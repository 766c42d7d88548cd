"""What a number was computed with: versions, code, machine. Imports no torch."""

import hashlib
import os
import platform
import re
import subprocess
import sys
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from ablate.config.schema import PACKAGE_DIR
from ablate.records.asking import NO_ANSWER, ask
from ablate.records.devices import gpu_facts

DISTRIBUTION = "ablate-rnn"

SOURCE_SUFFIXES = (".py", ".cpp")


@cache
def environment(device: str = "cpu") -> dict[str, Any]:
    """Versions of Python, torch and this project, its commit, and the machine.

    `device` is torch's name of what computed: that GPU is described (`ablate.records.devices`), none where a CPU did.
    """
    return {
        "python": platform.python_version(),
        "torch": torch_version(),
        "ablate": installed(DISTRIBUTION),
        **code_version(),
        "platform": f"{platform.system()} {platform.machine()}",
        "cpu": cpu_model(),
        "cores": cores(),
        **gpu_facts(device),
    }


def cores() -> int:
    """Cores that this process may use."""
    try:
        return len(os.sched_getaffinity(0))
    except AttributeError:  # macOS and Windows do not say
        return os.cpu_count() or 1


def torch_version() -> str | None:
    """That of the torch that is loaded, which says for what it was built (`+cpu`); unless it is, that installed."""
    return getattr(sys.modules.get("torch"), "__version__", None) or installed("torch")


def installed(distribution: str) -> str | None:
    try:
        return version(distribution)
    except PackageNotFoundError:
        return None


@cache
def code_version() -> dict[str, Any]:
    """The commit of this package's source, whether that was changed since, and a hash of the source as it is.

    The commit is that of the checkout that the package is imported from, or the one that a built package, or an archive
    made by git, carries. Where it is unknown, `git_unknown` says why; the hash is known in any case.
    """
    facts = _of_checkout(PACKAGE_DIR.parent) if (PACKAGE_DIR.parent / ".git").exists() else _carried()
    return {"git_commit": None, "git_dirty": None, "git_unknown": None} | facts | {"source": source_hash()}


def _of_checkout(root: Path) -> dict[str, Any]:
    try:
        commit = _git(root, "rev-parse", "HEAD")
        changed = _git(root, "status", "--porcelain", "--", "ablate", "conf")
    except FileNotFoundError:
        return {"git_unknown": "git is not installed"}
    except subprocess.CalledProcessError as error:
        return {"git_unknown": (error.stderr.strip().splitlines() or [f"git ended with status {error.returncode}"])[0]}
    except NO_ANSWER as error:
        return {"git_unknown": f"git: {error}"}
    return {"git_commit": commit, "git_dirty": bool(changed)}


def _git(root: Path, *arguments: str) -> str:
    # A folder that another user owns (a container's mount) is refused unless it is called safe; nothing is written.
    options = ["--no-optional-locks", "-c", f"safe.directory={root.as_posix()}", "-c", "core.fsmonitor=false"]
    return ask("git", *options, "-C", str(root), *arguments).stdout.strip()


def _carried() -> dict[str, Any]:
    """What `commit.txt` says, which a build (`hatch_build.py`) or `git archive` has filled in."""
    try:
        commit, *changed = (PACKAGE_DIR / "commit.txt").read_text(encoding="utf-8").split()
    except (OSError, ValueError):
        commit, changed = "", []
    if not re.fullmatch("[0-9a-f]{40}", commit):
        return {"git_unknown": "neither a checkout nor a package that was built from one"}
    return {"git_commit": commit, "git_dirty": bool(changed)}


@cache
def source_hash() -> str:
    """12 hexadecimal digits that name the package's source, whatever holds it: checkout, copy or installed package."""
    digest = hashlib.sha256()
    paths = {path.relative_to(PACKAGE_DIR).as_posix(): path for path in PACKAGE_DIR.rglob("*")}
    for name, path in sorted(paths.items()):
        if path.suffix in SOURCE_SUFFIXES and "hydra_plugins" not in name:  # which an installed package has elsewhere
            digest.update(f"{name}\0".encode() + path.read_bytes().replace(b"\r\n", b"\n") + b"\0")
    return digest.hexdigest()[:12]


@cache
def cpu_model() -> str:
    """The processor's name as the system gives it."""
    try:
        for line in Path("/proc/cpuinfo").read_text().splitlines():
            if line.startswith("model name"):
                return line.split(":", 1)[1].strip()
    except OSError:
        pass
    return platform.processor() or platform.machine()
