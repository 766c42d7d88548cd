"""A process that checks and times a device: `python -m ablate.timing.gpu.part`, one JSON line in, one out.

In:  {"device": name, "rehearsal": bool, "check": name}                     answered by an `Outcome`
     {"device": name, "rehearsal": bool, "cell": number, "for_s": seconds}  answered by a `Cell`
It ends when its input does. See `ablate.timing.gpu.apart`.
"""

import json
import signal
import sys
from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

import torch

from ablate.timing.gpu import checks, table
from ablate.timing.gpu.work import FULL, REHEARSAL


def answer(request: Mapping[str, Any]) -> dict[str, Any]:
    device, sizes = torch.device(request["device"]), REHEARSAL if request["rehearsal"] else FULL
    if "check" in request:
        return asdict(checks.checked(request["check"], device))
    return asdict(table.timed(request["cell"], sizes, device, request["for_s"]))


def main() -> None:
    """Ctrl-C is the benchmark's to hear."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    for line in sys.stdin:
        sys.stdout.write(json.dumps(answer(json.loads(line))) + "\n")
        sys.stdout.flush()


if __name__ == "__main__":
    main()
