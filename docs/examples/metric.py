"""Two metrics of your own, for any task: they are computed from what every run has recorded, also for older runs.

ablate claims results/mine     judges   metric: bits_per_token
"""

import math
from collections.abc import Mapping, Sequence
from typing import Any

import ablate


@ablate.metric("bits per token", better="lower", shown=True)
def bits_per_token(record: Mapping[str, Any]) -> float | None:
    """Bits per token: the base-2 logarithm of the tail perplexity; none if no perplexity was measured."""
    perplexity = record["metrics"].get("tail_perplexity")
    return None if perplexity is None else math.log2(perplexity)


@ablate.metric("epochs to half", better="lower", logs=False)
def epochs_to_half(record: Mapping[str, Any], curve: Mapping[str, Sequence[float]]) -> float | None:
    """Epochs until the perplexity was half that of the first epoch; none if it never was, or was not measured."""
    if "perplexity" not in curve:
        return None
    first = curve["perplexity"][0]
    return next((e for e, value in zip(curve["epoch"], curve["perplexity"], strict=True) if value <= first / 2), None)
