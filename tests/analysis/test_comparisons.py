"""Pairs of settings that differ in one knob: which they are, and their numbers against scipy. CPU, 1 s."""

import math
from collections.abc import Callable

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from ablate.analysis.compare import columns, comparisons

Setting = Callable[..., pd.DataFrame]


def noisy(mean: float, seed: int, n: int = 8) -> list[float]:
    return list(mean * np.exp(np.random.default_rng(seed).normal(0, 0.1, n)))


def pairs(table: pd.DataFrame) -> list[tuple[object, ...]]:
    return list(table[["knob", "from_value", "to_value", "at"]].itertuples(index=False, name=None))


def test_a_pair_that_differs_in_two_knobs_is_named_by_both(setting: Setting, together: Setting) -> None:
    """A learning rate that goes with the model; that of rnn and gru is the same, and their pair one of models."""
    runs = together(*(setting(noisy(2, 1), model=m, lr=lr) for m, lr in (("rnn", 2.0), ("gru", 2.0), ("lstm", 0.5))))
    both = "model + lr (confounded)"
    assert pairs(comparisons(runs, "perplexity")) == [
        (both, "rnn, lr=2", "lstm, lr=0.5", ""),
        ("model", "rnn", "gru", "lr=2"),
        (both, "lstm, lr=0.5", "gru, lr=2", ""),
    ]


def test_numbers_that_vary_together_are_compared_with_their_neighbours(setting: Setting, together: Setting) -> None:
    widths = ((8, 2.0), (16, 1.0), (32, 0.5))
    runs = together(*(setting(noisy(2, 1), num_hiddens=h, lr=lr, layers=n) for h, lr in widths for n in (1, 2)))
    both = "num_hiddens + lr (confounded)"
    assert pairs(comparisons(runs, "perplexity"))[:2] == [
        (both, "num_hiddens=8, lr=2", "num_hiddens=16, lr=1", "layers=1"),
        (both, "num_hiddens=16, lr=1", "num_hiddens=32, lr=0.5", "layers=1"),
    ]


def test_neighbours_of_numbers_and_all_pairs_of_names(setting: Setting, together: Setting) -> None:
    runs = together(
        *(
            setting(noisy(h, h), model=model, num_hiddens=h, reset="after" if model == "gru" else None)
            for model in ("rnn", "lstm", "gru")
            for h in (32, 8, 16)
            if (model, h) != ("lstm", 16)
        )
    )
    table = comparisons(runs, "perplexity")
    assert list(table.columns) == columns("perplexity")
    # reset follows from the model and is no knob of its own here
    assert pairs(table) == [
        ("model", "rnn", "lstm", "num_hiddens=8"),
        ("model", "rnn", "gru", "num_hiddens=8"),
        ("model", "lstm", "gru", "num_hiddens=8"),
        ("model", "rnn", "gru", "num_hiddens=16"),
        ("model", "rnn", "lstm", "num_hiddens=32"),
        ("model", "rnn", "gru", "num_hiddens=32"),
        ("model", "lstm", "gru", "num_hiddens=32"),
        ("num_hiddens", 8, 16, "model=rnn"),
        ("num_hiddens", 16, 32, "model=rnn"),
        ("num_hiddens", 8, 32, "model=lstm"),
        ("num_hiddens", 8, 16, "model=gru"),
        ("num_hiddens", 16, 32, "model=gru"),
    ]


def test_numbers_of_a_pair(setting: Setting, together: Setting) -> None:
    low, high, far = noisy(2, 0), noisy(2.1, 1), noisy(9, 2)
    runs = together(setting(low, lr=0.1), setting(high, lr=0.3), setting(far, lr=1.0))
    table = comparisons(runs, "perplexity")
    first, second = table.to_dict("records")
    assert (first["setting_id"], first["reference_id"], first["n"], first["at"]) == ("lr=0.3", "lr=0.1", 8, "")
    both = ((high, low), (far, high))
    p = [stats.ttest_ind(np.log(a), np.log(b), equal_var=False).pvalue for a, b in both]
    assert list(table["p"]) == pytest.approx(p, rel=1e-12)
    ranks = [stats.mannwhitneyu(a, b, method="exact").pvalue for a, b in both]
    assert list(table["p_rank"]) == pytest.approx(ranks, rel=1e-12)
    assert list(table["ranks_agree"]) == [True, True]
    assert list(table["method"]) == ["Welch t, on logarithms"] * 2
    assert p[1] < p[0]
    assert list(table["p_holm"]) == pytest.approx([p[0], 2 * p[1]])
    assert first["low"] < first["ratio"] < first["high"]
    assert first["ratio"] == pytest.approx(stats.gmean(high) / stats.gmean(low))
    assert first["improvement"] == np.mean([[a < b for b in low] for a in high])
    assert first["needed"] > 8  # far from settled
    assert pd.isna(second["needed"])  # settled


