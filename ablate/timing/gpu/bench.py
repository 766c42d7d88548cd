"""The whole benchmark of a card, and its rehearsal on a CPU."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ablate.config.errors import ConfigError
from ablate.config.terminal import lines
from ablate.records.environment import environment
from ablate.timing import cards
from ablate.timing.gpu import checks, commands, page, table
from ablate.timing.gpu.budget import Budget
from ablate.timing.gpu.goals import goals
from ablate.timing.gpu.work import FULL, REHEARSAL
from ablate.timing.machine import speed_lane
from ablate.training.loop import resolve_device


@dataclass(frozen=True)
class Options:
    device: str
    budget: float
    """Seconds."""
    out: Path


def run(options: Options) -> bool:
    """Check, measure, and write the page; whether no check failed.

    Raises ConfigError, StorageError, and UserError where another ablate trains or measures.
    """
    say = lines()
    try:
        device = resolve_device(options.device)
    except ConfigError as error:
        raise ConfigError(f"{error}; --device cpu rehearses it with tiny sizes") from error
    sizes, budget = REHEARSAL if device.type == "cpu" else FULL, Budget(options.budget)
    facts = environment(str(device))
    if sizes.rehearsal:
        say("a rehearsal with tiny sizes: no number says anything of a GPU")
    states: dict[str, dict[str, Any] | None] = {}

    def note(when: str) -> None:
        states[when] = cards.state(facts.get("gpu_uuid"))

    note("at the start")
    if not sizes.rehearsal and states["at the start"] is None:
        say(cards.NOT_RECORDED)
    with speed_lane():
        checked = checks.run(device, budget, say)
        note("after the checks")
        timed = table.measured(sizes, device, budget, say)
        note("after the table")
    ran = commands.timed(sizes, str(device), budget, say)  # which train, and so need the machine to be free
    note("at the end")
    parts = {
        "checks": checked,
        "table": timed,
        "commands": ran,
        "goals": goals(timed, ran, sizes),
        "left_out": budget.left_out,
        "states": states,
        "spent_s": round(budget.spent_s(), 1),
    }
    written = page.write(options.out, facts, sizes, parts)
    for what in budget.left_out:
        say(f"left out, since there was no time: {what}")
    say(f"wrote {' and '.join(map(str, written))}")
    return not any(one.status == "failed" for one in checked)
