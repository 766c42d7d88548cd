"""Seeds raced: the ladder, the evidence, and whether a race finds the true best more often than single seeds do.

Everything is made up, with a known optimum; values are recomputed with scipy where that can be. CPU, 10 s.
"""

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from scipy import stats
from synthetic import Noisy, run, searching, settings, space_of

from ablate.searching.evaluation import Event, Finished, Overrides
from ablate.searching.finale import Finale, Finalist, conclude
from ablate.searching.race import Scale, compare, estimate, interval, ladder, same, spread, worse
from ablate.searching.settings import Race
from ablate.searching.trainer import measured
from ablate.stats import ratio


@pytest.mark.parametrize(
    ("first", "k", "steps"),
    [(2, 6, [2, 4, 6]), (2, 5, [2, 5]), (2, 8, [2, 4, 8]), (1, 5, [1, 2, 5]), (5, 5, [5]), (9, 4, [4]), (1, 1, [1])],
)
def test_the_ladder_doubles_and_ends_with_all_seeds(first: int, k: int, steps: list[int]) -> None:
    assert ladder(first, k) == steps


def test_estimate_and_interval_are_those_of_the_logarithm() -> None:
    values = {0: 7.0, 1: 8.0, 2: 7.5, 3: 9.0}
    logs = np.log(list(values.values()))
    assert estimate(values) == pytest.approx(stats.gmean(list(values.values())))
    low, high = stats.t.interval(0.95, 3, logs.mean(), stats.sem(logs))
    assert interval(values) == pytest.approx((math.exp(low), math.exp(high)))
    assert estimate({0: 5.0, 1: math.inf}) == math.inf
    assert all(map(math.isnan, interval({0: 5.0})))  # none: not an interval that begins at 0
    assert all(map(math.isnan, interval({0: 5.0, 1: math.inf})))
    assert estimate({0: -3.0}) == -3.0  # one value of any kind is itself


def test_what_may_be_0_is_averaged_and_compared_as_it_is() -> None:
    scale = Scale.of("accuracy", "higher")
    values = {0: 0.0, 1: 0.5, 2: 1.0, 3: 0.9}
    given = np.array(list(values.values()))
    assert estimate(values, scale) == pytest.approx(given.mean())
    low, high = stats.t.interval(0.95, 3, given.mean(), stats.sem(given))
    assert low < 0
    assert interval(values, scale) == pytest.approx((0.0, min(high, 1.0)))
    assert estimate({0: 0.9, 1: -math.inf}, scale) == -math.inf
    assert worse(dict.fromkeys(range(5), 0.2), {k: 0.8 + k / 100 for k in range(5)}, math.nan, scale) <= 1 / 2**5
    assert worse({k: 0.8 + k / 100 for k in range(5)}, dict.fromkeys(range(5), 0.2), math.nan, scale) == 1.0
    assert worse({0: -math.inf, 1: 0.9}, {0: 0.1, 1: 0.1}, 0.1, scale) == 0.0
    found = compare({k: 0.8 + k / 100 for k in range(6)}, dict.fromkeys(range(6), 0.5), scale)
    assert (found.kind, found.value, found.n) == ("difference", pytest.approx(0.325), 6)
    assert found.low > 0
    assert found.p < 0.05


def test_speed_is_compared_by_ratios_and_more_is_better() -> None:
    scale = Scale.of("tokens_per_s", "higher")
    assert estimate({0: 100.0, 1: 400.0}, scale) == pytest.approx(200)
    assert scale.losses([1000.0, 10.0, -math.inf]).tolist() == pytest.approx([-math.log(1000), -math.log(10), math.inf])


def test_estimates_that_differ_by_rounding_are_the_same() -> None:
    assert same(28.77, 28.77 * (1 + 1e-7))
    assert same(0.0, 0.0)
    assert same(math.inf, math.inf)
    assert not same(28.77, 28.7701)


def test_the_evidence_is_the_exact_signed_rank_test_where_that_can_decide() -> None:
    best = dict(enumerate([7.0, 8.0, 7.5, 9.0, 8.2]))
    mine = dict(enumerate([7.2, 8.1, 7.4, 9.9, 8.9]))
    d = np.log(list(mine.values())) - np.log(list(best.values()))
    assert worse(mine, best, 0.1) == pytest.approx(stats.wilcoxon(d, alternative="greater").pvalue)
    all_worse = {seed: 1.1 * value for seed, value in best.items()}
    assert worse(all_worse, best, math.nan) == pytest.approx(1 / 2**5)


