"""Timings as a DataFrame: one row per setting, machine and thread count."""

import math
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path
from typing import Any

import pandas as pd

from ablate.analysis.frames import in_order
from ablate.analysis.rows import knob_values
from ablate.analysis.samples import clean_by_process
from ablate.records.timings import timings
from ablate.stats import process_interval, too_few_processes

SUBJECT_COLUMNS = {
    "train": "tokens_per_s",
    "cohort_1": "cohort_tokens_per_s",
    "cohort_R": "cohort_aggregate_tokens_per_s",
    "inference": "inference_tokens_per_s",
}
"""What was timed → its column; each has _low, _high and _n beside it."""


def speed_frame(sweep: Path) -> pd.DataFrame:
    """Every timing of a sweep; a setting without a clean one has an empty number and the reason in `why`.

    A number is the geometric mean of the medians of its processes, _low … _high its t interval on logs, computed from
    the stored samples: timings that older versions summarised are read alike, and as the claims read them.
    """
    rows = []
    for timing in timings(sweep):
        with suppress(KeyError, TypeError):
            rows.append(_row(timing))
    return in_order(pd.DataFrame(rows).assign(seed=0)).drop(columns="seed") if rows else pd.DataFrame()


def speed_frames(sweeps: Iterable[Path]) -> pd.DataFrame:
    """Those of several sweeps, one below the other."""
    known = [speed for speed in map(speed_frame, sweeps) if not speed.empty]
    return pd.concat(known, ignore_index=True) if known else pd.DataFrame()


def with_speed(settings: pd.DataFrame, speed: pd.DataFrame) -> pd.DataFrame:
    """The settings with tokens_per_s (see `speed_frame`; _low, _high) of one thread, its machine, and why a setting
    has none.

    Timings of different machines are never pooled: where there are several, the one with most settings is shown. Of
    several timings of a setting, as several sweeps may have them, the last one counts.
    """
    columns = ["tokens_per_s", "tokens_per_s_low", "tokens_per_s_high", "why", "cpu", "machine"]
    if speed.empty or not (speed["threads"] == 1).any():
        return settings.assign(**dict.fromkeys(columns))
    alone = speed[speed["threads"] == 1]
    machine = alone.groupby("machine")["setting_id"].nunique().idxmax()
    timed = alone[alone["machine"] == machine].sort_values("measured_at", kind="stable")
    return settings.merge(
        timed.drop_duplicates("setting_id", keep="last")[["setting_id", *columns]], on="setting_id", how="left"
    )


def _row(timing: dict[str, Any]) -> dict[str, Any]:
    facts, config, summary = timing["facts"], timing["config"], timing["summary"]
    level = timing.get("protocol", {}).get("level", 0.95)
    speeds = {subject: _speed(timing, subject, level) for subject in SUBJECT_COLUMNS}
    own, limit = speeds["train"][0], facts["gemm_limit_gflops"]
    gflops = None if own is None else own * facts["flops_per_token"] / 1e9
    out = {
        "setting_id": timing["setting_id"],
        **knob_values(config, {"name": config["data"]["name"], "sha256": None}),
        "machine": timing["machine"],
        "cpu": timing["machine_facts"]["cpu"],
        "gpu": timing["machine_facts"]["gpu"],
        "threads": timing["threads"],
        "engine": facts["engine"],
        "why": _why(timing, speeds["train"]),
        "checked": summary["train"].get("checked", True),
    }
    for subject, column in SUBJECT_COLUMNS.items():
        middle, low, high = speeds[subject]
        out |= {column: middle, f"{column}_low": low, f"{column}_high": high, f"{column}_n": summary[subject]["n"]}
    return out | {
        "last_epoch_tokens_per_s": facts["last_epoch_readings"][0],
        "parameters": facts["parameters"],
        "flops_per_token": facts["flops_per_token"],
        "gflops": gflops,
        "gemm_limit_gflops": limit,
        "share_of_limit": None if gflops is None else gflops / limit,
        "replicas_together": facts["replicas_together"],
        "memory_mib": None if facts["memory_bytes"] is None else round(facts["memory_bytes"] / 2**20, 1),
        "measured_at": timing["measured_at"],
    }


Speed = tuple[float | None, float | None, float | None]
"""Tokens per second and the ends of their interval."""


def _speed(timing: dict[str, Any], subject: str, level: float) -> Speed:
    """What the clean samples of a subject come to; nothing where the lane found too few of them to believe it."""
    groups = clean_by_process(timing["samples"][subject])
    if timing["summary"][subject]["tokens_per_s"] is None or not groups:
        return None, None, None
    return process_interval(list(groups.values()), level)


def _why(timing: dict[str, Any], speed: Speed) -> str:
    """What is wrong with a timing in a few words, empty for nothing: as the lane said, but of this interval's width."""
    summary, protocol = timing["summary"]["train"], timing.get("protocol", {})
    middle, low, high = speed
    if middle is None:
        return str(summary["why"])
    parts = [] if summary.get("checked", True) else ["not checked: this system does not tell what else it was doing"]
    if low is None or high is None:
        parts.append(too_few_processes(len(clean_by_process(timing["samples"]["train"]))))
    elif (high - low) / 2 > protocol.get("precision", math.inf) * middle:
        parts.append(f"the interval is wider than ± {protocol['precision']:.0%}")
    return "; ".join(parts)
