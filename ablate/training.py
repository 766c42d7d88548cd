"""Training one run: the published protocol, exactly, and what is measured beside it.

Every run is fully determined by its config, with `config.seed`; initial weights, data order and dropout each
draw from a generator of their own, whatever else is trained before, after or beside it.
"""

import copy
import hashlib
import math
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from itertools import islice, takewhile
from typing import Any

import torch
from torch import Generator, Tensor

from ablate.checkpoints import Checkpoints
from ablate.config import Config, resolve, to_dict
from ablate.data.corpora import Corpus, as_used
from ablate.engines import Choice, Program, build, choose, kernel
from ablate.environment import environment
from ablate.errors import ConfigError
from ablate.identity import cell_id, run_id, run_identity
from ablate.metrics import UNSCORED, evaluation, perplexity, tail_perplexity
from ablate.models.parameters import count, initial
from ablate.results import Record
from ablate.tasks import Task, task_of

GRACE_S = 2.0
"""Seconds that a program may go on after it was asked to stop, to end its epoch and lose nothing of it."""
LONG_EPOCH_S = GRACE_S / 2
"""From this length on an epoch's beginning is held in memory, for a stop that cannot wait for its end."""
VAL_READINGS = 20
"""How often the held-out perplexity is measured over a run."""

OnEpoch = Callable[[int, float], None]
Watch = Callable[[int, Sequence["Replica"]], Sequence[bool]]


class Stopped(Exception):
    """Training was asked to stop in the middle."""


def stream(seed: int, purpose: str) -> Generator:
    """A generator of its own for one purpose of one run."""
    digest = hashlib.sha256(f"{seed}/{purpose}".encode()).digest()
    return Generator().manual_seed(int.from_bytes(digest[:8], "little") >> 1)


@dataclass
class Trajectory:
    """What happened over the epochs of one run."""

    perplexity: list[float] = field(default_factory=list)
    val_perplexity: list[float | None] = field(default_factory=list)
    scores: dict[str, list[float | None]] = field(default_factory=dict)  # what else the task measures
    divergence: dict[str, Any] | None = None

    def add(self, losses: Sequence[float], val_loss: float | None, weights: Sequence[float] = ()) -> bool:
        """Record an epoch from its minibatch losses. False once the run has diverged.

        `weights` are the scored targets of each minibatch, where those differ.
        """
        if self.divergence:
            return False
        epoch = len(self.perplexity) + 1
        finite = list(takewhile(lambda loss: math.isfinite(perplexity(loss)), losses))
        previous = math.log(self.perplexity[-1]) if self.perplexity else None
        last_finite = finite[-1] if finite else previous
        if len(finite) < len(losses) or (val_loss is not None and not math.isfinite(perplexity(val_loss))):
            self.divergence = {"epoch": epoch, "last_finite_loss": last_finite}
            return False
        self.perplexity.append(perplexity(_mean(losses, weights)))
        self.val_perplexity.append(None if val_loss is None else perplexity(val_loss))
        return True

    def score(self, measured: Mapping[str, float]) -> None:
        """Record what else was measured after the epoch just added."""
        for name, value in measured.items():
            column = self.scores.setdefault(name, [])
            column += [None] * (len(self.perplexity) - len(column))
            column[-1] = value

    @property
    def metrics(self) -> dict[str, float | None]:
        """The numbers of `ablate.metrics` that this trajectory gives; those of a diverged run mean nothing."""
        measured = [value for value in self.val_perplexity if value is not None]
        if self.divergence:
            names = ("perplexity", "tail_perplexity", "best_perplexity", "val_perplexity", "best_val_perplexity")
            return dict.fromkeys((*names, *self.scores))
        return {
            "perplexity": self.perplexity[-1],
            "tail_perplexity": tail_perplexity(self.perplexity),
            "best_perplexity": min(self.perplexity),
            "val_perplexity": measured[-1] if measured else None,
            "best_val_perplexity": min(measured, default=None),
            **{name: [value for value in column if value is not None][-1] for name, column in self.scores.items()},
        }

    @property
    def curve(self) -> dict[str, list[float | None]]:
        epochs: list[float | None] = [float(epoch + 1) for epoch in range(len(self.perplexity))]
        columns: dict[str, list[float | None]] = {
            "epoch": epochs,
            "perplexity": list(self.perplexity),
            "val_perplexity": self.val_perplexity,
        }
        for name, values in self.scores.items():
            columns[name] = values + [None] * (len(epochs) - len(values))
        return columns


