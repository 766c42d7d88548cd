"""Means, spreads and intervals against plain pandas and scipy on a frame made by hand. CPU, 1 s."""

import math
from collections.abc import Callable

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from ablate.analysis.aggregate import INTERVALS, aggregate
from ablate.analysis.frames import KNOBS
from ablate.analysis.samples import typical
from ablate.config.metrics import METRICS
from ablate.searching.race import Scale, interval
from ablate.stats import bootstrap_interval

VALUES = {("rnn", 8): [3.0, 4.0, 8.0], ("gru", 8): [2.0, 2.5], ("gru", 16): [1.5], ("lstm", 8): []}
"""Perplexities of the runs that finished; each setting has one diverged run beside them."""


@pytest.fixture
def runs() -> pd.DataFrame:
    rows = []
    for (model, hidden), values in VALUES.items():
        common = dict.fromkeys(KNOBS) | {"model": model, "num_hiddens": hidden, "epochs": 10}
        common |= {"setting_id": f"{model}{hidden}", "parameters": 100, "updates_per_epoch": 8, "lr": 1.0}
        for seed, value in enumerate([*values, None]):
            ok = value is not None
            measured = {
                name: (value * 10 if name == "val_perplexity" else value) if ok else None
                for name in METRICS.names
                if name != "wall_s"
            }
            status = "ok" if ok else "diverged"
            rows.append(common | measured | {"seed": seed, "status": status, "wall_s": 0.5})
    return pd.DataFrame(rows).sample(frac=1, random_state=0, ignore_index=True)


@pytest.mark.parametrize("level", [0.95, 0.8])
def test_a_row_per_setting(runs: pd.DataFrame, level: float) -> None:
    settings = aggregate(runs, level).set_index("setting_id")
    assert len(settings) == len(VALUES)
    for (model, hidden), values in VALUES.items():
        setting = settings.loc[f"{model}{hidden}"]
        assert (setting["n"], setting["diverged"]) == (len(values), 1)
        assert (setting["model"], setting["num_hiddens"]) == (model, hidden)
        assert (setting["updates"], setting["parameters"]) == (80, 100)
        for name, factor in (("perplexity", 1), ("tail_perplexity", 1), ("val_perplexity", 10)):
            own = np.array(values) * factor
            if len(own):
                assert setting[name] == pytest.approx(stats.gmean(own))
                assert setting[f"{name}_median"] == pytest.approx(np.median(own))
            else:
                assert math.isnan(setting[name])
            if len(own) > 1:
                logs = np.log(own)
                low, high = np.exp(stats.t.interval(level, len(own) - 1, loc=logs.mean(), scale=stats.sem(logs)))
                assert setting[f"{name}_sd"] == pytest.approx(own.std(ddof=1))
                assert setting[f"{name}_low"] == pytest.approx(max(low, 1))
                assert setting[f"{name}_high"] == pytest.approx(high)
            else:
                assert math.isnan(setting[f"{name}_low"])
                assert math.isnan(setting[f"{name}_high"])


def test_settings_come_in_their_order(runs: pd.DataFrame) -> None:
    assert list(aggregate(runs)["setting_id"]) == ["rnn8", "lstm8", "gru8", "gru16"]


def test_a_metric_that_nobody_measured_is_empty(runs: pd.DataFrame) -> None:
    settings = aggregate(runs.assign(val_perplexity=None))
    assert settings["val_perplexity"].isna().all()
    assert settings["perplexity"].notna().sum() == 3


def test_one_setting(runs: pd.DataFrame) -> None:
    [setting] = aggregate(runs[runs["setting_id"] == "gru8"]).to_dict("records")
    assert setting["perplexity"] == pytest.approx(5**0.5)
    assert setting["bleu"] == pytest.approx(2.25)  # it may be 0, so its mean is the arithmetic one


def test_interquartile_mean_and_bootstrap_of_each_setting(runs: pd.DataFrame) -> None:
    more = [runs.assign(seed=runs["seed"] + 10 * k, perplexity=runs["perplexity"] * (1 + 0.01 * k)) for k in range(3)]
    repeated = pd.concat(more, ignore_index=True)
    settings = aggregate(repeated).set_index("setting_id")
    for (model, hidden), values in VALUES.items():
        setting = settings.loc[f"{model}{hidden}"]
        own = [value * (1 + 0.01 * k) for value in values for k in range(3)]
        if not own:
            assert setting[["perplexity_iqm", "perplexity_boot_low", "perplexity_boot_high"]].isna().all()
            continue
        assert setting["perplexity_iqm"] == pytest.approx(stats.trim_mean(own, 0.25))
        if len(own) < 6:  # too few to resample
            assert setting[["perplexity_boot_low", "perplexity_boot_high"]].isna().all()
            continue
        low, high = np.exp(bootstrap_interval(np.log(sorted(own))))
        assert (setting["perplexity_boot_low"], setting["perplexity_boot_high"]) == pytest.approx((low, high))
        assert low < setting["perplexity"] < high


