"""Claims of every kind on simulated sweeps of known truth: verdicts, seeds needed, rate of false ones. CPU, 15 s."""

from collections.abc import Iterator, Sequence
from dataclasses import replace

import numpy as np
import pytest
from scipy import stats

from ablate.claims.settings import Group
from ablate.claims.verdicts import Verdict, conclude, groups_to_test, judge, statement_of
from tests.claims.simulated import KINDS, Kind

EVERY = pytest.mark.parametrize("kind", KINDS.values(), ids=KINDS)
ALPHA = 0.025
COUNTED = ("shares", "solved")
"""Measures of which a share of runs is claimed."""


def verdicts(kind: Kind, medians: Sequence[float], n: int, sweeps: int, diverge: float = 0.0) -> Iterator[Verdict]:
    """The verdicts on simulated sweeps: the first all the way from its frames, the others from their samples."""
    rng = np.random.default_rng(1)
    groups: list[Group] = []
    for _ in range(sweeps):
        data = kind.samples(medians, n, rng, diverge)
        if not groups:
            frames = kind.frames(data)
            groups, _, _ = groups_to_test(frames, kind.claim, data.level)
            yield judge(frames, kind.claim)
        else:
            yield conclude(kind.claim, "", statement_of(kind.claim, groups, data), data)


@EVERY
def test_confirmed_when_true(kind: Kind) -> None:
    assert [one.verdict for one in verdicts(kind, kind.true, kind.enough, 4)] == ["confirmed"] * 4


@EVERY
def test_refuted_when_false(kind: Kind) -> None:
    assert [one.verdict for one in verdicts(kind, kind.false, kind.enough, 4)] == ["refuted"] * 4


CONJUNCTIONS = [
    name for name, kind in KINDS.items() if kind.measure in ("runs", "scores") and not name.startswith("converged")
]


