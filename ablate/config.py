"""The typed configuration: what every knob may be, and which of them decide an outcome.

Values and their explanations stand once, in `conf/`; this module says what is legal (`validate`), which
engines can compute a config (`engines_for`), and what makes two runs the same run (`run_identity`).
Facts about a knob are declared in its field's metadata and nowhere else:

    identity      False: the knob only says how or where a run is computed, not what comes out
    per_replica   True: runs that differ in this knob alone can still train as one batched program
    choices       the legal values of a string
    minimum       the smallest legal number
    above, below  exclusive bounds
"""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, field, fields, is_dataclass, replace
from pathlib import Path
from typing import Any

from omegaconf import MISSING

from ablate.errors import CombinationError, ConfigError, listing, nearest

PROTOCOL = 1
"""Raised when a change to the code alters the outcome of a run: stored results of older protocols are not reused."""

PACKAGE_DIR = Path(__file__).resolve().parent
CONFIG_ROOT = PACKAGE_DIR if (PACKAGE_DIR / "conf").is_dir() else PACKAGE_DIR.parent
"""The folder that holds `conf/` and `sweeps/`: the package itself when installed from a wheel."""

PUBLISHED_DIR = CONFIG_ROOT / ("published" if CONFIG_ROOT == PACKAGE_DIR else "results/published")
"""The folder of the published numbers, as CSV."""

GATES = {
    "rnn": (),
    "gru": ("reset", "update"),
    "lstm": ("input", "forget", "output"),
}
"""The gates of each cell, which a model may fix at a constant."""


def knob(default: Any = MISSING, **metadata: Any) -> Any:
    """A field whose value comes from `conf/`, with its metadata; `default` is for records older than the knob."""
    return field(default=default, metadata=metadata)


@dataclass
class ModelConfig:
    """A recurrent cell and what is taken out of it. An ablation is a change to one gate of the same cell."""

    name: str = knob(identity=False)
    cell: str = knob(choices=tuple(GATES))
    activation: str = knob(choices=("tanh", "relu"))
    gates: dict[str, float] = field(default_factory=dict)
    readout: str = knob(choices=("state", "candidate"))
    write_back: bool = knob()

    @property
    def has_reset_gate(self) -> bool:
        return self.cell == "gru" and "reset" not in self.gates

    @property
    def is_plain(self) -> bool:
        """True for the cell as torch.nn knows it: no gate fixed, nothing read or kept otherwise."""
        return not self.gates and self.readout == "state" and self.write_back


@dataclass
class DataConfig:
    """A text and how it becomes tokens."""

    name: str = knob(choices=("auto", "time_machine", "python_docs", "text_file"))
    tokens: str = knob(choices=("char", "word"))
    cleaning: str = knob(choices=("letters", "keep"))
    path: str | None = None
    file: str | None = None
    sha256: str | None = None
    urls: list[str] = field(default_factory=list)


@dataclass
class OptimizerConfig:
    """An update rule of torch.optim; `lr` is its default learning rate, which the top-level `lr` overrides."""

    name: str = knob(choices=("sgd", "momentum", "adam", "adamw", "rmsprop"))
    lr: float = knob(identity=False)
    momentum: float = knob(minimum=0, below=1)
    betas: list[float] = field(default_factory=lambda: [0.9, 0.999])
    eps: float = knob(above=0)
    alpha: float = knob(minimum=0, below=1)
    weight_decay: float = knob(minimum=0)


@dataclass
class Config:
    """Everything that decides the outcome of a cell, and how and where to compute it."""

    model: ModelConfig = field(default_factory=ModelConfig)
    data: DataConfig = field(default_factory=DataConfig, metadata={"identity": False})
    optimizer: OptimizerConfig = field(default_factory=OptimizerConfig)

    num_hiddens: int = knob(minimum=1)
    layers: int = knob(minimum=1)
    dropout: float = knob(minimum=0, below=1)
    impl: str = knob(choices=("api", "scratch"))
    init: str | None = knob(choices=("torch", "normal"))
    reset: str | None = knob(choices=("before", "after"))
    bias_vectors: int | None = knob(choices=(1, 2))

    num_steps: int = knob(minimum=1)
    batch_size: int = knob(minimum=1)
    sampling: str = knob(choices=("sequential", "random", "sequential-reset"))
    max_tokens: int | None = knob(minimum=2)
    val_tokens: int = knob(minimum=0)

    lr: float = knob(above=0, per_replica=True)
    clip: float | None = knob(above=0, per_replica=True)
    epochs: int = knob(minimum=1)
    updates: int | None = knob(default=None, minimum=1, identity=False)  # sets epochs, which decide

    seed: int = knob(minimum=0, per_replica=True)
    seeds: int = knob(minimum=1, identity=False)

    engine: str = knob(choices=("auto", "cohort", "api", "scratch"), identity=False)
    device: str = knob(identity=False)
    threads: int | None = knob(minimum=1, identity=False)

    name: str | None = knob(identity=False)
    title: str | None = knob(default=None, identity=False)
    results_dir: str = knob(identity=False)
    fresh: bool = knob(identity=False)
    speed: bool = knob(identity=False)
    speed_s: float = knob(above=0, identity=False)
    prefixes: list[str] = field(default_factory=list, metadata={"identity": False})


