"""What others published, laid beside our settings: single measurements (`results/published/README.md`)."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import pandas as pd

from ablate.analysis.own_published import match_own
from ablate.analysis.published_translation import FILE, match_translations, published_translations, seeds_differ
from ablate.config.columns import added_later
from ablate.config.dependence import IMPLEMENTATION
from ablate.config.registry import FIRST_TASK, TASKS
from ablate.config.schema import PUBLISHED_DIR

PROTOCOL: dict[str, Any] = {
    "corpus_sha256": "3b4cba3f9e4913b3551a759f60198bf6a6ad7b0753305de0b96d5fffad1b1cc6",
    "unit": "char",
    "activation": "tanh",
    "optimizer": "sgd",
    "weight_decay": 0.0,
    "schedule": "constant",
    "clip": 1.0,
    "max_tokens": 10_000,
}
"""What all published rows have in common, by the names of our knobs: the start of The Time Machine."""

SETTING = ["model", "formulation", "num_hiddens", "layers", "num_steps", "batch_size", "sampling", "lr", "epochs"]
"""What a published row says of itself and a setting must agree with."""

OUR_SAMPLING = {"random": "sequential-reset"}
"""What was published as random sampling kept the text in order and zeroed the state at every minibatch: our name."""

AS_PUBLISHED = {
    "gru-no-update-as-published": ("update=0", "candidate", False),
    "gru-no-reset-as-published": ("reset=1", "candidate", True),
}
"""Gates held fixed, readout and write_back of the published models that are no plain cells."""

MATCHED = (
    *("published_perplexity", "published_tokens_per_s", "published_course_loss", "published_perfect"),
    *("source", "repeats", "published_epochs", "differs", "of_course"),
)


@cache
def published() -> pd.DataFrame:
    """One row per published setting of a language model: source, note, device, the knobs, repeats, perplexity,
    tokens_per_s.

    The rows of a table are means over `repeats` runs without a spread; tokens_per_s is a single reading.
    """
    tables = [pd.read_csv(path, encoding="utf-8") for path in _tables()]
    rows = pd.concat([table.rename(columns={"table": "source"}) for table in tables], ignore_index=True)
    rows = rows.rename(columns={"tokens_per_sec": "tokens_per_s"}).assign(**PROTOCOL)
    rows["repeats"] = rows["repeats"].fillna(1).astype(int)
    rows["sampling"] = rows["sampling"].replace(OUR_SAMPLING)
    return rows


def _tables() -> list[Path]:
    return sorted(path for path in PUBLISHED_DIR.glob("*.csv") if path.name != FILE)


def match(settings: pd.DataFrame, own: pd.DataFrame | None = None) -> pd.DataFrame:
    """The published value of each setting that has one: setting_id and the columns of MATCHED, in the order of the
    settings; what a person's own rows say (`own_published`) in the place of what the course published.

    `settings` as `aggregate` gives them. Only a setting that repeats a published protocol, in everything that decides
    its outcome, has a row: one on another text, on more of it or for fewer epochs has none. `differs` says how many
    seeds there are here and there, and is empty where there are as many. Where several publications have the same
    setting, the one that covers most of the sweep is taken, so that settings compared with each other come from one
    publication; then the one with most repeats, then the smallest table.
    """
    if settings.empty:
        return pd.DataFrame(columns=["setting_id", *MATCHED])
    found = [part for publication in PUBLICATIONS if len(part := publication.match(settings))]
    found = [part.assign(of_course=True) for part in found]
    theirs = match_own(settings, own) if own is not None else pd.DataFrame()
    if len(theirs):
        found = [theirs, *(part[~part["setting_id"].isin(theirs["setting_id"])] for part in found)]
    if not found:
        return pd.DataFrame(columns=["setting_id", *MATCHED])
    known = pd.concat([part for part in found if len(part)], ignore_index=True)
    further = [name for name in theirs if name not in ("setting_id", *MATCHED)]
    known = known.reindex(columns=["setting_id", *MATCHED, *further])
    place = {setting: number for number, setting in enumerate(settings["setting_id"])} if len(theirs) else {}
    return known.sort_values("setting_id", key=lambda ids: ids.map(place), ignore_index=True) if place else known


def _match_language(settings: pd.DataFrame) -> pd.DataFrame:
    """The same for the language models among the settings."""
    settings = settings[settings["task"] == FIRST_TASK]
    known = settings[_as_published(settings)] if len(settings) else settings
    rows = published().rename(columns=lambda name: name if name in SETTING else f"published_{name}")
    pairs = known.merge(rows, on=SETTING) if len(known) else known
    if pairs.empty:
        return pairs
    source, repeats = pairs["published_source"], pairs["published_repeats"]
    pairs = pairs.assign(
        source=source,
        repeats=repeats,
        published_epochs=pairs["epochs"],
        differs=[seeds_differ(pair, pair["published_repeats"]) for _, pair in pairs.iterrows()],
        place=pairs["setting_id"].map({setting: place for place, setting in enumerate(settings["setting_id"])}),
        uncovered=-pairs.groupby("published_source")["setting_id"].transform("nunique"),
        single=-repeats,
        size=source.map(published()["source"].value_counts()),
    )
    best = pairs.sort_values(["uncovered", "single", "size", "source"]).drop_duplicates("setting_id")
    return best.sort_values("place", ignore_index=True)


def _as_published(settings: pd.DataFrame) -> list[bool]:
    """Which settings mean what the publications mean by that model and formulation, on their text."""
    fits = []
    for _, setting in settings.iterrows():
        own = IMPLEMENTATION[setting["formulation"]]
        gates, readout, write_back = AS_PUBLISHED.get(setting["model"], (None, "state", True))
        fits.append(
            all(same(setting[name], value) for name, value in PROTOCOL.items() if name != "activation")
            and (setting["activation"] == PROTOCOL["activation"] or pd.isna(setting["activation"]))
            and (setting["init"], setting["bias_vectors"]) == (own["init"], own["bias_vectors"])
            and (setting["reset"] == own["reset"] or pd.isna(setting["reset"]))
            and same(setting["gates"], gates)
            and (setting["readout"], bool(setting["write_back"])) == (readout, write_back)
            and setting["dropout"] == 0
            and pd.isna(setting["forget_bias"])
            and all(same(setting[name], absent) for name, absent in added_later("model").items())
        )
    return fits


def same(ours: Any, theirs: Any) -> bool:
    """Whether two values of a knob agree; missing values agree with each other."""
    return bool(ours == theirs or (pd.isna(ours) and pd.isna(theirs)))


@dataclass(frozen=True)
class Publication:
    """What the course published of a task."""

    task: str
    rows: Callable[[], pd.DataFrame]
    match: Callable[[pd.DataFrame], pd.DataFrame]
    note: str
    """What its values are."""

    def lacking(self, settings: pd.DataFrame) -> str:
        """Why none of these settings has a published value."""
        said: str = TASKS[self.task].words.unpublished
        return said


@dataclass(frozen=True)
class OfTexts(Publication):
    def lacking(self, settings: pd.DataFrame) -> str:
        if not (settings["corpus_sha256"] == PROTOCOL["corpus_sha256"]).any():
            corpora = ", ".join(dict.fromkeys(settings["corpus"].astype(str)))
            whose = "The published numbers are of The Time Machine"
            return f"{whose}; this sweep is on {corpora}: nothing to lay them beside."
        if not all(same(value, PROTOCOL["unit"]) for value in settings["unit"]):
            return "The published numbers are of characters; this sweep is on words: nothing to lay them beside."
        return super().lacking(settings)


PUBLICATIONS = (
    OfTexts(
        FIRST_TASK,
        published,
        _match_language,
        "Published perplexities are means without a spread, of as many repeats as the table says.",
    ),
    Publication("translation", published_translations, match_translations, ""),
)


def publication_of(task: str) -> Publication | None:
    """That of a task; of several tasks (an empty name) that of the first there was."""
    return next((one for one in PUBLICATIONS if one.task == (task or FIRST_TASK)), None)
