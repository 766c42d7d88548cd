"""The options of launchers, `conf/hydra/launcher/*.yaml`, checked: one line for each that cannot be meant."""

import math
from collections.abc import Mapping
from dataclasses import MISSING, dataclass, fields
from typing import Any

from ablate.config.errors import ConfigError
from ablate.config.launchers import is_cluster, launchers


@dataclass(frozen=True, kw_only=True)
class Options:
    """What every cluster has."""

    name: str
    detach: bool
    jobs: int
    runs_per_job: int | None
    cpus: int
    gpus: int
    mem_gb: float | None
    silent_min: float
    exclusive: bool = False


@dataclass(frozen=True, kw_only=True)
class Slurm(Options):
    at_once: int | None
    time_min: int
    requeues: int
    partition: str | None
    account: str | None
    qos: str | None
    python: tuple[str, ...] | None
    setup: tuple[str, ...]
    sbatch: Mapping[str, Any]
    notice_s: int


@dataclass(frozen=True, kw_only=True)
class Ray(Options):
    address: str | None
    resources: Mapping[str, Any]
    retries: int
    runtime_env: Mapping[str, Any]


KINDS: dict[str, type[Options]] = {"slurm": Slurm, "ray": Ray}

AT_LEAST = {"jobs": 1, "runs_per_job": 1, "at_once": 1, "cpus": 1, "time_min": 1, "silent_min": 0.1, "notice_s": 1}
"""Of numbers; 0 of those that are not named."""
UNITS = {"_min": "minutes", "_s": "seconds", "_gb": "GB"}
"""By how an option's name ends: SLURM itself takes 01:00:00 for an hour, which people type."""


SHORT = {
    "A": "account",
    "B": "extra-node-info",
    "C": "constraint",
    "D": "chdir",
    "F": "nodefile",
    "G": "gpus",
    "H": "hold",
    "J": "job-name",
    "L": "licenses",
    "M": "clusters",
    "N": "nodes",
    "O": "overcommit",
    "Q": "quiet",
    "S": "core-spec",
    "V": "version",
    "W": "wait",
    "a": "array",
    "b": "begin",
    "c": "cpus-per-task",
    "d": "dependency",
    "e": "error",
    "h": "help",
    "i": "input",
    "k": "no-kill",
    "m": "distribution",
    "n": "ntasks",
    "o": "output",
    "p": "partition",
    "q": "qos",
    "s": "oversubscribe",
    "t": "time",
    "u": "usage",
    "v": "verbose",
    "w": "nodelist",
    "x": "exclude",
}
"""Options of sbatch by one letter, with their names, which alone a script may hold after two dashes."""

GPUS = "give hydra.launcher.gpus or, where their kind counts, hydra.launcher.sbatch.gres=gpu:KIND:NUMBER"
ONE_TASK = "the launcher has each job be one task on one node; leave it out"
LOGS = "the launcher keeps the logs of jobs in the folder of the sweep; leave it out"
FOLLOWED = "the launcher could not follow its jobs; leave it out"
HERE = "jobs run in the folder in which the command is given; leave it out"
NOT_OF_SBATCH = {
    "time": "give hydra.launcher.time_min",
    "partition": "give hydra.launcher.partition",
    "account": "give hydra.launcher.account",
    "qos": "give hydra.launcher.qos",
    "exclusive": "give hydra.launcher.exclusive",
    "mem": "give hydra.launcher.mem_gb",
    "cpus-per-task": "give hydra.launcher.cpus",
    **dict.fromkeys(("gpus", "gpus-per-node", "gpus-per-socket", "gpus-per-task"), GPUS),
    "array": "give hydra.launcher.jobs and hydra.launcher.at_once",
    "signal": "give hydra.launcher.notice_s",
    **dict.fromkeys(("output", "error", "open-mode"), LOGS),
    **dict.fromkeys(("nodes", "ntasks"), ONE_TASK),
    **dict.fromkeys((f"ntasks-per-{part}" for part in ("node", "core", "socket", "gpu", "tres")), ONE_TASK),
    "tasks-per-node": ONE_TASK,  # another name of ntasks-per-node
    "chdir": HERE,
    **dict.fromkeys(("clusters", "parsable", "quiet", "test-only", "wait", "wrap"), FOLLOWED),
    **dict.fromkeys(("help", "usage", "version"), FOLLOWED),
}
"""Options of sbatch that are set otherwise, or by the launcher for its own working → the remedy. Two of the same would
be written, of which one would count in silence."""

