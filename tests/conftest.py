"""Fixtures of all tests: configs, made-up texts, The Time Machine where it is, and the command line.

No test reaches the network: every proxy variable points to a closed port of this machine.
"""

import functools
import importlib
import os
import random
import signal
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path

import pytest
import torch
from hydra.core.plugins import Plugins
from hypothesis import settings

from ablate.config import errors, plugins
from ablate.config.composing import compose as compose_overrides
from ablate.config.registry import scoped
from ablate.config.resolved import resolve
from ablate.config.schema import Config
from ablate.data.corpora import Corpus, load

settings.register_profile("ablate", deadline=None, derandomize=True, database=None)
settings.load_profile("ablate")
torch.set_num_threads(1)
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:  # by a shell that put the tests in its background
    signal.signal(signal.SIGINT, signal.default_int_handler)

DATA_DIR = os.environ.get("ABLATE_DATA_DIR")
NOWHERE = "http://127.0.0.1:9"
OFFLINE = {"http_proxy": NOWHERE, "https_proxy": NOWHERE, "no_proxy": "127.0.0.1,localhost"}

SMALL = (
    "num_hiddens=8",
    "num_steps=5",
    "batch_size=4",
    "max_tokens=400",
    "val_tokens=100",
    "epochs=3",
    "seeds=1",
)
"""A run of a few milliseconds."""

TAKE_RESOLVED = ("cells", "data", "engines", "networks", "optimizers", "records", "tasks", "timing", "training")
"""The rooms behind the door, which take resolved configs."""

Compose = Callable[..., Config]


def without_replaced(arguments: Sequence[str]) -> list[str]:
    """Arguments in which a value of SMALL gives way to one behind it: a knob may have only one."""
    knobs = [argument.partition("=")[0] for argument in arguments]
    return [
        argument
        for place, argument in enumerate(arguments)
        if argument not in SMALL or knobs[place] not in knobs[place + 1 :]
    ]


@functools.cache
def composed(overrides: tuple[str, ...]) -> Config:
    return compose_overrides(overrides)


