"""What a record says of code and machine: the commit wherever it can be known, else why not. CPU, needs git."""

import hashlib
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace

import pytest

from ablate.records import devices, environment
from ablate.timing import machine

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


def torch_with_two_gpus() -> SimpleNamespace:
    """A torch that knows two cards, of which the second one is the current one."""

    def properties(index: int) -> SimpleNamespace:
        return SimpleNamespace(name=f"card {index}", major=9, minor=0, total_memory=2**37, uuid=f"abc-{index}")

    cuda = SimpleNamespace(current_device=lambda: 1, get_device_properties=properties)
    cudnn = SimpleNamespace(version=lambda: 91002)
    backends = SimpleNamespace(cudnn=cudnn)
    return SimpleNamespace(cuda=cuda, backends=backends, version=SimpleNamespace(cuda="13.0"))


@pytest.fixture
def two_gpus(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[None]:
    forgotten = (environment.environment, devices._of_cuda, devices.driver_version, machine.fingerprint)
    for one in forgotten:
        one.cache_clear()
    monkeypatch.setitem(sys.modules, "torch", torch_with_two_gpus())
    (tmp_path / "version").write_text("NVRM version: NVIDIA UNIX Open Kernel Module for x86_64  580.65.06  Release\n")
    monkeypatch.setattr(devices, "DRIVER", tmp_path / "version")
    yield
    for one in forgotten:
        one.cache_clear()


@pytest.mark.usefixtures("two_gpus")
@pytest.mark.parametrize(("device", "index"), [("cuda:0", 0), ("cuda:1", 1), ("cuda", 1)])
def test_the_gpu_is_the_one_that_computed(device: str, index: int) -> None:
    known = environment.environment(device)
    assert (known["gpu"], known["gpu_index"], known["gpu_uuid"]) == (f"card {index}", index, f"GPU-abc-{index}")
    assert (known["gpu_capability"], known["gpu_memory_bytes"]) == ("9.0", 2**37)
    assert (known["driver"], known["cuda"], known["cudnn"]) == ("580.65.06", "13.0", 91002)


@pytest.mark.usefixtures("two_gpus")
def test_nothing_of_a_gpu_is_recorded_where_a_cpu_computed() -> None:
    known = environment.environment("cpu")
    assert known["gpu"] is None
    assert not known.keys() & (set(devices.GPU_FACTS) - {"gpu"})


@pytest.mark.usefixtures("two_gpus")
def test_equal_cards_are_one_kind_of_machine_and_another_driver_is_another(monkeypatch: pytest.MonkeyPatch) -> None:
    properties = sys.modules["torch"].cuda.get_device_properties
    alike = SimpleNamespace(**vars(properties(0)) | {"uuid": "other"})
    monkeypatch.setattr(sys.modules["torch"].cuda, "get_device_properties", lambda i: [properties(0), alike][i])
    first, second, cpu = (machine.fingerprint(device) for device in ("cuda:0", "cuda:1", "cpu"))
    assert first["id"] == second["id"] != cpu["id"]
    assert first["gpu_uuid"] != second["gpu_uuid"]
    for one in (machine.fingerprint, devices._of_cuda):
        one.cache_clear()
    monkeypatch.setattr(devices, "driver_version", lambda: "999.1")
    assert machine.fingerprint("cuda:0")["id"] != first["id"]


def test_a_system_without_a_driver_tells_none(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(devices, "DRIVER", tmp_path / "none")
    monkeypatch.setenv("PATH", str(tmp_path))
    devices.driver_version.cache_clear()
    assert devices.driver_version() is None
    devices.driver_version.cache_clear()


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