BEGINNINGS = {"job-name": "j", "no-requeue": "no-r", "requeue": "req", "wckey": "wc"}
"""Options that the launcher writes unless they are given → the shortest beginning that sbatch takes for one of them, so
that none stands beside ours under another name."""


def options_of(launcher: Mapping[str, Any]) -> Options | None:
    """The checked options of the launcher that Hydra composed; None for this machine. Raises ConfigError."""
    if not is_cluster(launcher):
        return None
    name = str(launcher["name"])
    kind = KINDS[name]
    known = {f.name: f for f in fields(kind)}
    given = launchers()[name] | {key: value for key, value in launcher.items() if key in known}
    values = {key: _value(f"hydra.launcher.{key}", given[key], known[key]) for key in known if key in given}
    if lacking := [key for key, f in known.items() if key not in values and f.default is MISSING]:
        raise ConfigError(f"hydra/launcher={name} lacks {', '.join(lacking)}")
    if "sbatch" in values:
        values["sbatch"] = _of_sbatch(values["sbatch"])
    found = kind(**values)
    if isinstance(found, Slurm) and found.notice_s >= 60 * found.time_min:
        raise ConfigError(
            f"hydra.launcher.notice_s is {found.notice_s}, and hydra.launcher.time_min={found.time_min} are "
            f"{60 * found.time_min} s: a job would be told to end as it begins; give fewer seconds or more minutes"
        )
    if found.detach and name == "ray":
        raise ConfigError(
            "Ray ends what a driver that leaves has begun; leave the driver in the cluster instead: "
            "ray job submit --no-wait -- ablate run …"
        )
    return found


def _of_sbatch(given: Mapping[str, Any]) -> dict[str, Any]:
    """The options by their names, with `_` for `-` as submitit has them. Raises ConfigError."""
    found: dict[str, Any] = {}
    for key, value in given.items():
        typed, name = f"hydra.launcher.sbatch.{key}", str(key).lstrip("-").replace("_", "-")
        name = SHORT.get(name, name)
        if not name or isinstance(value, Mapping | list | tuple):
            raise ConfigError(f"{typed} is {value!r}; give an option of sbatch and one value: {{exclude: 'a,b'}}")
        # sbatch takes the beginning of a name for the whole of it.
        meant = (own for own, least in BEGINNINGS.items() if own.startswith(name) and name.startswith(least))
        name = next(meant, name)
        if remedy := next((remedy for own, remedy in NOT_OF_SBATCH.items() if own.startswith(name)), None):
            raise ConfigError(f"{typed} cannot be given here: {remedy}")
        if name.replace("-", "_") in found:
            raise ConfigError(f"hydra.launcher.sbatch has --{name} twice; give it once")
        found[name.replace("-", "_")] = value
    return found


def check_alone(options: Options) -> None:
    """Raise ConfigError where the speed lane would share its machine with others."""
    if options.name != "slurm":
        raise ConfigError("speed=true needs a machine to itself, of which Ray knows nothing; leave it out")
    if not options.exclusive:
        raise ConfigError("speed=true needs a machine to itself; give hydra.launcher.exclusive=true, too")


def _value(key: str, value: Any, field: Any) -> Any:
    """A value as its field's type has it. Raises ConfigError."""
    kind = str(field.type)
    if value is None and "None" in kind:
        return None
    number = isinstance(value, int | float) and not isinstance(value, bool)
    if "bool" in kind and not isinstance(value, bool):
        raise ConfigError(f"{key} is {value!r}; it must be true or false")
    if "float" in kind or ("int" in kind and "bool" not in kind):
        least = AT_LEAST.get(key.rpartition(".")[2], 0)
        whole = "float" not in kind
        if not number or not math.isfinite(value) or (whole and not isinstance(value, int)) or value < least:
            unit = next((f" of {unit}" for end, unit in UNITS.items() if key.endswith(end)), "")
            raise ConfigError(f"{key} is {value!r}; it must be a {'whole ' * whole}number{unit}, {least} or more")
    if "tuple" in kind:
        if not isinstance(value, list | tuple):
            raise ConfigError(f"{key} is {value!r}; it must be a list: [a, b]")
        return tuple(map(str, value))
    if "Mapping" in kind and not isinstance(value, Mapping):
        raise ConfigError(f"{key} is {value!r}; it must be a table: {{constraint: amd}}")
    return str(value) if "str" in kind and "Mapping" not in kind else value
