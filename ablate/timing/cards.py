"""What a GPU was doing when something was timed on it: clocks, temperature, power, what held it back, who else used it.

Read by NVIDIA's library where `nvidia-ml-py` is installed, else by the command nvidia-smi; where there is neither,
nothing is recorded, and it is said.
"""

import os
from collections.abc import Mapping
from contextlib import suppress
from importlib import import_module
from pathlib import Path
from typing import Any

from ablate.records.asking import NO_ANSWER, ask

LIMITS = {
    0x04: "power cap",
    0x08: "hardware slowdown",
    0x20: "software thermal slowdown",
    0x40: "hardware thermal slowdown",
    0x80: "power brake",
}
"""Bits of NVML's reasons for lower clocks that hold a busy card back; idle and clocks that were set do not."""
SPOIL = frozenset(LIMITS.values()) - {"power cap"}
"""Those in which a card is not itself. At its power cap a card is as fast as it stays."""

QUERY = ("clocks.sm", "clocks.mem", "temperature.gpu", "power.draw")
REASONS = ("clocks_event_reasons.active", "clocks_throttle_reasons.active")
"""What nvidia-smi calls the reasons for lower clocks: since driver 535, and before. NVML's names are alike."""
NOT_RECORDED = "neither nvidia-ml-py is installed nor nvidia-smi found: clocks, temperature and power are not recorded"


def state(uuid: str | None) -> dict[str, Any] | None:
    """What the card of this uuid is doing now; None where nothing tells.

    clock_mhz, memory_clock_mhz, temperature_c, power_w; limits: of `LIMITS`; others: how many processes that this one
    has not started compute on the card, None where they cannot be told apart (in a container that sees numbers of other
    processes than its own); source. Numbers that a card does not tell are None.
    """
    if uuid is None:
        return None
    for read in (_by_library, _by_command):
        found = read(uuid)
        if found is not None:
            *numbers, reasons, pids, source = found
            names = ("clock_mhz", "memory_clock_mhz", "temperature_c", "power_w")
            limits = [name for bit, name in LIMITS.items() if reasons is not None and reasons & bit]
            return dict(zip(names, numbers, strict=True)) | {
                "limits": limits,
                "others": others(pids),
                "source": source,
            }
    return None


def spoiled(before: Mapping[str, Any] | None, after: Mapping[str, Any] | None) -> str:
    """What of the card's doing spoils a sample taken between two states; empty if nothing is known to have."""
    for one in (before, after):
        if one is None:
            continue
        if one["others"]:
            return f"{one['others']} other process{'es' * (one['others'] > 1)} computed on the GPU"
        if held := [name for name in one["limits"] if name in SPOIL]:
            return f"the GPU was held back: {held[0]}"
    return ""


def others(pids: list[int] | None) -> int | None:
    """How many of these processes are not of this program; None where it is not among them itself."""
    if pids is None:
        return None
    ours = [pid for pid in pids if _is_ours(pid)]
    return len(pids) - len(ours) if ours or not pids else None


def _is_ours(pid: int) -> bool:
    """Whether a process is this one or was started by it, or by one that it started."""
    while pid > 1:
        if pid == os.getpid():
            return True
        try:
            pid = int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[1])
        except (OSError, ValueError, IndexError):
            return False
    return False


def _by_library(uuid: str) -> tuple[Any, ...] | None:
    try:
        nvml: Any = import_module("pynvml")
        nvml.nvmlInit()
    except Exception:  # not installed, or without a driver: its errors are of its own kind
        return None
    try:
        card = nvml.nvmlDeviceGetHandleByUUID(uuid)

        def told(name: str, *more: Any) -> Any:
            """None of what this driver, or this version of the library, does not have."""
            with suppress(nvml.NVMLError, AttributeError):
                return getattr(nvml, name)(card, *more)
            return None

        reasons = told("nvmlDeviceGetCurrentClocksEventReasons")
        power, running = told("nvmlDeviceGetPowerUsage"), told("nvmlDeviceGetComputeRunningProcesses")
        return (
            told("nvmlDeviceGetClockInfo", nvml.NVML_CLOCK_SM),
            told("nvmlDeviceGetClockInfo", nvml.NVML_CLOCK_MEM),
            told("nvmlDeviceGetTemperature", nvml.NVML_TEMPERATURE_GPU),
            None if power is None else power / 1000,
            told("nvmlDeviceGetCurrentClocksThrottleReasons") if reasons is None else reasons,
            None if running is None else [int(one.pid) for one in running],
            "NVML",
        )
    except nvml.NVMLError:
        return None
    finally:
        nvml.nvmlShutdown()


def _by_command(uuid: str) -> tuple[Any, ...] | None:
    for reasons_name in REASONS:
        try:
            line = _asked(uuid, f"--query-gpu={','.join((*QUERY, reasons_name))}")[0]
            pids = [int(word) for word in _asked(uuid, "--query-compute-apps=pid") if word.isdecimal()]
        except (*NO_ANSWER, IndexError):  # it may know the other name
            continue
        *numbers, reasons = [word.strip() for word in line.split(",")]
        return *map(_number, numbers), _bits(reasons), pids, "nvidia-smi"
    return None


def _asked(uuid: str, query: str) -> list[str]:
    return ask("nvidia-smi", f"--id={uuid}", query, "--format=csv,noheader,nounits").stdout.splitlines()


def _number(word: str) -> float | None:
    try:
        return float(word)
    except ValueError:  # [N/A]
        return None


def _bits(word: str) -> int | None:
    try:
        return int(word, 16)
    except ValueError:
        return None
