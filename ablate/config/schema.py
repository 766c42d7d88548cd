"""The typed configuration: what every knob may be, and which of them decide an outcome.

Values and their explanations stand once, in `conf/`. What is legal is checked in `ablate.config.validation`; what
makes two runs the same run is said in `ablate.config.identity`.
Facts about a knob are declared in its field's metadata and nowhere else:

    identity      False: the knob only says how or where a run is computed, not what comes out
    through       of a knob that is no part of the identity itself: what it decides an outcome through
    needs         what a setting must have for the knob to be read
    prose         True: a text for people, in which a comma is a comma
    absent        the value at which the knob is no part of a run's identity: that of runs older than the knob
    per_replica   True: runs that differ in this knob alone can still train as one batched program
    choices       the legal values of a string
    minimum       the smallest legal number
    above, below  exclusive bounds
"""

from __future__ import annotations

from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

from omegaconf import MISSING

PACKAGE_DIR = Path(__file__).resolve().parents[1]
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
    connection: str = knob(
        default="plain", absent="plain", choices=("plain", "residual", "dense"), needs="another layer to connect"
    )
    transition: int | None = knob(default=None, absent=None, minimum=1, needs="another layer to connect")

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

READS_TEXT = ("language_model", "fill_in")
"""The tasks that read a text, of which max_tokens and val_tokens are taken."""

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
    urls: list[str] = field(default_factory=list, metadata={"identity": False})


@dataclass
class OptimizerConfig:
    """An update rule of torch.optim; `lr` is its default learning rate, which the top-level `lr` overrides."""

    name: str = knob(choices=("sgd", "momentum", "adam", "adamw", "rmsprop"))
    lr: float = knob(identity=False, through="lr")
    momentum: float = knob(minimum=0, below=1)
    betas: list[float] = field(default_factory=lambda: [0.9, 0.999])
    eps: float = knob(above=0)
    alpha: float = knob(minimum=0, below=1)
    weight_decay: float = knob(minimum=0)


@dataclass
class Config:
    """Everything that decides the outcome of a cell, and how and where to compute it."""

    model: ModelConfig = field(default_factory=ModelConfig)
    data: DataConfig = field(default_factory=DataConfig, metadata={"identity": False, "through": "the text"})
    optimizer: OptimizerConfig = field(default_factory=OptimizerConfig)
    task: TaskConfig = field(default_factory=TaskConfig)

    num_hiddens: int = knob(minimum=1)
    layers: int = knob(minimum=1)
    dropout: float = knob(minimum=0, below=1, needs="two layers or more, between which it acts")
    formulation: str = knob(choices=("torch", "textbook"))
    init: str | None = knob(choices=("torch", "normal", "xavier", "orthogonal"))
    forget_bias: float | None = knob(default=None, absent=None, needs="a forget gate whose bias it sets")
    reset: str | None = knob(choices=("before", "after"), needs="a gru with a reset gate")
    bias_vectors: int | None = knob(choices=(1, 2))

    num_steps: int = knob(minimum=1)
    batch_size: int = knob(minimum=1)
    sampling: str = knob(choices=("sequential", "random", "sequential-reset"), needs="a task on a text")
    max_tokens: int | None = knob(minimum=2, needs="a task on a text")
    val_tokens: int = knob(minimum=0, needs="a task on a text; task=translation holds out task.val_pairs")

    lr: float = knob(above=0, per_replica=True)
    clip: float | None = knob(above=0, per_replica=True)
    epochs: int = knob(minimum=1)
    updates: int | None = knob(default=None, minimum=1, identity=False, through="epochs")

    seed: int = knob(minimum=0, per_replica=True)
    seeds: int = knob(minimum=1, identity=False)

    match: str | None = knob(default=None, choices=("params",), identity=False, through="num_hiddens")

    engine: str = knob(choices=("auto", "cohort", "torch_nn", "eager"), identity=False)
    device: str = knob(identity=False)
    threads: int | None = knob(minimum=1, identity=False)

    name: str | None = knob(identity=False)
    title: str | None = knob(default=None, identity=False, prose=True)
    results_dir: str = knob(identity=False)
    fresh: bool = knob(identity=False)
    keep: str | None = knob(default=None, choices=("weights",), identity=False)
    speed: bool = knob(identity=False)
    speed_s: float = knob(above=0, identity=False)
    prefixes: list[str] = field(
        default_factory=list, metadata={"identity": False, "needs": "a text to continue, which a rule has not"}
    )


def resolve(config: Config) -> Config:
    """The config with every default that depends on another knob filled in.

    `formulation` is a name for three choices, each of which can be set by itself:

    ===========  ===========================  =================  ============================
    formulation  init                         reset (gru)        bias_vectors
    ===========  ===========================  =================  ============================
    textbook     normal: N(0, 0.01²), b = 0   before (Cho 2014)  1 per gate
    torch        torch: U(−1/√H, 1/√H)        after (cuDNN)      2 per gate, as in torch.nn
    ===========  ===========================  =================  ============================

    What cannot matter is set to the value of "does not apply", so that it cannot tell two runs apart.
    """
    as_torch = config.formulation == "torch"
    reset = config.reset or ("after" if as_torch else "before")
    reads_text = config.task.name in READS_TEXT
    model = config.model
    if config.layers == 1:  # nothing stands below the only layer
        plain = "plain" if model.connection == "residual" else model.connection
        model = replace(model, connection=plain, transition=None)
    return replace(
        config,
        model=model,
        forget_bias=config.forget_bias if config.model.has_forget_gate else None,
        sampling=config.sampling if reads_text else "random",
        max_tokens=config.max_tokens if reads_text else None,
        val_tokens=config.val_tokens if reads_text else 0,
        init=config.init or ("torch" if as_torch else "normal"),
        reset=reset if config.model.has_reset_gate else None,
        bias_vectors=config.bias_vectors or (2 if as_torch else 1),
        dropout=config.dropout if config.layers > 1 else 0.0,
        prefixes=config.prefixes if config.task.name != "memory" else [],
    )


def with_seed(config: Config, replica: int) -> Config:
    """Run number `replica` of a cell: its seed is `seed + replica`."""
    return replace(config, seed=config.seed + replica)


def to_dict(config: Config) -> dict[str, Any]:
    """Plain containers, as stored in a record."""
    return asdict(config)