# --- what a config means ------------------------------------------------------------------------------


def resolve(config: Config) -> Config:
    """The config with every default that depends on another knob filled in.

    `impl` is a name for three choices, each of which can be set by itself:

    =========  ===========================  ================  ============================
    impl       init                         reset (gru)       bias_vectors
    =========  ===========================  ================  ============================
    scratch    normal: N(0, 0.01²), b = 0   before (Cho 2014) 1 per gate
    api        torch: U(−1/√H, 1/√H)        after (cuDNN)     2 per gate, as in torch.nn
    =========  ===========================  ================  ============================

    What cannot matter is set to the value of "does not apply", so that it cannot tell two runs apart.
    """
    api = config.impl == "api"
    reset = config.reset or ("after" if api else "before")
    return replace(
        config,
        init=config.init or ("torch" if api else "normal"),
        reset=reset if config.model.has_reset_gate else None,
        bias_vectors=config.bias_vectors or (2 if api else 1),
        dropout=config.dropout if config.layers > 1 else 0.0,
    )


def engines_for(config: Config) -> tuple[str, ...]:
    """The engines to choose from: the one asked for, or with engine=auto the fast ones that can.

    Raises CombinationError where the engine asked for cannot.
    """
    why_not = api_cannot(config)
    if config.engine == "auto":
        return ("cohort",) if why_not else ("cohort", "api")
    if config.engine == "api" and why_not:
        remedy = "use engine=cohort, engine=scratch or engine=auto"
        raise CombinationError(f"engine=api cannot compute model={config.model.name}: {why_not}; {remedy}")
    return (config.engine,)


def api_cannot(config: Config) -> str:
    """Why torch.nn does not offer the function that this config means, or an empty string."""
    model, resolved = config.model, resolve(config)
    if model.gates:
        return f"torch.nn.{model.cell.upper()} has no option to fix its {listing(model.gates)} gate"
    if not model.is_plain:
        return f"torch.nn.{model.cell.upper()} always carries and reads out its state"
    if resolved.reset == "before":
        return "torch.nn.GRU applies the reset gate after the recurrent product (reset=after)"
    return ""


def validate(config: Config) -> None:
    """Raise ConfigError, in one line, for the first value that no run could have."""
    for where, value, metadata in _knobs(config):
        _check(where, value, metadata)
    gates = GATES[config.model.cell]
    for gate, constant in config.model.gates.items():
        if gate not in gates:
            has = f"its gates are {listing(gates)}" if gates else "it has none"
            raise ConfigError(f"model.gates names {gate!r}, but a {config.model.cell} has no such gate; {has}")
        if not 0 <= constant <= 1:
            raise ConfigError(f"model.gates.{gate} is {constant}; a gate lies between 0 and 1")
    betas = config.optimizer.betas
    if len(betas) != 2 or not all(0 <= beta < 1 for beta in betas):
        raise ConfigError(f"optimizer.betas is {list(betas)}; give two numbers from 0 up to, not including, 1")
    if config.data.name == "text_file" and not config.data.path:
        raise ConfigError("data=text_file needs a file: give data.path=FILE")
    if config.data.path and config.data.name != "text_file":
        raise ConfigError(f"data.path is {config.data.path!r}, but data is {config.data.name}; add data=text_file")
    if config.device not in ("cpu", "cuda", "auto") and not config.device.startswith("cuda:"):
        raise ConfigError(f"device is {config.device!r}; choose cpu, cuda, cuda:0 … or auto")
    if config.name is not None and (
        not config.name.strip() or config.name in (".", "..") or set(config.name) & set('/\\:*?"<>|\0')
    ):
        raise ConfigError(f'name is {config.name!r}; it names a folder: leave out / \\ : * ? " < > |')


