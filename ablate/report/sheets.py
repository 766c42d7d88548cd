"""The tables of the settings: what was measured, beside what was published, and how the seeds spread."""

import math
from collections.abc import Iterable
from typing import Any

import pandas as pd

from ablate.analysis.tasks import facts_of, of_networks
from ablate.config.metrics import by_difference
from ablate.report.blocks import Column, Sheet
from ablate.report.material import Material
from ablate.report.numbers import ends_text, listed, number, percent, ratio_text, whole
from ablate.report.tables import (
    Facts,
    mean_text,
    means_note,
    setting_columns,
    setting_texts,
    shown_knobs,
    thousands,
)
from ablate.report.wording import (
    SPEED_IS,
    capital,
    explanations,
    future_note,
    heading,
    held_out_words,
    own_metrics,
    scored,
    seeing,
    sees_future,
    shown_metrics,
)

MOST_ROWS = 60
"""What a person reads; longer tables are cut, say so, and are whole in their CSV."""


def cut(sheet: Sheet) -> Sheet:
    """Only the first rows of a long table, and how many are left out."""
    sheet.left_out = max(0, len(sheet.rows) - MOST_ROWS)
    sheet.rows = sheet.rows[:MOST_ROWS]
    return sheet


def knob_columns(names: Iterable[str], settings: pd.DataFrame) -> list[Column]:
    """Columns of knobs; those of numbers are aligned right."""
    kinds = pd.api.types
    return [
        Column(name, number=kinds.is_numeric_dtype(settings[name]) and not kinds.is_bool_dtype(settings[name]))
        for name in names
    ]


PUBLISHED_AS = {"course_bleu": "published_perfect"}
"""Metric → the column of what was published in its place, where that is no value of the metric."""


class SettingsSheet:
    """Each setting: first what was published, then what was measured here, with the ratio of the two."""

    def __init__(self, m: Material) -> None:
        self.m, self.shown = m, setting_columns(m.settings, m.swept)
        self.published = m.published.set_index("setting_id")
        self.compared = len(m.published) > 0
        self.measured = shown_metrics(m.settings)
        self.compares = [name for name in self.measured if self._known(name).notna().any()]
        """Metrics with published values, each with a column for the ratio to them."""
        self.timed = m.timed or bool(m.settings["why"].notna().any())  # the speed lane has at least tried
        self.some_see = bool(seeing(m.settings).any())
        """Whether any setting sees the future."""

    def _known(self, metric: str) -> pd.Series:
        """setting_id → the published value of a metric, as text or number; empty where nobody published any."""
        column = PUBLISHED_AS.get(metric, f"published_{metric}")
        return self.published[column] if column in self.published else pd.Series(dtype=float)

    def sheet(self) -> Sheet:
        rows, full, foreign = list[list[str]](), list[dict[str, Any]](), set[int]()
        for setting in self.m.settings.to_dict("records"):
            known = self.published.loc[setting["setting_id"]] if setting["setting_id"] in self.published.index else None
            if known is not None:
                foreign.add(len(rows))
                rows.append(self._published(setting, known))
                full.append(self._published_data(setting, known))
            rows.append(self._measured(setting, known))
            full.append(self._measured_data(setting, known))
        return cut(Sheet("settings", "Settings", self._columns(), rows, pd.DataFrame(full), self._notes(), foreign))

    def _columns(self) -> list[Column]:
        ratio = [Column("ratio", True)]
        columns = [*knob_columns(self.shown, self.m.settings), *[Column("whose")] * self.compared, Column("n", True)]
        for metric in self.measured:
            columns += [Column(heading(metric), True), *ratio * self._has_ratio(metric)]
        timed = [Column("tokens/s", True), *ratio * self.compared] * self.timed
        return [*columns, Column("diverged", True), *timed]

    def _has_ratio(self, metric: str) -> bool:
        return metric in self.compares and metric not in PUBLISHED_AS

    def _published(self, setting: Facts, known: pd.Series) -> list[str]:
        speed = known["published_tokens_per_s"]
        row = [*setting_texts(setting, self.shown), "published", str(known["repeats"])]
        for metric in self.measured:
            value = self._known(metric).get(setting["setting_id"], math.nan)
            text = f"{value} at 1" if isinstance(value, str) else f"{value:g}"
            row += ["" if pd.isna(value) else text, *[""] * self._has_ratio(metric)]
        return [*row, "", *["–" if pd.isna(speed) else f"{speed / 1000:.1f}k", ""] * self.timed]

    def _measured(self, setting: Facts, known: pd.Series | None) -> list[str]:
        def ratio(metric: str) -> list[str]:
            return [ratio_text(_ratio(setting, known, metric))]

        row = [*setting_texts(setting, self.shown), *["here"] * self.compared, str(setting["n"])]
        for metric in self.measured:
            row += [mean_text(setting, metric), *(ratio(metric) if self._has_ratio(metric) else [])]
        timed = [thousands(setting, "tokens_per_s"), *(ratio("tokens_per_s") if self.compared else [])]
        return [*row, str(setting["diverged"]), *timed * self.timed]

    def _published_data(self, setting: Facts, known: pd.Series) -> dict[str, Any]:
        return {
            "setting_id": setting["setting_id"],
            **{name: setting[name] for name in self.shown},
            "whose": "published",
            "source": known["source"],
            "n": known["repeats"],
            "perplexity": known["published_perplexity"],
            "tokens_per_s": known["published_tokens_per_s"],
            **{
                name: known[f"published_{name}"]
                for name in self.measured
                if name != "perplexity" and name in self.compares and name not in PUBLISHED_AS
            },
        }

    def _measured_data(self, setting: Facts, known: pd.Series | None) -> dict[str, Any]:
        out = {"setting_id": setting["setting_id"], **{name: setting[name] for name in self.shown}, "whose": "here"}
        out |= {"source": "", "n": setting["n"], "diverged": setting["diverged"]}
        for metric in dict.fromkeys((*self.measured, "perplexity", "val_perplexity", "tokens_per_s")):
            out |= {name: setting[name] for name in (metric, f"{metric}_low", f"{metric}_high")}
        if self.some_see:
            out["sees_future"] = sees_future(setting)
        for metric in ("perplexity", "tokens_per_s"):
            out[f"{metric}_over_published"] = _ratio(setting, known, metric)
        return out | {"differs": "" if known is None else known["differs"]}

    def _notes(self) -> list[str]:
        settings = self.m.settings
        means = capital(means_note(self.measured, self.m.level))
        if of_networks(settings):
            means = f"{perplexity_note(settings)} {means}"
        notes = [
            *explanations(settings),
            f"{means}; over n seeds, a diverged run enters no mean.",
            *[future_note(settings)] * bool(future_note(settings)),
        ]
        if self.timed:
            notes.append(
                f"Tokens/s: one run alone on the machine, one thread; {SPEED_IS} ± half its 95 % interval (t, on "
                "logs; none from too few processes), – where too few samples were clean."
            )
        if self.compared:
            sources = ", ".join(dict.fromkeys(self.m.published["source"]))
            notes.append(
                f"Published ({sources}): what someone else measured once, over n repeats; ratio: ours over theirs."
                + (
                    " 3 of 4 at 1: so many of the sentences shown had a BLEU of 1."
                    if {*PUBLISHED_AS} & {*self.measured}
                    else ""
                )
            )
        return notes


