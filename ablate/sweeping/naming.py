"""Names of folders, made from what a person typed."""

import re
from collections.abc import Collection, Sequence
from dataclasses import dataclass

from ablate.config.identity import short_hash
from ablate.config.knobs import can_be_swept, knobs
from ablate.config.overrides import Override
from ablate.config.quoting import split, unquote
from ablate.sweeping.launching.options import Options

BASELINE = "baseline"
"""The folder of the sweep in which nothing is given."""

NAME_LIMIT = 100
"""Longest folder name made from overrides, in bytes: file systems allow 255, and names of files are made from it."""


@dataclass(frozen=True)
class Asked:
    """What a command asks for beside its configs: the folder's name where none is given, the preset, the knobs given
    on the command line or by the preset, and the cluster that is to train, this machine without."""

    name: str
    preset: str | None = None
    given: tuple[str, ...] = ()
    cluster: Options | None = None


def folder_name(overrides: Sequence[str], preset: str | None = None, unread: Collection[str] = ()) -> str:
    """The folder of a sweep without a name: its preset and the overrides that decide outcomes.

    `model=gru,lstm num_hiddens=32,256 seeds=6` gives `model-gru-lstm_num_hiddens-32-256`, whatever the number of
    seeds, so that raising it later continues the same sweep. Two sweeps never have the same name: where characters
    that a folder cannot have are replaced, a hash of what was typed tells them apart. `unread` are knobs that no
    setting of the sweep reads.
    """
    values = {
        "+".join(override.knobs): (override.sign.replace("+", ""), override.value or "")
        for override in map(Override.read, overrides)
        if override.key != "sweeps" and any(decides(knob) and knob not in unread for knob in override.knobs)
    }
    parts = [f"{sign}{key}-{plain(value, key)}" for key, (sign, value) in values.items()]
    name = re.sub(r"[^\w.+-]+", "-", "_".join([preset, *parts] if preset else parts)).strip("-.")
    exact = _is_own(preset) and all(not sign and _is_exact(key, value) for key, (sign, value) in values.items())
    written = {key: f"{sign}{value}" for key, (sign, value) in values.items()}
    mark = short_hash(name if exact else [preset, written])[:6]
    if len(name.encode()) > NAME_LIMIT:
        name = f"{name.encode()[:NAME_LIMIT].decode(errors='ignore')}-{mark}"
    elif not exact:
        name = f"{name}-{mark}"
    return name or BASELINE


def plain(value: str, key: str = "") -> str:
    """A value without the quotes of Hydra's grammar; of knobs that change together, `a+b`, `1+2,3+4`."""
    if "+" in key:
        return ",".join("+".join(unquote(one.strip()) for one in split(row, ":")) for row in split(value))
    return ",".join(unquote(part.strip()) for part in split(value))


def _is_exact(key: str, value: str) -> bool:
    """Whether a value can be read back from the name that it becomes a part of.

    Numbers and choices can, whatever is between them; a text only if nothing in it is replaced, or separates knobs.
    """
    if "+" in key:
        return not any(knobs()[name].is_text or knobs()[name].is_texts for name in key.split("+") if name in knobs())
    knob = knobs().get(key)
    if knob is None or not (knob.is_text or knob.is_texts):
        return True
    texts = [unquote(part.strip()) for part in split(value)]
    return len(texts) == 1 and re.fullmatch(r"[\w+]([\w.+-]*[\w+])?", texts[0]) is not None and not _has_knob(texts[0])


def _is_own(preset: str | None) -> bool:
    """Whether a preset's name could not be that of a sweep without preset."""
    return preset is None or (
        preset != BASELINE and re.search(r"[^\w.+-]", preset) is None and not _has_knob(f"_{preset}")
    )


def _has_knob(text: str) -> bool:
    """Whether a text could be read as another knob's part of a name: `a_lr-2`."""
    return any(f"_{key}-" in text for key in knobs())


def decides(key: str) -> bool:
    """Whether an override of this knob makes another setting."""
    return key != "seed" and can_be_swept(key)