@pytest.mark.parametrize("finished", [0, 1])
def test_no_spread_and_no_interval_of_fewer_than_two_runs(setting: Callable[..., pd.DataFrame], finished: int) -> None:
    row = aggregate(setting([1.5] * finished + [None])).iloc[0]
    assert (row["n"], row["diverged"]) == (finished, 1)
    for metric in ("perplexity", "tail_perplexity", "accuracy"):
        endings = ("_sd", *INTERVALS)
        assert all(math.isnan(row[metric + ending]) for ending in endings if metric + ending in row)
    assert math.isnan(row["perplexity"]) == (not finished)


def test_a_measure_that_does_not_exist_has_no_spread(setting: Callable[..., pd.DataFrame]) -> None:
    """Not −0.0, which would say that all runs agree."""
    row = aggregate(setting([1.5, 1.6, 1.7]).assign(bleu=None)).iloc[0]
    assert math.isnan(row["bleu"])
    assert math.isnan(row["bleu_sd"])


def test_no_runs() -> None:
    assert aggregate(pd.DataFrame()).empty


def test_a_setting_sees_the_future_if_any_of_its_runs_does(setting: Callable[..., pd.DataFrame]) -> None:
    for probed, told in (([None, True, True], True), ([False, None, True], True), ([None, False, False], False)):
        assert aggregate(setting([1.1, 1.2, 1.3]).assign(sees_future=probed))["sees_future"].tolist() == [told]
    assert aggregate(setting([1.1, 1.2, 1.3]).assign(sees_future=None))["sees_future"].tolist() == [None]


def test_an_interval_ends_where_its_metric_does(setting: Callable[..., pd.DataFrame]) -> None:
    runs = setting([1.1, 1.1, 1.1]).assign(accuracy=[1.0, 1.0, 0.94], sees_future=None, match="params")
    row = aggregate(runs).iloc[0]
    half = 4.302653 * runs["accuracy"].std() / 3**0.5  # t(2), 97.5 %
    assert row["accuracy_low"] == pytest.approx(0.98 - half, abs=1e-6)
    assert row["accuracy"] + half > row["accuracy_high"] == 1
    assert row["match"] == "params"
    assert row["perplexity_low"] == pytest.approx(1.1)


def test_no_perplexity_is_below_1(setting: Callable[..., pd.DataFrame]) -> None:
    """A stuck run makes an interval that would reach there."""
    values = [1.0, 1.0, 40.0, 1.0, 1.0, 1.0]
    runs = setting(values)
    row = aggregate(runs).iloc[0]
    assert row["perplexity_low"] == row["perplexity_boot_low"] == 1
    assert typical(runs["perplexity"], "perplexity", 0.95)[1] == 1
    assert interval(dict(enumerate(values)), Scale.of("perplexity", "lower"))[0] == 1
    assert row["perplexity_high"] > 3


def test_what_was_not_measured_has_no_spread(setting: Callable[..., pd.DataFrame]) -> None:
    """Of no value, of one, and of runs that all diverged: NaN everywhere, never 0 or −0."""
    for runs in (setting([2.0, 3.0], bleu=np.nan), setting([None, None]), setting([2.0])):
        [row] = aggregate(runs).to_dict("records")
        metric = "bleu" if len(runs) == 2 else "perplexity"
        spread = [value for name, value in row.items() if name.startswith(f"{metric}_")]
        assert np.isnan([row[f"{metric}_sd"], row[f"{metric}_low"], row[f"{metric}_boot_high"]]).all()
        assert not any(value == 0 for value in spread)


def test_the_mean_and_interval_of_a_table_are_those_of_comparisons(setting: Callable[..., pd.DataFrame]) -> None:
    """One estimand: what `typical` has, which tuned tables, paths and ratios are made of."""
    values = [2.0, 2.5, 9.0, 3.0]
    row = aggregate(setting(values)).iloc[0]
    for metric in ("tail_perplexity", "val_perplexity", "bleu"):
        expected = typical(pd.Series(values), metric, 0.95)
        assert (row[metric], row[f"{metric}_low"], row[f"{metric}_high"]) == pytest.approx(expected)


def test_updates_are_those_of_the_epochs_trained(runs: pd.DataFrame) -> None:
    """Of the runs that finished: of the three of rnn8 a rule ended one after 4 of 10 epochs, another after 9."""
    assert "epochs_trained" not in aggregate(runs)
    early = (runs["setting_id"] == "rnn8") & (runs["status"] == "ok")
    runs["epochs_done"], runs["ended_by"] = 10.0, None
    runs.loc[runs["status"] != "ok", "epochs_done"] = 1.0
    runs.loc[early & (runs["seed"] == 0), ["epochs_done", "ended_by"]] = 4.0, "until"
    runs.loc[early & (runs["seed"] == 1), ["epochs_done", "ended_by"]] = 9.0, "patience"
    settings = aggregate(runs).set_index("setting_id")
    assert settings["epochs_trained"].to_dict() == {
        "rnn8": pytest.approx(23 / 3),
        "gru8": 10,
        "gru16": 10,
        "lstm8": 10,
    }
    assert settings.loc["rnn8", "updates"] == pytest.approx(8 * 23 / 3)
