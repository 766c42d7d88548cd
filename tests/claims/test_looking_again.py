"""Claims of every kind on sweeps that were extended, simulated with a known truth: verdicts, evidence, seeds needed.

CPU, 3 s; how often a claim on its bound is decided while somebody looks after every seed is in tests/stats.
"""

import math
from collections.abc import Iterator, Sequence
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from ablate.claims.designs import design_of
from ablate.claims.measured import Samples
from ablate.claims.parts import Share
from ablate.claims.settings import Group
from ablate.claims.statements import AtLeast, every, most, some
from ablate.claims.verdicts import Verdict, conclude, groups_to_test, over_the_page, statement_of
from ablate.records.design import Designs
from ablate.stats import share_evidence
from tests.claims.simulated import KINDS, Kind

OF_SEEDS = {name: kind for name, kind in KINDS.items() if kind.measure != "processes"}
EVERY = pytest.mark.parametrize("kind", OF_SEEDS.values(), ids=OF_SEEDS)
EXTENDED = Designs(by_commands=dict.fromkeys(map(str, range(100)), (6, 40)))


def samples(kind: Kind, medians: Sequence[float], n: int, seed: int = 1, diverge: float = 0.0) -> Samples:
    return replace(kind.samples(medians, n, np.random.default_rng(seed), diverge), always_valid=True)


def groups_of(kind: Kind, data: Samples) -> list[Group]:
    return groups_to_test(kind.frames(data), kind.claim, data.level)[0]


def verdict(kind: Kind, medians: Sequence[float], n: int, seed: int = 1, diverge: float = 0.0) -> Verdict:
    groups, data = groups_of(kind, samples(kind, kind.true, 2)), samples(kind, medians, n, seed, diverge)
    return conclude(kind.claim, "", statement_of(kind.claim, groups, data), data)


@pytest.mark.full
@EVERY
def test_true_and_false_are_told_apart_by_forty_seeds(kind: Kind) -> None:
    """Refutation is as strong as confirmation."""
    n = 2 * kind.enough
    for medians, expected in ((kind.true, "confirmed"), (kind.false, "refuted")):
        one = verdict(kind, medians, n)
        assert one.verdict == expected, one
        assert one.always_valid
        assert one.e >= 20
        assert one.p == pytest.approx(1 / one.e)
        assert one.method.startswith("always-valid")


@pytest.mark.full
@pytest.mark.parametrize("name", [name for name, kind in OF_SEEDS.items() if kind.measure not in ("shares", "solved")])
def test_of_means_six_seeds_decide_nothing(name: str) -> None:
    kind = KINDS[name]
    assert verdict(kind, kind.true, 6).verdict == verdict(kind, kind.false, 6).verdict == "undecided"


@EVERY
def test_diverged_runs_do_not_stop_it(kind: Kind) -> None:
    one = verdict(kind, kind.true, 60, diverge=0.1)
    assert one.verdict != "refuted"
    assert one.n >= 40


@pytest.mark.slow
@EVERY
def test_on_its_bound_hardly_any_is_decided_while_seeds_are_added(kind: Kind) -> None:
    """Forty sweeps of each kind, looked at after every third seed; more than six would be one in ten thousand."""
    wrong = 0
    groups: list[Group] = []
    for seed in range(40):
        data = samples(kind, kind.edge, 30, seed)
        groups = groups or groups_of(kind, data)
        wrong += any(one.verdict != "undecided" for one in peeked(kind, groups, data))
    assert wrong <= 6


def peeked(kind: Kind, groups: Sequence[Group], data: Samples) -> Iterator[Verdict]:
    for n in range(6, 31, 3):
        now = replace(data, values={name: values.iloc[:n] for name, values in data.values.items()})
        yield conclude(kind.claim, "", statement_of(kind.claim, groups, now), now)


def test_the_frames_of_an_extended_sweep_have_that_test() -> None:
    kind = KINDS["ratio"]
    frames = kind.frames(kind.samples(kind.true, 40, np.random.default_rng(1)))
    fixed, extended = (groups_to_test(replace(frames, designs=one), kind.claim, 0.95)[1] for one in (None, EXTENDED))
    assert (fixed.always_valid, extended.always_valid) == (False, True)
    assert extended.design == "always-valid, extended from 6 to 40"


def known(*log_e: float) -> list[Share]:
    """Shares whose evidence is given."""
    return [Known("", 1, 2, 0.5, True, 0.95, always_valid=True, told=one) for one in log_e]


class Known(Share):
    def __init__(self, *given: object, told: float, **named: object) -> None:
        super().__init__(*given, **named)  # type: ignore[arg-type]
        object.__setattr__(self, "told", told)

    def log_e(self, confirming: bool) -> float:
        told: float = self.told if confirming else -self.told  # type: ignore[attr-defined]
        return told


