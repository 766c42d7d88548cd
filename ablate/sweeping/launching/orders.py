"""Work orders: the missing runs of a plan, dealt to jobs, as JSON; and from an order the plan of one job."""

import heapq
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ablate.config import plugins
from ablate.config.composing import from_dict
from ablate.config.errors import UserError
from ablate.config.identity import run_identity, setting_of, short_hash
from ablate.config.schema import to_dict
from ablate.data.corpora import Corpus, load, tokens_asked_for
from ablate.records.environment import code_version, installed
from ablate.records.places import record_path
from ablate.sweeping.launching.options import Options
from ablate.sweeping.plan import Extent, Plan, Run, Setting
from ablate.sweeping.progress import cost
from ablate.sweeping.schedule import RunGroup
from ablate.tasks import task_of


@dataclass(frozen=True)
class Share:
    """Runs that could train together, of one job: each with its setting."""

    runs: Sequence[tuple[Setting, Run]]

    @property
    def cost(self) -> float:
        return sum(cost(run.config, setting.extent.tokens_per_epoch) for setting, run in self.runs)


def dealt(groups: Sequence[RunGroup], most: int | None, jobs: int) -> list[list[Share]]:
    """What trains together, dealt to at most so many jobs that each has about the same to do.

    `most` runs of a group are the most that a job has of it.
    """
    shares = []
    for group in groups:
        owner = {run.run_id: setting for setting in group.settings for run in setting.missing}
        size = most or len(group.runs)
        for first in range(0, len(group.runs), size):
            shares.append(Share([(owner[run.run_id], run) for run in group.runs[first : first + size]]))
    hands: list[list[Share]] = [[] for _ in range(min(jobs, len(shares)))]
    heap = [(0.0, place) for place in range(len(hands))]
    for share in sorted(shares, key=lambda one: -one.cost):
        so_far, place = heap[0]
        hands[place].append(share)
        heapq.heapreplace(heap, (so_far + share.cost, place))
    return hands


def order_of(plan: Plan, shares: Sequence[Share], names: Mapping[str, str], options: Options) -> dict[str, Any]:
    """The order of a job: the configs, and what tells that what it computes is what was asked for."""
    settings: dict[str, dict[str, Any]] = {}
    for setting, run in (pair for share in shares for pair in share.runs):
        if setting.setting_id not in settings:
            settings[setting.setting_id] = _setting(setting, names[setting.setting_id])
        old = written_at(plan.folder, run.run_id)
        settings[setting.setting_id]["runs"].append(
            {"run_id": run.run_id, "seed": run.config.seed, "former": list(run.former), "old": old}
        )
    return common(plan, options) | {"settings": list(settings.values())}


def timing_order(
    plan: Plan, settings: Sequence[Setting], names: Mapping[str, str], options: Options, speed_s: float
) -> dict[str, Any]:
    """The order of a job that times these settings."""
    entries = [_setting(setting, names[setting.setting_id]) for setting in settings]
    return common(plan, options) | {"settings": entries, "speed_s": speed_s}


def common(plan: Plan, options: Options) -> dict[str, Any]:
    """What all orders of a sweep say."""
    return {
        "folder": os.path.abspath(plan.folder),
        "cwd": os.getcwd(),
        "code": code(),
        "cpus": options.cpus,
        "plugins": plan.settings[0].config.plugins,
    }


def code() -> dict[str, str | None]:
    """The version of all that computes."""
    return {"ablate": code_version()["source"], "torch": installed("torch")}


def _setting(setting: Setting, name: str) -> dict[str, Any]:
    return {
        "setting_id": setting.setting_id,
        "name": name,
        "config": to_dict(setting.config),
        "text": setting.corpus.sha256,
        "runs": [],
    }


def written_at(folder: Path, run_id: str) -> int | None:
    """When the record of a run was written, which tells one that has been written since; None where there is none."""
    try:
        return record_path(folder, run_id).stat().st_mtime_ns
    except OSError:
        return None


def check_code(order: Mapping[str, Any]) -> None:
    """Raises UserError where this machine has other code than the one that the order was written by."""
    here = code()
    for what, version in order["code"].items():
        if here.get(what) != version:
            raise UserError(
                f"this machine has another {what} ({here.get(what)}, not {version}); install the same there, or, where "
                "the code was changed meanwhile, give the same command again"
            )


def plan_of(order: Mapping[str, Any]) -> Plan:
    """What is still missing of an order. Raises UserError where it means something else on this machine."""
    plugins.load(order["plugins"])
    folder = Path(order["folder"])
    texts: dict[str, Corpus] = {}
    configs = [from_dict(entry["config"]) for entry in order["settings"]]
    settings = []
    for entry, config in zip(order["settings"], configs, strict=True):
        asked = tokens_asked_for(config)
        key = repr(config.data)
        if key not in texts or not texts[key].holds(asked):
            texts[key] = load(config.data, asked)
        corpus = texts[key]
        identity = run_identity(config, corpus.sha256)
        if corpus.sha256 != entry["text"] or setting_of(identity) != entry["setting_id"]:
            what = "data" if corpus.sha256 != entry["text"] else "code"
            raise UserError(f"{entry['name']} is another setting on this machine: its {what} differs")
        extent = Extent.of(task_of(config, corpus))
        setting = Setting(config, entry["setting_id"], corpus, extent)
        for run in entry["runs"]:
            own = Run(run["run_id"], config.but(seed=run["seed"]), tuple(run["former"]))
            if short_hash(run_identity(own.config, corpus.sha256)) != own.run_id:
                raise UserError(f"{entry['name']} seed {run['seed']} is another run on this machine")
            setting.runs.append(own)
            if written_at(folder, own.run_id) == run["old"]:
                setting.missing.append(own)
        settings.append(setting)
    return Plan(folder, settings)
