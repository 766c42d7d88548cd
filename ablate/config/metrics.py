"""What is measured: title, unit and direction of every number that a table may show."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

UNSCORED = -1
"""A target that does not count: no loss, no gradient, no share in the accuracy."""

TAIL = 0.05
"""The share of the epochs, from the end, over which the tail perplexity averages."""


HELD_OUT_WINDOW = 35
"""Tokens of a sequence of held-out text, where a network starts anew with each; in training it is `num_steps`."""

HELD_OUT_MASKED = 0.15
"""The share of the held-out tokens that is masked for task=fill_in, whatever `task.masked` it is trained on."""


@dataclass(frozen=True)
class Metric:
    title: str
    better: str  # lower, higher or neither
    unit: str = ""
    top: float | None = None
    """The largest value of a metric that may be 0, which is compared by differences, not by ratios."""


METRICS = {
    "perplexity": Metric("perplexity (last epoch)", "lower"),
    "tail_perplexity": Metric("tail perplexity", "lower"),
    "best_perplexity": Metric("best perplexity", "lower"),
    "val_perplexity": Metric("held-out perplexity", "lower"),
    "best_val_perplexity": Metric("best held-out perplexity", "lower"),
    "accuracy": Metric("accuracy", "higher", top=1.0),
    "bleu": Metric("held-out BLEU", "higher", top=100.0),
    "published_bleu": Metric("published BLEU", "higher", top=1.0),
    "published_loss": Metric("published loss", "lower"),
    "wall_s": Metric("time", "lower", "s"),
}


DEFAULT_METRIC = "tail_perplexity"
"""What language models are compared by, and whatever has no measure of its own: single epochs mislead."""


def by_difference(metric: str) -> bool:
    """Whether a metric may be 0, so that its values have differences but no ratios."""
    return metric in METRICS and METRICS[metric].top is not None


def perplexity(cross_entropy: float) -> float:
    """exp(mean cross-entropy per token in nats); infinite where that overflows."""
    try:
        return math.exp(cross_entropy)
    except OverflowError:
        return math.inf


def tail_perplexity(curve: Sequence[float]) -> float:
    """Geometric mean of the perplexity over the last 5 % of the epochs, at least one.

    At lr 1 the last epoch alone misleads: single epochs spike by a third and recover at once.
    """
    last = curve[-max(1, math.ceil(TAIL * len(curve))) :]
    return perplexity(sum(math.log(value) for value in last) / len(last))


def evaluation(config: Mapping[str, Any], window: int = HELD_OUT_WINDOW, masked: float = HELD_OUT_MASKED) -> str | None:
    """How a stored config's held-out text is read, as recorded with the run; None where none is, or it is no text.

    A network that only reads forwards carries its state along the whole text, which no knob of the training changes.
    Numbers by different rules are never pooled or ranked together.
    """
    task: str = config.get("task", {"name": "language_model"})["name"]
    tokens: int = config.get("val_tokens") or 0
    if task not in ("language_model", "fill_in") or tokens < 2:
        return None
    if task == "language_model" and not config.get("model", {}).get("bidirectional", False):
        return "streams, state carried over"
    return f"windows of {min(window, tokens)} tokens" + f", {masked:g} of them masked" * (task == "fill_in")


def evaluation_of(record: Mapping[str, Any]) -> str | None:
    """The rule by which a stored run was measured.

    Records older than the field have windows of their own num_steps, of which their own task.masked is masked.
    """
    rule: str | None = record.get("evaluation")
    if rule is not None:
        return rule
    config = record["config"]
    return evaluation(
        config, config.get("num_steps", HELD_OUT_WINDOW), config.get("task", {}).get("masked", HELD_OUT_MASKED)
    )
