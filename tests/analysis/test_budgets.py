"""Whether ranks after a part of the training predict those at its end, of curves made by hand. CPU, 1 s."""

from collections.abc import Callable

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from ablate.analysis.budgets import COLUMNS, budget_correlation

Setting = Callable[..., pd.DataFrame]
EPOCHS = 40


def curves_of(runs: pd.DataFrame, value: Callable[[pd.Series, np.ndarray], np.ndarray]) -> pd.DataFrame:
    """A curve for each run: epoch → value(run, epochs)."""
    epochs = np.arange(1, EPOCHS + 1)
    parts = [
        pd.DataFrame({"run_id": run["run_id"], "epoch": epochs, "perplexity": value(run, epochs)})
        for _, run in runs.iterrows()
    ]
    return pd.concat(parts, ignore_index=True)


@pytest.fixture
def runs(setting: Setting, together: Setting) -> pd.DataFrame:
    return together(*(setting([1.0] * 3, lr=float(lr), epochs=EPOCHS) for lr in range(1, 7)))


def test_settings_that_never_cross_are_ranked_by_any_budget(runs: pd.DataFrame) -> None:
    table = budget_correlation(runs, curves_of(runs, lambda run, e: 1 + run["lr"] + run["seed"] / 10 + 10 / e))
    assert list(table.columns) == list(COLUMNS)
    assert table["epochs"].tolist() == [2, 4, 8, 16, 24, 32]
    assert np.allclose(table[["spearman", "kendall", "regret"]], 1)
    assert table["best"].nunique() == 1
    assert table["settings"].eq(6).all()


def test_settings_that_cross_are_not(runs: pd.DataFrame) -> None:
    """What is the best in the first half is the worst in the second."""
    curves = curves_of(runs, lambda run, e: np.where(e <= 20, 1 + run["lr"], 8 - run["lr"]) + run["seed"] / 100)
    early, late = (budget_correlation(runs, curves, epochs=[epochs]).iloc[0] for epochs in (10, 30))
    assert (early["spearman"], early["kendall"]) == pytest.approx((-1, -1))
    assert late["spearman"] == pytest.approx(1)
    means = [np.exp(np.log(8 - lr + np.arange(3) / 100).mean()) for lr in (1, 6)]
    assert early["regret"] == pytest.approx(means[0] / means[1])


def test_correlation_and_interval_follow_from_the_seeds(runs: pd.DataFrame) -> None:
    rng = np.random.default_rng(0)
    noise = {run: rng.normal(0, 2, 2) for run in runs["run_id"]}
    curves = curves_of(runs, lambda run, e: np.exp(run["lr"] + noise[run["run_id"]][(e > 20).astype(int)]))
    row = budget_correlation(runs, curves, epochs=[20]).iloc[0]
    values = runs.assign(
        early=[noise[run][0] for run in runs["run_id"]], late=[noise[run][1] for run in runs["run_id"]]
    )
    means = values.groupby("lr")[["early", "late"]].mean().add(values.groupby("lr")["lr"].first(), axis=0)
    assert row["spearman"] == pytest.approx(stats.spearmanr(means["early"], means["late"]).statistic)
    assert row["kendall"] == pytest.approx(stats.kendalltau(means["early"], means["late"]).statistic)
    assert -1 <= row["low"] < row["high"] <= 1


def test_a_single_epoch_does_not_decide(runs: pd.DataFrame) -> None:
    """A spike in the very epoch of the budget is one of the last 5 %."""
    long = runs.assign(epochs=EPOCHS)
    curves = curves_of(long, lambda run, e: 1 + run["lr"] + 100.0 * ((e == 40) & (run["lr"] == 1)))
    assert (
        budget_correlation(long, curves, epochs=[20])["spearman"].iloc[0] < 1
    )  # the last epoch spikes: 2 of them count


def test_settings_of_equal_means_are_equal_in_whatever_order_they_were_added_up(runs: pd.DataFrame) -> None:
    """0.93 + 0.94 + 0.95 is another number than 0.95 + 0.93 + 0.94."""
    tied = np.array([0.93, 0.94, 0.95])
    of = {1: tied, 2: np.roll(tied, 1), 3: np.roll(tied, 2), 4: tied + 0.1, 5: tied + 0.2, 6: tied + 0.3}

    def accuracy(run: pd.Series, epochs: np.ndarray) -> np.ndarray:
        early = 0.93 + np.abs(run["lr"] - 3) / 10
        return np.where(epochs <= 20, early, of[int(run["lr"])][int(run["seed"])])

    curves = curves_of(runs, accuracy).rename(columns={"perplexity": "accuracy"})
    row = budget_correlation(runs, curves, "accuracy", epochs=[20]).iloc[0]
    early, late = [0.2, 0.1, 0.0, 0.1, 0.2, 0.3], [0.0, 0.0, 0.0, 0.1, 0.2, 0.3]
    assert row["spearman"] == pytest.approx(stats.spearmanr(early, late).statistic)
    assert row["kendall"] == pytest.approx(stats.kendalltau(early, late).statistic)


def test_a_run_without_a_curve_leaves_no_table(runs: pd.DataFrame) -> None:
    """As of a damaged file: that of the others would speak of fewer settings than it seems to."""
    curves = curves_of(runs, lambda run, e: 1 + run["lr"] + 10 / e)
    assert budget_correlation(runs, curves[curves["run_id"] != runs["run_id"].iloc[0]]).empty


def test_what_cannot_be_ranked_has_no_row(runs: pd.DataFrame) -> None:
    curves = curves_of(runs, lambda run, e: 1 + run["lr"] + 10 / e)
    assert budget_correlation(runs[runs["lr"] < 4], curves).empty  # three settings
    assert budget_correlation(runs, curves, "accuracy").empty
    assert budget_correlation(runs, curves, epochs=[EPOCHS]).empty
    assert budget_correlation(runs.assign(status="diverged"), curves).empty
    single = budget_correlation(runs[runs["seed"] == 0], curves)
    assert single["low"].isna().all()
    assert np.allclose(single["spearman"], 1)
