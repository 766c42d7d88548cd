"""Training one run: the published protocol, exactly, and what is measured beside it.

Every run is fully determined by its config, with `config.seed`; initial weights, data order and dropout each
draw from a generator of their own, whatever else is trained before, after or beside it.
"""

import hashlib
import math
import os
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

import torch
from torch import Generator, Tensor
from torch.nn import functional as F

from ablate.config import Config, cell_id, engine_for, resolve, run_id, run_identity, to_dict
from ablate.data import batches
from ablate.data.corpora import Corpus, split
from ablate.environment import environment
from ablate.errors import ConfigError
from ablate.metrics import perplexity, tail_perplexity
from ablate.models.cells import State
from ablate.models.language_model import ENGINES, LanguageModel
from ablate.models.parameters import count, initial
from ablate.results import Record

VAL_STREAMS = 8
"""Held-out text is read as 8 parallel streams from a zero state, whatever the training's batch_size."""
VAL_STEPS = 250
"""Steps of the held-out text that are computed at once: bounds the memory, does not change the outcome."""
VAL_READINGS = 20
"""How often the held-out perplexity is measured over a run."""
PREDICTED_TOKENS = 50
"""Tokens generated after each prefix."""

OnEpoch = Callable[[int, float], None]


def stream(seed: int, purpose: str) -> Generator:
    """A generator of its own for one purpose of one run."""
    digest = hashlib.sha256(f"{seed}/{purpose}".encode()).digest()
    return Generator().manual_seed(int.from_bytes(digest[:8], "little") >> 1)


@dataclass
class Trajectory:
    """What happened over the epochs of one run."""

    perplexity: list[float] = field(default_factory=list)
    val_perplexity: list[float | None] = field(default_factory=list)
    divergence: dict[str, Any] | None = None

    def add(self, losses: Sequence[float], val_loss: float | None) -> bool:
        """Record an epoch from its minibatch losses (all of the same size). False once the run has diverged."""
        epoch = len(self.perplexity) + 1
        finite = [loss for loss in losses if math.isfinite(perplexity(loss))]
        previous = math.log(self.perplexity[-1]) if self.perplexity else None
        last_finite = finite[-1] if finite else previous
        if len(finite) < len(losses) or (val_loss is not None and not math.isfinite(perplexity(val_loss))):
            self.divergence = {"epoch": epoch, "last_finite_loss": last_finite}
            return False
        self.perplexity.append(perplexity(sum(losses) / len(losses)))
        self.val_perplexity.append(None if val_loss is None else perplexity(val_loss))
        return True

    @property
    def metrics(self) -> dict[str, float | None]:
        """The numbers of `ablate.metrics` that this trajectory gives; those of a diverged run mean nothing."""
        measured = [value for value in self.val_perplexity if value is not None]
        if self.divergence:
            return dict.fromkeys(
                ("perplexity", "tail_perplexity", "best_perplexity", "val_perplexity", "best_val_perplexity")
            )
        return {
            "perplexity": self.perplexity[-1],
            "tail_perplexity": tail_perplexity(self.perplexity),
            "best_perplexity": min(self.perplexity),
            "val_perplexity": measured[-1] if measured else None,
            "best_val_perplexity": min(measured, default=None),
        }

    @property
    def curve(self) -> dict[str, list[float | None]]:
        epochs: list[float | None] = [float(epoch + 1) for epoch in range(len(self.perplexity))]
        return {"epoch": epochs, "perplexity": list(self.perplexity), "val_perplexity": self.val_perplexity}


def train(config: Config, corpus: Corpus, on_epoch: OnEpoch | None = None) -> Record:
    """One run, alone, with the engine that `config.engine` asks for.

    `on_epoch(epoch, perplexity)` is called after every epoch. Divergence ends the run and is recorded.
    Raises CombinationError where the corpus is too short or the engine cannot compute the model.
    """
    engine = engine_for(config)
    device = resolve_device(config.device)
    threads = set_threads(config)
    started = datetime.now(UTC)
    clock = time.perf_counter()

    training_ids, held_out_ids = split(config, corpus)
    tokens = torch.tensor(training_ids, device=device)
    held_out = streams(held_out_ids, device)
    V = len(corpus.vocabulary)
    parameters = initial(config, V, stream(config.seed, "weights"))
    model = ENGINES[engine](config, V, parameters, stream(config.seed, "dropout")).to(device)
    optimizer = build_optimizer(config, model)
    order = stream(config.seed, "data")

    trajectory = Trajectory()
    for epoch in range(1, config.epochs + 1):
        losses = train_epoch(config, model, optimizer, batches.epoch(config, tokens, order))
        val_loss = evaluate(model, held_out) if held_out and measures_held_out(config, epoch) else None
        if not trajectory.add(losses, val_loss):
            break
        if on_epoch:
            on_epoch(epoch, trajectory.perplexity[-1])

    text = {prefix: generate(model, corpus, prefix) for prefix in config.prefixes} if not trajectory.divergence else {}
    timing = {
        "started": started.isoformat(timespec="seconds"),
        "wall_s": round(time.perf_counter() - clock, 3),
        "threads": threads,
        "device": str(device),
    }
    return make_record(config, corpus, trajectory, text, engine, timing)