def test_with_few_seeds_the_mean_difference_is_held_against_the_pooled_spread() -> None:
    best = {0: 7.0, 1: 8.0, 2: 7.5}
    mine = {0: 8.0, 1: 8.6}
    d = np.log([8.0 / 7.0, 8.6 / 8.0])
    assert worse(mine, best, 0.05) == pytest.approx(stats.norm.sf(d.mean() / (0.05 / math.sqrt(2))))
    assert worse(mine, best, math.nan) == 1.0
    assert worse({5: 9.0}, best, 0.05) == 1.0  # no seed in common
    assert worse({0: 7.0, 1: math.inf}, best, 0.05) == 0.0  # diverged where the best did not


def test_ranks_decide_only_where_they_can_fall_below_the_limit() -> None:
    """4 pairs that all say the same have p = 0.0625: with a limit of 0.05 the pooled spread decides, as with fewer."""
    best = dict(enumerate([7.0, 8.0, 7.5, 9.0, 8.2, 7.7]))
    ratios = (1.2, 1.3, 1.25, 1.4, 1.3, 1.2)
    mine = {seed: ratios[seed] * value for seed, value in best.items()}
    four = {seed: mine[seed] for seed in range(4)}
    d = np.log(ratios[:4])
    assert worse(four, best, 0.1) == pytest.approx(1 / 2**4)
    assert worse(four, best, 0.1, limit=0.05) == pytest.approx(stats.norm.sf(d.mean() / (0.1 / 2)))
    assert worse(four, best, math.nan, limit=0.05) == 1.0
    assert worse(mine, best, 0.1, limit=0.05) == pytest.approx(1 / 2**6)
    tied = mine | {seed: best[seed] for seed in range(3)}  # pairs that are equal decide nothing
    assert worse(tied, best, 0.1) == pytest.approx(stats.norm.sf(np.log([1.4, 1.3, 1.2]).sum() / 6 / (0.1 / 6**0.5)))


@pytest.mark.parametrize("limit", [0.1, 0.05, 0.02])
def test_equal_configurations_are_dropped_at_most_as_often_as_the_limit_says(limit: float) -> None:
    """After 4 seeds, where the ranks cannot fall below the lower two limits."""
    rng, repeats = np.random.default_rng(4), 2000
    dropped = 0
    for _ in range(repeats):
        best, mine = (dict(enumerate(np.exp(rng.normal(2, 0.05, 4)))) for _ in range(2))
        dropped += worse(mine, best, math.sqrt(2) * 0.05, limit=limit) < limit
    assert stats.binomtest(dropped, repeats, limit, alternative="greater").pvalue > 0.01, dropped
    assert dropped > repeats * limit / 2


def test_a_race_with_a_low_limit_drops_what_is_clearly_worse_after_4_seeds(tmp_path: Path) -> None:
    evaluator = Noisy(lambda knobs: 5 + float(knobs["x"]), common=0.02, own=0.02)
    wanted = settings(n_trials=12, storage="memory", race=Race(first=4, p=0.01), seeds=tuple(range(8)))
    trials = run(space_of("x=range(1,13)"), wanted, evaluator, tmp_path)
    assert {trial.user_attrs["n"] for trial in trials if trial.user_attrs.get("dropped")} == {4}


def test_the_spread_is_the_median_over_races_and_robust_to_one_of_them() -> None:
    rng = np.random.default_rng(0)
    best = dict(enumerate(np.exp(rng.normal(2, 0.1, 8))))
    others = [{s: v * math.exp(rng.normal(0.1, 0.05)) for s, v in best.items()} for _ in range(9)]
    others.append({s: v * math.exp(rng.normal(3, 5)) for s, v in best.items()})
    assert spread(best, others) == pytest.approx(0.05, rel=0.3)
    own = np.log(list(best.values())).std(ddof=1)
    assert spread(best, others[:2]) == pytest.approx(math.sqrt(2) * own)
    assert math.isnan(spread({0: 7.0, 1: 8.0}, []))


def test_the_comparison_with_the_baseline_is_one_test() -> None:
    a, b = {0: 7.0, 1: 8.0, 2: 7.5, 3: 7.7}, {0: 7.7, 1: 9.0, 2: 9.0, 3: 9.9}
    test, found = ratio(pd.Series(a), pd.Series(b)), compare(a, b)
    assert (found.value, found.low, found.high, found.p) == (test.ratio, test.low, test.high, test.p())
    assert (found.n, found.method) == (4, test.method)
    rng = np.random.default_rng(0)
    for _ in range(300):
        left, right = (dict(enumerate(np.exp(rng.normal(2, 0.1, 6)))) for _ in range(2))
        found = compare(left, right)
        assert (found.low > 1 or found.high < 1) == (found.p < 0.05)  # interval and p never contradict