def _knobs(config: Any, prefix: str = "") -> Iterator[tuple[str, Any, Mapping[str, Any]]]:
    for f in fields(config):
        value = getattr(config, f.name)
        if is_dataclass(value):
            yield from _knobs(value, f"{prefix}{f.name}.")
        else:
            yield prefix + f.name, value, f.metadata


def _check(where: str, value: Any, metadata: Mapping[str, Any]) -> None:
    if value is None:
        return
    choices = metadata.get("choices")
    if choices and value not in choices:
        names = [str(choice) for choice in choices]
        raise ConfigError(f"{where} is {value!r}; choose {listing(names)}{nearest(str(value), names)}")
    if isinstance(value, int | float) and not isinstance(value, bool):
        if not math.isfinite(value):
            raise ConfigError(f"{where} is {value}; it must be a finite number")
        if "minimum" in metadata and value < metadata["minimum"]:
            raise ConfigError(f"{where} is {value}; it must be {metadata['minimum']} or more")
        if "above" in metadata and value <= metadata["above"]:
            raise ConfigError(f"{where} is {value}; it must be above {metadata['above']}{_off(where)}")
        if "below" in metadata and value >= metadata["below"]:
            raise ConfigError(f"{where} is {value}; it must be below {metadata['below']}")


def _off(where: str) -> str:
    return " (clip=null switches clipping off)" if where == "clip" else ""


# --- identity -------------------------------------------------------------------------------------------


def run_identity(config: Config, corpus_sha256: str) -> dict[str, Any]:
    """Exactly what decides the outcome of one run of `config` with seed `config.seed`.

    `corpus_sha256` is the hash of the cleaned text: the corpus counts by its content, not by its name.
    """
    resolved = resolve(config)
    identity = _deciding(resolved)
    if config.model.cell != "rnn":
        del identity["model"]["activation"]
    options = asdict(resolved.optimizer)
    identity["optimizer"] = {"name": options["name"]} | relevant_options(options)
    identity["data"] = {"sha256": corpus_sha256, "tokens": config.data.tokens}
    identity["protocol"] = PROTOCOL
    return identity


def _deciding(config: Any) -> dict[str, Any]:
    out: dict[str, Any] = {}
    for f in fields(config):
        if f.metadata.get("identity", True):
            value = getattr(config, f.name)
            out[f.name] = _deciding(value) if is_dataclass(value) else value
    return out


OPTIMIZER_OPTIONS = {
    "sgd": ("weight_decay",),
    "momentum": ("momentum", "weight_decay"),
    "adam": ("betas", "eps", "weight_decay"),
    "adamw": ("betas", "eps", "weight_decay"),
    "rmsprop": ("alpha", "eps", "momentum", "weight_decay"),
}
"""The options that each update rule reads."""


def relevant_options(optimizer: Mapping[str, Any]) -> dict[str, Any]:
    """The options, of a stored optimizer, that its update rule reads."""
    return {key: optimizer[key] for key in OPTIMIZER_OPTIONS[optimizer["name"]]}


def short_hash(value: Any) -> str:
    """12 hexadecimal digits that name a JSON value."""
    text = json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    return hashlib.sha256(text.encode()).hexdigest()[:12]


def run_id(config: Config, corpus_sha256: str) -> str:
    """The name of one run: a hash of its identity."""
    return short_hash(run_identity(config, corpus_sha256))


def cell_id(config: Config, corpus_sha256: str) -> str:
    """The name of a cell: the runs that differ by seed only."""
    identity = run_identity(config, corpus_sha256)
    del identity["seed"]
    return short_hash(identity)


def cohort_key(config: Config, corpus_sha256: str) -> str:
    """The same for runs that can train as one batched program: they differ in per-replica knobs only."""
    identity = run_identity(config, corpus_sha256)
    for f in fields(Config):
        if f.metadata.get("per_replica"):
            del identity[f.name]
    return short_hash(identity | {"engine": config.engine, "device": config.device})


def with_seed(config: Config, replica: int) -> Config:
    """Run number `replica` of a cell: its seed is `seed + replica`."""
    return replace(config, seed=config.seed + replica)


def to_dict(config: Config) -> dict[str, Any]:
    """Plain containers, as stored in a record."""
    return asdict(config)
