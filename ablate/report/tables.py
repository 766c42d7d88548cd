"""The table of a sweep on the terminal."""

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import pandas as pd
from rich import box
from rich.table import Table
from rich.text import Text

from ablate.analysis.frames import matched, swept_knobs
from ablate.analysis.frames import value_text as value_text
from ablate.analysis.tasks import of_networks
from ablate.config.metrics import METRICS, by_difference, decimals
from ablate.config.registry import DATASETS
from ablate.config.terminal import console, lines, one_line
from ablate.report.numbers import listed, percent, whole
from ablate.report.wording import (
    future_note,
    heading,
    held_out_words,
    marked,
    own_metrics,
    scored,
    sees_future,
    shown_metrics,
)

PLAIN: dict[str, Any] = {
    "box": box.SIMPLE_HEAD,
    "show_edge": False,
    "padding": (0, 1, 0, 0),
    "title_style": "bold",
    "title_justify": "left",
    "header_style": "bold",
}
"""The look of all tables: narrow enough for a terminal of 80 columns."""

Facts = Mapping[Any, Any] | pd.Series
"""A row of the frame of the settings, by the names of its columns."""

MEASURED = {
    "tail_perplexity": "tail",
    "perplexity": "last epoch",
    "val_perplexity": "held-out",
}


def measured_columns(settings: pd.DataFrame) -> dict[str, str]:
    """Metric → heading of what the table on the terminal shows."""
    shown = shown_metrics(settings)
    if own_metrics(settings) or not of_networks(settings):
        return {name: heading(name) for name in shown}
    further = {name: heading(name) for name in shown if name not in MEASURED}
    on_held_out = {name: further.pop(name) for name in list(further) if METRICS[name].held_out}
    return {"tail_perplexity": MEASURED["tail_perplexity"], **further, **MEASURED, **on_held_out}


def print_settings(settings: pd.DataFrame, runs: pd.DataFrame, title: str, level: float = 0.95) -> None:
    """One row per setting: what was varied, n, means with their interval, diverged runs, time."""
    print_whole(settings_table(settings, runs, title))
    lines(stderr=False)(footnote(runs, level, settings), style="dim")


def print_whole(table: Table) -> None:
    """Print a table as wide as it is: in a terminal too narrow its lines wrap, but no digit is cut off."""
    out = console()
    if table.row_count > MANY_ROWS and not out.options.ascii_only:
        out.print(laid_out(table), highlight=False, soft_wrap=True)
        return
    needed = out.measure(table, options=out.options.update(max_width=500)).maximum
    console(width=needed).print(table)


MANY_ROWS = 200
"""More rows than these are laid out here: rich, which could also wrap what is in them, takes milliseconds for each."""


def laid_out(table: Table) -> Text:
    """A table that looks as all of ours do (`PLAIN`), and whose cells are texts, as rich would print it.

    Of any number of rows in a time that grows with them alone.
    """
    columns = [[Text(one_line(str(column.header)), "bold"), *map(_cell, column.cells)] for column in table.columns]
    widths = [max(cell.cell_len for cell in cells) for cells in columns]
    lines = []
    if table.title is not None:
        title = _cell(table.title)
        title.stylize(PLAIN["title_style"])
        title.pad_right(max(0, sum(widths) + 2 * len(widths) - 1 - title.cell_len))
        lines.append(title)
    for number, row in enumerate(zip(*columns, strict=True)):
        line = Text()
        for place, (cell, width, column) in enumerate(zip(row, widths, table.columns, strict=True)):
            gap = " " * (width - cell.cell_len)
            line.append("" if column.justify == "left" else gap).append_text(cell)
            line.append((gap if column.justify == "left" else "") + "  "[: 2 if place < len(widths) - 1 else 1])
        lines.append(line)
        if number == 0:
            lines.append(Text("─" * line.cell_len))
    return Text("\n").join(lines)


def _cell(content: Any) -> Text:
    return content.copy() if isinstance(content, Text) else Text(one_line(str(content)))


