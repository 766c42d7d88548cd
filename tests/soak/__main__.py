"""Break real sweeps and searches at random, and see that nothing is lost: `python tests/soak --minutes 10 --seed 1`.

Each round types one command again and again, and disturbs it each time but the last. Then every run has to be there
exactly once, bit for bit as in a sweep that nobody disturbed; so have the tables; no file may be torn, none left over;
and what ended early has to have said why in a line. Linux; as root also a full disk. What the seed decides is how and
in which phase a command is disturbed; the moment itself depends on the machine.
"""

import argparse
import importlib
import os
import random
import tempfile
import time
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from pathlib import Path

from breaks import small_disk
from programs import Hangs
from ray_nodes import Unavailable
from rounds import ROUNDS, Soak
from subjects import Workplace
from wanted import Tally

Say = Callable[[str], None]

LOADED = (
    "ablate.cli.run",
    "ablate.cli.composition",
    "ablate.sweeping.launch",
    "ablate.searching.run",
    "ablate.report.drawn",
    "ablate.report.page",
    "ablate.report.figures",
    "ablate.report.plots",
    "ablate.sweeping.baselines",
    "ablate.tasks.text",
)
"""What commands load, and get with the fork; with what these load when they are used."""
CHECKPOINT_S = "0.05"
"""Seconds between checkpoints: so that commands are killed amid them, too."""


def main(words: Sequence[str] | None = None, say: Callable[[str], None] = print) -> int:
    """The exit status: 1 where anything was lost."""
    parser = argparse.ArgumentParser(prog="python tests/soak", description=str(__doc__).partition("\n\n")[0])
    parser.add_argument(
        "--minutes",
        type=float,
        default=10.0,
        help="no round begins later; none does where every break has struck as often as is wanted",
    )
    parser.add_argument("--seed", type=int, default=0, help="how, and in which phases, commands are disturbed")
    parser.add_argument("--log", type=Path, help="a line for each command that was disturbed")
    parser.add_argument("--rounds", nargs="+", choices=list(ROUNDS), default=list(ROUNDS), help="the kinds to be had")
    parser.add_argument("--folder", type=Path, help="where to work, on the file system that is to be tried")
    options = parser.parse_args(words)
    os.environ |= {"ABLATE_CHECKPOINT_S": CHECKPOINT_S, "NO_COLOR": "1", "COLUMNS": "200"}
    for name in LOADED:
        importlib.import_module(name)
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="ablate-soak-", dir=options.folder)))
        log = stack.enter_context(options.log.open("w", buffering=1)) if options.log else None
        disk = folder / "disk"
        mounted = "full-disk" in options.rounds and stack.enter_context(small_disk(disk))
        if "full-disk" in options.rounds and not mounted:
            say("no small disk can be mounted here: none is filled")
        chance = random.Random(options.seed)
        soak = Soak(Workplace.at(folder), chance, disk if mounted else None, Tally(chance), stack)
        return run(soak, options.rounds, 60 * options.minutes, say, lambda line: print(line, file=log) if log else None)


def run(
    soak: Soak, kinds: Sequence[str], limit_s: float, say: Callable[[str], None], log: Callable[[str], None]
) -> int:
    """Rounds until each break has struck as often as is wanted, or the time is over.

    `log` gets a line for each command, `say` what is wrong, and the sums.
    """
    began = time.monotonic()
    tally, commands, faults, rounds = soak.tally, 0, 0, 0
    while not rounds or time.monotonic() - began < limit_s:
        kind = tally.round(kinds)
        if kind is None:
            break
        rounds += 1
        none = True
        try:
            for one in ROUNDS[kind](soak):
                none = False
                commands += 1
                tally.count(one)
                wrong = one.wrong.partition("\n")[0]
                status = f"exit status {one.status}"
                seconds = f"{time.monotonic() - began:.1f} s"
                log(
                    "\t".join(
                        [seconds, kind, str(soak.number), one.kind, one.phase, str(one.struck), status, one.said, wrong]
                    )
                )
                if one.wrong:
                    faults += 1
                    say(f"FAULT in round {rounds} ({kind}): {one.kind}, {one.phase}: {one.wrong}")
        except Hangs as error:
            faults += 1
            log(f"{kind}\t{soak.number}\t{error}")
            say(f"FAULT in round {rounds} ({kind}): {error}")
        except Unavailable as error:
            say(f"{kind}: {error}")
            none = True
        if none:
            say(f"{kind}: cannot be had here")
            kinds = [other for other in kinds if other != kind]
    for line in tally.lines(kinds):
        say(line)
    minutes = (time.monotonic() - began) / 60
    say(f"{rounds} rounds, {commands} commands, {tally.killed} kill -9, in {minutes:.1f} min: {faults} faults")
    return 1 if faults else 0


if __name__ == "__main__":
    raise SystemExit(main())
