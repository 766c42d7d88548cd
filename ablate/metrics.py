"""What is measured: title, unit and direction of every number that a table may show."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

UNSCORED = -1
"""A target that does not count: no loss, no gradient, no share in the accuracy."""

TAIL = 0.05
"""The share of the epochs, from the end, over which the tail perplexity averages."""


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
