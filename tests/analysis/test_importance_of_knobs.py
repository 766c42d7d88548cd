"""PED-ANOVA and functional ANOVA on grids where it is known which knob matters. CPU, 1 s."""

import importlib.util
import itertools
import math
from collections.abc import Callable

import numpy as np
import pandas as pd
import pytest

from ablate.analysis.effects import variance_split
from ablate.analysis.importance import fanova_draws, grid_of, importance, marginal_variances, ped_anova
from ablate.config.errors import UserError

Setting = Callable[..., pd.DataFrame]
GRID = np.array(list(itertools.product(range(3), range(4), range(2))))
"""Numbered values of three knobs."""


def test_one_knob_matters() -> None:
    """The best six of 24 settings all have value 0 of the second knob: p/q is 4 once and 0 else, 3·(1/4)+9/4 = 3.

    Six settings drawn blindly give (4 − 1)/6 · 18/23 on average, which is taken off.
    """
    raw = ped_anova(GRID, GRID[:, 1].astype(float))
    assert list(raw) == pytest.approx([0, 3 - 3 / 6 * 18 / 23, 0])


def test_divergence_by_hand() -> None:
    """Four of eight settings are best (top 50 %): three with value 0 of the knob, one with value 1, of four each."""
    codes = np.array([[0]] * 4 + [[1]] * 4)
    values = np.array([1, 2, 3, 8, 4, 7, 6, 5])
    expected = 0.5 * (1.5 - 1) ** 2 + 0.5 * (0.5 - 1) ** 2 - 1 / 4 * 4 / 7
    assert ped_anova(codes, values, top=0.5) == pytest.approx([expected])


def test_what_matters_more_counts_more() -> None:
    values = 2.0 * GRID[:, 0] + GRID[:, 1]
    first, second, third = ped_anova(GRID, values)
    assert first > second > third == 0


def test_knobs_that_do_nothing_have_little_on_average() -> None:
    rng = np.random.default_rng(0)
    raw = np.mean([ped_anova(GRID, rng.permutation(24)) for _ in range(300)], axis=0)
    assert (raw < 0.3).all()  # of at most 2, 3 and 1
    assert raw.max() < 3 * raw.min()  # although one has twice as many values as another


def test_ties_and_no_difference() -> None:
    assert list(ped_anova(GRID, np.zeros(24))) == [0, 0, 0]


def runs_on_grid(setting: Setting, together: Setting) -> pd.DataFrame:
    return together(
        *(
            setting([2 + h / 8 + 0.01 * lr, 2.02 + h / 8], num_hiddens=h, lr=lr)
            if lr < 9
            else setting([None, 3], num_hiddens=h, lr=lr)
            for h in (8, 16, 32, 64)
            for lr in (0.5, 1.0, 9.0)
        )
    )


def test_a_table(setting: Setting, together: Setting) -> None:
    table = importance(runs_on_grid(setting, together), "perplexity", ["lr", "num_hiddens"], "ped-anova")
    assert list(table.columns) == ["knob", "importance", "low", "high", "total", "evaluator"]
    assert table["importance"].sum() == pytest.approx(1)
    assert table["importance"].is_monotonic_decreasing
    assert set(table["evaluator"]) == {"PED-ANOVA, approximation"}
    assert (table["low"] <= table["high"]).all()
    # The best three of 12 settings: 8 units at lr 0.5 and 1, 16 units at one of them; lr 9, half diverged, is at none.
    lr = 1 / 3 * (0 - 1) ** 2 + 1 / 3 * (2 / 3 * 3 - 1) ** 2 + 1 / 3 * (1 / 3 * 3 - 1) ** 2 - 2 / 3 * 9 / 11
    h = 1 / 4 * ((2 / 3 * 4 - 1) ** 2 + (1 / 3 * 4 - 1) ** 2 + 1 + 1) - 3 / 3 * 9 / 11
    lr = max(lr, 0)
    assert dict(zip(table["knob"], table["importance"], strict=True)) == pytest.approx(
        {"lr": lr / (lr + h), "num_hiddens": h / (lr + h)}
    )


