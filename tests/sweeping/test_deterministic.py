"""deterministic=true: the same bits with any number of threads and in several goes; engine=auto stays with what it has
come to. Compares sweeps with each other. CPU, 6 s.
"""

import signal
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from ablate.config.resolved import resolve
from ablate.config.schema import Config
from ablate.records import results
from ablate.records.engines import engines_path, keep_engines, kept_engines
from ablate.sweeping import schedule
from ablate.sweeping.progress import Progress
from ablate.training import choice, determinism
from ablate.training.choice import Choice, kernel

Configs = Callable[..., Config]
ODD = ("batch_size=5", "max_tokens=800", "epochs=4", "deterministic=true")
"""A batch size at which torch's form rounds otherwise in other company."""


@pytest.fixture
def without_compiler(monkeypatch: pytest.MonkeyPatch) -> None:
    """No native form: torch's, in which company decides roundings."""
    monkeypatch.setenv("ABLATE_NATIVE", "0")


def outcomes(folder: Path) -> dict[str, Any]:
    found = [one for one in results.records(folder) if isinstance(one, dict)]
    return {
        one["run_id"]: (one["engine"], one["metrics"], one["text"], results.load_curve(folder, one["run_id"]))
        for one in found
    }


@pytest.mark.full
@pytest.mark.usefixtures("without_compiler")
def test_the_number_of_threads_and_of_goes_changes_no_bit(
    small: Configs, sweep: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    names = {}
    for threads in (1, 4):
        settings = [small(*ODD, f"model={model}", "seeds=3", f"threads={threads}") for model in ("gru", "rnn")]
        names[f"{threads}"] = sweep([one.but(fresh=True) for one in settings], f"threads-{threads}").folder
    fewer = [small(*ODD, f"model={model}", "seeds=1", "threads=2", "fresh=true") for model in ("gru", "rnn")]
    names["goes"] = sweep(fewer, "goes").folder
    sweep([one.but(seeds=3, fresh=False, results_dir="elsewhere") for one in fewer], "goes")
    with monkeypatch.context() as patch:
        presses = iter([signal.SIGINT])
        main = threading.main_thread().ident

        def press(*_: object) -> None:
            if (number := next(presses, None)) is not None and main is not None:
                signal.pthread_kill(main, number)  # which wakes it, as a key does
                time.sleep(1.0)  # this program has not ended when that is heard, however busy the machine is

        patch.setattr(Progress, "epoch", press)
        cut = sweep([one.but(fresh=True, threads=4) for one in settings], "stopped")
    assert cut.interrupted
    assert cut.trained < 6
    assert list((cut.folder / "checkpoints").glob("*.pt"))
    names["stopped"] = sweep([one.but(threads=1) for one in settings], "stopped").folder
    one, *others = (outcomes(folder) for folder in names.values())
    assert len(one) == 6
    assert all(other == one for other in others)
    assert {engine for engine, *_ in one.values()} == {"cohort"}


@pytest.mark.parametrize(
    ("words", "alone"),
    [
        (["model=gru"], False),
        (["model=gru", "model.bidirectional=true"], True),
        (
            [
                "task=translation",
                "data=number_pairs",
                "data.cleaning=keep",
                "data.path=null",
                "model=gru",
                "task.attention=true",
            ],
            True,
        ),
    ],
)
def test_what_torch_computes_a_part_of_has_no_company(small: Configs, words: list[str], alone: bool) -> None:
    """Its products over several replicas round as their number has it: the steps of an attention decoder, for one."""
    native = kernel("cohort", resolve(small(*ODD, *words)), torch.device("cpu"))
    assert determinism.trains_alone(resolve(small(*ODD, *words)), torch.device("cpu")) is (
        alone or not native.startswith("native")
    )


def test_no_engine_is_timed(small: Configs, sweep: Callable[..., Any], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(choice, "_fastest", lambda *_: pytest.fail("an engine is timed"))
    folder = sweep([small(*ODD, "model=gru")]).folder
    assert not engines_path(folder).exists()


def test_what_it_cannot_hold_of_is_said(small: Configs, monkeypatch: pytest.MonkeyPatch) -> None:
    asked = resolve(small(*ODD))
    assert determinism.not_promised([asked]) == []
    monkeypatch.setattr(determinism, "resolve_device", lambda name: torch.device("cuda"))
    [line] = determinism.not_promised([asked, asked.but(seed=1)])
    assert "cuda" in line
    assert determinism.not_promised([asked.but(deterministic=False)]) == []


# --- engine=auto ------------------------------------------------------------------------------------------


def test_a_sweep_stays_with_the_engine_that_auto_has_come_to(
    small: Configs, sweep: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    def fastest(engine: str) -> None:
        monkeypatch.setattr(schedule, "choose", lambda *_: Choice(engine, {"cohort": 1.0, "torch_nn": 1.0}))

    fastest("torch_nn")
    folder = sweep([small("model=gru", "engine=auto")]).folder
    fastest("cohort")
    sweep([small("model=gru", "engine=auto", "seeds=3"), small("model=rnn", "engine=auto")])
    engines = {(one["config"]["model"]["name"], one["seed"]): one["engine"] for one in results.records(folder)}
    assert engines == {("gru", 0): "torch_nn", ("gru", 1): "torch_nn", ("gru", 2): "torch_nn", ("rnn", 0): "cohort"}
    sweep([small("model=gru", "engine=auto", "fresh=true")])  # all anew
    assert set(kept_engines(folder).values()) == {"cohort"}


def test_of_two_jobs_the_first_one_decides(tmp_path: Path) -> None:
    assert keep_engines(tmp_path, {"one": "cohort"}) == {"one": "cohort"}
    assert keep_engines(tmp_path, {"one": "torch_nn", "two": "torch_nn"}) == {"one": "cohort", "two": "torch_nn"}
    assert kept_engines(tmp_path) == {"one": "cohort", "two": "torch_nn"}


@pytest.mark.parametrize("damage", ["", "[1]", '{"one": 3}', "{"])
def test_a_damaged_file_keeps_nothing(tmp_path: Path, damage: str) -> None:
    engines_path(tmp_path).write_text(damage)
    assert kept_engines(tmp_path) == {}
    assert keep_engines(tmp_path, {"one": "cohort"}) == {"one": "cohort"}
