"""What predicts the texts of a sweep without a network, kept beside its records: baselines.json.

Of each text, by its hash, the kind of token and how much of it is trained on, held out and tested, the numbers that
`ablate.data.baselines` gives; they follow from the text alone, and a report needs no text to show them.
"""

from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

from ablate.records.files import write_json
from ablate.records.reading import RecordError, read_json

FILE = "baselines.json"

TEXT = ("corpus_sha256", "unit", "train_tokens", "val_tokens", "test_tokens")
"""What tells two of them apart."""


def stored(sweep: Path, version: int | None = None) -> list[dict[str, Any]]:
    """Of each text TEXT and `baselines`, each with name, val_perplexity and bits_per_character; with `version` those
    of this one alone. Nothing of a damaged file: it is made again."""
    with suppress(RecordError, KeyError, TypeError):
        found = read_json(sweep / FILE)
        if version is None or found["version"] == version:
            texts = [{"test_tokens": 0} | text for text in found["texts"]]  # before there were texts for a test
            return [text for text in texts if {*TEXT, "baselines"} <= text.keys()]
    return []


def keep(sweep: Path, version: int, texts: Sequence[Mapping[str, Any]]) -> None:
    """Raises StorageError."""
    write_json(sweep / FILE, {"version": version, "texts": list(texts)})
