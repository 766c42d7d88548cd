"""The course's published tables, cell by cell, beside what the committed sweeps have of the same settings."""

from functools import cache
from typing import Any

import pandas as pd
from scipy.stats import spearmanr

from ablate.analysis.published import SETTING, published
from ablate.report.numbers import ratio_text
from ablate.report.tables import mean_text
from generating.sweeps import folders, material
from generating.tables import code, table

FEWEST_RANKED = 3
"""Cells of a table below which a rank correlation would say nothing."""

Cell = dict[str, Any]


@cache
def repeated() -> dict[tuple[Any, ...], Cell]:
    """The values of SETTING → the committed setting that repeats them as published, of several that with most seeds;
    `sweep` says where it is."""
    found: dict[tuple[Any, ...], Cell] = {}
    for folder in folders():
        m = material(folder.name)
        for _, setting in m.settings[m.settings["setting_id"].isin(m.published["setting_id"])].iterrows():
            key = tuple(setting[name] for name in SETTING)
            if key not in found or setting["n"] > found[key]["n"]:
                known = {} if key not in found else {name: found[key][name] for name in SPEED}
                timed = known if pd.isna(setting["tokens_per_s"]) else {}
                found[key] = {**setting, **timed, "sweep": folder.name}
    return found


SPEED = ("tokens_per_s", "tokens_per_s_low", "tokens_per_s_high")


@cache
def compared(source: str) -> list[tuple[Cell, Cell | None]]:
    """Each cell of a published table, and what repeats it; None where nothing does."""
    rows = published()[published()["source"] == source]
    return [(dict(row), repeated().get(tuple(row[name] for name in SETTING))) for _, row in rows.iterrows()]


def tables() -> list[str]:
    return sorted(source for source in published()["source"].unique() if source.startswith("table"))


def inside(theirs: Cell, ours: Cell) -> bool:
    """Whether what is published, rounded, can lie in our 95 % interval of the mean."""
    decimals = max(1, len(f"{theirs['perplexity']:g}".partition(".")[2]))
    rounding = 0.5 * 10**-decimals
    low, high = ours["perplexity_low"] - rounding, ours["perplexity_high"] + rounding
    return bool(low <= theirs["perplexity"] <= high)


def cells_table(source: str) -> str:
    """A published table: each cell, ours, the ratio, and whether theirs lies within our interval."""
    pairs = compared(source)
    varied = [name for name in SETTING if len({theirs[name] for theirs, _ in pairs}) > 1]
    rows = []
    for theirs, ours in pairs:
        knobs = [f"{theirs[name]:g}" if isinstance(theirs[name], float) else theirs[name] for name in varied]
        if ours is None:
            rows.append([*knobs, f"{theirs['perplexity']:g}", "not repeated", "", "", "", ""])
            continue
        rows.append(
            [
                *knobs,
                f"{theirs['perplexity']:g}",
                mean_text(ours, "perplexity"),
                ratio_text(ours["perplexity"] / theirs["perplexity"]),
                "within" if inside(theirs, ours) else "**outside**",
                ours["n"],
                code(ours["sweep"]),
            ]
        )
    return table(
        [*varied, "published", "here", "ratio", "published value in our interval", "n", "sweep"], rows, "numbers"
    )


def summary_table() -> str:
    """Each published table: how many of its cells were repeated, how far off they are, and in which order."""
    rows = []
    for source in tables():
        pairs = [(theirs, ours) for theirs, ours in compared(source) if ours is not None]
        ratios = sorted(ours["perplexity"] / theirs["perplexity"] for theirs, ours in pairs)
        rows.append(
            [
                source.removeprefix("table").lstrip("0").replace("_", ", "),
                f"{len(pairs)} of {len(compared(source))}",
                " to ".join(dict.fromkeys(map(ratio_text, (ratios[0], ratios[-1])))) if pairs else "–",
                f"{sum(not inside(*pair) for pair in pairs)} of {len(pairs)}" if pairs else "–",
                ranks([(theirs["perplexity"], ours["perplexity"]) for theirs, ours in pairs]),
                ranks([(theirs["tokens_per_s"], ours["tokens_per_s"]) for theirs, ours in pairs]),
            ]
        )
    columns = ("table", "cells repeated", "perplexity, here over published", "outside our interval")
    return table((*columns, "rank correlation of perplexity", "of tokens/s"), rows, "numbers")


def ranks(pairs: list[tuple[float, float]]) -> str:
    """Spearman's correlation of published and measured values, and of how many; a dash of too few."""
    known = [pair for pair in pairs if not pd.isna(pair[1])]
    if len(known) < FEWEST_RANKED:
        return "–"
    return f"{float(spearmanr(known).statistic):.2f} ({len(known)})"
