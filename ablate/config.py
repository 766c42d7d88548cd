"""The typed configuration: what every knob may be, and which of them decide an outcome.

Values and their explanations stand once, in `conf/`; this module says what is legal (`validate`), which
engines can compute a config (`engines_for`), and what makes two runs the same run (`run_identity`).
Facts about a knob are declared in its field's metadata and nowhere else:

    identity      False: the knob only says how or where a run is computed, not what comes out
    absent        the value at which the knob is no part of a run's identity: that of runs older than the knob
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
from dataclasses import Field, asdict, dataclass, field, fields, is_dataclass, replace
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
    "mgu": ("forget",),
    "mingru": ("update",),
    "minlstm": ("input", "forget"),
}
"""The gates of each cell, which a model may fix at a constant."""

FORGETFUL = ("lstm", "minlstm")
"""The cells whose forget gate may start at a bias of its own, `forget_bias`."""

NO_KNOB = object()
"""As `absent`: the knob always counts."""


def knob(default: Any = MISSING, **metadata: Any) -> Any:
    """A field whose value comes from `conf/`, with its metadata; `default` is for records older than the knob."""
    return field(default=default, metadata=metadata)


@dataclass
class ModelConfig:
    """A recurrent cell, what is changed in it, and how its layers are connected.

    An ablation is a change to one thing of the same cell.
    """

    name: str = knob(identity=False)
    cell: str = knob(choices=tuple(GATES))
    activation: str = knob(choices=("tanh", "relu", "identity"))
    gates: dict[str, float] = field(default_factory=dict)
    readout: str = knob(choices=("state", "candidate"))
    write_back: bool = knob()
    output_activation: str = knob(default="tanh", absent="tanh", choices=("tanh", "identity"), cells=("lstm",))
    coupled: bool = knob(default=False, absent=False, cells=("lstm",))
    peepholes: bool = knob(default=False, absent=False, cells=("lstm",))
    gate_recurrence: bool = knob(default=False, absent=False, cells=("lstm",))
    bidirectional: bool = knob(default=False, absent=False)
    connection: str = knob(default="plain", absent="plain", choices=("plain", "residual", "dense"))
    transition: int | None = knob(default=None, absent=None, minimum=1)

    @property
    def has_reset_gate(self) -> bool:
        return self.cell == "gru" and "reset" not in self.gates

    @property
    def has_forget_gate(self) -> bool:
        """Whether there is a bias of a forget gate, which `forget_bias` sets."""
        return self.cell in FORGETFUL and "forget" not in self.gates and not self.coupled

    @property
    def is_plain(self) -> bool:
        """True for the cell as torch.nn knows it: no gate fixed, nothing read or kept otherwise."""
        return not self.gates and self.readout == "state" and self.write_back and not self.beyond_textbook

    @property
    def beyond_textbook(self) -> str:
        """What no rnn, gru or lstm of the textbook has (a knob and its value), or an empty string."""
        if self.cell not in ("rnn", "gru", "lstm"):
            return f"model.cell={self.cell}"
        if self.activation == "identity" or (self.activation == "relu" and self.cell != "rnn"):
            return f"model.activation={self.activation}"
        for name in ("output_activation", "coupled", "peepholes", "gate_recurrence"):
            value = getattr(self, name)
            if value not in (False, "tanh"):
                return f"model.{name}={value}".replace("True", "true")
        return ""

    @property
    def stacks_plainly(self) -> bool:
        """Whether each layer reads the outputs of the one below it and nothing else, from the past to the future."""
        return self.connection == "plain" and self.transition is None and not self.bidirectional


TEXTS = ("auto", "time_machine", "python_docs", "text_file")
MEMORY = ("copy", "adding", "first-token", "skip", "reset")
PAIRS = ("fra_eng", "number_pairs", "pair_file")

DATA = {"language_model": TEXTS, "fill_in": TEXTS, "memory": MEMORY, "translation": PAIRS}
"""The data that each task can be trained on."""

OWN_FILE = ("text_file", "pair_file")
"""The data that a user's own file holds."""

