"""Under which protocol a claim may be judged: that of its preset, or the published one of the conclusion that it cites.

A claim with an absolute level, such as "ends above 9.5", says nothing of another text or another number of epochs.
"""

from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Any

import pandas as pd
import yaml

from ablate.analysis.frames import value_text
from ablate.analysis.rows import knob_values
from ablate.claims.measured import SEES_FUTURE
from ablate.claims.reading import Claim
from ablate.config.errors import UserError
from ablate.config.resolved import resolve
from ablate.config.schema import CONFIG_ROOT, to_dict
from ablate.config.yaml_nodes import value_of
from ablate.records.files import present

PUBLISHED = {
    "task": "language_model",
    "epochs": 500,
    "batch_size": 32,
    "num_steps": 35,
    "lr": 1.0,
    "clip": 1.0,
    "max_tokens": 10000,
    "optimizer": "sgd",
    "schedule": "constant",
    "corpus": "time_machine",
}
"""The protocol of the published conclusions, as far as a claim does not say otherwise."""

DECIDES_LEVEL = (*PUBLISHED, "num_hiddens", "layers", "formulation", "sampling")
"""What an absolute level rests on."""

TYPED = {"data": "corpus"}
"""Knob as typed → its name in the records, where that is another."""


def departures(claim: Claim, settings: pd.DataFrame) -> list[str]:
    """Where settings depart, in what the claim does not name itself, from the protocol for which it was made.

    `epochs=60, published with 500`; `max_tokens=2000, in clipping 10000`.
    """
    out: list[str] = []
    if claim.predicate.reads == SEES_FUTURE:  # which follows from how the network is built
        return out
    if claim.source.startswith("conclusion"):
        for knob, value in PUBLISHED.items():
            found = [] if knob in claim.speaks_of else _texts(settings[knob])
            if found and value_text(value) not in found:
                out.append(f"{knob}={', '.join(found)}, published with {value_text(value)}")
    if claim.predicate.absolute:
        for knob, allowed in preset_protocol(claim.preset).items():
            strange = (
                [] if knob in claim.speaks_of else [text for text in _texts(settings[knob]) if text not in allowed]
            )
            if strange and not any(said.startswith(f"{knob}=") for said in out):
                out.append(f"{knob}={', '.join(strange)}, in {claim.preset} {', '.join(allowed)}")
    return out


def _texts(values: "pd.Series[Any]") -> list[str]:
    return [value_text(value) for value in values.unique()]


def preset_path(name: str) -> Path | None:
    """The file of a preset that comes with ablate, or of one in ./sweeps."""
    paths = (root / "sweeps" / f"{name}.yaml" for root in (CONFIG_ROOT, Path.cwd()))
    return next((path for path in paths if name and present(path) == "file"), None)


def preset_protocol(name: str) -> Mapping[str, tuple[str, ...]]:
    """Knob → the values that a preset gives it, as typed; nothing for a preset that cannot be read."""
    path = preset_path(name)
    return _protocol(path) if path else {}


@cache
def _protocol(path: Path) -> Mapping[str, tuple[str, ...]]:
    from hydra.errors import HydraException

    from ablate.config.composing import compose

    try:
        content = value_of(path.read_text(encoding="utf-8"), path)
        sweeper = content.pop("hydra", {}).get("sweeper", {})
        fixed = [f"{knob}={_typed(value)}" for knob, value in content.items() if not isinstance(value, dict | list)]
        for choice in content.get("defaults", []):
            fixed += [f"{group.split('/')[-1]}={option}" for group, option in choice.items()]
        params, blocks = sweeper.get("params", {}), sweeper.get("blocks", [])
        swept = [*params.items(), *(item for block in blocks for item in block.items())]
        config = resolve(compose([knob for knob in fixed if not knob.startswith(("name=", "title="))]))
    except (OSError, AttributeError, TypeError, ValueError, UserError, HydraException):
        return {}
    corpus = "time_machine" if config.data.name == "auto" else config.data.name
    values = knob_values(to_dict(config), {"name": corpus, "sha256": None})
    protocol = {knob: [value_text(values[knob])] for knob in DECIDES_LEVEL}
    for knob, typed in swept:
        several = protocol.get(TYPED.get(knob, knob), [])
        if knob in params:  # in all settings, so that its usual value is in none
            several.clear()
        several += [value_text(yaml.safe_load(value)) for value in str(typed).split(",")]
    if config.updates is not None:  # which set the epochs
        del protocol["epochs"]
    return {knob: tuple(dict.fromkeys(several)) for knob, several in protocol.items()}


def _typed(value: Any) -> str:
    return value if isinstance(value, str) else value_text(value)
