"""What language models add to a report: what predicts the same held-out text without a network."""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import pandas as pd

from ablate.analysis.baselines import TEXT
from ablate.config.metrics import METRICS, reported_as
from ablate.report import wording
from ablate.report.answer import best_setting
from ablate.report.blocks import Column, Sheet
from ablate.report.material import Material
from ablate.report.numbers import number, ratio_text
from ablate.report.sections import Section
from ablate.report.tables import mean_text, setting_name, value_text
from ablate.report.wording import seeing, unit_of

SHOWN = {"corpus": "text", "unit": "tokens", "max_tokens": "trained on", "val_tokens": "held out"}
"""What of a text a table shows where it tells two of them apart → its heading."""

OF_NETWORKS = {"val_perplexity": "at its last epoch", "best_val_perplexity": "at its best epoch"}
"""By what the best network is found → what that is."""

WITHOUT = "no network"


def in_words(name: str) -> str:
    """A baseline as a table calls it."""
    return f"{name}, Kneser–Ney" if name.endswith("-gram") else name.upper() if name == "ppm" else name


def of_texts(m: Material) -> Iterator[tuple[pd.DataFrame, pd.DataFrame]]:
    """For each text the settings that say how well it is predicted, and its baselines; only where there are both."""
    settings = m.settings[~seeing(m.settings) & m.settings["val_perplexity"].notna()]
    of = dict(list(m.baselines.groupby(TEXT, sort=False)))
    for text, own in settings.groupby(TEXT, sort=False):
        if text in of:
            yield own, of[text]


@dataclass
class Predictor:
    """A row of the table."""

    name: str
    what: str
    perplexity: float
    bits: float
    texts: tuple[str, str]
    """The two numbers, those of networks with their intervals."""


def part_that_reports(m: Material) -> str:
    """test where every text has test tokens, by which nothing was chosen, else val."""
    tested = m.baselines["test_perplexity"].notna().all() and bool(wording.tested(m.settings))
    return "test" if tested else "val"


TEXTS = {"val": "held-out", "test": "test"}
NOTED = {
    "gzip": "gzip, bzip2, xz: by how much what they write grows when that text follows the training text, and the "
    "perplexity that so many bits are.",
    "ppm": "PPM: prediction by partial matching of characters, method C, contexts up to 5 (Cleary, Teahan and Witten "
    "1995), which like those learns from what it has read.",
}
"""What is said of a baseline where the table has it."""

BITS = {"val": "bits_per_character", "test": "test_bits_per_character"}


def predictors(settings: pd.DataFrame, baselines: pd.DataFrame, swept: Sequence[str], part: str) -> Iterator[Predictor]:
    """Of one text the best network at its last epoch, that at its best epoch, and all baselines.

    The held-out text says which is the best; the numbers are those of `part`, val or test.
    """
    for metric, what in OF_NETWORKS.items():
        best = best_setting(settings, metric)
        shown = reported_as(metric) if part == "test" else metric
        if best is not None:
            last = metric == "val_perplexity"  # bits are those of the last epoch
            bits = float(best[BITS[part]]) if last else math.nan
            texts = mean_text(best, shown), mean_text(best, BITS[part]) if last else "–"
            yield Predictor(setting_name(best, swept), what, float(best[shown]), bits, texts)
    for _, one in baselines.iterrows():
        bits, perplexity = float(one[BITS[part]]), float(one[f"{part}_perplexity"])
        texts = number(perplexity), "–" if math.isnan(bits) else f"{bits:.3f}"
        yield Predictor(in_words(str(one["baseline"])), WITHOUT, perplexity, bits, texts)


def baselines_sheet(m: Material) -> Sheet:
    """What predicts each held-out text, networks first."""
    told = [name for name in SHOWN if m.baselines[name].nunique() > 1]
    columns = [Column(SHOWN[name], name.endswith("tokens")) for name in told]
    part = part_that_reports(m)
    title = METRICS[f"{part}_perplexity"].title
    columns += [Column("predicted by", long=True), Column(title, True), Column("bits/character", True)]
    columns.append(Column("to the first", True))
    rows, data = list[list[str]](), list[dict[str, Any]]()
    for settings, baselines in of_texts(m):
        text, found = baselines.iloc[0], list(predictors(settings, baselines, m.swept, part))
        for one in found:
            ratio = one.perplexity / found[0].perplexity
            said = [value_text(text[name]) for name in told]
            rows.append([*said, f"{one.name}, {one.what}", *one.texts, ratio_text(ratio)])
            data.append(
                {name: text[name] for name in ("corpus", *TEXT)}
                | {"predicted_by": one.name, "what": one.what}
                | {f"{part}_perplexity": one.perplexity, BITS[part]: one.bits, "to_first": ratio}
            )
    return Sheet("baselines", "Predicted without a network", columns, rows, pd.DataFrame(data), _notes(m, part))


def _notes(m: Material, part: str) -> list[str]:
    on = "by the held-out text" if part == "test" else "on this very text"
    return [
        f"All learn from the same training text and predict the same {TEXTS[part]} text. The networks are the best of "
        f"their sweep {on}; what is no network has no seeds, and so no interval. Uniform: every "
        f"{unit_of(m.settings)} of the vocabulary is as likely. n-grams: interpolated modified Kneser–Ney (Chen and "
        f"Goodman 1999).{''.join(f' {said}' for name, said in NOTED.items() if name in {*m.baselines['baseline']})}"
    ]


def sentences(m: Material) -> Iterator[str]:
    """The best network beside the best baseline, of a sweep on one text."""
    texts = list(of_texts(m))
    if len(texts) != 1:
        return
    [(settings, baselines)] = texts
    part = part_that_reports(m)
    column = f"{part}_perplexity"
    best = baselines.iloc[int(baselines["val_perplexity"].to_numpy(float).argmin())]
    told: dict[str, list[str]] = {}  # setting → what it reaches, and when
    for metric, what in OF_NETWORKS.items():
        if (own := best_setting(settings, metric)) is not None:
            reached = number(own[reported_as(metric) if part == "test" else metric])
            told.setdefault(setting_name(own, m.swept), []).append(f"{reached} {what}")
    networks = [f"{name} has {' and '.join(reached)}" for name, reached in told.items()]
    yield (
        f"Without a network the {TEXTS[part]} text is predicted at perplexity {number(best[column])} "
        f"({in_words(str(best['baseline']))}); of the networks, {' and '.join(networks)}."
    )


def best_baseline(m: Material) -> tuple[str, float] | None:
    """What predicts the one held-out text best without a network, in the words of a legend, and its perplexity."""
    if m.baselines.empty or len(m.baselines.drop_duplicates(TEXT)) > 1:
        return None
    best = m.baselines.iloc[int(m.baselines["val_perplexity"].to_numpy(float).argmin())]
    return f"{in_words(str(best['baseline']))} ({WITHOUT})", float(best["val_perplexity"])


BASELINES = Section(
    "baselines",
    "Without a network",
    lambda m: any(True for _ in of_texts(m)),
    tables=lambda m: {"baselines": partial(baselines_sheet, m)},
    sentences=sentences,
)
