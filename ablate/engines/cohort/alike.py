"""Which configs can be the replicas of one cohort."""

from collections.abc import Sequence

from ablate.config.identity import shared_identity
from ablate.config.resolved import Resolved


def check_alike(configs: Sequence[Resolved], any_width: bool = False) -> None:
    """Raise ValueError unless the configs agree in all that decides what a run computes, but for per-replica knobs.

    With `any_width` also but for their number of hidden units. Sweeps pack runs by the same rule: a knob without
    `per_replica` is never one in which replicas may differ, whoever declares it.
    """
    if not configs:
        raise ValueError("a cohort needs a replica")
    first, *others = (shared_identity(one.but(num_hiddens=1) if any_width else one, "") for one in configs)
    for other in others:
        for name in first | other:
            if first.get(name) != other.get(name):
                ours, theirs = first.get(name), other.get(name)
                raise ValueError(f"replicas of one cohort must agree in {name}: {ours} and {theirs}")
