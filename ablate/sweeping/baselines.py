"""Baselines without a network for the texts of a finished sweep, computed once from the texts themselves."""

from collections.abc import Iterator
from contextlib import suppress
from dataclasses import asdict
from pathlib import Path
from typing import Any

from ablate.config.errors import StorageError, UserError
from ablate.config.registry import FIRST_TASK
from ablate.data.baselines import VERSION, baselines
from ablate.data.corpora import at_hand, load
from ablate.records.baselines import TEXT, keep, stored
from ablate.records.parquet_files import TableError, opened, require
from ablate.records.places import runs_path
from ablate.records.reading import RecordError
from ablate.records.results import read_some


def add_baselines(sweep: Path) -> None:
    """Compute and keep what the folder lacks of them, for each text of its language models that is at hand.

    Fetches nothing; a text that is gone, or another one by now, has none. Silent: a report without them is whole.
    """
    known = stored(sweep, VERSION)
    have = {tuple(text[name] for name in TEXT) for text in known}
    made = []
    for run_id, text in texts(sweep):
        if tuple(text.values()) in have:
            continue
        with suppress(UserError, RecordError, KeyError):
            if (found := _computed(sweep, run_id, text)) is not None:
                made.append(found)
    if made:
        with suppress(StorageError):
            keep(sweep, VERSION, [*known, *made])


def texts(sweep: Path) -> Iterator[tuple[str, dict[str, Any]]]:
    """The different texts of the language models of a sweep that has ended: a run that read it, and what TEXT names."""
    columns = {"corpus_sha256": "corpus_sha256", "data.tokens": "unit"}
    columns |= {name: name for name in ("train_tokens", "val_tokens")}
    path, numbers = runs_path(sweep), ["train_tokens", "val_tokens"]
    try:
        with opened(path, columns=("run_id", "task", "test_tokens", *columns)) as file:
            there = file.schema_arrow.names
            if not {*columns} <= {*there}:  # nothing was trained on a text
                return
            later = [name for name in ("task", "test_tokens") if name in there]  # what is older has neither
            as_texts = ["run_id", *(name for name in (*columns, *later) if "_tokens" not in name)]
            require(path, file, as_texts, [*numbers, *(name for name in later if "_tokens" in name)])
            runs = file.read(columns=["run_id", *columns, *later]).replace_schema_metadata().to_pandas()
    except TableError:  # the sweep has not ended
        return
    if "task" in later:
        runs = runs[runs["task"].eq(FIRST_TASK)]
    runs = runs[runs["val_tokens"] > 1].rename(columns=columns)
    runs["test_tokens"] = runs["test_tokens"].fillna(0) if "test_tokens" in runs else 0
    for row in runs.drop_duplicates(list(TEXT)).dropna().to_dict("records"):
        own = {name: row[name] for name in TEXT}
        yield row["run_id"], own | {name: int(own[name]) for name in TEXT[2:]}


def _computed(sweep: Path, run_id: str, text: dict[str, Any]) -> dict[str, Any] | None:
    """None where the text is not at hand."""
    from ablate.config.composing import from_dict  # which loads Hydra: a report of what is known does not

    data = from_dict(read_some(sweep, [run_id])[run_id]["config"]).data  # KeyError of one that cannot be read
    if not at_hand(data):
        return None
    training, held_out, tested = (text[name] for name in TEXT[2:])
    corpus = load(data, training + held_out + tested)
    if corpus.sha256 != text["corpus_sha256"]:
        return None
    return text | {"baselines": [asdict(one) for one in baselines(corpus, training, held_out, tested)]}
