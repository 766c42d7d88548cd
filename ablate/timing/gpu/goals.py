"""What one card of the H100's class was to reach, and whether these numbers do."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from ablate.timing.gpu.commands import SECONDS, Command
from ablate.timing.gpu.table import Cell
from ablate.timing.gpu.work import Sizes

RATIOS = {32: 100.0, 128: 40.0, 256: 25.0, 512: 15.0, 1024: 6.0}
"""Hidden units → how many times the speed of torch.nn one run at a time, at least, for every model."""


@dataclass
class Goal:
    name: str
    goal: str
    found: str
    met: bool | None
    """None where it was not measured."""


def goals(table: Sequence[Cell], commands: Sequence[Command], sizes: Sizes) -> list[Goal]:
    """None of a rehearsal is met or missed."""
    out = [*_ratios(table, sizes), *_seconds(commands)]
    for goal in out if sizes.rehearsal else ():
        goal.met = None
    return out


def _seconds(commands: Sequence[Command]) -> Iterator[Goal]:
    for command in commands:
        most = SECONDS[command.name]
        found, met = command.why, None
        if command.took_s is not None:
            found, met = f"{command.took_s:.1f} s", command.took_s <= most
        elif command.limit_s is not None and "within" in command.why and command.limit_s > most:
            met = False
        yield Goal(f"{command.name}, whole command", f"≤ {most:.0f} s", found, met)


def _ratios(table: Sequence[Cell], sizes: Sizes) -> Iterator[Goal]:
    least_of = RATIOS if not sizes.rehearsal else dict(zip(sizes.hiddens, RATIOS.values(), strict=False))
    for H, least in least_of.items():
        for precision in ("ieee", "tf32"):
            ratios = {model: ratio(table, model, H, precision) for model in sizes.models}
            known = {model: value for model, value in ratios.items() if value is not None}
            if not known:
                yield Goal(f"ratio to torch.nn, H {H}, {precision}", f"≥ {least:.0f}", "not measured", None)
                continue
            worst = min(known.values())
            said = ", ".join(f"{model} {value:.1f}" for model, value in known.items())
            met = worst >= least if len(known) == len(ratios) or worst < least else None
            yield Goal(f"ratio to torch.nn, H {H}, {precision}", f"≥ {least:.0f}", said, met)


def ratio(table: Sequence[Cell], model: str, H: int, precision: str) -> float | None:
    """Of the time of torch.nn, one run at a time, to that of the fastest cohort in the same precision."""
    own = [c for c in table if (c.model, c.num_hiddens, c.precision) == (model, H, precision) and c.us is not None]
    alone = [c.us for c in own if c.way.startswith("torch.nn")]
    together = [c.us for c in own if not c.way.startswith("torch.nn")]
    if not alone or not together or alone[0] is None:
        return None
    return alone[0] / min(us for us in together if us is not None)
