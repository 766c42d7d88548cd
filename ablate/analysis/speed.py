"""Timings as a DataFrame: one row per cell, machine and thread count."""

from contextlib import suppress
from pathlib import Path
from typing import Any

import pandas as pd

from ablate.analysis.frames import in_order, knob_values
from ablate.results import timings

SUBJECT_COLUMNS = {
    "train": "tokens_per_s",
    "cohort_1": "cohort_tokens_per_s",
    "cohort_R": "cohort_aggregate_tokens_per_s",
    "inference": "inference_tokens_per_s",
}
"""What was timed → its column; each has _low, _high and _n beside it."""


def speed_frame(sweep: Path) -> pd.DataFrame:
    """Every timing of a sweep; a cell without a clean one has an empty number and the reason in `why`."""
    rows = []
    for timing in timings(sweep):
        with suppress(KeyError, TypeError):
            rows.append(_row(timing))
    return in_order(pd.DataFrame(rows).assign(seed=0)).drop(columns="seed") if rows else pd.DataFrame()


def with_speed(cells: pd.DataFrame, speed: pd.DataFrame) -> pd.DataFrame:
    """The cells with tokens_per_s (median, _low, _high) of one thread, its machine, and why a cell has none.

    Timings of different machines are never pooled: where there are several, the one with most cells is shown.
    """
    columns = ["tokens_per_s", "tokens_per_s_low", "tokens_per_s_high", "why", "cpu", "machine"]
    if speed.empty or not (speed["threads"] == 1).any():
        return cells.assign(**dict.fromkeys(columns))
    alone = speed[speed["threads"] == 1]
    machine = alone["machine"].mode().iloc[0]
    return cells.merge(alone.loc[alone["machine"] == machine, ["cell_id", *columns]], on="cell_id", how="left")


def _row(timing: dict[str, Any]) -> dict[str, Any]:
    facts, config, summary = timing["facts"], timing["config"], timing["summary"]
    out = {
        "cell_id": timing["cell_id"],
        **knob_values(config, {"name": config["data"]["name"], "sha256": None}),
        "machine": timing["machine"],
        "cpu": timing["machine_facts"]["cpu"],
        "gpu": timing["machine_facts"]["gpu"],
        "threads": timing["threads"],
        "engine": facts["engine"],
        "why": summary["train"]["why"],
        "checked": summary["train"].get("checked", True),
    }
    for subject, column in SUBJECT_COLUMNS.items():
        measured = summary[subject]
        out |= {
            column: measured["tokens_per_s"],
            f"{column}_low": measured["low"],
            f"{column}_high": measured["high"],
            f"{column}_n": measured["n"],
        }
    return out | {
        "last_epoch_tokens_per_s": facts["last_epoch_readings"][0],
        "parameters": facts["parameters"],
        "flops_per_token": facts["flops_per_token"],
        "gflops": facts.get("gflops"),
        "gemm_limit_gflops": facts["gemm_limit_gflops"],
        "share_of_limit": facts.get("share_of_limit"),
        "replicas_together": facts["replicas_together"],
        "memory_mib": None if facts["memory_bytes"] is None else round(facts["memory_bytes"] / 2**20, 1),
        "measured_at": timing["measured_at"],
    }
