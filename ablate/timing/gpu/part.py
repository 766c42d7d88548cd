"""A process that checks and times a device: `python -m ablate.timing.gpu.part`, one JSON line in, one out.

In:  {"device": name, "rehearsal": bool, "check": name}                     answered by an `Outcome`
     {"device": name, "rehearsal": bool, "cell": number, "for_s": seconds}  answered by a `Cell`
     {"device": name, "rehearsal": bool, "kernels": a `Wanted`}             answered by the name of what was chosen
It ends when its input does. See `ablate.timing.gpu.apart`.
"""

import json
import signal
import sys
from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

import torch

from ablate.engines.cohort import prepare_thread
from ablate.timing.gpu import checks, compiling, table
from ablate.timing.gpu.work import FULL, REHEARSAL, reason_of
from ablate.timing.process import answers


def answer(request: Mapping[str, Any]) -> dict[str, Any]:
    device, sizes = torch.device(request["device"]), REHEARSAL if request["rehearsal"] else FULL
    prepare_thread(device)  # as the threads of a sweep, with a stream of its own on a GPU
    if "check" in request:
        return asdict(checks.checked(request["check"], device))
    if "kernels" in request:
        return {"name": compiling.chosen(compiling.Wanted(*request["kernels"]), sizes, device)}
    return asdict(table.timed(request["cell"], sizes, device, request["for_s"]))


def main() -> None:
    """Ctrl-C is the benchmark's to hear."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    out = answers()
    for line in sys.stdin:
        try:
            answered = answer(json.loads(line))
        except Exception as error:  # which `Process` raises as WorkerFailed
            answered = {"error": f"{type(error).__name__}: {reason_of(error)}"}
        out.write(json.dumps(answered) + "\n")
        out.flush()


if __name__ == "__main__":
    main()
