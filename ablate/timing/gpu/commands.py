"""Whole commands by the clock: imports, planning, training, the report and all."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

from ablate.records.files import write_text
from ablate.timing.gpu.budget import Budget
from ablate.timing.gpu.work import Sizes, text

VARIANTS = (
    *("lstm", "lstm-no-input-gate", "lstm-no-forget-gate", "lstm-no-output-gate", "lstm-no-input-activation"),
    *("lstm-no-output-activation", "lstm-coupled", "lstm-peepholes", "lstm-full-gate-recurrence"),
)
"""The models of sweeps=lstm_odyssey."""
TUNED_H = 64
"""Their hidden units."""

LEAST_S = 5.0
"""With less than this left a command is not begun."""
SECONDS = {
    "one setting": 8.0,
    "model × num_hiddens, tf32": 90.0,
    "nine lstm variants × six learning rates": 180.0,
    "model × num_hiddens, ieee": 200.0,
}
"""What whole commands were to take at most."""
PATIENCE_S = 60.0
"""So long any command may take; and twice what it was to take, so that one that hangs leaves the others some time."""


@dataclass
class Command:
    """`ablate run` with these words, and how long it took; None where it did not end."""

    name: str
    words: tuple[str, ...]
    took_s: float | None = None
    limit_s: float | None = None
    why: str = ""


def commands(sizes: Sizes) -> Iterator[Command]:
    """What the goals are about, the quickest first."""
    seeds, epochs = f"seeds={sizes.few}", f"epochs={sizes.epochs}"
    widths = ",".join(map(str, sizes.hiddens)) if sizes.rehearsal else "32,64,128,256,512,1024"
    table = ("model=rnn,lstm,gru", f"num_hiddens={widths}", seeds, epochs)
    tf32 = () if sizes.rehearsal else ("precision=tf32",)
    shorter = "epochs=200" if not sizes.rehearsal else epochs
    rates = "lr=1,2" if sizes.rehearsal else "lr=0.25,0.5,1,2,4,8"
    yield Command("one setting", ("model=gru", f"num_hiddens={sizes.hiddens[0]}", seeds, epochs))
    yield Command("model × num_hiddens, tf32", (*table, *tf32))
    variants = ("num_hiddens=4",) if sizes.rehearsal else (f"num_hiddens={TUNED_H}",)
    yield Command("nine lstm variants × six learning rates", ("sweeps=lstm_odyssey", *variants, rates, seeds, shorter))
    if not sizes.rehearsal:
        yield Command("model × num_hiddens, ieee", table)


def timed(sizes: Sizes, device: str, budget: Budget, say: Callable[[str], None]) -> list[Command]:
    """Each command in a folder of its own, ended when the time for all of them is over."""
    out = []
    for command in commands(sizes):
        command.limit_s = min(budget.left_s("commands"), max(PATIENCE_S, 2 * SECONDS[command.name]))
        if command.limit_s < LEAST_S:
            budget.leave_out(f"the command of {command.name}")
            command.why = "no time was left"
        else:
            run(command, sizes, device)
        out.append(command)
        say(f"{command.name}: {command.why if command.took_s is None else f'{command.took_s:.1f} s'}")
    return out


def run(command: Command, sizes: Sizes, device: str) -> None:
    """Fill in how long it takes, or why that is not known."""
    assert command.limit_s is not None
    with TemporaryDirectory() as folder:
        path = Path(folder) / "made-up.txt"
        write_text(path, text(sizes.characters))
        where = (f"results_dir={folder}/results", f"device={device}", "data=text_file", f"data.path={path}")
        words = [sys.executable, "-m", "ablate", "run", *command.words, *sizes.shape, *where]
        began = time.perf_counter()
        process = subprocess.Popen(
            words,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            text=True,
            errors="replace",
            start_new_session=True,
        )
        try:
            _, said = process.communicate(timeout=command.limit_s)
        except subprocess.TimeoutExpired:
            _end(process)
            command.why = f"not done within {command.limit_s:.0f} s"
            return
        except BaseException:
            _end(process)
            raise
        if process.returncode:
            last = (said.strip().splitlines() or ["nothing said"])[-1]
            command.why = f"ended with status {process.returncode}: {last}"
        else:
            command.took_s = time.perf_counter() - began


def _end(process: "subprocess.Popen[str]") -> None:
    """It and what it started."""
    with suppress(OSError):
        os.killpg(process.pid, signal.SIGKILL) if hasattr(os, "killpg") else process.kill()
    process.communicate()
