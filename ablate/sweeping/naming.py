"""Names of folders, made from what a person typed."""

import re
from collections.abc import Sequence

from ablate.config import Config
from ablate.identity import short_hash

NAME_LIMIT = 100
"""Longest folder name made from overrides; what is longer is cut and told apart by a hash."""


def folder_name(overrides: Sequence[str], preset: str | None = None) -> str:
    """The folder of a sweep without a name: its preset and the overrides that decide outcomes.

    `model=gru,lstm num_hiddens=32,256 seeds=5` gives `model-gru-lstm_num_hiddens-32-256`, whatever the number of
    seeds, so that raising it later continues the same sweep.
    """
    values: dict[str, str] = {}
    for override in overrides:
        key, _, value = override.partition("=")
        values[key.lstrip("+~")] = value
    parts = [f"{key}-{value}" for key, value in values.items() if key != "sweeps" and decides(key)]
    name = re.sub(r"[^\w.+-]+", "-", "_".join([preset, *parts] if preset else parts)).strip("-.")
    if len(name) > NAME_LIMIT:
        name = f"{name[:NAME_LIMIT]}-{short_hash(name)[:6]}"
    return name or "baseline"


def decides(key: str) -> bool:
    """Whether an override of this knob makes another cell."""
    field = Config.__dataclass_fields__.get(key)
    return field is None or key in ("data", "updates") or (bool(field.metadata.get("identity", True)) and key != "seed")