TASK_OPTIONS = {
    "language_model": (),
    "fill_in": ("masked",),
    "memory": ("symbols", "sequences"),
    "translation": ("pairs", "val_pairs", "embed", "context", "attention"),
}
"""The options that each task reads."""


@dataclass
class TaskConfig:
    """What the network is trained to do with its data."""

    name: str = knob(default="language_model", choices=tuple(TASK_OPTIONS))
    masked: float = knob(default=0.15, above=0, below=1)
    symbols: int = knob(default=8, minimum=2)
    sequences: int = knob(default=320, minimum=1)
    pairs: int | None = knob(default=601, minimum=1)
    val_pairs: int = knob(default=0, minimum=0)
    embed: int = knob(default=32, minimum=1)
    context: str = knob(default="constant", choices=("constant", "as-published"))
    attention: bool = knob(default=False)


@dataclass
class DataConfig:
    """A text, or pairs of sentences, and how they become tokens; or the name of a memory task."""

    name: str = knob(choices=(*TEXTS, *MEMORY, *PAIRS))
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
    task: TaskConfig = field(default_factory=TaskConfig)

    num_hiddens: int = knob(minimum=1)
    layers: int = knob(minimum=1)
    dropout: float = knob(minimum=0, below=1)
    impl: str = knob(choices=("api", "scratch"))
    init: str | None = knob(choices=("torch", "normal", "xavier", "orthogonal"))
    forget_bias: float | None = knob(default=None, absent=None)
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

    match: str | None = knob(default=None, choices=("params",), identity=False)  # sets num_hiddens, which decide

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
    reads_text = config.task.name in ("language_model", "fill_in")
    return replace(
        config,
        forget_bias=config.forget_bias if config.model.has_forget_gate else None,
        sampling=config.sampling if reads_text else "random",
        max_tokens=config.max_tokens if reads_text else None,
        val_tokens=config.val_tokens if reads_text else 0,
        init=config.init or ("torch" if api else "normal"),
        reset=reset if config.model.has_reset_gate else None,
        bias_vectors=config.bias_vectors or (2 if api else 1),
        dropout=config.dropout if config.layers > 1 else 0.0,
        prefixes=config.prefixes if config.task.name != "memory" else [],
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
        what = "task.attention=true" if _attends(config) else f"model={config.model.name}"
        raise CombinationError(f"engine=api cannot compute {what}: {why_not}; {remedy}")
    return (config.engine,)


def api_cannot(config: Config) -> str:
    """Why torch.nn does not offer the function that this config means, or an empty string."""
    model, resolved = config.model, resolve(config)
    if _attends(config):
        return "the decoder with attention is written for the scratch cells alone"
    if model.beyond_textbook:
        return f"torch.nn has no {model.beyond_textbook}"
    if model.gates:
        return f"torch.nn.{model.cell.upper()} has no option to fix its {listing(model.gates)} gate"
    if not model.is_plain:
        return f"torch.nn.{model.cell.upper()} always carries and reads out its state"
    if resolved.reset == "before":
        return "torch.nn.GRU applies the reset gate after the recurrent product (reset=after)"
    return ""


def _attends(config: Config) -> bool:
    return config.task.name == "translation" and config.task.attention


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
    for f in fields(config.model):
        if config.model.cell not in f.metadata.get("cells", GATES) and _given(config.model, f):
            value = str(getattr(config.model, f.name)).lower()
            raise ConfigError(
                f"model.{f.name} is {value}, but a {config.model.cell} has no such thing; "
                f"it is for model.cell={listing(f.metadata['cells'])}"
            )
    if config.model.coupled and {"input", "forget"} & set(config.model.gates):
        raise ConfigError("model.coupled makes the forget gate 1 − input: fix neither of them in model.gates")
    if config.model.cell == "minlstm" and list(config.model.gates.values()) == [0, 0]:
        raise ConfigError("model.gates fixes both gates of a minlstm at 0; their sum divides them: let one be above 0")
    if config.model.transition is not None and config.model.connection != "dense":
        raise ConfigError(
            f"model.transition is {config.model.transition}, but model.connection is {config.model.connection}; "
            "only densely connected layers grow wider and can be reduced: add model.connection=dense"
        )
    if config.data.name not in DATA[config.task.name]:
        fitting = [task for task, names in DATA.items() if config.data.name in names]
        raise ConfigError(
            f"data is {config.data.name}, but task is {config.task.name}; choose data={listing(DATA[config.task.name])}"
            f", or task={listing(fitting)}"
        )
    for option, only in (("tokens", "word"), ("cleaning", "keep")) if config.data.name not in TEXTS else ():
        value = getattr(config.data, option)
        if value != only:
            known = f"data={config.data.name} knows data.{option}={only} alone"
            raise ConfigError(f"data.{option} is {value}, but {known}; leave it out")
    betas = config.optimizer.betas
    if len(betas) != 2 or not all(0 <= beta < 1 for beta in betas):
        raise ConfigError(f"optimizer.betas is {list(betas)}; give two numbers from 0 up to, not including, 1")
    if config.data.name in OWN_FILE and not config.data.path:
        raise ConfigError(f"data={config.data.name} needs a file: give data.path=FILE")
    if config.data.path and config.data.name not in OWN_FILE:
        raise ConfigError(
            f"data.path is {config.data.path!r}, but data is {config.data.name}; add data={listing(OWN_FILE)}"
        )
    if config.device not in ("cpu", "cuda", "auto") and not config.device.startswith("cuda:"):
        raise ConfigError(f"device is {config.device!r}; choose cpu, cuda, cuda:0 … or auto")
    if config.name is not None and (
        not config.name.strip() or config.name in (".", "..") or set(config.name) & set('/\\:*?"<>|\0')
    ):
        raise ConfigError(f'name is {config.name!r}; it names a folder: leave out / \\ : * ? " < > |')


def check_combination(config: Config) -> None:
    """Raise CombinationError for values that are legal by themselves and mean nothing together."""
    if config.model.bidirectional and resolve(config).sampling == "sequential":
        raise CombinationError(
            "model.bidirectional reads each sequence from its end, too, so no state can be carried from minibatch to "
            "minibatch (sampling=sequential); choose sampling=random or sampling=sequential-reset"
        )
    engines_for(config)


def _given(model: ModelConfig, f: Field[Any]) -> bool:
    return bool(getattr(model, f.name) != f.metadata["absent"])


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
    if config.model.cell != "rnn" and config.model.activation == "tanh":
        del identity["model"]["activation"]
    del identity["task"]  # what was trained before there were tasks is a language model
    if config.task.name != "language_model":
        identity["task"] = {"name": config.task.name} | relevant_options(asdict(config.task), TASK_OPTIONS)
    options = asdict(resolved.optimizer)
    identity["optimizer"] = {"name": options["name"]} | relevant_options(options)
    identity["data"] = {"sha256": corpus_sha256, "tokens": config.data.tokens}
    identity["protocol"] = PROTOCOL
    return identity


def _deciding(config: Any) -> dict[str, Any]:
    out: dict[str, Any] = {}
    for f in fields(config):
        value = getattr(config, f.name)
        if f.metadata.get("identity", True) and value != f.metadata.get("absent", NO_KNOB):
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


def relevant_options(
    group: Mapping[str, Any], options: Mapping[str, tuple[str, ...]] = OPTIMIZER_OPTIONS
) -> dict[str, Any]:
    """The options, of a stored optimizer or task, that matter to the one it names."""
    return {key: group[key] for key in options[group["name"]]}


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
