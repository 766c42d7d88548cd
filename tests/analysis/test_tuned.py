"""A knob tuned in every setting: which value is chosen, on which seeds it is reported. CPU, 2 s."""

import math
from collections.abc import Callable

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from ablate.analysis.tuning import CHOOSES, JUDGES, chooser, reporting, roles, tuned
from ablate.config.errors import UserError

Setting = Callable[..., pd.DataFrame]


def test_chosen_by_one_half_and_reported_by_the_other(setting: Setting, together: Setting) -> None:
    runs = together(
        setting([9, 2, 9.5, 2, 10], model="rnn", lr=0.5),
        setting([1, 3, 1, 3, 1], model="rnn", lr=1.0),
        setting([1, None, 1, 2, 1], model="gru", lr=0.5),
        setting([5, 4, None, 4, 7], model="gru", lr=1.0),
    )
    rnn, gru = tuned(runs, "lr", "perplexity").to_dict("records")
    logs = np.log([9, 9.5, 10])
    low, high = np.exp(stats.t.interval(0.95, 2, logs.mean(), stats.sem(logs)))
    assert rnn == {
        "model": "rnn",
        "at": "model=rnn",
        "setting_id": "model=rnn lr=0.5",
        "any_best": True,
        "value": 0.5,
        "n": 3,
        "diverged": 0,
        "mean": pytest.approx(stats.gmean([9, 9.5, 10])),
        "low": pytest.approx(low),
        "high": pytest.approx(high),
    }
    # a run that diverged speaks against its value; one that does later is counted
    assert (gru["value"], gru["n"], gru["diverged"], gru["mean"]) == (1.0, 2, 1, pytest.approx(35**0.5))


def test_one_knob_alone(setting: Setting, together: Setting) -> None:
    [row] = tuned(together(setting([2, 1], clip=None), setting([4, 3], clip=1.0)), "clip", "perplexity").to_dict(
        "records"
    )
    assert math.isnan(row["value"])
    assert row["any_best"]
    assert (row["at"], row["n"], row["mean"]) == ("", 1, 2)


def test_only_seeds_that_all_settings_have_choose_and_what_will_choose_never_judges(
    setting: Setting, together: Setting
) -> None:
    runs = together(
        setting([8, 3, 10, 99], model="rnn", lr=0.5),
        setting([1, 4, 1, 1], model="rnn", lr=1.0),
        setting([9, 3], model="gru", lr=0.5),
        setting([7, 2], model="gru", lr=1.0),
    )
    rnn, gru = tuned(runs, "lr", "perplexity").to_dict("records")
    assert (rnn["value"], rnn["n"], rnn["mean"]) == (0.5, 2, pytest.approx(80**0.5))
    assert (gru["value"], gru["n"], gru["mean"]) == (1.0, 1, pytest.approx(7))


def test_settings_that_share_no_seeds_with_the_others_are_taken_by_themselves(
    setting: Setting, together: Setting
) -> None:
    gru = together(setting([9, 3], model="gru", lr=0.5), setting([7, 2], model="gru", lr=1.0))
    rnn = together(setting([8, 3, 10, 3], model="rnn", lr=0.5), setting([1, 4, 1, 4], model="rnn", lr=1.0))
    runs = together(rnn, gru.assign(seed=gru["seed"] + 20))
    first, second = tuned(runs, "lr", "perplexity").to_dict("records")
    assert (first["value"], first["n"], first["mean"]) == (0.5, 2, pytest.approx(80**0.5))
    assert (second["value"], second["n"], second["mean"]) == (1.0, 1, pytest.approx(7))


def test_values_with_more_seeds_than_others_are_chosen_from_by_those_that_all_have(
    setting: Setting, together: Setting
) -> None:
    runs = together(setting([3, 3, 3, 3, 1, 1], lr=0.5), setting([5, 2, 5, 2], lr=1.0))
    [row] = tuned(runs, "lr", "perplexity").to_dict("records")
    assert (row["value"], row["n"], row["mean"]) == (1.0, 2, pytest.approx(5))


def test_a_seed_does_the_same_when_later_ones_are_added(setting: Setting, together: Setting) -> None:
    """What has judged never chooses, nor the other way round, also where some settings got their seeds earlier."""
    seen: dict[tuple[str, int], set[str]] = {}
    for of_rnn, of_gru in ((2, 2), (6, 2), (6, 6), (7, 6), (20, 7), (20, 19), (20, 20)):
        parts = [
            setting([1.0] * n, model=model, lr=lr)
            for model, n in (("rnn", of_rnn), ("gru", of_gru))
            for lr in (0.5, 1.0)
        ]
        runs = together(*parts)
        for model, seed, role in zip(runs["model"], runs["seed"], roles(runs, "lr"), strict=True):
            seen.setdefault((model, seed), set()).add(role)
    assert len(seen) == 40
    assert all(not {CHOOSES, JUDGES} <= found for found in seen.values())
    assert {seed: found for (model, seed), found in seen.items() if model == "gru"} == {
        seed: {CHOOSES} if seed % 2 else {JUDGES} for seed in range(20)
    }