def settings_table(settings: pd.DataFrame, runs: pd.DataFrame, title: str) -> Table:
    shown, measures = setting_columns(settings, swept_knobs(runs)), measured_columns(settings)
    table = Table(title=title, **PLAIN)
    for name in shown:
        table.add_column(name, justify="left" if settings[name].dtype == object or name == "model" else "right")
    timed = settings["tokens_per_s"].notna().any() or settings["why"].notna().any()
    for name in ("n", *measures.values(), "diverged", *(["tokens/s"] if timed else []), "time per run"):
        table.add_column(name, justify="right")
    for setting in settings.to_dict("records"):
        measured = [mean_text(setting, metric) for metric in measures]
        diverged = Text(str(setting["diverged"]), "red" if setting["diverged"] else "")
        time = "–" if math.isnan(setting["wall_s"]) else f"{_seconds(setting['wall_s'])} s"
        speed = [thousands(setting, "tokens_per_s")] if timed else []
        table.add_row(*setting_texts(setting, shown), str(setting["n"]), *measured, diverged, *speed, time)
    return table


def _seconds(mean: float) -> str:
    return f"{mean:.3g}" if mean < 999.5 else f"{mean:,.0f}"


def shown_knobs(swept: Sequence[str]) -> list[str]:
    """What names a setting: its model, and what the sweep varies."""
    return [*swept] if "model" in swept else ["model", *swept]


def setting_columns(settings: pd.DataFrame, swept: Sequence[str]) -> list[str]:
    """The columns that tell settings apart in a table; where sizes were matched, their width and size, too, and where
    a rule ended runs, how long they were trained."""
    shown = shown_knobs(swept)
    of_size = [name for name in ("num_hiddens", "parameters") if matched(settings) and name not in shown]
    return [*shown, *of_size, *(name for name in ("epochs_trained",) if name in settings)]


def setting_texts(setting: Facts, shown: Sequence[str]) -> list[str]:
    """What stands in these columns for a setting; with a dagger where it sees the future."""
    written: dict[str, Callable[[Any], str]] = {"parameters": whole, "epochs_trained": _mean_of_runs}
    texts = [written.get(name, value_text)(setting[name]) for name in shown]
    if texts:
        where = shown.index("bidirectional") if "bidirectional" in shown else 0
        texts[where] = marked(texts[where], sees_future(setting))
    return texts


def _mean_of_runs(mean: float) -> str:
    return f"{mean:.4g}" if mean < 1000 else f"{mean:.0f}"


def setting_name(setting: Facts, swept: Sequence[str]) -> str:
    """`gru, lr=0.5`: a model by its name, other knobs with theirs; with a dagger where the setting sees the future."""
    said = {knob: value_text(setting[knob]) for knob in shown_knobs(swept)}
    name = ", ".join(text if knob == "model" else f"{knob}={text}" for knob, text in said.items())
    return marked(name, sees_future(setting))


USUAL = "right after the training tokens"
"""Where held-out text lies, as a table says it."""


def footnote(runs: pd.DataFrame, level: float = 0.95, settings: pd.DataFrame | None = None) -> str:
    """What the numbers are and where they come from."""
    rows = runs if settings is None else settings
    means = f"{means_note([*measured_columns(rows)], level)}, over n seeds"
    if not of_networks(runs):
        return means
    corpora = ", ".join(
        f"{name} (generated {unit}s)" if DATASETS.known(name).by_rule else f"{name} ({unit}, SHA-256 {sha[:12]}…)"
        for name, unit, sha in runs[["corpus", "unit", "corpus_sha256"]].drop_duplicates().itertuples(index=False)
    )
    of, seen = scored(runs), future_note(runs)
    if own_metrics(rows):
        what = f"perplexity {of} in the last epoch" if of else "perplexity of the last epoch"
        return f"{what}; {means}; corpus {corpora}"
    return (
        f"perplexity (tail: geometric mean of the last 5 % of epochs; held-out: text {held_out_words(runs, USUAL)}); "
        f"{means}; corpus {corpora}"
        f"{f'. {seen}' if seen else ''}"
    )