def test_needed_is_corrected_for_the_size_of_the_table(setting: Setting, together: Setting) -> None:
    """Four pairs of settings with the same difference: each takes more than it would by itself."""
    spread = np.array([-1, -0.5, 0, 0.5, 1])
    runs = together(*(setting(list(2 * np.exp(0.15 * k + 0.2 * spread)), lr=10.0**k) for k in range(5)))
    table, alone = (comparisons(some, "perplexity") for some in (runs, runs[runs["lr"] <= 10]))
    assert len(set(table["needed"])) == 1
    assert table["needed"][0] > alone["needed"][0] > 5


def test_where_the_rank_test_disagrees(setting: Setting, together: Setting) -> None:
    """One stuck run of six: the t test sees no difference, the ranks do; with three runs each ranks cannot tell."""
    low, high = [1.0, 1.01, 1.02, 1.03, 1.04, 1.05], [1.1, 1.11, 1.12, 1.13, 1.14, 30.0]
    [row] = comparisons(together(setting(low, lr=1.0), setting(high, lr=2.0)), "perplexity").to_dict("records")
    assert row["p"] > 0.05 > row["p_rank"] == pytest.approx(2 / 924)
    assert row["ranks_agree"] is False
    few = comparisons(together(setting(low[:3], lr=1.0), setting(high[:3], lr=2.0)), "perplexity")
    assert few["p"][0] < 0.05 < few["p_rank"][0]
    assert few["ranks_agree"].isna().all()


def test_identical_runs_have_no_p(setting: Setting, together: Setting) -> None:
    values = [1.5, 1.6, 1.7]
    [row] = comparisons(together(setting(values, lr=1.0), setting(values, lr=2.0)), "perplexity").to_dict("records")
    assert (row["ratio"], row["low"], row["high"]) == (1, 1, 1)
    assert math.isnan(row["p"])
    assert math.isnan(row["p_holm"])
    assert "fact" in row["method"]


def test_diverged_runs_count_and_settings_without_the_metric_do_not(setting: Setting, together: Setting) -> None:
    runs = together(
        setting([2.0] * 6, clip=1.0),
        setting([2.1, 2.2, None, 2.3, 2.4, None], clip=None),
        setting([3.0] * 6, clip=0.5).assign(val_perplexity=math.nan),
    )
    [row] = comparisons(runs, "val_perplexity").to_dict("records")
    assert (row["from_value"], row["n"]) == (1.0, 6)
    assert math.isnan(row["to_value"])
    assert row["p"] == pytest.approx(2 / 924)  # the exact rank test: of runs that diverged there is no mean
    assert "rank sum" in row["method"]
    assert row["improvement"] == 0
    assert len(comparisons(runs, "perplexity")) == 2


def test_nothing_swept(setting: Setting, together: Setting) -> None:
    table = comparisons(together(setting([2, 3, 4])), "perplexity")
    assert table.empty
    assert list(table.columns) == columns("perplexity")


def test_what_may_be_0_is_compared_by_differences(setting: Setting, together: Setting) -> None:
    """Six pairs of accuracies, a diverged run below them all; by hand and by scipy."""
    low, high = [0.0, 0.1, 0.2, 0.3, 0.2, 0.1], [0.5, 0.7, 0.6, 0.8, 0.9, 0.55]
    runs = together(setting(low, model="rnn"), setting(high, model="gru"), setting([*high[:5], None], model="lstm"))
    table = comparisons(runs, "accuracy")
    assert list(table.columns) == columns("accuracy")
    assert "ratio" not in table
    rnn_lstm, rnn_gru, lstm_gru = table.to_dict("records")
    assert rnn_gru["difference"] == pytest.approx(np.mean(high) - np.mean(low))
    test = stats.ttest_ind(high, low, equal_var=False)
    assert rnn_gru["p"] == pytest.approx(test.pvalue, rel=1e-12)
    assert rnn_gru["p_holm"] == pytest.approx(3 * test.pvalue)
    assert (rnn_gru["low"], rnn_gru["high"]) == pytest.approx(test.confidence_interval(0.95))
    assert rnn_gru["improvement"] == 1
    assert rnn_lstm["improvement"] == pytest.approx(5 / 6)  # of 36 pairs of runs, 6 with the diverged one
    assert "rank sum" in lstm_gru["method"]


def test_a_setting_that_sees_the_future_is_no_better(setting: Setting, together: Setting) -> None:
    runs = together(
        setting([8.0] * 6, layers=1, sees_future=False),
        setting([7.0] * 6, layers=2, sees_future=False),
        setting([1.1] * 6, layers=3, sees_future=True),
    )
    table = comparisons(runs, "perplexity")
    assert table["improvement"].tolist()[0] == 1
    assert math.isnan(table["improvement"][1])
    assert table["ratio"].tolist() == pytest.approx([7 / 8, 1.1 / 7])
