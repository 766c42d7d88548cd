"""How many pairs of runs a ratio takes, and which ratio a number of pairs can detect."""

import math
from bisect import bisect_left
from collections.abc import Callable

from scipy import special

from ablate.stats.signed_rank import least_pairs

MOST_SEEDS = 10_000
"""An effect that takes more seeds than these counts as nil."""

RANK_COST = 1.05
"""Pairs that a rank test needs for one that the t test needs, on normal differences: π/3 (Hodges & Lehmann 1956)."""


def detectable_ratio(sd_log: float, n: int, level: float = 0.95, power: float = 0.8) -> float:
    """The smallest true ratio above 1 that n pairs detect with this power; NaN where n is too small to detect any.

    `sd_log`: standard deviation, from pair to pair, of the logarithm of the ratio. The t approximation,
    exp((t[level] + t[power]) · sd · √(1.05/n)), for the signed-rank test.
    """
    return math.exp(detectable_log(sd_log, n, level, power)) if n >= least_pairs(level) else math.nan


def seeds_for(effect_log: float, sd_log: float, level: float = 0.95, power: float = 0.8) -> int | None:
    """The pairs that detect a log ratio of `effect_log`: the smallest n whose `detectable_ratio` is no larger.

    None where the effect is nil or takes more than 10,000.
    """
    return fewest(abs(effect_log), lambda n: detectable_log(sd_log, n, level, power), least_pairs(level))


def detectable_log(
    sd_log: float, n: int, level: float, power: float, cost: float = RANK_COST, samples: int = 1
) -> float:
    """The log ratio that n pairs detect (two samples: n runs of each), where its estimate varies by sd_log/√n."""
    df = samples * (n - 1)
    t = special.stdtrit(df, 0.5 + level / 2) + special.stdtrit(df, power)
    return float(t * sd_log * math.sqrt(cost / n))


def fewest(effect: float, detectable: Callable[[int], float], least: int) -> int | None:
    """The smallest n, from `least` on, whose detectable log ratio is no larger than the effect; None: over 10,000."""
    if not effect > 0 or math.isnan(detectable(least)):
        return None
    n = bisect_left(range(MOST_SEEDS + 1), -effect, lo=least, key=lambda n: -detectable(n))
    return n if n <= MOST_SEEDS else None
