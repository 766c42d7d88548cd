"""The published translation experiment, laid beside our settings (`results/published/translation.csv`)."""

from functools import cache

import pandas as pd

from ablate.config.errors import counted
from ablate.config.schema import PUBLISHED_DIR

FILE = "translation.csv"
PAIRS_SHA256 = "28f0e806d34e24aa4a98e9fc1c976759559d005b353d527c9a553da3d385a4db"
"""Of the cleaned English–French pairs of Tatoeba, as our records have it."""

SETTING = (
    *("model", "formulation", "init", "num_hiddens", "layers", "dropout", "embed", "num_steps", "batch_size", "pairs"),
    *("optimizer", "schedule", "lr", "epochs", "clip", "context"),
)
"""What a setting must agree with."""


@cache
def published_translations() -> pd.DataFrame:
    """One row per published setting: source, the knobs, repeats, published_loss, sentences, perfect, note.

    `perfect` of the `sentences` shown were translated with a BLEU(2) of 1.
    """
    rows = pd.read_csv(PUBLISHED_DIR / FILE, encoding="utf-8")
    return rows.assign(schedule="constant", corpus="fra_eng", unit="word", context="as-published", attention=False)


def match_translations(settings: pd.DataFrame) -> pd.DataFrame:
    """As `published.match`, with published_course_loss and published_perfect (`3 of 4`); for translations alone."""
    found = []
    for _, setting in settings[settings["task"] == "translation"].iterrows():
        for _, theirs in published_translations().iterrows():
            if _agrees(setting, theirs):
                found.append(
                    {
                        "setting_id": setting["setting_id"],
                        "published_course_loss": theirs["loss"],
                        "published_perfect": f"{theirs['perfect']} of {theirs['sentences']}",
                        "source": theirs["source"],
                        "repeats": theirs["repeats"],
                        "published_epochs": theirs["epochs"],
                        "differs": seeds_differ(setting, theirs["repeats"]),
                    }
                )
    return pd.DataFrame(found)


def _agrees(setting: pd.Series, theirs: pd.Series) -> bool:
    """Whether a setting repeats the published one."""
    plain = pd.isna(setting["gates"]) and setting["readout"] == "state" and bool(setting["write_back"])
    return (
        plain
        and setting["corpus_sha256"] == PAIRS_SHA256
        and not setting["attention"]
        and all(setting[name] == theirs[name] for name in SETTING)
    )


def seeds_differ(setting: pd.Series, repeats: int) -> str:
    """`5 seeds instead of 20`; empty where there are as many here as were published."""
    runs = setting["n"] + setting["diverged"]
    return "" if runs == repeats else f"{counted(runs, 'seed')} instead of {repeats}"
