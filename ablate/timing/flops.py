"""Multiplications and additions of matrix products, counted while they are taken.

torch has such a counter, which loads its compiler first: that takes longer than to load torch itself, for four
operators. It is asked where there are others that multiply.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from ablate.training.dispatch import Uncompiled

FACTORS = {"mm": 0, "bmm": 0, "addmm": 1, "baddbmm": 1}
"""Product → where its two factors begin among its arguments: (…, m, k) and (…, k, n)."""
OTHERS = ("conv", "attention", "scaled_mm")
"""In the names of operators that multiply otherwise."""


def flops(work: Callable[[], object]) -> int:
    """Those of a training step, say, whose gradients are taken: under `torch.inference_mode` not all are seen. It is
    done twice where it multiplies otherwise than in products of matrices."""
    with _Products() as counter:
        work()
    if not counter.others:
        return int(counter.flops)
    from torch.utils.flop_counter import FlopCounterMode

    with FlopCounterMode(display=False) as whole:
        work()
    return int(whole.get_total_flops())


class _Products(Uncompiled):  # type: ignore[no-untyped-call]
    """Counts them; `others`: whether there was anything that it cannot count."""

    def __init__(self) -> None:
        super().__init__()
        self.flops = 0
        self.others = False

    def __torch_dispatch__(
        self, func: Any, types: Any, args: Sequence[Any] = (), kwargs: Mapping[str, Any] | None = None
    ) -> Any:
        name = func.overloadpacket.__name__.rstrip("_")
        if name in FACTORS:
            X, W = args[FACTORS[name] :][:2]
            self.flops += 2 * X.numel() * W.shape[-1]
        self.others = self.others or any(word in name for word in OTHERS)
        return func(*args, **(kwargs or {}))
