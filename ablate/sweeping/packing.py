"""Groups of runs that differ in their number of hidden units, put together on a GPU where that saves time.

A program as wide as the widest of them computes zeros for the others (`ablate.engines.cohort.padding`). That pays
where a step takes as long as starting its operations does, however little they compute.
"""

from collections.abc import Sequence
from typing import Any

from ablate.config.identity import cohort_key
from ablate.engines.cohort.capacity import is_derived
from ablate.engines.cohort.padding import pads
from ablate.sweeping.schedule import RunGroup
from ablate.training.loop import resolve_device

STEP_S = 31e-6
"""What a step of a layer takes, forward and back, of however few and small networks, …"""
UNIT_S, PRODUCT_S = 1.8e-10, 2.7e-13
"""… and what comes on top for each token and replica: times H, and times H² hidden units.

From what an early form of the cohort engine, torch's operators under CUDA graphs, took for a gru on an H200 (T 35,
B 32, V 28): 1.12 and 1.8 ms for minibatches of 20 and of 120 replicas at H = 32, 2.86 and 10.1 ms at H = 256. The
present kernels were not measured.
"""


def packed(groups: Sequence[RunGroup], side_by_side: int) -> list[RunGroup]:
    """The same runs in fewer groups: each takes in the narrower ones that cost it less than they do by themselves."""
    out: list[RunGroup] = []
    for group in sorted(groups, key=lambda group: -group.config.num_hiddens):
        key = _key(group)
        wide = next(
            (one for one in out if key is not None and _key(one) == key and pays(one, group, side_by_side)), None
        )
        if wide is None:
            out.append(
                RunGroup(list(group.settings), list(group.runs), group.corpus, None, group.begun_with, group.epoch)
            )
        else:
            wide.runs += group.runs
            wide.settings += [setting for setting in group.settings if setting not in wide.settings]
    first = {id(run): number for number, group in enumerate(groups) for run in group.runs}
    return sorted(out, key=lambda group: min(first[id(run)] for run in group.runs))


def pays(wide: RunGroup, narrow: RunGroup, side_by_side: int) -> bool:
    """Whether runs are trained sooner as part of a wider program than as one beside it, of so many at once."""
    config, H = narrow.config, wide.config.num_hiddens
    steps = config.layers * config.num_steps
    saved = STEP_S * steps / side_by_side
    more = _token_s(H) - _token_s(config.num_hiddens)
    return saved > len(narrow.runs) * steps * config.batch_size * more


def _token_s(H: int) -> float:
    return UNIT_S * H + PRODUCT_S * H * H


def _key(group: RunGroup) -> Any:
    """The same for groups that could be one program but for their widths; None where none can."""
    config, device = group.config, resolve_device(group.config.device)
    if device.type != "cuda" or config.engine not in ("auto", "cohort") or not config.task.thing.has_network:
        return None
    if config.deterministic:  # zeros beside a replica may round its sums otherwise
        return None
    if not (is_derived(config, device) and pads(config)):
        return None
    return cohort_key(config.but(num_hiddens=1), group.corpus.sha256), group.begun_with, group.epoch