def _mean(values: Sequence[float], weights: Sequence[float]) -> float:
    if not weights:
        return sum(values) / len(values)
    return sum(value * weight for value, weight in zip(values, weights, strict=True)) / sum(weights)


def train(config: Config, corpus: Corpus, on_epoch: OnEpoch | None = None) -> Record:
    """One run by itself, with the engine that `config.engine` asks for; see `train_together`."""
    config, device = as_used(resolve(config), corpus), resolve_device(config.device)
    choice = choose(config, task_of(config, corpus).sizes, device, replicas=1)
    return train_together([config], corpus, choice, on_epoch=on_epoch)[0]


def train_together(
    configs: Sequence[Config],
    corpus: Corpus,
    choice: Choice,
    *,
    on_epoch: OnEpoch | None = None,
    checkpoints: Checkpoints | None = None,
    stop: Callable[[], bool] = lambda: False,
    resumes: Callable[[], bool] = lambda: True,
    watch: Watch | None = None,
) -> list[Record]:
    """Runs that differ in per-replica knobs only (one, unless the engine is cohort), as one program.

    Each run's outcome is that of training it by itself. `on_epoch(epoch, perplexity)` is called after every
    epoch with the mean over the runs; divergence ends that run only and is recorded. Where `checkpoints` has
    the runs' states, training goes on from there. `watch(epoch, replicas)` is called after every epoch but the last and
    tells which runs to go on with; the others leave no record. Raises CombinationError where the corpus is too short,
    Stopped soon after `stop()` became true: with a checkpoint, if the program is one that `resumes()` later.
    """
    config = configs[0]
    device = resolve_device(config.device)
    started, clock = datetime.now(UTC), time.perf_counter()
    task = task_of(config, corpus, device)
    V, held_out = task.sizes, task.held_out
    together, computed = len(configs), kernel(choice.engine, config, V, device)
    means = {"engine": choice.engine, "kernel": computed}  # others would go on with another rounding

    def begin() -> tuple[list[Replica], list[dict[str, Tensor]], list[Generator], Program]:
        parameters = [initial(own, V, stream(own.seed, "weights")) for own in configs]
        dropout = [stream(own.seed, "dropout") for own in configs]
        program = build(choice.engine, configs, V, parameters, dropout, device)
        return [Replica(own) for own in configs], parameters, dropout, program

    replicas, parameters, dropout, program = begin()
    try:
        done, spent_s = _restore(program, replicas, checkpoints, means)
    except Exception as error:  # of another network: what it changed before it failed is not known
        assert checkpoints is not None
        checkpoints.say(f"{checkpoints.paths[0]} does not fit ({type(error).__name__}); starting from the beginning")
        replicas, parameters, dropout, program = begin()
        done, spent_s = 0, 0.0
    clock -= spent_s
    ending = Ending(stop, lambda: checkpoints is not None and resumes())
    held_states: list[dict[str, Any]] = []  # of the last epoch's end, where it is not on disk and the next may be lost

    def states_after(epoch: int) -> list[dict[str, Any]]:
        return _states(program, replicas, means | {"epoch": epoch, "spent_s": time.perf_counter() - clock})

    for epoch in range(done + 1, config.epochs + 1):
        epoch_began = time.monotonic()
        try:
            losses, weights = train_epoch(task, program, [r.order for r in replicas], ending.now)
        except Stopped:
            if checkpoints and resumes() and held_states:
                checkpoints.save(held_states)
            raise
        held = program.evaluate(*held_out).tolist() if held_out and measures_held_out(config, epoch) else None
        for k, replica in enumerate(replicas):
            own = replica.trajectory.add(
                [loss[k] for loss in losses], held[k] if held else None, [weight[k] for weight in weights]
            )
            if own and measures_held_out(config, epoch):
                replica.trajectory.score(task.scores(program.named_tensors(k)))
        running = [replica.trajectory.perplexity[-1] for replica in replicas if not replica.trajectory.divergence]
        if not running:
            break
        if on_epoch:
            on_epoch(epoch, sum(running) / len(running))
        going_on = watch(epoch, replicas) if watch and epoch < config.epochs else [True] * len(replicas)
        if not all(going_on):
            kept = [k for k, goes_on in enumerate(going_on) if goes_on]
            if checkpoints:
                checkpoints.keep(kept)
            if not kept:
                return []
            states = program.replica_states()
            replicas, configs = [replicas[k] for k in kept], [configs[k] for k in kept]
            program = build(
                choice.engine, configs, V, [parameters[k] for k in kept], [dropout[k] for k in kept], device
            )
            program.load_replica_states([states[k] for k in kept])
            parameters, dropout = [parameters[k] for k in kept], [dropout[k] for k in kept]
        if checkpoints and epoch < config.epochs:
            stopping = stop()
            if checkpoints.due or (stopping and resumes()):
                checkpoints.save(states_after(epoch))
                held_states = []
            else:
                long = time.monotonic() - epoch_began >= LONG_EPOCH_S
                held_states = copy.deepcopy(states_after(epoch)) if long else []  # the program goes on with its own
            if stopping:
                raise Stopped

    timing = {
        "started": started.isoformat(timespec="seconds"),
        "wall_s": round((time.perf_counter() - clock) / together, 3),
        "trained_together": together,
        "resumed_at_epoch": done or None,
        "threads": torch.get_num_threads(),
        "device": str(device),
        "kernel": computed,
        "calibration_ms": choice.milliseconds,
    }
    records = []
    for k, replica in enumerate(replicas):
        text: dict[str, str] = {}
        parameters_now = program.named_tensors(k)
        if not replica.trajectory.divergence:
            text = task.texts(parameters_now, config.prefixes)
            replica.trajectory.score(task.final_scores(parameters_now, replica.trajectory.perplexity[-1]))
        record = make_record(replica.config, task, replica.trajectory, text, choice.engine, timing)
        record.sees_future = task.sees_future(parameters_now)
        records.append(record)
    return records