def test_a_baseline_that_diverges_counts_as_worse_than_any_value() -> None:
    mine = {k: 7.0 + k / 10 for k in range(6)}
    half = {k: math.inf if k % 2 else 7.3 + k / 10 for k in range(6)}
    found = compare(mine, half)
    assert (found.n, found.diverged, found.reference_diverged) == (6, 0, 3)
    assert found.value < compare(mine, {k: v for k, v in half.items() if math.isfinite(v)}).value
    gone = compare(mine, dict.fromkeys(range(6), math.inf))
    assert (gone.value, gone.reference_diverged) == (0.0, 6)
    assert gone.p < 0.01
    assert math.isnan(compare(dict.fromkeys(range(6), math.inf), dict.fromkeys(range(6), math.inf)).value)


def test_the_ratio_to_the_baseline_is_that_of_tables_and_verdicts() -> None:
    """Welch's t on logarithms; a diverged baseline run is no reason to drop a run, but the worst of all."""
    a, b = {0: 7.0, 1: 8.0, 2: 7.5}, {2: 9.0, 1: 9.1, 0: 7.7, 5: 8.5}
    test = stats.ttest_ind(np.log(list(a.values())), np.log(list(b.values())), equal_var=False)
    found = compare(a, b)
    assert (found.n, found.p) == (3, pytest.approx(test.pvalue, rel=1e-12))
    assert (found.low, found.high) == pytest.approx(tuple(np.exp(test.confidence_interval(0.95))))
    assert found.value == pytest.approx(stats.gmean(list(a.values())) / stats.gmean(list(b.values())))
    assert compare({0: math.inf}, {0: 7.0}).value == math.inf
    lost = compare(a | {5: 7.2}, b | {0: math.inf})
    assert (lost.n, lost.p) == (4, pytest.approx(2 / 70))
    assert "rank sum" in lost.method


# --- races in a search ----------------------------------------------------------------------------------


def test_the_clearly_worse_are_dropped_after_the_first_seeds(tmp_path: Path) -> None:
    """Configurations 1 … 12 with true values far apart, against noise of a few percent."""
    evaluator = Noisy(lambda knobs: 5 + float(knobs["x"]), common=0.02, own=0.02)
    trials = run(space_of("x=range(1,13)"), settings(n_trials=12, storage="memory"), evaluator, tmp_path)
    given = {trial.params["x"]: trial.user_attrs["n"] for trial in trials if "excluded" not in trial.user_attrs}
    assert given[1] == 6
    assert sorted(given) == list(range(1, 13))
    dropped = {trial.params["x"] for trial in trials if trial.user_attrs.get("dropped")}
    assert dropped == {x for x, n in given.items() if n < 6}
    assert len(evaluator.evaluated) == sum(given.values()) < 12 * 6
    assert all(trial.value == pytest.approx(estimate(dict(enumerate(values_of(trial))))) for trial in trials)
    for trial in trials:  # dropped only with evidence: no dropped one is better than the best at its own seeds
        if trial.user_attrs.get("dropped"):
            assert trial.value > min(t.value for t in trials if t.user_attrs["n"] == 6)


def values_of(trial: object) -> list[float]:
    return list(trial.user_attrs["seeds"]["perplexity"].values())  # type: ignore[attr-defined]


def test_without_a_race_every_configuration_has_all_seeds(tmp_path: Path) -> None:
    evaluator = Noisy(lambda knobs: 5 + float(knobs["x"]), own=0.02)
    trials = run(space_of("x=range(1,9)"), settings(n_trials=8, race=None, storage="memory"), evaluator, tmp_path)
    assert {trial.user_attrs.get("n") for trial in trials if "excluded" not in trial.user_attrs} == {6}


REPEATS = 60
ARMS = 16
NOISE = 0.06
STEP = 0.02


