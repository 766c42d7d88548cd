"""Which sweeper a preset wants. Hydra lets the primary config decide that, so the command line asks here."""

from collections.abc import Sequence
from pathlib import Path

import yaml

from ablate.files import present

KEY = "hydra/sweeper"


def sweeper_override(overrides: Sequence[str], roots: Sequence[Path]) -> list[str]:
    """`hydra/sweeper=optuna` for a preset whose defaults list says `override /hydra/sweeper: optuna`.

    Empty where the command line chooses one itself, where no preset is named, or it says nothing. `roots` hold
    `sweeps/`, the first that has the preset decides.
    """
    given = {override.partition("=")[0]: override.partition("=")[2] for override in overrides}
    if KEY in given or "sweeps" not in given:
        return []
    for root in roots:
        path = root / "sweeps" / f"{given['sweeps']}.yaml"
        if present(path) != "file":
            continue
        try:
            content = yaml.safe_load(path.read_text(encoding="utf-8"))
        except (OSError, yaml.YAMLError):
            return []  # Hydra will say what is wrong
        defaults = content.get("defaults", []) if isinstance(content, dict) else []
        wanted = [
            entry[f"override /{KEY}"] for entry in defaults if isinstance(entry, dict) and f"override /{KEY}" in entry
        ]
        return [f"{KEY}={wanted[0]}"] if wanted else []
    return []