def means_note(metrics: Sequence[str], level: float) -> str:
    """What the values of these metrics in a table are, and what stands beside them."""
    arithmetic = [heading(name) for name in metrics if by_difference(name)]
    if len(arithmetic) == len(metrics):
        return f"arithmetic mean and its {percent(level)} interval (t)"
    others = f", of {listed(arithmetic)} the arithmetic mean (t interval)" if arithmetic else ""
    return f"geometric mean ± half its {percent(level)} interval (t, on logarithms), or (its ends){others}"


def mean_text(setting: Facts, metric: str) -> str:
    """A setting's mean of a metric with its interval, as `interval_of` has it."""
    return interval_of(metric, setting[metric], setting[f"{metric}_low"], setting[f"{metric}_high"])


def interval_of(metric: str, mean: float, low: float, high: float) -> str:
    """A mean of a metric with its interval: as `plus_minus` has it; of a metric with a largest value, as `bounded`."""
    top = METRICS.known(metric).top
    return plus_minus(mean, low, high) if top is None else bounded(mean, low, high, top)


def bounded(mean: float, low: float, high: float, top: float) -> str:
    """`0.970 (0.940–1.000)`: an interval that ends where its metric does cannot be written with ±."""
    if math.isnan(mean):
        return "–"
    digits = decimals(top)
    return f"{mean:.{digits}f}" + ("" if math.isnan(low) else f" ({low:.{digits}f}–{high:.{digits}f})")


HUGE, TINY = 1e9, 1e-2
"""From here up and from here down numbers have the digits that count, and a power of ten, not all of their places."""


def _end(value: float, digits: int) -> str:
    """An end of an interval; ∞ where it is beyond all numbers."""
    return "∞" if math.isinf(value) else f"{value:.{digits}g}"


def plus_minus(mean: float, low: float, high: float) -> str:
    """`3.21 ± 0.04`, with the digits that the interval supports; `5.1 (3.9–6.7)` where it reaches farther to one side.

    An interval on logarithms always does; the half of it stands only where, to the digits shown, both sides agree.
    """
    if math.isnan(mean):
        return "–"
    if math.isnan(high) or math.isnan(low):
        return f"{mean:.4g}"
    wide = high >= 1e6 * abs(mean) > 0  # two runs that have nothing in common
    if abs(mean) >= HUGE or wide or 0 < max(map(abs, (mean, low, high))) < TINY:
        digits = 2 if wide else 4
        return f"{mean:.4g} ({_end(low, digits)}–{_end(high, digits)})"
    below, above = mean - low, high - mean
    half = min(below, above)
    digits = 2 if half <= 0 else min(4, max(0, 1 - math.floor(math.log10(half))))
    if f"{below:.{digits}f}" == f"{above:.{digits}f}":
        return f"{mean:.{digits}f} ± {half:.{digits}f}"
    return f"{mean:.{digits}f} ({low:.{digits}f}–{high:.{digits}f})"


def thousands(row: Facts, column: str) -> str:
    """`58.1k ± 0.4`, or `58.1k (55.9–60.4)` as `plus_minus` decides; `–` where there is no clean number."""
    value: Any = row[column]
    if pd.isna(value):
        return "–"
    least: Any = row.get(f"{column}_low", math.nan)
    if pd.isna(least):
        return f"{value / 1000:.4g}k"
    low, high = least / 1000, row[f"{column}_high"] / 1000
    mean, digits = value / 1000, 1 if value >= 10_000 else 2
    below, above = f"{mean - low:.{digits}f}", f"{high - mean:.{digits}f}"
    reach = f"± {above}" if below == above else f"({low:.{digits}f}–{high:.{digits}f})"
    return f"{mean:.{digits}f}k {reach}"