class Ending:
    """When a program that was asked to stop does so in the middle of an epoch: at once where nothing is to be kept, or
    after a grace within which a short epoch ends."""

    def __init__(self, stop: Callable[[], bool], keeps: Callable[[], bool]) -> None:
        self.stop, self.keeps = stop, keeps
        self.heard: float | None = None

    def now(self) -> bool:
        if not self.stop():
            return False
        self.heard = time.monotonic() if self.heard is None else self.heard
        return not self.keeps() or time.monotonic() - self.heard > GRACE_S


@dataclass
class Replica:
    """One run in training: its config, the order of its data, and what happened so far."""

    config: Config
    trajectory: "Trajectory" = field(default_factory=lambda: Trajectory())
    order: Generator = field(init=False)

    def __post_init__(self) -> None:
        self.order = stream(self.config.seed, "data")


def _states(program: Program, replicas: Sequence[Replica], facts: Mapping[str, Any]) -> list[dict[str, Any]]:
    return [
        {
            **facts,
            "program": state,
            "order": replica.order.get_state(),
            "trajectory": asdict(replica.trajectory),
        }
        for replica, state in zip(replicas, program.replica_states(), strict=True)
    ]


def _restore(
    program: Program, replicas: Sequence[Replica], checkpoints: Checkpoints | None, means: Mapping[str, str]
) -> tuple[int, float]:
    """Put program and replicas back to their checkpoint: the epoch after which that was, and the seconds until then.

    Zeros where there is none.
    """
    states = checkpoints.load(**means) if checkpoints else None
    if not states:
        return 0, 0.0
    program.load_replica_states([state["program"] for state in states])
    for replica, state in zip(replicas, states, strict=True):
        replica.order.set_state(state["order"])
        replica.trajectory = Trajectory(**state["trajectory"])
    return int(states[0]["epoch"]), float(states[0]["spent_s"])


