"""Several devices, a process for each: the same records, and one process that is killed costs nothing.

Two processes on the CPU stand in the place of two GPUs. CPU, 40 s.
"""

import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from dataclasses import replace
from multiprocessing import Pipe
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest
import torch

from ablate.config.errors import UserError
from ablate.config.schema import Config
from ablate.sweeping import device_process, programs
from ablate.sweeping import devices as devices_module
from ablate.sweeping.devices import Device, Lost, Processes, devices
from ablate.sweeping.progress import Progress
from ablate.training.trajectory import Stopped

Configs = Callable[..., Config]
KNOBS = ("engine=cohort", "batch_size=32", "max_tokens=1000", "threads=1")


def records(folder: Path) -> dict[tuple[str, int], dict[str, Any]]:
    found = [json.loads(path.read_text()) for path in (folder / "runs").glob("*.json")]
    return {(record["config"]["model"]["name"], record["seed"]): record for record in found}


@pytest.fixture
def two(monkeypatch: pytest.MonkeyPatch) -> list[Processes]:
    """Two devices; the processes that were started."""
    started: list[Processes] = []

    def noted(*of: Any) -> Processes:
        started.append(Processes(*of))
        return started[-1]

    monkeypatch.setattr(programs, "devices", lambda configs: [Device("first"), Device("second")])
    monkeypatch.setattr(programs, "Processes", noted)
    return started


@pytest.mark.full
def test_records_are_those_of_one_process(
    small: Configs, sweep: Callable[..., Any], two: list[Processes], monkeypatch: pytest.MonkeyPatch
) -> None:
    configs = [small(*KNOBS, f"model={model}", "seeds=2", "keep=weights", "name=two") for model in ("rnn", "gru")]
    summary = sweep(configs)
    assert (summary.trained, summary.failures, summary.exit_status) == (4, [], 0)
    assert all(process.returncode is not None for process in two[0].processes)
    together = records(summary.folder)
    assert sorted(path.suffix for path in (summary.folder / "weights").iterdir()) == [".safetensors"] * 4
    assert not list((summary.folder / "checkpoints").glob("*"))
    monkeypatch.setattr(programs, "devices", lambda configs: [Device("cpu")])
    alone = records(sweep([config.but(name="one", fresh=True) for config in configs]).folder)
    assert together.keys() == alone.keys()
    for key, record in together.items():
        assert record["metrics"] == alone[key]["metrics"]
        assert record["text"] == alone[key]["text"]
        assert record["run_id"] == alone[key]["run_id"]


@pytest.mark.full
def test_a_process_that_is_killed_costs_nothing(
    small: Configs, sweep: Callable[..., Any], two: list[Processes], capsys: pytest.CaptureFixture[str]
) -> None:
    def kill() -> None:
        while not (two and two[0].free.qsize() == 0 and len(two[0].open) == 2):
            time.sleep(0.01)
        time.sleep(0.5)
        os.kill(two[0].processes[0].pid, signal.SIGKILL)

    killer = threading.Thread(target=kill)
    killer.start()
    summary = sweep([small(*KNOBS, f"model={model}", "epochs=3000") for model in ("rnn", "gru")])
    killer.join()
    assert (summary.trained, summary.failures) == (2, [])
    assert "ended with status -9" in capsys.readouterr().err
    assert {record["status"] for record in records(summary.folder).values()} == {"ok"}


@pytest.mark.full
def test_where_no_process_is_left_the_rest_has_failed(
    small: Configs, sweep: Callable[..., Any], two: list[Processes]
) -> None:
    def kill() -> None:
        while not (two and two[0].free.qsize() == 0 and len(two[0].open) == 2):
            time.sleep(0.01)
        for process in two[0].processes:
            os.kill(process.pid, signal.SIGKILL)

    killer = threading.Thread(target=kill)
    killer.start()
    summary = sweep([small(*KNOBS, f"model={model}", "epochs=400") for model in ("rnn", "gru", "lstm")])
    killer.join()
    assert (summary.trained, len(summary.failures), summary.exit_status) == (0, 3, 1)


