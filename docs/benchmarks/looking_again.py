"""How often tests are wrong, and how soon they decide, when somebody looks after every seed from 6 to 100.

python docs/benchmarks/looking_again.py [SWEEPS]     the tables of docs/claims.md; 20,000 sweeps: a minute

Candidates for two settings, differences paired by seed but for Welch's t:
    mixture c   the t mixture of ablate.stats.evidence, with effects of standard deviation c
    grid r      Welch's t looked at after 6, 6r, 6r² … seeds alone, the k-th of these looks at α/(k (k + 1)): valid by
                summing up, for any number of looks
    equal r     the same, as many looks as there are up to 200 seeds at an equal share of α each
"""

import sys
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from ablate.analysis.tuning import choosing
from ablate.stats import evidence as kernel
from ablate.stats.evidence import decisive
from tests.stats.peeking import DRAWS, FIRST, LAST, diverging, ever, evidence, fixed, until_one_diverges

ALPHA = 0.025
"""Of one side."""
AT = (6, 12, 20, 50, 100, 200)
MOST = AT[-1]


def looks(ratio: float) -> list[int]:
    found = [FIRST]
    while round(found[-1] * ratio) <= MOST:
        found.append(round(found[-1] * ratio))
    return found


def at_looks(p: np.ndarray, ratio: float, equal: bool) -> np.ndarray:
    decides, places = np.zeros(p.shape, bool), looks(ratio)
    for k, n in enumerate(places, 1):
        decides[:, n - 1] = p[:, n - 1] <= ALPHA * (1 / len(places) if equal else 1 / (k * (k + 1)))
    return decides


def candidates(a: np.ndarray, b: np.ndarray) -> Iterator[tuple[str, np.ndarray]]:
    """Name, and whether it decides at each number of seeds (S, n)."""
    p = fixed(a, b)
    seen = np.arange(1, MOST + 1) >= FIRST
    own = kernel.EFFECT_SD
    for sd in (own, own / 2, 1.5 * own):
        kernel.EFFECT_SD = sd
        yield f"mixture {sd:g}", (evidence(a - b) >= decisive(0.95)) & seen
    kernel.EFFECT_SD = own
    for ratio in (1.5, 2.0):
        yield f"grid {ratio:g}", at_looks(p, ratio, equal=False)
        yield f"equal {ratio:g}", at_looks(p, ratio, equal=True)
    yield "fixed n, looked at after every seed", (p <= ALPHA) & seen


def row(name: str, cells: Sequence[str]) -> str:
    return f"| {name} | {' | '.join(cells)} |"


def main(sweeps: int) -> None:
    rng = np.random.default_rng(0)
    print("False verdicts, either way, in percent")
    for name, draw in DRAWS.items():
        sums = draw(rng, (sweeps, LAST))
        wrong = (np.maximum(evidence(sums), evidence(sums, above=False)) >= decisive(0.95))[:, FIRST - 1 :].any(axis=1)
        zeros = np.zeros_like(sums)
        one_sided = fixed(sums, zeros)
        peeked = (np.minimum(one_sided, 1 - one_sided) <= ALPHA)[:, FIRST - 1 :].any(axis=1)
        print(row(name, [f"{100 * wrong.mean():.1f}", f"{100 * peeked.mean():.1f}"]), flush=True)
    print("\nThe same where in a share of the seeds one run diverges: t until the first that does, signs from it on")
    for diverged in (0.005, 0.01, 0.05, 0.1, 0.3):
        sums = diverging(np.random.default_rng(0), (sweeps, LAST), diverged)
        wrong = ever(until_one_diverges(sums)) | ever(until_one_diverges(sums, above=False))
        print(row(f"{100 * diverged:g} %", [f"{100 * wrong.mean():.1f}"]), flush=True)
    for effect in (0.5, 1.0, 1.5):
        print(f"\nDecided by so many seeds, in percent; effect {effect:g} standard deviations of a run")
        a, b = rng.normal(effect, 1, (sweeps, MOST)), rng.normal(0, 1, (sweeps, MOST))
        for name, decides in candidates(a, b):
            by = np.maximum.accumulate(decides, axis=1)
            first = np.where(by[:, -1], by.argmax(axis=1) + 1, MOST)
            print(row(name, [*(f"{100 * by[:, n - 1].mean():.0f}" for n in AT), f"{first.mean():.0f}"]), flush=True)
        p = fixed(a, b)
        print(row("fixed n, one look", [*(f"{100 * (p[:, n - 1] <= ALPHA).mean():.0f}" for n in AT), "–"]), flush=True)
    print("\nA fixed number first, then the mixture as seeds are added: false verdicts at any time, in percent")
    a, b = rng.normal(0, 1, (2, sweeps, LAST))
    p = fixed(a, b)[:, FIRST - 1]
    first_look = np.minimum(p, 1 - p) <= ALPHA
    later = (np.maximum(evidence(a - b), evidence(b - a)) >= decisive(0.95))[:, FIRST - 1 :].any(axis=1)
    print(f"{100 * (first_look | later).mean():.1f}")
    print("\nThe best of three equal values, chosen by half of the seeds there are: false verdicts, in percent")
    places = range(FIRST, LAST + 1)
    grown = [places.index(n) for n in looks(1.5) if n in places]
    print(row("who chooses", ["after every seed", f"after {', '.join(str(places[k]) for k in grown)}"]))
    for name, chooses in CHOOSERS.items():
        wrong = tuned(np.random.default_rng(0), sweeps, chooses)
        print(row(name, [f"{100 * wrong[:, at].any(axis=1).mean():.1f}" for at in (slice(None), grown)]), flush=True)


CHOOSERS: dict[str, Callable[[int], np.ndarray]] = {
    "every second seed": lambda n: choosing(range(n)),
    "the lower half": lambda n: np.arange(n // 2),
}


def tuned(rng: np.random.Generator, sweeps: int, chooses: Callable[[int], np.ndarray]) -> np.ndarray:
    """Of two settings with three equal values of a knob each: whether a look decides, (S, looks), from FIRST to LAST.
    At each of them `chooses` of the seeds choose the value anew, and the others judge."""
    runs = rng.normal(0, 1, (2, 3, sweeps, LAST))
    decides = np.zeros((sweeps, LAST + 1 - FIRST), bool)
    for n in range(FIRST, LAST + 1):
        judges = np.setdiff1d(np.arange(n), chooses(n))
        best = runs[..., chooses(n)].mean(axis=-1).argmin(axis=1)  # (2, S)
        chosen = np.take_along_axis(runs, best[:, None, :, None], axis=1)[:, 0][..., judges]  # (2, S, judging)
        apart = chosen[0] - chosen[1]
        mean, sd, k = apart.mean(axis=1), apart.std(axis=1, ddof=1), len(judges)
        log_e = np.maximum(kernel.mean_evidence(mean, sd, k), kernel.mean_evidence(-mean, sd, k))
        decides[:, n - FIRST] = log_e >= decisive(0.95)
    return decides


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 20_000)