def make_record(
    config: Config, task: Task, trajectory: Trajectory, text: dict[str, str], engine: str, timing: dict[str, Any]
) -> Record:
    """The record of one finished run."""
    corpus = task.corpus
    return Record(
        run_id=run_id(config, corpus.sha256),
        cell_id=cell_id(config, corpus.sha256),
        seed=config.seed,
        status="diverged" if trajectory.divergence else "ok",
        config=to_dict(resolve(config)),
        identity=run_identity(config, corpus.sha256),
        corpus={
            "name": corpus.name,
            "sha256": corpus.sha256,
            "unit": corpus.unit,
            "characters": corpus.characters,
            "tokens": corpus.tokens,
            "vocabulary": task.sizes if isinstance(task.sizes, int) else list(task.sizes),
        },
        metrics=trajectory.metrics,
        counts={
            "parameters": count(config, task.sizes),
            "updates_per_epoch": task.epoch_updates,
            "tokens_per_epoch": task.tokens_per_epoch,
            "train_tokens": task.train_tokens,
            "val_tokens": task.val_tokens,
            "epochs_done": len(trajectory.perplexity),
        },
        text=text,
        references=task.references(config.prefixes) if text else {},
        engine=engine,
        timing=timing,
        environment=environment(),
        divergence=trajectory.divergence,
        evaluation=evaluation(to_dict(resolve(config))),
        curve=trajectory.curve,
    )


def train_epoch(
    task: Task,
    program: Program,
    orders: Sequence[Generator],
    stop: Callable[[], bool] = lambda: False,
    updates: int | None = None,
) -> tuple[list[list[float]], list[list[float]]]:
    """One pass over each replica's minibatches, or its first `updates`.

    For each minibatch the losses (R,) before its update, and the numbers of its scored targets (R,): empty where
    these are all the same.
    """
    losses: list[Tensor] = []
    scored: list[Tensor] = []
    minibatches = (islice(task.minibatches(order), updates) for order in orders)
    for replicas in zip(*minibatches, strict=True):
        if stop():
            raise Stopped
        X, Y = (torch.stack(parts) for parts in zip(*replicas, strict=True))
        losses.append(program.step(X, Y, carry=bool(losses) and task.carries_state))
        if task.scores_some:
            scored.append((Y != UNSCORED).sum((1, 2)))
    values: list[list[float]] = torch.stack(losses).tolist()
    return values, torch.stack(scored).tolist() if scored else []


def measures_held_out(config: Config, epoch: int) -> bool:
    """Whether the held-out perplexity is measured after this epoch (counted from 1)."""
    return epoch == config.epochs or epoch % math.ceil(config.epochs / VAL_READINGS) == 0


def resolve_device(name: str) -> torch.device:
    """The device that `device=name` means here. Raises ConfigError for a GPU where there is none."""
    if name == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    if name.startswith("cuda"):
        if not torch.cuda.is_available():
            raise ConfigError(f"device is {name!r}, but torch finds no CUDA GPU here; choose device=cpu or device=auto")
        index = name.removeprefix("cuda").removeprefix(":") or "0"
        if not index.isdigit() or int(index) >= torch.cuda.device_count():
            raise ConfigError(f"device is {name!r}; this machine has {torch.cuda.device_count()} GPU(s), from cuda:0")
    return torch.device(name)
