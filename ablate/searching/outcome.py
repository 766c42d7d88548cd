"""What a search leaves in its folder.

best.yaml     the winner as a Hydra config, with the command that runs it
trials.csv    one row per trial of the study
search.json   the space, the settings, the winner and the finalists with their fresh seeds
"""

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, fields
from pathlib import Path
from typing import Any

import yaml
from optuna.trial import FrozenTrial

from ablate.analysis.study import trial_table
from ablate.analysis.trials import SPEED
from ablate.config.errors import counted
from ablate.config.metrics import METRICS
from ablate.config.registry import OF_GROUP
from ablate.config.schema import FILES_OF_PARTS, Config, Part
from ablate.config.shell import command_line
from ablate.records.files import write_json, write_text
from ablate.searching.finale import Finalist, Outcome, Runs, by_seed
from ablate.searching.race import SeedComparison, estimate, interval
from ablate.searching.settings import Objective, Settings
from ablate.searching.space import Space
from ablate.searching.standings import finite

WHERE = ("engine", "device", "threads", "results_dir", "fresh", "report", "speed", "speed_s", "name", "seed", "seeds")
"""Knobs that best.yaml sets by itself, or leaves to whoever runs it."""


def write_best(folder: Path, config: Config, default: Config, one: Finalist, settings: Settings, name: str) -> Path:
    """best.yaml: what differs from `default`, the plain config of the same groups; what came out and how to run it."""
    path = folder / "best.yaml"
    seeds = settings.reporting_seeds if one.runs else settings.seeds
    body: dict[str, Any] = {
        "defaults": [
            "config",
            *({f"override {group}": getattr(config, group).name} for group in OF_GROUP),
            "_self_",
        ],
        **differing(config, default),
        **({"results_dir": config.results_dir} if config.results_dir != default.results_dir else {}),
        "name": f"{name}-best",
        "seed": seeds[0],
        "seeds": len(seeds),
    }
    header = f"The best configuration of the search {name}: {result_line(one, settings)}\n  {again_line(folder)}"
    comment = "".join(f"# {line}\n" for line in header.splitlines())
    write_text(path, comment + yaml.safe_dump(body, sort_keys=False, allow_unicode=True))
    return path


def again_line(folder: Path) -> str:
    """The command that trains the best configuration again, for a shell."""
    return command_line("--config-dir", folder, "--config-name", "best")


def result_line(one: Finalist, settings: Settings) -> str:
    """`held-out perplexity 7.81 (7.62 to 8.01) over 6 fresh seeds`, for each objective."""
    parts = []
    for objective, told in zip(settings.objectives, one.told, strict=True):
        if objective.name == SPEED:
            parts.append(f"{told:,.0f} tokens/s")
        elif one.runs:
            objective = one.reported(objective)
            low, high = one.interval(objective)
            title, n = METRICS[objective.name].title, len(one.runs)
            reach = f" ({low:.4g} to {high:.4g})" if math.isfinite(high) else ""  # one seed has no interval
            parts.append(f"{title} {one.estimate(objective):.4g}{reach} over {counted(n, 'fresh seed')}")
        else:
            parts.append(f"{objective.name} {told:.4g} in the search")
    return ", ".join(parts)


def differing(config: Config, default: Config) -> dict[str, Any]:
    """The knobs of this config that the defaults of its groups would not set, as nested as in conf/."""
    out: dict[str, Any] = {}
    for f in fields(config):
        if f.name in WHERE:
            continue
        mine, usual = getattr(config, f.name), getattr(default, f.name)
        if isinstance(mine, Part):
            known = usual.values() if usual.name == mine.name else {}  # those of another choice say nothing of this
            nested = {k: v for k, v in mine.values().items() if k != "name" and (k not in known or v != known[k])}
            if f.name == "data":
                nested = {k: v for k, v in nested.items() if k in ("path", *FILES_OF_PARTS, "tokens", "cleaning")}
            if nested:
                out[f.name] = nested
        elif mine != usual:
            out[f.name] = mine
    return out


def groups_of(config: Config) -> list[str]:
    """The overrides that choose its groups. (`data=text_file` needs a path, so that cannot be composed alone.)"""
    return [f"{group}={getattr(config, group).name}" for group in OF_GROUP if group != "data"]


def write_trials(folder: Path, trials: Sequence[FrozenTrial], space: Space, settings: Settings) -> None:
    """trials.csv, one row per trial."""
    knobs = [dimension.name for dimension in space.dimensions]
    objectives = [objective.name for objective in settings.objectives]
    write_text(folder / "trials.csv", trial_table(trials, knobs, objectives))


def write_summary(
    folder: Path, name: str, where: str, design: Mapping[str, Any], settings: Settings, outcome: Outcome
) -> None:
    """search.json."""
    known = asdict(settings) | {"objectives": [asdict(objective) for objective in settings.objectives]}
    fresh = outcome.confirmed
    write_json(
        folder / "search.json",
        {
            "study": name,
            "storage": where,
            "space": design["space"],
            "fixed": design["fixed"],
            "settings": known,
            "concluded": outcome.concluded,
            "confirmed": outcome.confirmed,
            "choosing_seeds": list(settings.choosing_seeds) if fresh else [],
            "reporting_seeds": list(settings.reporting_seeds) if fresh else [],
            "notes": outcome.notes,
            "winner": _told(outcome.winner, settings),
            "finalists": [_told(one, settings) for one in outcome.finalists],
            "front": [_told(one, settings) for one in outcome.front],
            "baseline": _told(outcome.baseline, settings),
            "reported": reported(outcome, settings),
            "against_baseline": compared(outcome.against_baseline),
            "compared_by": outcome.compared_by or None,
        },
    )


def reported(outcome: Outcome, settings: Settings) -> dict[str, str]:
    """Objective → the metric that reports what it chose: of the test data, where all that is reported has it."""
    found = {}
    for objective in settings.objectives:
        names = {one.reported(objective).name for one in (*outcome.finalists, *outcome.front) if one.runs}
        found[objective.name] = names.pop() if len(names) == 1 else objective.name
    return found


def compared(found: SeedComparison | None) -> dict[str, Any] | None:
    """A comparison as JSON has it: null for the ends that there are none of."""
    if found is None:
        return None
    facts = asdict(found)
    return facts | {name: finite(facts[name]) for name in ("value", "low", "high", "p")}


def _told(one: Finalist | None, settings: Settings) -> dict[str, Any] | None:
    if one is None:
        return None
    return {
        "number": one.number,
        "values": one.values,
        "overrides": list(one.overrides),
        "in_the_search": dict(zip((o.name for o in settings.objectives), one.told, strict=False)),
        "choosing": _fresh(one.choosing, settings.objectives),
        "fresh": _fresh(one.runs, dict.fromkeys((*settings.objectives, *map(one.reported, settings.objectives)))),
        "speed": one.speed,
        "failure": one.trouble or None,
    }


def _fresh(runs: Runs, objectives: Iterable[Objective]) -> dict[str, Any]:
    """Metric → its mean, interval and values by seed; null for what a diverged run leaves without a value."""
    out: dict[str, Any] = {}
    for objective in objectives:
        results = by_seed(runs, objective.name)
        if not results or objective.name == SPEED:
            continue
        low, high = interval(results, objective.scale)
        out[objective.name] = {
            "value": finite(estimate(results, objective.scale)),
            "low": finite(low),
            "high": finite(high),
            "seeds": {str(seed): finite(value) for seed, value in results.items()},
        }
    return out
