"""The whole benchmark of a card, and its rehearsal on a CPU."""

from dataclasses import dataclass
from pathlib import Path

from ablate.config.errors import ConfigError
from ablate.config.terminal import lines
from ablate.records.environment import environment
from ablate.timing import cards
from ablate.timing.gpu import checks, commands, compiling, page, table
from ablate.timing.gpu.apart import Apart
from ablate.timing.gpu.budget import Budget
from ablate.timing.gpu.goals import goals
from ablate.timing.gpu.page import Found
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
    """Check, measure, and write the page; whether every check that was begun gave its answer and none failed.

    The page is written after each part that finds something, so that whatever ends this leaves what was found until
    then. Raises ConfigError, StorageError, and UserError where another ablate trains or measures.
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
    found = Found(left_out=budget.left_out)

    def note(when: str) -> None:
        found.states[when] = cards.state(facts.get("gpu_uuid"))
        found.goals = goals(found.table, found.commands, sizes)
        found.spent_s = round(budget.spent_s(), 1)
        if found.kernels or found.checks:  # nothing but what was found takes the place of an older page
            found.files = page.write(options.out, facts, sizes, found)

    with speed_lane(), Apart(str(device), sizes.rehearsal) as apart:
        note("at the start")
        if not sizes.rehearsal and found.states["at the start"] is None:
            say(cards.NOT_RECORDED)
        found.kernels = compiling.compiled(sizes, device, budget, say)
        note("after compiling")
        found.checks = checks.run(apart, budget, say)
        note("after the checks")
        found.table = table.measured(sizes, device, apart, budget, say)
        note("after the table")
    found.commands = commands.timed(sizes, str(device), budget, say)  # which train, and so need the machine to be free
    note("at the end")
    for what in budget.left_out:
        say(f"left out, since there was no time: {what}")
    say(f"wrote {' and '.join(map(str, found.files))}")
    return not any(one.status in ("failed", "not done") for one in found.checks)
