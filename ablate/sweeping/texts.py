"""The texts that a sweep trains on: read once for all settings, and told of before anything is spent."""

from collections.abc import Collection, Iterable, Sequence
from pathlib import Path

from ablate.config.errors import DataError
from ablate.config.resolved import Resolved
from ablate.config.schema import Config, DataConfig
from ablate.data.corpora import (
    LARGE_VOCABULARY,
    UNITS,
    Corpus,
    described,
    load,
    resolve_auto,
    said_held_out,
    tokens_asked_for,
    tokens_used,
)
from ablate.data.pairs import Pairs, described_pairs
from ablate.records.manifest import load_manifest
from ablate.records.reading import RecordError

Texts = dict[str, tuple[DataConfig, Corpus]]
"""What `data=` says → what it means, and what was read."""

Read = tuple[Resolved, Corpus]
"""A config and the text that it reads."""


def read_texts(
    configs: Sequence[Config], folder: Path, fallback: DataConfig, texts: Texts
) -> tuple[str | None, list[str]]:
    """Add to `texts` what these configs read and it lacks. Returns what data=auto means, and warnings.

    That is what it meant when the sweep in `folder` began, and the same for all configs. Raises DataError.
    """
    needed: dict[str, int | None] = {}
    for config in configs:
        key, most = repr(config.data), tokens_asked_for(config)
        before = needed.get(key, 0)
        needed[key] = None if most is None or before is None else max(most, before)
    auto = stored_auto(folder)
    warnings: list[str] = []
    for config in configs:
        key = repr(config.data)
        if key not in texts or not texts[key][1].holds(needed[key]):
            data, warning = resolve_auto(config.data, fallback, auto)
            warnings += [warning] if warning else []
            try:
                texts[key] = data, load(data, needed[key])
            except DataError as error:
                if config.data.name != "auto" or auto is None:
                    raise
                raise DataError(
                    f"{folder} was begun on {auto} and stays with it, or give another name=; {error}"
                ) from error
        if config.data.name == "auto":
            auto = texts[key][0].name
    return auto, warnings


def told_of_texts(configs: Sequence[Config], read: Sequence[Read]) -> tuple[list[str], list[str]]:
    """Notes and warnings about the texts of these configs, each once: what was really used, which need not be what the
    command says."""
    readers: dict[str, list[Read]] = {}
    noted: dict[str, bool] = {}
    for config, one in zip(configs, read, strict=True):
        key = repr(config.data)
        readers.setdefault(key, []).append(one)
        noted[key] = config.data.thing.needs_note
    notes: list[str] = []
    warnings: list[str] = []
    for key, own in readers.items():
        corpus, those = own[0][1], [config for config, _ in own]
        if noted[key]:
            notes.append(described_pairs(corpus, those) if isinstance(corpus, Pairs) else described(corpus, those))
        warnings += corpus.warnings
        if len(corpus.vocabulary) > LARGE_VOCABULARY:
            warnings.append(
                f"{corpus.name} has {len(corpus.vocabulary):,} different {corpus.unit}s, and a network has weights for "
                "each of them in its first and its last layer; data.tokens=char has few, data.cleaning=letters fewer"
            )
    names = {own[0][1].name for key, own in readers.items() if noted[key]}
    warnings += beyond_the_text(read, names)
    return list(dict.fromkeys(notes)), list(dict.fromkeys(warnings))


def beyond_the_text(read: Iterable[Read], noted: Collection[str]) -> list[str]:
    """A line for each text that has fewer tokens than a max_tokens asks for: what was used in its place.

    Of a text that a note is about (`noted`: their names), which says that, only where it makes one setting of several.
    """
    asked: dict[tuple[str, int, tuple[int, int], str], set[int]] = {}
    for config, corpus in read:
        used = tokens_used(config, corpus)
        if used is not None and config.max_tokens is not None and used < config.max_tokens:
            held = (0, 0) if corpus.parts else (config.val_tokens, config.test_tokens)
            key = corpus.name, corpus.tokens, held, corpus.unit
            asked.setdefault(key, set()).add(config.max_tokens)
    return [
        f"max_tokens={','.join(map(str, sorted(values)))}: {name} has {tokens:,} {UNITS[unit]}, of which "
        f"{said_held_out(*held)} are held out; trained on the {tokens - sum(held):,} that are left, and listed as "
        f"max_tokens={tokens - sum(held)}"
        for (name, tokens, held, unit), values in asked.items()
        if len(values) > 1 or name not in noted
    ]


def stored_auto(folder: Path) -> str | None:
    """What `data=auto` meant when this sweep began: it never changes its corpus in the middle."""
    try:
        name: str | None = load_manifest(folder)["auto_corpus"]
    except RecordError:
        return None
    return name