def test_the_evidence_of_a_whole_is_the_mean_of_those_that_may_be_false() -> None:
    """Of at least u of G: of the G − u + 1 smallest; of the contrary of the u smallest."""
    a, b, c = (math.log(e) for e in (100, 10, 0.1))
    parts = known(a, b, c)
    assert every(parts).log_e(True) == pytest.approx(c)
    assert some(parts).log_e(True) == pytest.approx(math.log(110.1 / 3))
    assert most(parts).log_e(True) == pytest.approx(math.log(10.1 / 2))
    assert every(parts).log_e(False) == pytest.approx(math.log((0.01 + 0.1 + 10) / 3))
    assert AtLeast(1, parts).log_e(False) == pytest.approx(math.log(0.01))
    assert every(parts).confirm == 1
    assert some(parts).confirm == pytest.approx(3 / 110.1)


def test_a_share_has_its_evidence_interval_and_number_of_runs() -> None:
    one = Share("", 18, 20, 0.5, True, 0.95, always_valid=True)
    assert one.confirm == pytest.approx(math.exp(-float(share_evidence(18, 20, 0.5))))
    assert one.contrary == 1
    assert one.interval[0] > 0.5
    thin = Share("", 8, 10, 0.5, True, 0.95, always_valid=True)
    fixed = Share("", 8, 10, 0.5, True, 0.95)
    n, least = thin.needed(0.95, 0.8), fixed.needed(0.95, 0.8)
    assert n is not None
    assert least is not None
    assert least < n < 3 * least
    low, high = thin.needed_between(0.95, 0.8)
    assert low is not None
    assert low <= n
    assert high is None or n <= high


# --- which test -----------------------------------------------------------------------------------------------------


def runs_of(**there: int) -> pd.DataFrame:
    """So many runs of each setting."""
    rows = [(name, f"{name}{seed}") for name, count in there.items() for seed in range(count)]
    return pd.DataFrame(rows, columns=["setting_id", "run_id"])


@pytest.mark.parametrize(
    ("numbers", "there", "always_valid", "said"),
    [
        ((6,), 6, False, "fixed n = 6"),
        ((6,), 4, True, "4 of the 6"),
        ((6,), 9, True, "extended from 6 to 9"),
        ((6, 20), 20, True, "extended from 6 to 20"),
        ((10, 6, 17), 17, True, "extended from 10 to 6 to 17"),
        ((6, 9, 14, 21, 32), 32, True, "extended from 6 to 32 in 4 steps"),
        ((), 6, True, "no number of seeds"),
    ],
)
def test_only_as_many_seeds_as_were_declared_are_a_fixed_number(
    numbers: tuple[int, ...], there: int, always_valid: bool, said: str
) -> None:
    design = design_of(Designs(by_commands={"a": numbers}), runs_of(a=there), ["a"])
    assert design.always_valid == always_valid
    assert said in design.text


def test_one_extended_setting_is_enough() -> None:
    runs = runs_of(a=6, b=20)
    designs = Designs({"a": ((6, "t"),), "b": ((6, "t"), (20, "u"))})
    assert design_of(designs, runs, ["a", "b"]).always_valid
    assert design_of(designs, runs, ["a"]).text == "fixed n = 6, declared before the first run"


@pytest.mark.parametrize(
    ("excluded", "there", "said"),
    [("x", 5, ", 1 run excluded since"), ("xy", 4, ", 2 runs excluded since"), ("a0", 6, "")],
)
def test_an_excluded_run_counts_as_one_of_the_declared_and_is_said(excluded: str, there: int, said: str) -> None:
    """Once: also where a run is excluded from one sweep, and counts in another that is read with it. Five were never
    declared where one of six is excluded.
    """
    runs = ["a0"] if excluded == "a0" else [*excluded]
    designs = Designs({"a": ((6, "t"),)}, excluded={"a": frozenset(runs)})
    assert design_of(designs, runs_of(a=there), ["a"]).text == f"fixed n = 6, declared before the first run{said}"
    extended = design_of(Designs({"a": ((3, "t"), (6, "u"))}, excluded=designs.excluded), runs_of(a=there), ["a"])
    assert extended.text == f"always-valid, extended from 3 to 6{said}"


# --- over the page ----------------------------------------------------------------------------------------------------


def test_verdicts_beside_each_other() -> None:
    one = verdict(KINDS["ratio"], KINDS["ratio"].true, 40)
    fixed = replace(one, always_valid=False, p=0.01, e=math.nan)
    sequential = replace(one, e=400.0, p=1 / 400)
    alone, *_ = over_the_page([fixed])
    assert alone.p_page == pytest.approx(0.01)
    both = over_the_page([fixed, sequential, replace(one, verdict="not testable", p=math.nan, e=math.nan)])
    assert [each.p_page for each in both] == pytest.approx([2 * 0.01, 2 / 400, math.nan], nan_ok=True)
