"""A program that uses ablate is afterwards as it was before: everything of the process is compared, before and after.

Calls every entry of the Python interface in this process: from the main thread, from another one, within a running
event loop, and beside a Hydra application of somebody else's. CPU, 10 s.
"""

import asyncio
import logging
import os
import random
import signal
import subprocess
import sys
import threading
import warnings
from collections.abc import Callable, Iterator
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import hydra
import matplotlib as mpl
import numpy as np
import pytest
import torch
from hydra.core.config_store import ConfigStore
from hydra.core.global_hydra import GlobalHydra
from hydra.core.hydra_config import HydraConfig
from hydra.version import VersionBase
from omegaconf import OmegaConf

import ablate
from ablate.cli.commands import main
from ablate.config.composing import BASE

SIGNALS = [signal.SIGINT, signal.SIGTERM, *([signal.SIGHUP] if hasattr(signal, "SIGHUP") else [])]


def flushes_denormals() -> bool:
    """Whether this thread's arithmetic has no denormals: the smallest of them, once more."""
    return bool((torch.tensor([5e-324], dtype=torch.float64) * 1.0 == 0).item())


def figures() -> list[int]:
    """Those of pyplot."""
    pyplot = sys.modules.get("matplotlib.pyplot")
    return pyplot.get_fignums() if pyplot else []


def process_state() -> dict[str, Any]:
    """All of this process that an embedded library must leave alone."""
    loggers = [logging.getLogger(), *(logging.getLogger(name) for name in ("hydra", "optuna", "matplotlib", "ablate"))]
    return {
        "signal handlers": [signal.getsignal(number) for number in SIGNALS],
        "arguments": list(sys.argv),
        "environment": dict(os.environ),
        "working directory": os.getcwd(),
        "standard streams": (sys.stdin, sys.stdout, sys.stderr),
        "hooks": (sys.excepthook, threading.excepthook, sys.displayhook),
        "threads": sorted(thread.name for thread in threading.enumerate()),
        "matplotlib's parameters": {name: dict.__getitem__(mpl.rcParams, name) for name in mpl.rcParams},
        "pyplot's figures": sys.modules["matplotlib.pyplot"].get_fignums()
        if "matplotlib.pyplot" in sys.modules
        else [],
        "denormals": flushes_denormals(),
        "torch's threads": (torch.get_num_threads(), torch.get_num_interop_threads()),
        "torch's numbers": torch.get_rng_state().tolist(),
        "torch's ways": (
            torch.get_default_dtype(),
            torch.is_grad_enabled(),
            torch.are_deterministic_algorithms_enabled(),
            torch.backends.cudnn.benchmark,
            torch.is_inference_mode_enabled(),
        ),
        "NumPy's numbers": str(np.random.get_state()),
        "NumPy's errors": np.geterr(),
        "Python's numbers": random.getstate(),
        "warnings": list(warnings.filters),
        "logging": [(one.level, list(one.handlers), one.disabled, one.propagate) for one in loggers],
        "logging at all": logging.root.manager.disable,
        "Hydra": (GlobalHydra.instance(), GlobalHydra.instance().hydra, HydraConfig.instance().cfg),
        "Hydra's version": VersionBase.instance().getbase(),
        "Hydra's store": set(ConfigStore.instance().repo),
        "OmegaConf": [name for name in ("now", "hydra", "python_version") if OmegaConf.has_resolver(name)],
    }


def changes(before: dict[str, Any]) -> dict[str, tuple[Any, Any]]:
    """What is not as it was."""
    now = process_state()
    return {name: (value, now[name]) for name, value in before.items() if now[name] != value}