def outcome_of(repeat: int, folder: Path, budget: int | None) -> tuple[bool, float, int]:
    """One search of 16 configurations whose true values are 2 % apart, seeds differ by 6 %.

    With a budget: single seeds, each configuration as often as the budget allows for one seed, the best reading
    wins. Without: raced seeds and a finale. Returns whether the true best won, how far off its number is, and the cost.
    """
    order = np.random.default_rng(repeat).permutation(ARMS)  # which arm is the best one
    evaluator = Noisy(lambda knobs: 8 * math.exp(STEP * order[int(knobs["x"])]), own=NOISE, noise=repeat)
    space = space_of(f"x=range(0,{ARMS})")
    truth = {x: 8 * math.exp(STEP * order[x]) for x in range(ARMS)}
    if budget is None:
        wanted = settings(
            n_trials=ARMS, storage="memory", seed=repeat, seeds=tuple(range(8)), race=Race(best=3, fresh=16)
        )
        with searching(space, wanted, evaluator, folder) as (search, _):
            search.run()
            winner = conclude(search, evaluator, None).winner
        assert winner is not None
        x, told = winner.values["x"], winner.estimate(wanted.leading)
    else:
        readings = {}
        for reading in range(budget):
            arm, seed = reading % ARMS, reading // ARMS
            readings[arm, seed] = evaluator.value((f"x={arm}",), seed)
            evaluator.evaluated.append(((f"x={arm}",), seed))
        (x, _), told = min(readings.items(), key=lambda item: item[1])
    return order[x] == 0, math.log(told / truth[x]), len(evaluator.evaluated)


@pytest.fixture(scope="module")
def contest(tmp_path_factory: pytest.TempPathFactory) -> dict[str, np.ndarray]:
    folder = tmp_path_factory.mktemp("contest")
    raced = [outcome_of(repeat, folder, None) for repeat in range(REPEATS)]
    single = [outcome_of(repeat, folder, cost) for repeat, (_, _, cost) in enumerate(raced)]
    return {"raced": np.array(raced, dtype=float), "single": np.array(single, dtype=float)}


@pytest.mark.full
def test_racing_finds_the_true_best_more_often_than_single_seeds_at_equal_cost(contest: dict[str, np.ndarray]) -> None:
    found, single = contest["raced"][:, 0], contest["single"][:, 0]
    assert (contest["raced"][:, 2] == contest["single"][:, 2]).all()
    table = [[found.sum(), len(found) - found.sum()], [single.sum(), len(single) - single.sum()]]
    assert stats.fisher_exact(table, alternative="greater").pvalue < 0.01, table


@pytest.mark.full
def test_the_number_of_a_raced_winner_is_not_too_good_to_be_true(contest: dict[str, np.ndarray]) -> None:
    """The best single reading is the luckiest of many, far below its true value; what reports chose nothing."""
    raced, single = contest["raced"][:, 1], contest["single"][:, 1]
    assert abs(raced.mean()) < 2.5 * NOISE / math.sqrt(8 * REPEATS)
    assert single.mean() < -0.08


# --- the finale, simulated ------------------------------------------------------------------------------


class Arms:
    """Equal configurations: an evaluator that draws log-normal values, anew for each seed and configuration."""

    def __init__(self, rng: np.random.Generator, sd: float) -> None:
        self.rng, self.sd, self.events = rng, sd, list[Event]()

    def identify(self, overrides: Overrides) -> str:
        return " ".join(overrides)

    def submit(self, ticket: int, overrides: Overrides, seeds: Sequence[int]) -> None:
        values = np.exp(2 + self.sd * self.rng.standard_normal(len(seeds)))
        runs = {seed: {"perplexity": float(v)} for seed, v in zip(seeds, values, strict=True)}
        self.events.append(Finished(ticket, runs))

    def poll(self, timeout_s: float) -> list[Event]:
        events, self.events = self.events, []
        return events


@pytest.mark.full
def test_the_winner_is_reported_without_bias_and_the_level_against_an_equal_baseline_holds() -> None:
    """3 finalists and a baseline, all equal, 6 + 6 fresh seeds, spread 5 %: 2,000 finales."""
    repeats, sd = 2000, 0.05
    evaluator: Any = Arms(np.random.default_rng(1), sd)
    wanted = settings(race=Race(best=3, fresh=12))
    off, better = [], 0
    for _ in range(repeats):
        finalists = [Finalist(k, {}, (f"x={k}",), [8.0]) for k in range(3)]
        outcome = Finale(wanted, evaluator, lambda _: None).run(finalists, Finalist(None, {}, ()), [])
        assert outcome.winner is not None
        assert outcome.against_baseline is not None
        off.append(math.log(outcome.winner.estimate(wanted.leading)) - 2)
        better += outcome.against_baseline.high < 1
    assert abs(np.mean(off)) < 3 * sd / math.sqrt(6 * repeats)
    assert stats.binomtest(better, repeats, 0.025, alternative="greater").pvalue > 0.01, better


@pytest.mark.parametrize("task", ["memory", "translation"])
def test_a_run_that_diverged_has_the_worst_value_of_each_measure(task: str) -> None:
    found = measured({"status": "diverged", "metrics": {}, "config": {"task": {"name": task}}})
    assert found["accuracy"] == -math.inf
    assert found["val_perplexity"] == math.inf