@pytest.mark.full
@pytest.mark.parametrize("name", CONJUNCTIONS)
def test_six_runs_that_contradict_refute(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """A statement of many parts falls by six seeds as it stands by six, if one part is wrong by 2.5 sd."""
    monkeypatch.setattr("tests.claims.simulated.NOISE_SD", 0.04)
    kind = KINDS[name]
    told = [one.verdict for one in verdicts(kind, kind.false, 6, 20)]
    assert told.count("refuted") >= 16, told
    assert "confirmed" not in told


@pytest.mark.full
@EVERY
def test_undecided_when_too_thin_and_decided_with_the_seeds_needed(kind: Kind) -> None:
    thin = list(verdicts(kind, kind.weak, kind.thin, 25))
    undecided = [one for one in thin if one.verdict == "undecided"]
    assert len(undecided) >= 12
    assert "refuted" not in {one.verdict for one in thin}
    needed = [one.needed or 10_000 for one in undecided]
    assert min(needed) > kind.thin
    n = int(np.median(needed))
    assert n < 1000
    decided = [one.verdict != "undecided" for one in verdicts(kind, kind.weak, n, 25)]
    assert np.mean(decided) >= 0.6, n


@EVERY
def test_a_verdict_says_what_it_rests_on(kind: Kind) -> None:
    (one,) = verdicts(kind, kind.true, kind.enough, 1)
    assert one.p <= 0.05
    assert one.n == kind.enough
    assert one.needed is None
    assert one.method
    assert one.effect in one.evidence
    estimates = (one.low, one.ratio, one.high), (one.difference_low, one.difference, one.difference_high)
    told = [known for known in estimates if not np.isnan(known).any()]
    assert len(told) == (kind.measure not in COUNTED)
    assert all(low <= middle <= high for low, middle, high in told)
    if kind.measure not in (*COUNTED, "scores"):
        assert not one.low <= one.bound <= one.high


@pytest.mark.full
@EVERY
def test_what_two_runs_settle_no_rank_test_has_checked(kind: Kind) -> None:
    for medians in (kind.true, kind.false):
        for one in verdicts(kind, medians, 2, 3):
            if one.verdict in ("confirmed", "refuted") and not one.fact and kind.measure not in COUNTED:
                assert one.p_rank > 0.05 or np.isnan(one.p_rank)  # a contrast of several settings has no rank test
                assert np.isnan(one.p_rank) == ("no rank test" not in one.evidence)


def rates(kind: Kind, medians: Sequence[float], n: int, sweeps: int, diverge: float = 0.0) -> tuple[int, int]:
    """In how many sweeps a claim is confirmed, and refuted."""
    told = [one.verdict for one in verdicts(kind, medians, n, sweeps, diverge)]
    return told.count("confirmed"), told.count("refuted")


def keeps(count: int, sweeps: int, nominal: float = ALPHA) -> bool:
    """Whether so many false verdicts can be those of tests that keep their level (with 0.1 % doubt)."""
    return bool(count <= stats.binom.isf(0.001, sweeps, nominal))


@pytest.fixture
def without_intervals(monkeypatch: pytest.MonkeyPatch) -> None:
    """Intervals take most of the time, and no p-value needs them."""
    for module in ("paired", "independent"):
        monkeypatch.setattr(f"ablate.stats.{module}.invert", lambda *_: (-np.inf, np.inf))


@pytest.mark.full
@pytest.mark.usefixtures("without_intervals")
def test_false_verdicts_over_a_thousand_sweeps_are_no_more_than_the_level_allows() -> None:
    """Claims of every kind that are all but true: neither confirmed nor refuted in more than α/2 of all sweeps."""
    each = 60
    counts = {name: rates(kind, kind.edge, min(kind.enough, 10), each) for name, kind in KINDS.items()}
    sweeps = each * len(counts)
    assert sweeps > 1000
    for side in zip(*counts.values(), strict=True):
        assert keeps(sum(side), sweeps), counts
        assert all(keeps(count, each) for count in side), counts


@pytest.mark.full
@pytest.mark.usefixtures("without_intervals")
@pytest.mark.parametrize(("diverge", "sweeps"), [(0.0, 500), (0.2, 300)])
def test_equal_settings_are_in_no_order(diverge: float, sweeps: int) -> None:
    """All parts on their bound, where neither the claim nor its contrary is true; also where runs diverge."""
    kind = KINDS["order in most"] if diverge else KINDS["order"]
    confirmed, refuted = rates(kind, [2.0] * len(kind.settings), 10, sweeps, diverge)
    assert keeps(confirmed, sweeps)
    assert keeps(refuted, sweeps)


def test_a_diverged_run_is_worse_than_any_other() -> None:
    """rnn diverges in half of its runs: gru < rnn stands; and gru > rnn falls by those runs alone."""
    kind = KINDS["order"]
    rng = np.random.default_rng(3)
    data = kind.samples(kind.true, 20, rng)
    rnn = [str(k) for k, setting in enumerate(kind.settings) if setting["model"] == "rnn"]
    broken = {setting: data.values[setting].where(np.arange(20) % 2 == 0, np.inf) for setting in rnn}
    one = judge(kind.frames(replace(data, values={**data.values, **broken})), kind.claim)
    assert one.verdict == "confirmed"
    assert "20 runs diverged" in one.evidence
    equal = {setting: kind.samples([2] * 6, 20, rng).values[setting] for setting in data.values}
    assert judge(kind.frames(replace(data, values=equal)), kind.claim).verdict == "undecided"
    broken = {setting: equal[setting].where(np.arange(20) % 2 == 0, np.inf) for setting in equal if setting not in rnn}
    assert judge(kind.frames(replace(data, values=equal | broken)), kind.claim).verdict == "refuted"


@pytest.mark.slow
@pytest.mark.usefixtures("without_intervals")
@EVERY
def test_rates_over_many_sweeps(kind: Kind) -> None:
    """Every kind by itself, ten seconds each."""
    sweeps = 2000
    for n in {3, 6, kind.enough}:
        confirmed, refuted = rates(kind, kind.edge, n, sweeps)
        assert keeps(confirmed, sweeps)
        assert keeps(refuted, sweeps)
