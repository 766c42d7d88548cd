"""Simulated sweeps that somebody looks at after every seed: the values, and the evidence after each of them.

Axes: S sweeps, n seeds. Everything is computed for all sweeps and all looks at once.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from scipy import special

from ablate.stats.evidence import decisive, mean_evidence, share_evidence

FIRST, LAST = 6, 100
"""Seeds at the first look, and at the last; there is one after each seed between."""
LEVEL = 0.95

Draw = Callable[[np.random.Generator, tuple[int, int]], np.ndarray]
"""Logarithms of a metric in two settings of equal mean, one minus the other, as an array (S, n)."""


def normal(rng: np.random.Generator, shape: tuple[int, int]) -> np.ndarray:
    return rng.normal(0, 1, shape) - rng.normal(0, 1, shape)


def unequal(rng: np.random.Generator, shape: tuple[int, int]) -> np.ndarray:
    """One setting has five times the spread of the other."""
    return rng.normal(0, 1, shape) - rng.normal(0, 5, shape)


def heavy_tails(rng: np.random.Generator, shape: tuple[int, int]) -> np.ndarray:
    """Student's t with 3 degrees of freedom."""
    return rng.standard_t(3, shape) - rng.standard_t(3, shape)


def stuck(rng: np.random.Generator, shape: tuple[int, int]) -> np.ndarray:
    """In both settings a tenth of the runs is stuck, 10 standard deviations above the others."""
    return sum(sign * (rng.normal(0, 1, shape) + 10 * (rng.random(shape) < 0.1)) for sign in (1, -1))


def bimodal(rng: np.random.Generator, shape: tuple[int, int]) -> np.ndarray:
    """Half of the runs of one setting end 10 standard deviations above the other half."""
    return rng.normal(0, 1, shape) + 10 * (rng.random(shape) < 0.5) - 5 - rng.normal(0, 1, shape)


def skewed(rng: np.random.Generator, shape: tuple[int, int]) -> np.ndarray:
    """A tenth of the runs of one setting alone is stuck, and its others are better by as much as makes up for it."""
    return rng.normal(0, 1, shape) + 10 * (rng.random(shape) < 0.1) - 1 - rng.normal(0, 1, shape)


DRAWS: dict[str, Draw] = {draw.__name__: draw for draw in (normal, unequal, heavy_tails, stuck, bimodal, skewed)}