def perplexity_note(settings: pd.DataFrame) -> str:
    """What the perplexities of a table are."""
    held_out = settings["val_perplexity"].notna().any()
    of = scored(settings)
    words = facts_of(settings).words
    if not own_metrics(settings):
        of = "on the training text, of the last epoch; tail: the geometric mean of the last 5 % of epochs"
        after = f"on the text {held_out_words(settings)}"
    else:
        of, after = (
            f"{of} in {words.epoch}".strip(),
            words.held_out.format(where=held_out_words(settings, "right after the training's")),
        )
    return f"Perplexity {of}{f'; held-out: {after}' if held_out else ''}."


def _ratio(setting: Facts, known: pd.Series | None, metric: str) -> float:
    if known is None:
        return math.nan
    ours: float = setting[metric]
    theirs: float = known[f"published_{metric}"]
    return math.nan if pd.isna(ours) or pd.isna(theirs) or not theirs else float(ours) / float(theirs)


SPREAD = ("sd", "median", "iqm", "low", "high", "boot_low", "boot_high")


def spread_sheet(m: Material) -> Sheet:
    """How the runs of each setting spread: moments, robust means and both intervals."""
    shown, own = shown_knobs(m.swept), own_metrics(m.settings)
    texts = {"perplexity": "training" if own else "last epoch"} | {"tail_perplexity": "tail"}
    metrics = {name: texts.get(name, heading(name)) for name in shown_metrics(m.settings)}
    metrics = {name: text for name, text in metrics.items() if m.settings[name].notna().any()}
    columns = [*knob_columns(shown, m.settings), Column("metric")]
    columns += [Column(name, True) for name in ("n", "mean", "sd", "median", "IQM", "bootstrap")]
    networks = of_networks(m.settings)
    columns += [Column("parameters", True), Column("updates", True)] * networks
    rows, full = [], []
    named, facts = ["setting_id", *shown], ["n", "diverged", "parameters", "updates"]
    measured = [f"{metric}{ending}" for metric in metrics for ending in ("", *(f"_{key}" for key in SPREAD))]
    needed = [*dict.fromkeys([*named, *facts, *measured, *("sees_future",) * ("sees_future" in m.settings)])]
    for setting in m.settings[needed].to_dict("records"):  # of some hundred columns
        for metric, text in metrics.items():
            values = {key: setting[f"{metric}_{key}"] for key in SPREAD}
            rows.append(
                [
                    *setting_texts(setting, shown),
                    text,
                    str(setting["n"]),
                    number(setting[metric]),
                    "–" if pd.isna(values["sd"]) else f"{values['sd']:#.2g}".removesuffix("."),
                    number(values["median"]),
                    number(values["iqm"]),
                    ends_text(values["boot_low"], values["boot_high"]),
                    *[whole(setting[name]) for name in ("parameters", "updates") if networks],
                ]
            )
            known, counts = ({name: setting[name] for name in names} for names in (named, facts))
            full.append(known | {"metric": metric, "mean": setting[metric]} | values | counts)
    what = "" if not networks else "training, held-out: perplexity. " if own else "Perplexity. "
    arithmetic = [text for name, text in metrics.items() if by_difference(name)]
    means = "arithmetic" if len(arithmetic) == len(metrics) else "geometric"
    means += f", of {listed(arithmetic)} arithmetic" * (means == "geometric" and bool(arithmetic))
    notes = [
        f"{what}Mean: {means}; sd: of the values themselves; IQM: mean of the middle half of the runs; bootstrap: "
        f"{percent(m.level)} interval of the mean."
    ]
    notes += [future_note(m.settings)] * bool(future_note(m.settings))
    return cut(Sheet("spread", "Spread over the seeds", columns, rows, pd.DataFrame(full), notes))
