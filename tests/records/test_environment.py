"""What a record says of code and machine: the commit wherever it can be known, else why not. CPU, needs git."""

import hashlib
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace

import pytest

from ablate.records import environment

COMMIT = "0123456789abcdef0123456789abcdef01234567"

needs_git = pytest.mark.skipif(shutil.which("git") is None, reason="needs git")


@pytest.fixture(autouse=True)
def _afresh() -> Iterator[None]:
    forget()
    yield
    forget()


def forget() -> None:
    environment.environment.cache_clear()
    environment.code_version.cache_clear()
    environment.source_hash.cache_clear()


@pytest.fixture
def package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A package folder of one module in the place of ours."""
    folder = tmp_path / "tree" / "ablate"
    folder.mkdir(parents=True)
    (folder / "module.py").write_text("x = 1\n")
    monkeypatch.setattr(environment, "PACKAGE_DIR", folder)
    return folder


def git(folder: Path, *arguments: str) -> str:
    options = ["-c", "user.name=a", "-c", "user.email=a@example.org", "-c", "commit.gpgsign=false"]
    return subprocess.run(
        ["git", *options, "-C", folder, *arguments], check=True, capture_output=True, text=True
    ).stdout.strip()


@needs_git
def test_of_a_checkout(package: Path) -> None:
    root = package.parent
    git(root, "init", "-q")
    git(root, "add", "-A")
    git(root, "commit", "-qm", "first")
    head = git(root, "rev-parse", "HEAD")
    told = environment.code_version()
    assert (told["git_commit"], told["git_dirty"], told["git_unknown"]) == (head, False, None)
    (package / "module.py").write_text("x = 2\n")
    forget()
    changed = environment.code_version()
    assert (changed["git_commit"], changed["git_dirty"]) == (head, True)
    assert changed["source"] != told["source"]


@needs_git
def test_of_a_checkout_that_git_cannot_read(package: Path) -> None:
    (package.parent / ".git").mkdir()
    told = environment.code_version()
    assert told["git_commit"] is None
    assert "git" in told["git_unknown"]


def test_without_git(package: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (package.parent / ".git").mkdir()
    monkeypatch.setenv("PATH", str(tmp_path / "nowhere"))
    assert "not installed" in environment.code_version()["git_unknown"]


@pytest.mark.parametrize(
    ("text", "commit", "dirty"),
    [
        (f"{COMMIT}\n", COMMIT, False),
        (f"{COMMIT}\nchanged\n", COMMIT, True),
        ("$Format:%H$\n", None, None),
        ("", None, None),
        (None, None, None),
    ],
)
def test_of_a_package_or_a_copy(package: Path, text: str | None, commit: str | None, dirty: bool | None) -> None:
    """Built or archived from git, it carries its commit; a plain copy says that it has none, and its source's hash."""
    if text is not None:
        (package / "commit.txt").write_text(text)
    told = environment.code_version()
    assert (told["git_commit"], told["git_dirty"]) == (commit, dirty)
    assert (told["git_unknown"] is None) == (commit is not None)
    assert told["source"] == hashlib.sha256(b"module.py\0x = 1\n\0").hexdigest()[:12]


def test_the_gpu_is_that_of_what_computed(monkeypatch: pytest.MonkeyPatch) -> None:
    cuda = SimpleNamespace(is_available=lambda: True, get_device_name=lambda device: f"card {device}")
    monkeypatch.setitem(sys.modules, "torch", SimpleNamespace(cuda=cuda))
    assert environment.environment("cpu")["gpu"] is None
    assert environment.environment("cuda:1")["gpu"] == "card cuda:1"


@pytest.mark.full
@needs_git
def test_a_wheel_carries_its_commit(tmp_path: Path) -> None:
    pytest.importorskip("build")
    root = environment.PACKAGE_DIR.parent
    if not (root / "hatch_build.py").is_file() or not (root / ".git").exists():
        pytest.skip("needs a checkout")
    hatchling = pytest.importorskip("hatchling.builders.wheel")
    builder = hatchling.WheelBuilder(str(root))
    [wheel] = builder.build(directory=str(tmp_path), versions=["standard"])
    subprocess.run([sys.executable, "-m", "zipfile", "-e", wheel, tmp_path / "wheel"], check=True)
    carried = (tmp_path / "wheel" / "ablate" / "commit.txt").read_text().split()
    assert carried[0] == git(root, "rev-parse", "HEAD")
