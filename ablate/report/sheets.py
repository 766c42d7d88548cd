"""The tables of the cells: what was measured, beside what was published, and how the seeds spread."""

import math
from collections.abc import Iterable
from typing import Any

import pandas as pd

from ablate.report.blocks import Column, Sheet
from ablate.report.material import Material
from ablate.report.numbers import interval_text, number, percent, ratio_text
from ablate.report.tables import plus_minus, shown_knobs, thousands, value_text

MOST_ROWS = 60
"""What a person reads; longer tables are cut, say so, and are whole in their CSV."""


def cut(sheet: Sheet, most: int = MOST_ROWS) -> Sheet:
    """Only the first rows of a long table, and how many are left out."""
    sheet.left_out = max(0, len(sheet.rows) - most)
    sheet.rows = sheet.rows[:most]
    return sheet


def knob_columns(names: Iterable[str], cells: pd.DataFrame) -> list[Column]:
    return [Column(name, number=pd.api.types.is_numeric_dtype(cells[name])) for name in names]


class CellsSheet:
    """Each setting: first what was published, then what was measured here, with the ratio of the two."""

    def __init__(self, m: Material) -> None:
        self.m, self.shown = m, shown_knobs(m.swept)
        self.published = m.published.set_index("cell_id")
        self.compared = len(m.published) > 0
        self.held_out = bool(m.cells["val_perplexity"].notna().any())
        self.timed = m.timed or bool(m.cells["why"].notna().any())  # the speed lane has at least tried

    def sheet(self) -> Sheet:
        rows, full, foreign = list[list[str]](), list[dict[str, Any]](), set[int]()
        for _, cell in self.m.cells.iterrows():
            known = self.published.loc[cell["cell_id"]] if cell["cell_id"] in self.published.index else None
            if known is not None:
                foreign.add(len(rows))
                rows.append(self._published(cell, known))
                full.append(self._published_data(cell, known))
            rows.append(self._measured(cell, known))
            full.append(self._measured_data(cell, known))
        return cut(Sheet("cells", "Cells", self._columns(), rows, pd.DataFrame(full), self._notes(), foreign))

    def _columns(self) -> list[Column]:
        ratio = [Column("ratio", True)] * self.compared
        columns = [*knob_columns(self.shown, self.m.cells), *[Column("whose")] * self.compared, Column("n", True)]
        columns += [Column("perplexity", True), *ratio, *[Column("held-out", True)] * self.held_out]
        return [*columns, Column("diverged", True), *[Column("tokens/s", True), *ratio] * self.timed]

    def _published(self, cell: pd.Series, known: pd.Series) -> list[str]:
        speed = known["published_tokens_per_s"]
        row = [*self._knobs(cell), "published", str(known["repeats"])]
        row += [f"{known['published_perplexity']:g}", "", *[""] * self.held_out, ""]
        return row + ["–" if pd.isna(speed) else f"{speed / 1000:.1f}k", ""] * self.timed

    def _measured(self, cell: pd.Series, known: pd.Series | None) -> list[str]:
        def ratio(metric: str) -> list[str]:
            return [ratio_text(_ratio(cell, known, metric))] * self.compared

        row = [*self._knobs(cell), *["here"] * self.compared, str(cell["n"])]
        row += [plus_minus(cell["perplexity"], cell["perplexity_high"]), *ratio("perplexity")]
        row += [plus_minus(cell["val_perplexity"], cell["val_perplexity_high"])] * self.held_out
        return [*row, str(cell["diverged"]), *[thousands(cell, "tokens_per_s"), *ratio("tokens_per_s")] * self.timed]

    def _knobs(self, cell: pd.Series) -> list[str]:
        return [value_text(cell[name]) for name in self.shown]

    def _published_data(self, cell: pd.Series, known: pd.Series) -> dict[str, Any]:
        return {
            "cell_id": cell["cell_id"],
            **{name: cell[name] for name in self.shown},
            "whose": "published",
            "source": known["source"],
            "n": known["repeats"],
            "perplexity": known["published_perplexity"],
            "tokens_per_s": known["published_tokens_per_s"],
        }

    def _measured_data(self, cell: pd.Series, known: pd.Series | None) -> dict[str, Any]:
        out = {"cell_id": cell["cell_id"], **{name: cell[name] for name in self.shown}, "whose": "here"}
        out |= {"source": "", "n": cell["n"], "diverged": cell["diverged"]}
        for metric in ("perplexity", "val_perplexity", "tokens_per_s"):
            out |= {name: cell[name] for name in (metric, f"{metric}_low", f"{metric}_high")}
        for metric in ("perplexity", "tokens_per_s"):
            out[f"{metric}_over_published"] = _ratio(cell, known, metric)
        return out | {"differs": "" if known is None else known["differs"]}

    def _notes(self) -> list[str]:
        notes = [
            "Perplexity of the last epoch on the training text"
            f"{'; held-out: on the text right after it' if self.held_out else ''}. "
            f"Mean ± half the {percent(self.m.level)} t interval over n seeds; a diverged run enters no mean."
        ]
        if self.timed:
            notes.append(
                "Tokens/s: one run alone on the machine, one thread; median of the speed lane ± half its 95 % "
                "interval, – where too few samples were clean."
            )
        if self.compared:
            sources = ", ".join(dict.fromkeys(self.m.published["source"]))
            notes.append(
                f"Published ({sources}): what someone else measured once, over n repeats; ratio: ours over theirs."
            )
        return notes


def _ratio(cell: pd.Series, known: pd.Series | None, metric: str) -> float:
    if known is None or pd.isna(cell[metric]):
        return math.nan
    return float(cell[metric]) / float(known[f"published_{metric}"])


SPREAD = ("sd", "median", "iqm", "low", "high", "boot_low", "boot_high")


def spread_sheet(m: Material) -> Sheet:
    """How the runs of each cell spread: moments, robust means and both intervals."""
    shown = shown_knobs(m.swept)
    metrics = {"perplexity": "training", "val_perplexity": "held-out"}
    metrics = {name: text for name, text in metrics.items() if m.cells[name].notna().any()}
    columns = [*knob_columns(shown, m.cells), Column("text")]
    columns += [Column(name, True) for name in ("n", "mean", "sd", "median", "IQM", "bootstrap")]
    columns += [Column("parameters", True), Column("updates", True)]
    rows, full = [], []
    for _, cell in m.cells.iterrows():
        for metric, text in metrics.items():
            values = {key: cell[f"{metric}_{key}"] for key in SPREAD}
            rows.append(
                [
                    *(value_text(cell[name]) for name in shown),
                    text,
                    str(cell["n"]),
                    number(cell[metric]),
                    "–" if pd.isna(values["sd"]) else f"{values['sd']:#.2g}",
                    number(values["median"]),
                    number(values["iqm"]),
                    interval_text(values["boot_low"], values["boot_high"]),
                    f"{cell['parameters']:,}",
                    f"{cell['updates']:,}",
                ]
            )
            known = {name: cell[name] for name in ("cell_id", *shown)}
            facts = {name: cell[name] for name in ("n", "diverged", "parameters", "updates")}
            full.append(known | {"metric": metric, "mean": cell[metric]} | values | facts)
    notes = [
        f"Perplexity. IQM: mean of the middle half of the runs; bootstrap: {percent(m.level)} interval of the mean."
    ]
    return cut(Sheet("spread", "Spread over the seeds", columns, rows, pd.DataFrame(full), notes))