@pytest.mark.full
def test_of_what_is_better_when_higher_the_best_are_the_highest(setting: Setting, together: Setting) -> None:
    """Two of eight settings are best: those with lr 0.5, whose accuracy is 0.9; by hand p/q is 4 there and 0 else."""
    runs = together(
        *(setting([0.9 if lr == 0.5 else 0.1 * lr] * 2, num_hiddens=h, lr=lr) for h in (8, 16) for lr in (0.5, 1, 2, 4))
    )
    table = importance(runs, "accuracy", ["lr", "num_hiddens"], "ped-anova")
    assert dict(zip(table["knob"], table["importance"], strict=True)) == {"lr": 1, "num_hiddens": 0}


def test_on_a_full_grid_importance_is_the_variance_split(setting: Setting, together: Setting) -> None:
    """3 × 2 settings with known parts: the exact shares, the same as those of the table beside it."""
    of_lr, of_width = {0.5: 0.0, 1.0: 0.3, 2.0: 0.9}, {8: 0.0, 16: 0.2}
    runs = together(
        *(
            setting([math.exp(1 + a + b + both * a * b) for both in (1.0, 1.5)], lr=lr, num_hiddens=h)
            for lr, a in of_lr.items()
            for h, b in of_width.items()
        )
    )
    table = importance(runs, "perplexity", ["num_hiddens", "lr"]).set_index("knob")
    split = variance_split(runs, "perplexity", ["num_hiddens", "lr"]).set_index("source")["share"]
    assert list(table.index) == ["lr", "num_hiddens"]
    assert set(table["evaluator"]) == {"ANOVA, exact"}
    for knob in table.index:
        assert table.loc[knob, "importance"] == split[knob]
        assert table.loc[knob, "total"] == pytest.approx(split[knob] + split["num_hiddens × lr"])


def scattered(setting: Setting, together: Setting, settings: int) -> pd.DataFrame:
    """Settings that form no full grid."""
    source = np.random.default_rng(1)
    rows = {(int(8 * 2 ** source.integers(4)), float(source.integers(1, 9))) for _ in range(10 * settings)}
    kept = sorted(rows)[:settings]
    return together(
        *(setting([math.exp(1 + 0.1 * lr), math.exp(1 + 0.1 * lr)], num_hiddens=h, lr=lr) for h, lr in kept)
    )


@pytest.mark.full
def test_of_few_settings_that_are_no_grid_no_importance_is_told(setting: Setting, together: Setting) -> None:
    knobs = ["lr", "num_hiddens"]
    assert importance(scattered(setting, together, 19), "perplexity", knobs).empty
    table = importance(scattered(setting, together, 23), "perplexity", knobs)
    found = "fANOVA" if importlib.util.find_spec("sklearn") else "PED-ANOVA"
    assert set(table["evaluator"]) == {f"{found}, approximation"}
    assert list(table["knob"]) == knobs
    assert table["total"].isna().all()
    assert (table["low"] <= table["importance"]).all()
    assert (table["importance"] <= table["high"]).all()


def test_no_such_evaluator(setting: Setting, together: Setting, monkeypatch: pytest.MonkeyPatch) -> None:
    runs = runs_on_grid(setting, together)
    with pytest.raises(UserError, match="choose auto, ped-anova or fanova"):
        importance(runs, "perplexity", ["lr"], "shapley")
    monkeypatch.setattr("ablate.analysis.importance.find_spec", lambda name: None)
    with pytest.raises(UserError, match="scikit-learn"):
        importance(runs, "perplexity", ["lr"], "fanova")


def test_marginal_variances() -> None:
    """f = 3a + b·c: the marginal of a is 3a, that of b half of b, that of c 1.5 c."""
    points = grid_of([3, 4, 2])
    variances = marginal_variances(points, 3 * points[:, 0] + points[:, 1] * points[:, 2])
    assert list(variances) == pytest.approx([9 * 2 / 3, 0.25 * 1.25, 2.25 * 0.25])


def test_marginals_of_a_large_grid_are_drawn() -> None:
    points = grid_of([2] * 20)
    variances = marginal_variances(points, points[:, 0])
    assert variances[0] == pytest.approx(0.25, rel=0.01)
    assert variances[1:].max() < 1e-4


@pytest.mark.full
def test_forest() -> None:
    pytest.importorskip("sklearn")
    values = 2.0 * GRID[:, 1] + 0.5 * GRID[:, 2]
    values[0] = math.inf
    raw = fanova_draws(GRID, values).mean(axis=0)
    assert raw[1] > 20 * raw[2] > 20 * raw[0]
    assert raw[1] == pytest.approx(4 * 1.25, rel=0.3)