@pytest.fixture
def everything(tmp_path: Path, text_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[], int]:
    """A session with ablate: every function of the interface once; the number of runs."""
    no_figures = lambda material, to: nullcontext(dict)  # noqa: E731
    monkeypatch.setattr("ablate.report.drawn.drawing", no_figures)  # which take seconds

    def session() -> int:
        options: dict[str, Any] = {"seeds": 2, "epochs": 2, "num_steps": 5, "batch_size": 4, "max_tokens": 400}
        data = {"name": "text_file", "path": text_path, "cleaning": "letters"}
        sweep = ablate.sweep(
            model=["gru", "rnn", "mgu"],
            num_hiddens=[2, 3],
            val_tokens=100,
            data=data,
            keep="weights",
            engine="auto",
            results_dir=tmp_path / "results",
            name="session",
            progress=False,
            **options,
        )
        ablate.sweep(
            model="lstm", num_hiddens=3, data=data, engine="torch_nn", results_dir=tmp_path / "results", name="other",
            val_tokens=100, **options
        )  # fmt: skip
        with pytest.raises(ablate.UserError):
            ablate.sweep(modle="gru", results_dir=tmp_path / "results")
        with pytest.raises(ablate.UserError):
            ablate.sweep(model="gruu", results_dir=tmp_path / "results")
        both = ablate.load(*sweep.folders, tmp_path / "results" / "other")
        both.settings(), both.compare(), both.curves(), both._repr_html_()
        sweep.claim("gru < rnn"), sweep.claim("gru ~ rnn", margin=0.1, by="model")
        sweep.plot(x="num_hiddens", y="val_perplexity"), sweep.plot()._repr_png_()
        sweep.report()
        row = sweep.frame().iloc[0]
        ablate.module(row), ablate.generate(row, "the ", length=3), ablate.generate(row, "the ", temperature=1.0)
        return len(both)

    return session


@pytest.fixture(autouse=True)
def _loaded() -> Iterator[None]:
    """What is merely imported for the first time is no change; and no Hydra is left to the next test."""
    import matplotlib.pyplot
    import seaborn  # noqa: F401

    import ablate.api.trained
    import ablate.sweeping.expansion
    import ablate.sweeping.launch  # noqa: F401

    matplotlib.pyplot.get_fignums()
    yield
    GlobalHydra.instance().clear()


@pytest.mark.full
def test_the_main_thread(everything: Callable[[], int]) -> None:
    before = process_state()
    assert everything() == 14
    assert changes(before) == {}


FIRST_SWEEP = """
import sys
sys.path.insert(0, {tests!r})
import test_embedding as own
import matplotlib, matplotlib.pyplot, torch, scipy.stats, seaborn
before = own.process_state()
import ablate
from ablate.config.composing import BASE
sweep = ablate.sweep(model=["gru", "rnn"], data="text_file", num_hiddens=2, epochs=1, seeds=1, num_steps=5,
    batch_size=4, max_tokens=400, val_tokens=100, progress=False, keep="weights", **{{"data.path": {text!r}}})
sweep.plot(), sweep.claim("gru < rnn"), sweep._repr_html_(), ablate.generate(sweep.frame().iloc[0], "the ")
print(own.changes(before))
"""


@pytest.mark.full
def test_the_first_sweep_of_a_process(tmp_path: Path, text_path: Path) -> None:
    """With whatever is loaded for it."""
    code = FIRST_SWEEP.format(tests=str(Path(__file__).parent), text=str(text_path))
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=tmp_path)
    assert done.stdout.strip() == "{}", done.stderr


@pytest.mark.full
def test_another_thread(everything: Callable[[], int]) -> None:
    before = process_state()
    inside: list[Any] = []

    def work() -> None:
        own = torch.get_num_threads(), flushes_denormals()
        inside.append(everything())
        inside.append((torch.get_num_threads(), flushes_denormals()) == own)

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    assert inside == [14, True]
    assert changes(before) == {}


@pytest.mark.full
def test_a_running_event_loop(everything: Callable[[], int]) -> None:
    """As in Jupyter, whose cells run within one."""
    before = process_state()

    async def cell() -> int:
        found = everything()
        await asyncio.sleep(0)
        return found

    assert asyncio.run(cell()) == 14
    assert changes(before) == {}


@pytest.mark.full
def test_a_hydra_application_of_somebody_else(everything: Callable[[], int], tmp_path: Path) -> None:
    """Its Hydra goes on composing its own configuration."""
    folder = tmp_path / "theirs"
    folder.mkdir()
    (folder / "config.yaml").write_text("lr: 3\nmodel: mine\n")
    with hydra.initialize_config_dir(str(folder), **({"version_base": "1.2"} if BASE else {})):
        before = process_state()
        assert everything() == 14
        assert changes(before) == {}
        assert hydra.compose("config", ["lr=4"]) == {"lr": 4, "model": "mine"}