def make_record(
    config: Config, corpus: Corpus, trajectory: Trajectory, text: dict[str, str], engine: str, timing: dict[str, Any]
) -> Record:
    """The record of one finished run."""
    training_ids, held_out_ids = split(config, corpus)
    per_epoch = updates_per_epoch(config, len(training_ids))
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
            "tokens": len(corpus.ids),
            "vocabulary": len(corpus.vocabulary),
        },
        metrics=trajectory.metrics,
        counts={
            "parameters": count(config, len(corpus.vocabulary)),
            "updates_per_epoch": per_epoch,
            "tokens_per_epoch": per_epoch * config.batch_size * config.num_steps,
            "train_tokens": len(training_ids),
            "val_tokens": len(held_out_ids),
            "epochs_done": len(trajectory.perplexity),
        },
        text=text,
        engine=engine,
        timing=timing,
        environment=environment(),
        divergence=trajectory.divergence,
        curve=trajectory.curve,
    )


def train_epoch(
    config: Config,
    model: LanguageModel,
    optimizer: torch.optim.Optimizer,
    minibatches: Iterable[tuple[Tensor, Tensor]],
) -> list[float]:
    """One pass: the loss of every minibatch before its update, in nats per token."""
    model.train()
    losses = []
    states: list[State] | None = None
    for X, Y in minibatches:
        if states is None or not batches.carries_state(config):
            states = model.initial_state(X.shape[1])
        else:
            states = [tuple(part.detach() for part in state) for state in states]
        logits, states = model(X, states)
        loss = F.cross_entropy(logits, Y.flatten())
        optimizer.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        clip_gradients(model, config.clip)
        optimizer.step()
        losses.append(loss.detach())
    values: list[float] = torch.stack(losses).tolist()
    return values


def clip_gradients(model: torch.nn.Module, clip: float | None) -> None:
    """Scale all gradients by clip/norm if their global L2 norm exceeds `clip`; no epsilon, as in the course."""
    if clip is None:
        return
    gradients = [p.grad for p in model.parameters() if p.grad is not None]
    norm = torch.linalg.vector_norm(torch.stack([torch.linalg.vector_norm(g) for g in gradients]))
    if norm > clip:
        for gradient in gradients:
            gradient.mul_(clip / norm)


def build_optimizer(config: Config, model: torch.nn.Module) -> torch.optim.Optimizer:
    """The update rule of torch.optim that `config.optimizer` names, at the learning rate `config.lr`."""
    chosen, lr = config.optimizer, config.lr
    trained = [p for p in model.parameters() if p.requires_grad]
    decay = chosen.weight_decay
    match chosen.name:
        case "sgd":
            return torch.optim.SGD(trained, lr, weight_decay=decay)
        case "momentum":
            return torch.optim.SGD(trained, lr, momentum=chosen.momentum, weight_decay=decay)
        case "rmsprop":
            return torch.optim.RMSprop(
                trained, lr, alpha=chosen.alpha, eps=chosen.eps, momentum=chosen.momentum, weight_decay=decay
            )
        case "adam" | "adamw":
            rule = torch.optim.Adam if chosen.name == "adam" else torch.optim.AdamW
            return rule(trained, lr, betas=(chosen.betas[0], chosen.betas[1]), eps=chosen.eps, weight_decay=decay)
    raise ConfigError(f"optimizer.name is {chosen.name!r}")


def streams(ids: Sequence[int], device: torch.device) -> tuple[Tensor, Tensor] | None:
    """Held-out tokens as parallel streams: inputs (steps, streams) and targets; None for fewer than 2 tokens."""
    if len(ids) < 2:
        return None
    S = min(VAL_STREAMS, len(ids) - 1)
    tokens = torch.tensor(ids, device=device)
    count = (len(ids) - 1) // S * S
    return tokens[:count].reshape(S, -1).T, tokens[1 : count + 1].reshape(S, -1).T


def measures_held_out(config: Config, epoch: int) -> bool:
    """Whether the held-out perplexity is measured after this epoch (counted from 1)."""
    return epoch == config.epochs or epoch % math.ceil(config.epochs / VAL_READINGS) == 0


@torch.inference_mode()
def evaluate(model: LanguageModel, held_out: tuple[Tensor, Tensor]) -> float:
    """Mean cross-entropy in nats per token over held-out streams (steps, streams), state carried throughout."""
    model.eval()
    inputs, targets = held_out
    states = model.initial_state(inputs.shape[1])
    total = torch.zeros((), dtype=torch.float64)
    for start in range(0, len(inputs), VAL_STEPS):
        logits, states = model(inputs[start : start + VAL_STEPS], states)
        total += F.cross_entropy(logits, targets[start : start + VAL_STEPS].flatten(), reduction="sum").cpu()
    return float(total) / inputs.numel()


@torch.inference_mode()
def generate(model: LanguageModel, corpus: Corpus, prefix: str, predicted: int = PREDICTED_TOKENS) -> str:
    """The prefix and its greedy continuation: batch of one, zero state, warmed up on the prefix."""
    model.eval()
    device = model.output_b.device
    ids = corpus.encode(prefix) or [0]
    logits, states = model(torch.tensor(ids, device=device).unsqueeze(1), model.initial_state(1))
    for _ in range(predicted):
        ids.append(int(logits[-1].argmax()))
        logits, states = model(torch.tensor([[ids[-1]]], device=device), states)
    continuation = corpus.decode(ids[len(ids) - predicted :])
    return corpus.separator.join([prefix, continuation]) if prefix else continuation


def updates_per_epoch(config: Config, tokens: int) -> int:
    """Minibatches of an epoch at offset 0 (a few lengths lose one at the largest offset)."""
    B, T = config.batch_size, config.num_steps
    return (tokens - 1) // T // B if config.sampling == "random" else (tokens - 1) // B // T


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


def set_threads(config: Config) -> int:
    """Give torch the threads that the config asks for; returns how many that are."""
    threads = config.threads or os.cpu_count() or 1
    if torch.get_num_threads() != threads:
        torch.set_num_threads(threads)
    torch.set_flush_denormal(True)
    return threads
