"""The loop of `ablate settle`: batches of seeds, as ordinary sweeps into the same folder, until all is decided."""

import time
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import count, islice
from pathlib import Path

from ablate.claims.measured import Frames
from ablate.claims.reading import Claim
from ablate.config import plugins
from ablate.config.composing import fallback_data, from_dict
from ablate.config.errors import UserError, counted
from ablate.config.resolved import Resolved
from ablate.config.shell import command_line
from ablate.records.manifest import plugins_of
from ablate.records.reading import RecordError
from ablate.records.results import records
from ablate.sweeping.launch import run_sweep
from ablate.sweeping.plan import make_plan
from ablate.sweeping.schedule import workers
from ablate.sweeping.settle.show import View
from ablate.sweeping.settle.standing import Outlook, Prices, Standing, best, standings
from ablate.sweeping.summary import Summary


@dataclass
class Settling:
    """Seeds for the claims of one sweep; what is done is on disk, so that another one goes on from there."""

    folder: Path
    claims: Callable[[Frames], Sequence[Claim]]
    command: str
    most: int
    """Seeds that no setting gets more of."""
    budget_s: float
    level: float = 0.95
    any_protocol: bool = False
    summary: Summary = field(init=False)
    out_of_budget: bool = field(init=False, default=False)
    measured: float = field(init=False, default=1.0)
    """Seconds that the last batches took, for one that was expected."""

    def __post_init__(self) -> None:
        self.summary = Summary(self.folder)
        plugins.load(plugins_of(self.folder))
        frames = Frames.read(self.folder)  # raises where there is nothing to be settled
        stored = stored_settings(self.folder)
        self.check_repeatable({name: stored[name] for name in dict.fromkeys(frames.runs["setting_id"])})
        self.at_once = workers([setting.config for setting in stored.values()])
        self.began = time.monotonic()

    def check_repeatable(self, stored: Mapping[str, "Stored"]) -> None:
        """Raise UserError where what is trained would not be what is stored: seeds of two kinds in one setting."""
        again = [(name, config) for name, setting in stored.items() for config in setting.configs()]
        plan = make_plan([config for _, config in again], self.folder, fallback_data())
        for (name, _), setting in zip(again, plan.asked, strict=True):
            if setting.error:
                raise setting.error
            if setting.setting_id != name:  # which its command, given again, does not train, but one beside it
                raise UserError(
                    f"{self.folder} has runs of another version: their text, or a file of your own, has changed since; "
                    f"leave them out ({command_line('exclude', self.folder)} …), or train today's under another "
                    "name=NAME, then settle"
                )
            if setting.missing:
                changed = f": {setting.changed[0]} has changed since" if setting.changed else ""
                raise UserError(
                    f"the runs of {self.folder} are of another version{changed}; run its command again "
                    "(ablate status names it), which trains them anew, then settle"
                )

    def look(self) -> tuple[list[Standing], Prices]:
        frames = Frames.read(self.folder)
        found = standings(frames, self.claims(frames), self.level, self.most, self.any_protocol)
        return found, Prices.of(frames, self.at_once, self.measured)

    def go(self, view: View, plan_only: bool = False) -> list[Standing]:
        """How the claims stand in the end. Says first what deciding them is expected to take."""
        found, prices = self.look()
        failed: set[str] = set()
        if plan_only or any(one.is_open for one in found):
            view.begin(found, self.ahead(found, prices), plan_only)
        while not plan_only and (open_ := [one for one in found if one.is_open and not failed & {*one.settings}]):
            chosen = best(open_, prices)
            n = self.affordable(chosen, prices)
            if n <= chosen.there:
                self.out_of_budget = True
                break
            view.batch(chosen, n, found)
            summary = self.train(chosen.settings, n, prices, view)
            self.summary += summary
            before = prices.there
            found, prices = self.look()
            if summary.interrupted or summary.storage or summary.lost:
                break
            # What has brought no run would be asked for again and again.
            if summary.failures or all(prices.there[name] <= before[name] for name in chosen.settings):
                failed |= {*chosen.settings}
            view.looked(found)
        return found

    def ahead(self, found: Sequence[Standing], prices: Prices) -> tuple[int, float]:
        """Runs and seconds that deciding all that can be decided is expected to take."""
        outlook = Outlook.of([one for one in found if one.is_open])
        return outlook.runs(prices), outlook.seconds(prices)

    def affordable(self, chosen: Standing, prices: Prices) -> int:
        """The seeds of the next batch that the budget is enough for."""
        left = self.budget_s - (time.monotonic() - self.began)
        n = chosen.next
        while n > chosen.there and prices.cost(chosen.settings, n) > left:
            n -= 1
        return n if left > 0 else chosen.there

    def train(self, settings: Collection[str], n: int, prices: Prices, view: View) -> Summary:
        """Make it n seeds of each of the settings that no one has excluded."""
        expected = prices.cost(settings, n)
        stored = stored_settings(self.folder)
        configs = [config for name in settings for config in stored[name].configs(more=max(0, n - prices.there[name]))]
        began = time.monotonic()
        summary = run_sweep(configs, self.folder.name, self.command, quiet=view.quiet, above=view.table)
        if summary.trained and expected > 0:
            self.measured = max(0.05, self.measured * (time.monotonic() - began) / expected)
        return summary


@dataclass(frozen=True)
class Stored:
    """What is stored of a setting: its config with its first seed, and its seeds, also those that are excluded."""

    config: Resolved
    seeds: frozenset[int]

    def configs(self, more: int = 0) -> list[Resolved]:
        """Configs that ask for the stored seeds and the `more` smallest free ones above the first: one for each gap
        between the seeds, and one."""
        free = (seed for seed in count(self.config.seed) if seed not in self.seeds)
        wanted = self.seeds.union(islice(free, more))
        starts = sorted(seed for seed in wanted if seed - 1 not in wanted)
        ends = sorted(seed for seed in wanted if seed + 1 not in wanted)
        return [self.config.but(seed=first, seeds=last - first + 1) for first, last in zip(starts, ends, strict=True)]


def stored_settings(folder: Path) -> dict[str, Stored]:
    """setting_id → what is stored of it, to be trained into the same folder.

    What set another knob (match, updates) has done so: its value is in the record.
    """
    configs: dict[str, list[Resolved]] = {}
    for record in records(folder):
        if not isinstance(record, RecordError):
            configs.setdefault(record["setting_id"], []).append(from_dict(record["config"]))
    place = {"name": folder.resolve().name, "results_dir": str(folder.resolve().parent)}
    once = {"match": None, "updates": None, "fresh": False, "speed": False}
    found = {}
    for name, runs in configs.items():
        first = min(runs, key=lambda config: config.seed)
        found[name] = Stored(first.but(**place, **once), frozenset(config.seed for config in runs))
    return found


def ending(found: Sequence[Standing], most: int, out_of_budget: bool, stopped: bool = False) -> str:
    """`11 decided, 2 would need more than 400 seeds`."""
    told = [one for one in found if one.counts]
    decided = sum(one.is_decided for one in told)
    beyond = sum(not one.is_decided and not one.is_open for one in told)
    open_ = sum(one.is_open for one in told)
    said = [f"{decided} decided"]
    said += [f"{beyond} would need more than {counted(most, 'seed')}"] * bool(beyond)
    why = "the budget is spent" if out_of_budget else "stopped" if stopped else "not tried"
    said += [f"{open_} open ({why})"] * bool(open_)
    others = len(found) - len(told)
    said += [f"{others} that no seed decides"] * bool(others)
    return ", ".join(said)