@pytest.mark.full
def test_what_a_person_has_set_stays(everything: Callable[[], int]) -> None:
    """Everything that we change for a moment ourselves, set to something else than the default."""
    threads, level = torch.get_num_threads(), logging.getLogger().level
    handler = signal.signal(signal.SIGTERM, lambda *_: None)
    try:
        torch.set_num_threads(2)
        torch.set_flush_denormal(True)
        logging.getLogger().setLevel(logging.ERROR)
        with mpl.rc_context({"figure.dpi": 77, "lines.linewidth": 9}), warnings.catch_warnings():
            warnings.simplefilter("ignore", ResourceWarning)
            before = process_state()
            assert before["denormals"]
            everything()
            assert changes(before) == {}
    finally:
        torch.set_num_threads(threads)
        torch.set_flush_denormal(False)
        logging.getLogger().setLevel(level)
        signal.signal(signal.SIGTERM, handler)


@pytest.mark.full
def test_two_threads_at_once(tmp_path: Path, text_path: Path) -> None:
    """Each composes and trains its own sweep: what is global of Hydra is taken one after the other."""
    before, found = process_state(), dict[str, Any]()

    def work(model: str) -> None:
        data = {"name": "text_file", "path": text_path, "cleaning": "letters"}
        found[model] = ablate.sweep(
            model=model, data=data, num_hiddens=2, epochs=1, seeds=1, num_steps=5, batch_size=4, max_tokens=400,
            val_tokens=100, results_dir=tmp_path / "results", name=model, progress=False,
        )  # fmt: skip

    threads = [threading.Thread(target=work, args=(model,)) for model in ("gru", "rnn", "lstm")]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert {model: sweep.frame()["model"].tolist() for model, sweep in found.items()} == {
        model: [model] for model in ("gru", "rnn", "lstm")
    }
    assert changes(before) == {}


def test_importing_it_is_quick_and_loads_nothing() -> None:
    code = "import sys; before = set(sys.modules); import ablate; print(*(set(sys.modules) - before))"
    loaded = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.split()
    assert not {name.partition(".")[0] for name in loaded} & {"torch", "pandas", "hydra", "matplotlib", "numpy"}
    assert [name for name in loaded if name.startswith("ablate.")] == []


def test_every_name_is_there_and_explained() -> None:
    for name in ablate._MODULES:
        assert name in dir(ablate)
        assert len(getattr(ablate, name).__doc__) > 40
        assert f"\n    {name} " in ablate.__doc__, f"the map in ablate/__init__.py does not name {name}"
    with pytest.raises(AttributeError, match="swep"):
        ablate.swep  # noqa: B018
    assert {name for name in dir(ablate) if not name.startswith("__")} == set(ablate._MODULES)


def test_the_version_is_that_of_the_command(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--version"]) == 0
    assert capsys.readouterr().out.split() == ["ablate-rnn", ablate.__version__]


# --- what is shown --------------------------------------------------------------------------------------


@pytest.mark.full
def test_progress_is_plain_lines_where_nobody_watches(
    tmp_path: Path, text_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    def train(progress: bool, name: str) -> tuple[str, str]:
        data = {"name": "text_file", "path": text_path, "cleaning": "letters"}
        ablate.sweep(
            model="gru", data=data, num_hiddens=2, epochs=1, seeds=1, num_steps=5, batch_size=4, max_tokens=400,
            val_tokens=100, results_dir=tmp_path / name, progress=progress,
        )  # fmt: skip
        return tuple(capsys.readouterr())

    out, err = train(True, "a")
    assert out == ""
    assert "1/1 runs" in err
    assert not set("\x1b\r\b") & set(err)
    assert train(False, "b") == ("", "")


@pytest.mark.parametrize("widgets", [True, False])
def test_a_notebook_gets_a_bar_where_it_can_draw_one(monkeypatch: pytest.MonkeyPatch, widgets: bool) -> None:
    """rich tells a notebook by its shell; without ipywidgets it would warn at every update."""
    import rich.console

    from ablate.sweeping import progress
    from ablate.sweeping.plan import Plan

    monkeypatch.setattr(rich.console, "_is_jupyter", lambda: True)
    monkeypatch.setattr(progress, "find_spec", lambda name: object() if widgets else None)
    assert progress.Progress(Plan(Path()), 0).live is widgets
    assert progress.Progress(Plan(Path()), 0, quiet=True).live is False
