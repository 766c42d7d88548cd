"""The conditions, such as val_perplexity<9, that were given to `ablate report --until`: quality.json in its folder."""

from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

from ablate.records.files import write_json
from ablate.records.reading import RecordError, read_json

FILE = "quality.json"


def qualities(sweep: Path) -> list[str]:
    """As they were asked for, `val_perplexity<9`; none of a damaged file, nor where nobody asked."""
    with suppress(RecordError, KeyError, TypeError):
        return [str(one) for one in read_json(sweep / FILE)["until"]]
    return []


def keep_qualities(sweep: Path, asked: Sequence[str]) -> None:
    """In the place of those before. Raises StorageError."""
    write_json(sweep / FILE, {"until": list(asked)})
