"""Which process of which machine wrote something, and whether it still lives: for what ends with it."""

import os
import socket
from contextlib import suppress
from pathlib import Path
from typing import Any


def this_process() -> dict[str, Any]:
    """What tells it from every other: `place`, `pid`, `started`."""
    return {"place": place(), "pid": os.getpid(), "started": start_ticks(os.getpid())}


def runs_here(facts: dict[str, Any]) -> bool | None:
    """Whether the process of these facts runs; None where that cannot be known: on another machine, and on Windows."""
    if facts["place"] != place() or facts["started"] is None:
        return None
    return start_ticks(int(facts["pid"])) == int(facts["started"])


def place() -> str:
    """A name for what shares one process table: host, boot, and container."""
    parts = [socket.gethostname()]
    with suppress(OSError):
        parts.append(Path("/proc/sys/kernel/random/boot_id").read_text().strip()[:8])
    with suppress(OSError):
        parts.append("".join(filter(str.isdigit, os.readlink("/proc/self/ns/pid"))))
    return "/".join(parts)


def start_ticks(pid: int) -> int | None:
    """When a process began, in clock ticks since the boot: tells it from a later one of the same number.

    -1 for one that exists where the system does not tell when; None where there is no such process, and on Windows.
    """
    if os.name == "nt":  # there `os.kill(pid, 0)` is no question, but Ctrl-C
        return None
    try:
        state, *rest = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
        return None if state in "ZX" else int(rest[18])  # a zombie has ended
    except (OSError, ValueError, IndexError):
        pass
    if Path("/proc/self/stat").exists():
        return None
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return None
    except OSError:
        pass
    return -1
