"""One run's way through its epochs: where its random numbers come from, what it reads, and what happened to it."""

import hashlib
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import islice, takewhile
from typing import Any, Protocol

import torch
from torch import Generator, Tensor

from ablate.config.errors import UserError, place
from ablate.config.metrics import loss_metrics, perplexity, tail_perplexity
from ablate.config.resolved import Resolved
from ablate.config.stopping import Rule, seconds_of
from ablate.engines.cohort import Cohort
from ablate.engines.cohort.portions import Stacked
from ablate.engines.divergence import named
from ablate.engines.program import Program
from ablate.networks.targets import counted
from ablate.tasks.task import Task
from ablate.training.minibatches import check_minibatch, stacked
from ablate.training.portions import portions

VAL_READINGS = 20
"""How often the held-out perplexity is measured over a run that follows it by no rule or schedule."""


MINIBATCHES_AHEAD = 256
"""So many are begun on a GPU before their losses are read: it has no pause while this is done."""


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
    seconds: float = 0.0  # of training, its own share of the program's
    ended: dict[str, Any] | None = None  # by a rule, before its epochs: epoch, rule, value

    @property
    def goes_on(self) -> bool:
        """Whether it is still in training."""
        return self.divergence is None and self.ended is None

    def add(
        self, losses: Sequence[float], val_loss: float | None, weights: Sequence[float] = (), cause: str = ""
    ) -> bool:
        """Record an epoch from its minibatch losses. False once the run has diverged, or ended.

        `weights` are the scored targets of each minibatch, where those differ. `cause` is what the engine found not to
        be finite, if anything; a perplexity that overflows is found here.
        """
        if not self.goes_on:
            return False
        epoch = len(self.perplexity) + 1
        finite = list(takewhile(lambda loss: math.isfinite(perplexity(loss)), losses))
        previous = math.log(self.perplexity[-1]) if self.perplexity else None
        last_finite = finite[-1] if finite else previous
        if not cause and len(finite) < len(losses):
            cause = "loss"
        if not cause and val_loss is not None and not math.isfinite(perplexity(val_loss)):
            cause = "held-out loss"
        if cause:
            self.divergence = {"epoch": epoch, "last_finite_loss": last_finite, "cause": cause}
            return False
        self.perplexity.append(perplexity(_mean(losses, weights)))
        self.val_perplexity.append(None if val_loss is None else perplexity(val_loss))
        return True

    def end_by_rule(self, config: Resolved) -> bool:
        """Whether one of a config's rules ends the run after the epoch just added, which is noted; never the last."""
        epoch = len(self.perplexity)
        if not self.goes_on or epoch == config.epochs:
            return False
        rules = {
            "until": config.until is not None and Rule.read(config.until).holds(self.metrics),
            "patience": config.patience is not None and self._since_best() >= config.patience,
            "budget": config.budget is not None and self.seconds >= seconds_of("budget", config.budget),
        }
        for rule, holds in rules.items():
            if holds:
                self.ended = {"epoch": epoch, "rule": rule, "value": getattr(config, rule)}
                return True
        return False

    def _since_best(self) -> int:
        """Epochs since the first one of the lowest held-out perplexity; none where nothing was measured."""
        measured = [(value, epoch) for epoch, value in enumerate(self.val_perplexity, 1) if value is not None]
        return len(self.perplexity) - min(measured)[1] if measured else 0

    def score(self, measured: Mapping[str, float]) -> None:
        """Record what else was measured after the epoch just added."""
        for name, value in measured.items():
            column = self.scores.setdefault(name, [])
            column += [None] * (len(self.perplexity) - len(column))
            column[-1] = value

    def test(self, loss: float) -> None:
        """Record the loss of the test data after the epoch just added; one that is not finite is none."""
        if math.isfinite(perplexity(loss)):
            self.score({"test_perplexity": perplexity(loss)})

    @property
    def metrics(self) -> dict[str, float | None]:
        """The numbers of `ablate.config.metrics` that this trajectory gives; those of a diverged run mean nothing."""
        measured = [value for value in self.val_perplexity if value is not None]
        if self.divergence:
            return dict.fromkeys((*loss_metrics(), *self.scores))
        return {
            "perplexity": self.perplexity[-1],
            "tail_perplexity": tail_perplexity(self.perplexity),
            "best_perplexity": min(self.perplexity),
            "val_perplexity": measured[-1] if measured else None,
            "best_val_perplexity": min(measured, default=None),
            **{name: [value for value in column if value is not None][-1] for name, column in self.scores.items()},
            **self._tested(),
        }

    def _tested(self) -> dict[str, float | None]:
        """What the test data say of the last epoch, and of the one that the validation chooses; None where their loss
        was not finite, and nothing where there are no such data."""
        tested = self.scores.get("test_perplexity")
        chosen = [(value, epoch) for epoch, value in enumerate(self.val_perplexity) if value is not None]
        if tested is None or not chosen:
            return {}
        places = {"test_perplexity": len(self.perplexity) - 1, "test_perplexity_at_best": min(chosen)[1]}
        return {name: tested[epoch] if epoch < len(tested) else None for name, epoch in places.items()}

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