@pytest.mark.full
@pytest.mark.usefixtures("two")
def test_an_error_in_a_process_is_that_of_its_setting(
    small: Configs, sweep: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    train = Processes.train

    def broken(self: Processes, job: Any, *of: Any) -> Any:
        if job.configs[0].model.name == "gru":
            job = replace(job, corpus=None)
        return train(self, job, *of)

    monkeypatch.setattr(Processes, "train", broken)
    summary = sweep([small(*KNOBS, f"model={model}") for model in ("rnn", "gru")])
    assert summary.trained == 1
    [(name, why)] = summary.failures
    assert name == "gru"
    assert "NoneType" in why
    [failure] = (summary.folder / "failures").glob("*.json")
    assert "device_process.py" in json.loads(failure.read_text())["traceback"]


@pytest.mark.full
def test_a_stop_leaves_a_checkpoint_from_which_the_next_goes_on(
    small: Configs, sweep: Callable[..., Any], two: list[Processes], monkeypatch: pytest.MonkeyPatch
) -> None:
    configs = [small(*KNOBS, f"model={model}", "epochs=3000") for model in ("rnn", "gru")]
    epochs: list[int] = []
    epoch = Progress.epoch

    def noted(self: Any, task: Any, name: str, number: int, perplexity: float) -> None:
        epochs.append(number)
        epoch(self, task, name, number, perplexity)

    monkeypatch.setattr(Progress, "epoch", noted)
    harvest = programs.Programs.harvest

    def interrupted(self: Any, ended: Any) -> None:
        harvest(self, ended)
        if len(epochs) > 20:
            raise KeyboardInterrupt

    monkeypatch.setattr(programs.Programs, "harvest", interrupted)
    summary = sweep(configs)
    assert summary.interrupted
    assert summary.trained == 0
    assert len(list((summary.folder / "checkpoints").glob("*.pt"))) == 2
    assert all(process.returncode is not None for process in two[0].processes)


@pytest.mark.parametrize(
    ("device", "count", "visible", "expected"),
    [
        ("cuda", 2, None, ["0", "1"]),
        ("auto", 2, "3,5", ["3", "5"]),
        ("cuda:1", 2, None, [None]),
        ("cuda", 1, None, [None]),
        ("cpu", 2, None, [None]),
    ],
)
def test_which_devices_are_meant(
    compose: Configs,
    monkeypatch: pytest.MonkeyPatch,
    device: str,
    count: int,
    visible: str | None,
    expected: list[str | None],
) -> None:
    cuda = SimpleNamespace(device_count=lambda: count)
    monkeypatch.setattr(devices_module, "torch", SimpleNamespace(cuda=cuda))
    named = torch.device("cuda" if device == "auto" else device)
    monkeypatch.setattr(devices_module, "resolve_device", lambda name: named)
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    if visible:
        monkeypatch.setenv("CUDA_VISIBLE_DEVICES", visible)
    found = devices([compose(f"device={device}")])
    assert [one.variables.get("CUDA_VISIBLE_DEVICES") for one in found] == expected


def test_a_lost_process_is_not_waited_for_for_ever() -> None:
    processes = Processes([], 1)
    with pytest.raises(Lost, match="no process"):
        processes._taken(lambda: False, lambda: None, lambda: False)


def test_to_wait_for_a_process_is_not_to_hang(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nor does one that was given up take a process, which would be killed for it."""
    monkeypatch.setattr(devices_module, "LISTENED_S", 0.01)
    processes, signs = Processes([], 1), list[None]()
    alive: Any = SimpleNamespace(poll=lambda: None)
    processes.processes.append(alive)
    with pytest.raises(Stopped):
        processes._taken(lambda: len(signs) == 3, lambda: signs.append(None), lambda: False)
    assert len(signs) == 3
    processes.free.put((cast(Any, None), alive))
    with pytest.raises(Stopped):
        processes._taken(lambda: False, lambda: None, lambda: True)
    assert processes.free.qsize() == 1


@pytest.fixture
def silent() -> Processes:
    """It has been stopped, as by a driver that hangs: it hears no word, and no signal but one."""
    here, there = Pipe()
    code = "import os, signal; os.kill(os.getpid(), signal.SIGSTOP)"
    process = subprocess.Popen([sys.executable, "-S", "-c", code], pass_fds=[there.fileno()])
    there.close()
    processes = Processes([], 1)
    processes.processes.append(process)
    processes.free.put((here, process))
    return processes


def test_a_process_that_says_nothing_is_killed_once_it_is_given_up(silent: Processes) -> None:
    signs: list[None] = []
    told = iter([False, False, True])
    job: Any = "a job"
    with pytest.raises(Lost, match="status -9"):
        silent.train(job, lambda *_: None, print, lambda: False, lambda: signs.append(None), lambda: next(told, True))
    assert signs == []
    assert not silent.left


def test_a_stop_waits_for_no_process_that_hangs(silent: Processes, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(devices_module, "STOP_S", 0.3)
    job: Any = "a job"
    with pytest.raises(Stopped):
        silent.train(job, lambda *_: None, print, silent.free.empty)
    assert not silent.left


def test_a_process_that_hangs_does_not_outlive_its_sweep(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(device_process, "LOOK_S", 0.01)
    monkeypatch.setattr(device_process, "END_S", 0.05)
    sweep, free = os.getppid(), threading.Event()
    hangs, ends = threading.Thread(target=free.wait, daemon=True), threading.Thread(target=time.sleep, args=(0.03,))
    hangs.start()
    ends.start()
    assert device_process.all_ended([ends], sweep)
    assert not device_process.all_ended([ends, hangs], sweep + 1)
    free.set()
    assert device_process.all_ended([hangs], sweep)


@pytest.mark.slow
def test_a_process_that_hangs_costs_nothing(
    small: Configs, sweep: Callable[..., Any], two: list[Processes], capsys: pytest.CaptureFixture[str]
) -> None:
    """Its program is begun again by the other one."""

    def stop() -> None:
        while not list(Path("results").glob("*/checkpoints/*.pt")):
            time.sleep(0.01)
        os.kill(two[0].processes[0].pid, signal.SIGSTOP)

    stopper = threading.Thread(target=stop)
    stopper.start()
    configs = [small(*KNOBS, f"model={model}", "epochs=3000", "stalled_min=0.2") for model in ("rnn", "gru")]
    summary = sweep(configs)
    stopper.join()
    assert (summary.trained, summary.failures) == (2, [])
    assert "no progress for 0.2 min" in capsys.readouterr().err
    assert two[0].processes[0].returncode == -signal.SIGKILL


NOT_STARTING = Device("broken", {"PYTHONHOME": "/nowhere"})


def test_where_no_process_starts_it_is_said_of_which_device() -> None:
    with pytest.raises(UserError, match=r"broken.*device=broken"), Processes([NOT_STARTING], 1).running():
        pass


@pytest.mark.full
def test_a_process_that_does_not_start_is_done_without() -> None:
    with Processes([NOT_STARTING, Device("here")], 1).running() as processes:
        assert (processes.absent, processes.left, len(processes.open)) == (["broken"], True, 1)
