"""The state of a GPU by NVML's and nvidia-smi's words, made up here; what of it spoils a sample. CPU, no GPU needed."""

import os
import stat
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from ablate.timing import cards
from ablate.timing.cards import spoiled, state

UUID = "GPU-1"


def nvml(pids: list[int], reasons: int = 0, name: str = "Event") -> SimpleNamespace:
    """As pynvml of a card at 1980 MHz, where reasons for lower clocks have this name; its power is not told."""

    class NVMLError(Exception):
        pass

    def power(_: Any) -> int:
        raise NVMLError

    return SimpleNamespace(
        NVMLError=NVMLError,
        NVML_CLOCK_SM=1,
        NVML_CLOCK_MEM=2,
        NVML_TEMPERATURE_GPU=0,
        nvmlInit=lambda: None,
        nvmlShutdown=lambda: None,
        nvmlDeviceGetHandleByUUID=lambda uuid: uuid,
        nvmlDeviceGetClockInfo=lambda card, which: {1: 1980, 2: 3201}[which],
        nvmlDeviceGetTemperature=lambda card, which: 41,
        nvmlDeviceGetPowerUsage=power,
        nvmlDeviceGetComputeRunningProcesses=lambda card: [SimpleNamespace(pid=pid) for pid in pids],
        **{f"nvmlDeviceGetCurrentClocks{name}Reasons": lambda card: reasons},
    )


@pytest.mark.parametrize("name", ["Event", "Throttle"])
def test_by_the_library(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pynvml", nvml([os.getpid(), 1], 0x01 | 0x04 | 0x40, name))
    told = state(UUID)
    assert told == {
        "clock_mhz": 1980,
        "memory_clock_mhz": 3201,
        "temperature_c": 41,
        "power_w": None,
        "limits": ["power cap", "hardware thermal slowdown"],
        "others": 1,
        "source": "NVML",
    }


@pytest.fixture
def no_library(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """Without the library; what is written to `nvidia-smi` in this folder is the command."""
    monkeypatch.setitem(sys.modules, "pynvml", None)
    monkeypatch.setenv("PATH", str(tmp_path))
    return tmp_path


@pytest.mark.skipif(os.name != "posix", reason="writes a shell script")
@pytest.mark.parametrize("name", ["event", "throttle"])
def test_by_the_command(name: str, no_library: Path) -> None:
    """Of a driver that knows one of the names of the reasons for lower clocks, and refuses the other."""
    command = no_library / "nvidia-smi"
    answers = (
        f"case $2 in *compute-apps*) echo 999999999;; *clocks_{name}_reasons.active*) "
        "echo '1755, 2619, 63, 612.40, 0x0000000000000020';; *) exit 2;; esac"
    )
    command.write_text(f"#!/bin/sh\n{answers}\n")
    command.chmod(command.stat().st_mode | stat.S_IXUSR)
    told = state(UUID)
    assert told is not None
    assert (told["clock_mhz"], told["temperature_c"], told["power_w"]) == (1755, 63, 612.4)
    assert (told["limits"], told["source"]) == (["software thermal slowdown"], "nvidia-smi")
    assert told["others"] is None, "this process is not among them, so they are those of another count"


def test_without_either_nothing_is_told(no_library: Path) -> None:
    assert state(UUID) is None
    assert state(None) is None
    assert spoiled(None, None) == ""


def test_who_else_is_told_by_who_started_it() -> None:
    assert cards.others([]) == 0
    assert cards.others([os.getpid()]) == 0
    assert cards.others([os.getpid(), os.getppid()]) == 1
    assert cards.others([os.getppid()]) is None
    assert cards.others(None) is None


@pytest.mark.parametrize(
    ("limits", "others", "word"),
    [
        ([], 0, ""),
        ([], None, ""),
        (["power cap"], 0, ""),
        (["hardware thermal slowdown"], 0, "thermal"),
        ([], 2, "2 other processes"),
    ],
)
def test_what_of_it_spoils_a_sample(limits: list[str], others: int | None, word: str) -> None:
    one, quiet = {"limits": limits, "others": others}, {"limits": [], "others": 0}
    for before, after in ((one, quiet), (quiet, one)):
        assert (spoiled(before, after) == "") == (word == "")
        assert word in spoiled(before, after)
