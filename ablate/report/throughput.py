"""The tables and figures of the speed lane."""

from pathlib import Path

import pandas as pd
from rich.table import Table

from ablate.analysis.frames import swept_knobs
from ablate.config.errors import UserError, counted, listing
from ablate.config.terminal import lines
from ablate.report.products import EARLIER, SPEED_MANIFEST, products
from ablate.report.tables import PLAIN, print_whole, shown_knobs, thousands, value_text
from ablate.report.wording import SPEED_IS

COLUMNS = {
    "tokens_per_s": "tokens/s",
    "last_epoch_tokens_per_s": "last epoch, once",
    "cohort_tokens_per_s": "cohort, per run",
    "cohort_aggregate_tokens_per_s": "cohort, together",
    "inference_tokens_per_s": "inference",
}


NOTE = f"{SPEED_IS} ± half its 95 % interval (t, on logs)"
"""What the numbers of the table are."""


def write_speed(folder: Path, speed: pd.DataFrame) -> None:
    """speed.csv, speed.png where num_hiddens was varied, and the table on the terminal. A file of somebody else's in
    the place of one of these stays, and is named."""
    if speed.empty:
        raise UserError(f"{folder} holds no timing")
    with products(folder, SPEED_MANIFEST) as files:
        files.write("speed.csv", speed.to_csv(index=False, lineterminator="\n"))
        plot_speed(files.aside, speed)
        for name in files.publish():
            lines()(f"{folder / name} is not as ablate wrote it, so it is kept; delete it to have it written anew")
        if files.set_aside:
            lines()(f"what lay in the place of {listing(files.set_aside)} is in {folder / EARLIER} now")
    print_speed(speed)


def print_speed(speed: pd.DataFrame) -> None:
    """One row per setting and thread count: geometric means ± half their 95 % interval, and why a setting has none."""
    say = lines(stderr=False)
    for machine, timings in speed.groupby("machine"):
        cpu, gpu = timings["cpu"].iloc[0], timings["gpu"].iloc[0]
        print_whole(speed_table(timings, f"training tokens per second on {gpu or cpu} ({machine})"))
        say(NOTE, style="dim")
        for why, alike in timings[timings["why"].astype(bool)].groupby("why", sort=False):
            say(f"{several(alike, timings)}: {why}", style="yellow")


def several(alike: pd.DataFrame, timings: pd.DataFrame) -> str:
    """The timings that share a reason: the one, or how many and the first."""
    first = describe(alike.iloc[0], timings)
    return first if len(alike) == 1 else f"{len(alike)} of {len(timings)} timings, the first {first}"


def speed_table(timings: pd.DataFrame, title: str) -> Table:
    shown = _shown(timings)
    table = Table(title=title, **PLAIN)
    for name in (*shown, "threads", "engine"):
        table.add_column(name)
    for name in (*COLUMNS.values(), "n", "GFLOP/s", "of limit", "memory"):
        table.add_column(name, justify="right")
    for _, row in timings.iterrows():
        table.add_row(
            *(value_text(row[name]) for name in shown),
            str(row["threads"]),
            row["engine"],
            *(thousands(row, column) for column in COLUMNS),
            str(row["tokens_per_s_n"]),
            "–" if pd.isna(row["gflops"]) else f"{row['gflops']:.1f}",
            "–" if pd.isna(row["share_of_limit"]) else f"{row['share_of_limit']:.1%}",
            "–" if pd.isna(row["memory_mib"]) else f"{row['memory_mib']:.0f} MiB",
        )
    return table


def _shown(timings: pd.DataFrame) -> list[str]:
    return shown_knobs(swept_knobs(timings))


def describe(row: pd.Series, timings: pd.DataFrame) -> str:
    values = [f"{name}={value_text(row[name])}" for name in _shown(timings)]
    return f"{' '.join(values)}, {counted(row['threads'], 'thread')}"


def plot_speed(folder: Path, speed: pd.DataFrame) -> Path | None:
    """Write speed.png: tokens/s against num_hiddens by model, and the share of the machine's limit.

    Nothing where num_hiddens was not varied or no timing is clean.
    """
    machine = speed["machine"].mode().iloc[0]  # timings of different machines never share a figure
    timed = speed[speed["machine"] == machine].dropna(subset=["tokens_per_s"])
    if timed["num_hiddens"].nunique() < 2:
        return None
    from ablate.report.plots import draw_speed

    return draw_speed(folder / "speed.png", timed)
