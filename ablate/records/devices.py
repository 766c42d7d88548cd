"""The GPU that computed, as its driver and torch describe it. Imports no torch; reads it if it is loaded."""

import platform
import sys
from functools import cache
from pathlib import Path
from typing import Any

from ablate.records.asking import output_of

SAME_KIND = ("gpu", "gpu_capability", "gpu_memory_bytes", "driver", "cuda", "cudnn")
"""The facts that two cards must share for their times to be comparable."""
GPU_FACTS = (*SAME_KIND, "gpu_index", "gpu_uuid")
"""All that is recorded of a GPU; nothing of it, but that there is none, where a CPU computed."""

DRIVER = Path("/proc/driver/nvidia/version")


def gpu_facts(device: str) -> dict[str, Any]:
    """What is known of the GPU that torch calls `device` (cuda, cuda:1, mps); `{"gpu": None}` for a CPU.

    `gpu_index` counts the GPUs that this process sees (CUDA_VISIBLE_DEVICES), `gpu_uuid` names the card itself.
    """
    torch = sys.modules.get("torch")
    kind = device.partition(":")[0]
    if kind == "mps":
        return {"gpu": f"{platform.processor() or platform.machine()} (MPS)"}
    if torch is None or kind != "cuda":
        return {"gpu": None}
    return dict(_of_cuda(torch.cuda.current_device() if device == "cuda" else int(device.partition(":")[2])))


@cache
def _of_cuda(index: int) -> dict[str, Any]:
    torch = sys.modules["torch"]
    card = torch.cuda.get_device_properties(index)
    uuid = str(getattr(card, "uuid", "")) or None
    return {
        "gpu": str(card.name),
        "gpu_capability": f"{card.major}.{card.minor}",
        "gpu_memory_bytes": int(card.total_memory),
        "driver": driver_version(),
        "cuda": torch.version.cuda,
        "cudnn": torch.backends.cudnn.version(),
        "gpu_index": index,
        "gpu_uuid": uuid if uuid is None or uuid.startswith("GPU-") else f"GPU-{uuid}",
    }


@cache
def driver_version() -> str | None:
    """The version of NVIDIA's driver, such as 550.54.15; None where the system does not tell."""
    try:
        words = DRIVER.read_text(encoding="utf-8").splitlines()[0].split()
        return next(word for word in words if word[:1].isdigit() and "." in word)
    except (OSError, IndexError, StopIteration):
        pass
    told = output_of("nvidia-smi", "--query-gpu=driver_version", "--format=csv,noheader").split()
    return told[0] if told else None
