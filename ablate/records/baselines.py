"""What predicts the texts of a sweep without a network, kept beside its records: baselines.json.

Of each text, by its hash, the kind of token and how much of it is trained on, held out and tested, the numbers that
`ablate.data.baselines` gives; they follow from the text alone, and a report needs no text to show them.
"""

from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

from ablate.records.files import write_json
from ablate.records.kinds import misfit
from ablate.records.reading import RecordError, read_json

FILE = "baselines.json"

TEXT = ("corpus_sha256", "unit", "train_tokens", "val_tokens", "test_tokens")
"""What tells two of them apart."""

KINDS = {name: str if name in TEXT[:2] else int for name in TEXT} | {"baselines": list[dict[str, Any]]}
"""What is kept of a text."""

MEASURED = {
    "name": str,
    "val_perplexity": float,
    "bits_per_character": float | None,
    "test_perplexity": float | None,
    "test_bits_per_character": float | None,
}
"""What is kept of a baseline."""

YOUNGER = {"test_perplexity", "test_bits_per_character"}
"""What files have not that are older than texts for a test."""


def stored(sweep: Path, version: int | None = None) -> list[dict[str, Any]]:
    """Of each text what KINDS names, each of its baselines with what MEASURED does; with `version` those of this one
    alone. Nothing of a damaged file, nor of a text that is damaged there: they are made again."""
    with suppress(RecordError, KeyError, TypeError):
        found = read_json(sweep / FILE)
        if version is None or found["version"] == version:
            texts = [{"test_tokens": 0} | text for text in found["texts"]]  # before there were texts for a test
            return [text for text in texts if _is_whole(text)]
    return []


def _is_whole(text: Mapping[str, Any]) -> bool:
    if not text.keys() >= KINDS.keys() or misfit(text, KINDS):
        return False
    return all(one.keys() >= MEASURED.keys() - YOUNGER and not misfit(one, MEASURED) for one in text["baselines"])


def keep(sweep: Path, version: int, texts: Sequence[Mapping[str, Any]]) -> None:
    """Raises StorageError."""
    write_json(sweep / FILE, {"version": version, "texts": list(texts)})
