"""The launchers that `hydra/launcher=` may name, each a file of `conf/hydra/launcher/` with its options."""

from collections.abc import Mapping
from functools import cache
from typing import Any

import yaml

from ablate.config.schema import CONFIG_ROOT

LOCAL = "local"
FORMER = "ablate"
"""The launcher that other programs of Hydra find, too: it is `local` to ours."""


@cache
def launchers() -> dict[str, dict[str, Any]]:
    """Launcher → its options with their defaults."""
    folder = CONFIG_ROOT / "conf" / "hydra" / "launcher"
    read = {path.stem: yaml.safe_load(path.read_text(encoding="utf-8")) for path in sorted(folder.glob("*.yaml"))}
    return {
        name: {key: value for key, value in options.items() if key not in ("_target_", "name")}
        for name, options in read.items()
    }


def is_cluster(launcher: Mapping[str, Any] | None) -> bool:
    """Whether a launcher that Hydra composed trains elsewhere."""
    return str((launcher or {}).get("name") or LOCAL) not in (LOCAL, FORMER)


def names() -> tuple[str, ...]:
    return (LOCAL, *(name for name in launchers() if name != LOCAL))


def is_table(option: str) -> bool:
    """Whether an option takes entries of the user's own, as `sbatch` does."""
    return any(isinstance(options.get(option), dict) for options in launchers().values())


def all_options() -> tuple[str, ...]:
    """What `hydra.launcher.…` may set, of any launcher."""
    return tuple(dict.fromkeys(option for options in launchers().values() for option in options))
