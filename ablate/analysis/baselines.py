"""Baselines without a network as a DataFrame: one row for each of a text, with the texts of a sweep's settings."""

from pathlib import Path

import pandas as pd

from ablate.records.baselines import stored

TEXT = ["corpus_sha256", "unit", "max_tokens", "val_tokens"]
"""The columns of settings that tell two texts apart, and what of them is trained on and held out."""

COLUMNS = ["corpus", *TEXT, "baseline", "val_perplexity", "bits_per_character"]


def baselines_frame(sweep: Path, settings: pd.DataFrame) -> pd.DataFrame:
    """What predicts the held-out texts of these settings without a network, as far as the sweep's folder has it.

    Columns: those of COLUMNS; val_perplexity is per token, and bits_per_character empty where it is not known.
    """
    rows = [
        {
            **{name: text[name.replace("max_", "train_")] for name in TEXT},
            "baseline": one["name"],
            **{name: one[name] for name in ("val_perplexity", "bits_per_character")},
        }
        for text in stored(sweep)
        for one in text["baselines"]
    ]
    if not rows or settings.empty:
        return pd.DataFrame(columns=COLUMNS)
    texts = settings[["corpus", *TEXT]].dropna().drop_duplicates(TEXT)
    found = texts.merge(pd.DataFrame(rows).astype({name: texts[name].dtype for name in TEXT}), on=TEXT)
    return found[COLUMNS].astype({"bits_per_character": float})
