"""Baselines without a network as a DataFrame: one row for each of a text, with the texts of a sweep's settings."""

from pathlib import Path

import pandas as pd

from ablate.records.baselines import stored

TEXT = ["corpus_sha256", "unit", "max_tokens", "val_tokens", "test_tokens"]
"""The columns of settings that tell two texts apart, and what of them is trained on and held out."""

MEASURED = ["val_perplexity", "bits_per_character", "test_perplexity", "test_bits_per_character"]
COLUMNS = ["corpus", *TEXT, "baseline", *MEASURED]


def baselines_frame(sweep: Path, settings: pd.DataFrame) -> pd.DataFrame:
    """What predicts the held-out texts of these settings without a network, as far as the sweep's folder has it.

    Columns: those of COLUMNS; perplexities are per token; bits per character are empty where they are not known, and
    the numbers of the test text where there is none.
    """
    rows = [
        {
            **{name: text[name.replace("max_", "train_")] for name in TEXT},
            "baseline": one["name"],
            **{name: one.get(name) for name in MEASURED},
        }
        for text in stored(sweep)
        for one in text["baselines"]
    ]
    if not rows or settings.empty:
        return pd.DataFrame(columns=COLUMNS)
    texts = settings[["corpus", *TEXT]].dropna().drop_duplicates(TEXT)
    found = texts.merge(pd.DataFrame(rows).astype({name: texts[name].dtype for name in TEXT}), on=TEXT)
    return found[COLUMNS].astype(dict.fromkeys(MEASURED, float))