@dataclass
class Replica:
    """One run in training: its config, the order of its data, and what happened so far."""

    config: Resolved
    trajectory: Trajectory = field(default_factory=Trajectory)
    order: Generator = field(init=False)

    def __post_init__(self) -> None:
        self.order = stream(self.config.seed, "data")

    def reading(self, epoch: int) -> dict[str, float] | None:
        """What was measured after this epoch, the one just added; None where nothing was, or the run diverged."""
        if self.trajectory.divergence or not measures_held_out(self.config, epoch):
            return None
        return {name: value for name, value in self.trajectory.metrics.items() if value is not None}


class Watched(Protocol):
    """A run in training, as whoever watches it sees it: a replica, or a function that reports."""

    @property
    def config(self) -> Resolved: ...

    def reading(self, epoch: int) -> dict[str, float] | None: ...


@dataclass(frozen=True)
class Epoch:
    """What was measured in one pass over each replica's minibatches."""

    losses: list[list[float]]
    """Of each minibatch those of the replicas (R,), before its update."""
    weights: list[list[float]]
    """And the numbers of its scored targets (R,): empty where these are all the same."""
    causes: list[str]
    """What is not finite in each replica at its end (`ablate.engines.divergence`)."""


def train_epochs(
    task: Task,
    program: Program,
    orders: Sequence[Generator],
    stop: Callable[[], bool] = lambda: False,
    count: int = 1,
) -> list[Epoch]:
    """So many passes over each replica's minibatches. Of a silent program nothing is asked before the last one ends.

    Raises UserError where the task has no minibatch, one that no network could read, or an epoch that scores nothing.
    """
    if isinstance(program, Cohort) and program.silent:
        begun = [(*_launched(task, program, orders, stop, None), program.causes.clone()) for _ in range(count)]
        epochs = [Epoch(losses.tolist(), weights.tolist(), named(causes)) for losses, weights, causes in begun]
    else:
        epochs = [Epoch(*train_epoch(task, program, orders, stop), program.divergences()) for _ in range(count)]
    if not all(sum(of_replica) for epoch in epochs for of_replica in zip(*epoch.weights, strict=True)):
        raise _lacks(task, "scored target")
    return epochs


def train_epoch(
    task: Task,
    program: Program,
    orders: Sequence[Generator],
    stop: Callable[[], bool] = lambda: False,
    updates: int | None = None,
) -> tuple[list[list[float]], list[list[float]]]:
    """One pass over each replica's minibatches, or its first `updates`: losses and weights of an `Epoch`."""
    if isinstance(program, Cohort) and program.takes_portions:
        measured, counts = _launched(task, program, orders, stop, updates)
        return measured.tolist(), counts.tolist()
    losses: list[Tensor] = []
    scored: list[Tensor] = []
    minibatches = (islice(task.minibatches(order), updates) for order in orders)
    for replicas in zip(*minibatches, strict=True):
        if stop():
            raise Stopped
        X, Y = (part.to(task.device) for part in stacked(replicas))
        if not losses:
            check_minibatch(task, X[0], Y[0])
        losses.append(program.step(X, Y, carry=bool(losses) and task.carries_state))
        if task.scores_some:
            scored.append(counted(Y).sum((1, 2)))
    if not losses:
        raise _lacks(task, "minibatch")
    values: list[list[float]] = torch.stack(losses).tolist()
    return values, torch.stack(scored).tolist() if scored else []


def _launched(
    task: Task, program: Cohort, orders: Sequence[Generator], stop: Callable[[], bool], updates: int | None
) -> tuple[Tensor, Tensor]:
    """Losses (J, R), on the device, and numbers of scored targets (J, R), or none (0,): of an epoch that has begun."""

    def between() -> None:
        if stop():
            raise Stopped

    losses: list[Tensor] = []
    scored: list[Tensor] = []
    for portion in portions(task, orders, updates, program.portion_bytes):
        if isinstance(portion, Stacked):
            if not losses:
                check_minibatch(task, portion.inputs[0, 0], portion.targets[0, 0])
            if task.scores_some:
                scored.append(counted(portion.targets).sum((2, 3)))
        carry = bool(losses) and task.carries_state
        losses.append(program.train(portion, carry=carry, carries=task.carries_state, between=between))
    if not losses:
        raise _lacks(task, "minibatch")
    return torch.cat(losses), torch.cat(scored) if scored else torch.empty(0)


def measured_every_epoch(config: Resolved) -> bool:
    """Whether something follows what is measured, so that it is measured after every epoch."""
    rules = (config.patience, config.until, config.budget)
    return config.schedule.thing.reads_held_out or any(rule is not None for rule in rules)


def epochs_ahead(config: Resolved, done: int, minibatches: int) -> int:
    """How many epochs to begin before anything is read: none beyond the next at which something else is measured."""
    most = min(config.epochs - done, max(1, MINIBATCHES_AHEAD // max(1, minibatches)))
    return next((k for k in range(1, most) if measures_held_out(config, done + k)), most)


def _lacks(task: Task, what: str) -> UserError:
    return UserError(f"an epoch of the task {task.config.task.name} has no {what} ({place(task.minibatches)})")


def measures_held_out(config: Resolved, epoch: int) -> bool:
    """Whether the held-out perplexity is measured after this epoch (counted from 1)."""
    reading = epoch % math.ceil(config.epochs / VAL_READINGS) == 0
    return epoch == config.epochs or reading or measured_every_epoch(config)
