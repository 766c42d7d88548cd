"""Which configs can be the replicas of one cohort."""

from collections.abc import Sequence
from dataclasses import fields
from typing import Any, cast

from ablate.config.resolved import Resolved
from ablate.config.schema import Part

READ = (
    "model",
    "num_hiddens",
    "layers",
    "dropout",
    "dropout_in",
    "dropout_out",
    "dropout_mask",
    "reset",
    "bias_vectors",
    "optimizer",
    "lr",
    "schedule",
    "clip",
    "clip_by",
    "precision",
    "seed",
)
"""The fields that a cohort computes from; of these, replicas may differ in those marked `per_replica`."""


def check_alike(configs: Sequence[Resolved], any_width: bool = False) -> None:
    """Raise ValueError unless the configs differ, of what a cohort reads, in per-replica fields only.

    With `any_width` also in their number of hidden units.
    """
    if not configs:
        raise ValueError("a cohort needs a replica")
    first, *others = configs
    for f in fields(first):
        if f.name not in READ or f.metadata.get("per_replica") or (any_width and f.name == "num_hiddens"):
            continue
        for other in others:
            ours, theirs = getattr(first, f.name), getattr(other, f.name)
            if isinstance(ours, Part):
                ours, theirs = _shared(ours), _shared(theirs)
            if ours != theirs:
                raise ValueError(f"replicas of one cohort must agree in {f.name}: {ours} and {theirs}")


def _shared(part: Part) -> dict[str, Any]:
    """The knobs of a part that one program has once: neither those of each replica nor such as decide nothing."""
    each = {knob.name for knob in part.own_knobs if knob.per_replica or not knob.decides}
    each |= {f.name for f in fields(cast(Any, part)) if not f.metadata.get("identity", True)}
    return {name: value for name, value in part.values().items() if name not in each}