@pytest.mark.full
def test_no_winners_curse(setting: Setting, together: Setting) -> None:
    """Ten values that make no difference: the best mean of them is too good, the reported one is not."""
    rng = np.random.default_rng(0)
    reported, best = [], []
    runs = together(*(setting([5.0] * 8, lr=float(k + 1)) for k in range(10)))
    for _ in range(60):
        runs["perplexity"] = rng.normal(5, 0.3, len(runs))
        reported.append(tuned(runs, "lr", "perplexity")["mean"].iloc[0])
        best.append(runs.groupby("setting_id")["perplexity"].mean().min())
    error = 0.3 / math.sqrt(4 * 60)
    assert np.mean(reported) == pytest.approx(5, abs=3 * error)
    assert np.mean(best) < 5 - 5 * error


def test_what_cannot_be_tuned(setting: Setting, together: Setting) -> None:
    runs = together(setting([1, 2], lr=0.5), setting([3, 4], lr=1.0))
    with pytest.raises(UserError, match=r"clip .*choose lr"):
        tuned(runs, "clip", "perplexity")
    with pytest.raises(UserError, match="two seeds"):
        tuned(runs[runs["seed"] == 0], "lr", "perplexity")


def test_of_a_metric_that_is_better_when_higher_a_setting_that_diverges_is_never_the_best(
    setting: Setting,
) -> None:
    fine, best_but_once = setting([0.6, 0.6, 0.6, 0.6], lr=1.0), setting([0.9, None, 0.9, 0.9], lr=2.0)
    runs = pd.concat([fine, best_but_once], ignore_index=True)
    assert tuned(runs, "lr", "accuracy")["value"].tolist() == [1.0]


def test_where_every_choosing_run_diverged_no_value_is_the_best(setting: Setting, together: Setting) -> None:
    runs = together(
        setting([7, None, None, None], layers=5, lr=0.5),
        setting([None, None, None, None], layers=5, lr=1.0),
        setting([3, 3, 3, 3], layers=1, lr=0.5),
        setting([4, 2, 4, 2], layers=1, lr=1.0),
    )
    table = tuned(runs, "lr", "perplexity").set_index("layers")
    none = table.loc[5]
    assert (none["any_best"], none["n"], none["diverged"]) == (False, 0, 3)
    assert none[["value", "mean", "low", "high"]].isna().all()
    assert table["value"][1] == 1.0
    assert table["mean"][1] == pytest.approx(4)


@pytest.mark.parametrize("metric", ["perplexity", "accuracy"])
def test_where_every_value_diverged_once_the_one_that_did_so_least_is_the_best(
    setting: Setting, together: Setting, metric: str
) -> None:
    rare = setting([0.5, None, 0.5, 0.6, 0.5, 0.6, 0.5, 0.6], lr=1.0)
    often = [setting([0.9, None, 0.9, None, 0.9, 0.6, 0.9, value], lr=lr) for value, lr in ((0.1, 0.5), (0.9, 2.0))]
    [row] = tuned(together(*often, rare), "lr", metric).to_dict("records")
    assert (row["value"], row["n"], row["mean"]) == (1.0, 4, pytest.approx(0.5))


def test_the_test_data_report_and_never_choose(setting: Setting, together: Setting) -> None:
    """The lr with the better held-out perplexity is chosen, though the other one is better on the test data."""
    runs = together(
        setting([1.0] * 4, lr=0.5, best_val_perplexity=3.0, test_perplexity_at_best=9.0),
        setting([1.0] * 4, lr=1.0, best_val_perplexity=4.0, test_perplexity_at_best=2.0),
    )
    [row] = tuned(runs, "lr", "test_perplexity_at_best").to_dict("records")
    assert (row["value"], row["mean"]) == (0.5, pytest.approx(9.0))
    assert chooser(runs, "test_perplexity_at_best") == "best_val_perplexity"
    assert reporting(runs, "best_val_perplexity") == "test_perplexity_at_best"
    assert reporting(runs, "tail_perplexity") == "tail_perplexity"
    some = runs.assign(test_perplexity_at_best=runs["test_perplexity_at_best"].where(runs["seed"] > 0))
    assert reporting(some, "best_val_perplexity") == "best_val_perplexity"
    with pytest.raises(UserError, match="chooses nothing"):
        chooser(runs.assign(best_val_perplexity=math.nan), "test_perplexity_at_best")