@pytest.fixture(scope="session")
def own_machine(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where the tests of this process keep the lock that stands for the whole machine."""
    return tmp_path_factory.mktemp("machine")


@pytest.fixture(autouse=True)
def _apart(monkeypatch: pytest.MonkeyPatch, own_machine: Path) -> None:
    """No network, plain arithmetic, and no lock shared with an ablate that measures speed on this machine."""
    for name, value in OFFLINE.items():
        monkeypatch.setenv(name, value)
        monkeypatch.setenv(name.upper(), value)
    monkeypatch.setenv("TMPDIR", str(own_machine))
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(own_machine))
    monkeypatch.setattr(tempfile, "tempdir", str(own_machine))
    torch.set_flush_denormal(False)  # a sweep in this process switches it on, and hypothesis needs it off


@pytest.fixture
def nothing_stays(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """What a test registers, and the files that it loads, are gone after it."""
    monkeypatch.setattr(plugins, "LOADED", {})
    with scoped():
        yield


@pytest.fixture
def errors_are_ours(monkeypatch: pytest.MonkeyPatch) -> None:
    """An error that the test makes stands for one of ours, not for one of a person's own file."""
    monkeypatch.setattr(errors, "INSTALLED", (*errors.INSTALLED, str(Path(__file__).parent)))


@pytest.fixture(scope="module")
def compose(request: pytest.FixtureRequest) -> Compose:
    """`compose("model=gru", "lr=0.5")`: a config as a command gives it, or resolved: as the room takes it."""
    room = request.path.parent.name
    return lambda *overrides: resolve(composed(overrides)) if room in TAKE_RESOLVED else composed(overrides)


@pytest.fixture(scope="session")
def text_path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A made-up text of about 6,000 letters with some structure to learn."""
    source = random.Random(7)
    words = ("the", "cell", "keeps", "a", "state", "and", "forgets", "what", "it", "has", "read", "quickly", "jazz")
    lines = (" ".join(source.choices(words, k=9)).capitalize() + "." for _ in range(150))
    path = tmp_path_factory.mktemp("text") / "made-up.txt"
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return path


def made_up_text(path: Path) -> tuple[str, ...]:
    """The overrides that name it: 27 characters and a space are quicker to train on than all of them."""
    return "data=text_file", f"data.path={path}", "data.cleaning=letters"


@pytest.fixture(scope="module")
def small(compose: Compose, text_path: Path) -> Compose:
    """A config on the made-up text that trains in milliseconds, under further overrides."""
    return lambda *overrides: compose(*made_up_text(text_path), *SMALL, *overrides)


@pytest.fixture(scope="session")
def corpus(text_path: Path) -> Corpus:
    """The made-up text as characters."""
    return load(composed((*made_up_text(text_path), *SMALL)).data)


@pytest.fixture(scope="module")
def time_machine(compose: Compose) -> Compose:
    """Configs on The Time Machine; skips where the book is not at hand."""
    needs_the_time_machine()
    return lambda *overrides: compose("data=time_machine", *overrides)


@pytest.fixture(scope="session")
def book() -> Corpus:
    """The Time Machine as characters."""
    needs_the_time_machine()
    return load(composed(("data=time_machine",)).data)


def needs_the_time_machine() -> None:
    if not DATA_DIR or not (Path(DATA_DIR).expanduser() / "timemachine.txt").is_file():
        pytest.skip("needs The Time Machine: put timemachine.txt into a folder and name it in ABLATE_DATA_DIR")


# --- the command line -----------------------------------------------------------------------------------


@dataclass
class Outcome:
    """What a command left: its exit status and what it printed."""

    status: int
    out: str
    err: str


@pytest.fixture
def program_environment(tmp_path: Path) -> dict[str, str]:
    """The environment of a subprocess: an empty data folder, no network, no colours."""
    (tmp_path / "no-data").mkdir()
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("ABLATE", "PYTEST"))}
    return kept | OFFLINE | {"ABLATE_DATA_DIR": str(tmp_path / "no-data"), "NO_COLOR": "1", "COLUMNS": "200"}


@pytest.fixture
def start(tmp_path: Path, program_environment: dict[str, str]) -> Iterator[Callable[..., "subprocess.Popen[str]"]]:
    """Start `python -m ablate …` in tmp_path; whatever still runs at the end of the test is killed."""
    started: list[subprocess.Popen[str]] = []

    def run(*arguments: str, module: str = "ablate") -> "subprocess.Popen[str]":
        command = [sys.executable, "-W", "error::ResourceWarning", "-m", module, *without_replaced(arguments)]
        process = subprocess.Popen(
            command,
            cwd=tmp_path,
            env=program_environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )
        started.append(process)
        return process

    yield run
    for process in started:
        if process.poll() is None:
            process.kill()
        process.communicate()


@pytest.fixture
def cli(start: Callable[..., "subprocess.Popen[str]"]) -> Callable[..., Outcome]:
    """Run `python -m ablate …` to its end in tmp_path."""

    def run(*arguments: str, module: str = "ablate") -> Outcome:
        process = start(*arguments, module=module)
        out, err = process.communicate(timeout=600)  # what takes longer hangs, however busy the machine is
        return Outcome(process.returncode, out, err)

    return run


@pytest.fixture(scope="session")
def plugins_of_hydra() -> None:
    """Hydra has looked for its plugins, and they have stored their configs.

    From 1.4 on a plugin's module is run once a process, no longer at every look: what `hydra_restore_singletons` keeps
    before the first look has no configs of plugins, and none come after it (Hydra's pull request 2019 tells why).
    """
    Plugins.instance()


@pytest.fixture
def hydra_restore_singletons(plugins_of_hydra: None, hydra_restore_singletons: None) -> None:
    """Hydra's fixture of this name, which puts what is global of Hydra back after a test."""


@pytest.fixture
def no_figures(monkeypatch: pytest.MonkeyPatch) -> None:
    """No figure is drawn, which takes seconds: that is tested in tests/report, and through `cli`."""
    monkeypatch.setattr("ablate.report.drawn.drawing", lambda material, to: nullcontext(dict))


@pytest.fixture
def main(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    hydra_restore_singletons: None,
    no_figures: None,
) -> Iterator[Callable[..., Outcome]]:
    """Run `python -m ablate …`, or another module's main, in this process, in tmp_path: where no own one is needed."""
    (tmp_path / "no-data").mkdir(exist_ok=True)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "argv", ["ablate"])
    monkeypatch.setenv("ABLATE_DATA_DIR", str(tmp_path / "no-data"))
    monkeypatch.setenv("HYDRA_FULL_ERROR", "0")
    monkeypatch.setenv("NO_COLOR", "1")
    monkeypatch.setenv("COLUMNS", "200")
    on_terminate = signal.getsignal(signal.SIGTERM)

    def run(*arguments: str, module: str = "ablate.cli") -> Outcome:
        capsys.readouterr()
        status = importlib.import_module(module).main(without_replaced(arguments))
        captured = capsys.readouterr()
        return Outcome(status, captured.out, captured.err)

    yield run
    signal.signal(signal.SIGTERM, on_terminate)


@pytest.fixture
def small_arguments(text_path: Path) -> list[str]:
    """The overrides of `small`, for the command line."""
    return [*made_up_text(text_path), *SMALL]


@pytest.fixture
def sweep(tmp_path: Path) -> Callable[..., object]:
    """Run these configs as a sweep in tmp_path/results and return its summary; prints no table."""
    from ablate.sweeping.launch import run_sweep

    def run(configs: Sequence[Config], name: str = "made-up") -> object:
        placed = [config.but(results_dir=str(tmp_path / "results")) for config in configs]
        return run_sweep(placed, name, "python -m ablate (a test)")

    return run