def moments(sums: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Mean and standard deviation of the first n of the sums (S, N), for n = 1 … N, and n."""
    n = np.arange(1, sums.shape[1] + 1)
    mean = np.cumsum(sums, axis=1) / n
    square = np.cumsum(sums**2, axis=1) - n * mean**2
    return mean, np.sqrt(np.maximum(square, 0) / np.maximum(n - 1, 1)), n


def evidence(sums: np.ndarray, bound: float = 0.0, above: bool = True) -> np.ndarray:
    """Logarithm of the t e-value after each seed (S, n) of "the mean lies above the bound", or below."""
    mean, sd, n = moments(sums)
    return mean_evidence(mean - bound if above else bound - mean, sd, n)


def share(does: np.ndarray, bound: float, above: bool = True) -> np.ndarray:
    """The same of "more than this share of runs do it", or fewer; does (S, n) of bool."""
    n = np.arange(1, does.shape[1] + 1)
    count = np.cumsum(does, axis=1)
    looked_up = np.array(
        [[float("nan")] * (n[-1] + 1)] + [_row(int(k), int(n[-1]), bound, above).tolist() for k in n]
    )  # (n, count)
    found: np.ndarray = looked_up[n, count]
    return found


def _row(n: int, most: int, bound: float, above: bool) -> np.ndarray:
    count = np.arange(most + 1)
    inside = np.minimum(count, n)
    return share_evidence(inside, n, bound) if above else share_evidence(n - inside, n, 1 - bound)


def signs(sums: np.ndarray) -> np.ndarray:
    """The same of "more than half of the sums lie above 0"."""
    return share(sums > 0, 0.5)


def diverging(rng: np.random.Generator, shape: tuple[int, int], share: float) -> np.ndarray:
    """Normal settings (S, n) where in such a share of the seeds one of the two runs diverges, either as often."""
    which = np.where(rng.random(shape) < 0.5, np.inf, -np.inf)
    return np.where(rng.random(shape) < share, which, normal(rng, shape))


def until_one_diverges(sums: np.ndarray, above: bool = True) -> np.ndarray:
    """The same of sums of which some are infinite: by t until the first of them, and by signs from it on."""
    finite = np.logical_and.accumulate(np.isfinite(sums), axis=1)
    by_t = evidence(np.where(finite, sums, 0.0), above=above)
    return np.where(finite, by_t, signs(sums if above else -sums))


def at_least(u: int, children: Sequence[np.ndarray]) -> np.ndarray:
    """The same (S, n) of "at least u of the children are true", which is the mean of as many of the smallest as must
    hold one of a child that is not."""
    smallest = np.sort(np.stack(children), axis=0)[: len(children) - u + 1]
    joined: np.ndarray = np.logaddexp.reduce(smallest, axis=0) - np.log(len(smallest))
    return joined


def every(children: Sequence[np.ndarray]) -> np.ndarray:
    return at_least(len(children), children)


def some(children: Sequence[np.ndarray]) -> np.ndarray:
    return at_least(1, children)


@dataclass(frozen=True)
class Edge:
    """A kind of claim as near to true as what is not true can be, or to false as what is not false: on its bound.

    `sides`: the evidence (S, n) for the claim, and for its contrary, from n seeds of independent normal settings.
    """

    means: tuple[float, ...]
    sides: Callable[[np.ndarray], tuple[np.ndarray, np.ndarray]]

    def evidence(self, rng: np.random.Generator, sweeps: int) -> tuple[np.ndarray, np.ndarray]:
        runs = rng.normal(0, 1, (len(self.means), sweeps, LAST)) + np.array(self.means)[:, None, None]
        return self.sides(runs)


def order(runs: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Each setting lies below the next one."""
    steps = [after - before for before, after in pairwise(runs)]
    return every([evidence(one) for one in steps]), some([evidence(one, above=False) for one in steps])


def u_shape(runs: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Of four settings one of the two between the ends lies below all others, and they fall to it and rise from it."""
    steps = [after - before for before, after in pairwise(runs)]
    falls, rises = ([evidence(one, above=above) for one in steps] for above in (False, True))
    first, second = every([falls[0], *rises[1:]]), every([*falls[:2], rises[2]])
    against = some([rises[0], *falls[1:]]), some([*rises[:2], falls[2]])
    return some([first, second]), every(against)


def within(sums: np.ndarray, margin: float) -> tuple[np.ndarray, np.ndarray]:
    """Two one-sided tests of a contrast."""
    inside = every([evidence(sums, margin, above=False), evidence(sums, -margin)])
    return inside, some([evidence(sums, margin), evidence(sums, -margin, above=False)])


def narrows(runs: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The gap of the first two settings exceeds that of the others, and on the mean of both the first lies above."""
    change, mean = runs[0] - runs[1] - runs[2] + runs[3], (runs[0] - runs[1] + runs[2] - runs[3]) / 2
    return every([evidence(change), evidence(mean)]), some([evidence(change, above=False), evidence(mean, above=False)])


EDGES = {
    "two settings": Edge((0, 0), order),
    "order of three": Edge((0, 0, 5), order),
    "order of three equals": Edge((0, 0, 0), order),
    "u-shape": Edge((5, 0, 0, 0), u_shape),
    "u-shape of four equals": Edge((0, 0, 0, 0), u_shape),
    "equivalence": Edge((1, 0), lambda runs: within(runs[0] - runs[1], 1.0)),
    "no trend": Edge((0, 0.5, 1), lambda runs: within(runs[2] - runs[0], 1.0)),
    "narrows": Edge((5, 0, 5, 0), narrows),
    "converged": Edge((0.2,), lambda runs: within(runs[0], 0.2)),
}
"""Every kind of claim that compares means; that on a share is `share`, that on diverged runs `signs`."""


def ever(log_e: np.ndarray, level: float = LEVEL) -> np.ndarray:
    """Whether one of the looks decides (S,)."""
    decided: np.ndarray = (log_e[:, FIRST - 1 :] >= decisive(level)).any(axis=1)
    return decided


def fixed(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """One-sided p of Welch's t after each seed (S, n) of "a lies above b"."""
    (mean_a, sd_a, n), (mean_b, sd_b, _) = moments(a), moments(b)
    with np.errstate(divide="ignore", invalid="ignore"):
        one, other = sd_a**2 / n, sd_b**2 / n
        df = (one + other) ** 2 * (n - 1) / (one**2 + other**2)
        p: np.ndarray = special.stdtr(df, (mean_b - mean_a) / np.sqrt(one + other))
    return p
