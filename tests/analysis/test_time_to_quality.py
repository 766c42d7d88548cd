"""Seconds until a metric reaches a value: by hand, from made-up curves and speeds. CPU, 1 s."""

import math
from collections.abc import Callable

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from ablate.analysis.aggregate import aggregate
from ablate.analysis.time_to_quality import Quality, time_to_quality, usual_quality
from ablate.config.errors import UserError

Setting = Callable[..., pd.DataFrame]
TOKENS = 8960  # of an epoch


@pytest.fixture
def runs(setting: Setting, together: Setting) -> pd.DataFrame:
    return together(setting([4.0] * 4, model="rnn"), setting([4.0] * 4, model="gru"), setting([4.0] * 4, model="lstm"))


@pytest.fixture
def settings(runs: pd.DataFrame) -> pd.DataFrame:
    speed = {"rnn": 89600.0, "gru": 44800.0, "lstm": math.nan}
    found = aggregate(runs)
    found["tokens_per_s"] = found["model"].map(speed)
    return found.assign(tokens_per_s_low=found["tokens_per_s"] / 1.1, tokens_per_s_high=found["tokens_per_s"] * 1.1)


@pytest.fixture
def curves(runs: pd.DataFrame) -> pd.DataFrame:
    """The rnn's runs reach 5 after 2, 4, 4 and 8 epochs; one of the gru's never does."""
    first = {f"model=rnn {seed}": epoch for seed, epoch in enumerate([2, 4, 4, 8])}
    first |= {f"model=gru {seed}": epoch for seed, epoch in enumerate([1, 1, 2, 99])}
    parts = [
        pd.DataFrame(
            {"run_id": run, "epoch": range(1, 11), "val_perplexity": [5.0 if e >= epoch else 9.0 for e in range(1, 11)]}
        )
        for run, epoch in first.items()
    ]
    return pd.concat(parts, ignore_index=True).assign(perplexity=3.0)


def test_seconds_are_those_of_the_speed_lane(runs: pd.DataFrame, curves: pd.DataFrame, settings: pd.DataFrame) -> None:
    table = time_to_quality(runs, curves, settings, Quality("val_perplexity", 5)).set_index("model")
    assert [*table.index] == ["rnn", "gru"]  # the lstm has no timing
    rnn, gru = table.loc["rnn"], table.loc["gru"]
    assert (rnn["n"], rnn["reached"], rnn["share"]) == (4, 4, 1)
    assert rnn["epochs"] == pytest.approx(4)
    assert rnn["seconds"] == pytest.approx(4 * TOKENS / 89600)
    assert rnn["expected_s"] == pytest.approx((2 + 4 + 4 + 8) / 4 * TOKENS / 89600)
    logs = np.log([2, 4, 4, 8])
    of_seeds = stats.t.interval(0.95, 3, logs.mean(), stats.sem(logs))[1] - logs.mean()
    assert rnn["seconds_high"] / rnn["seconds"] == pytest.approx(math.exp(math.hypot(of_seeds, math.log(1.1))))
    assert rnn["seconds_low"] * rnn["seconds_high"] == pytest.approx(rnn["seconds"] ** 2)
    assert (gru["reached"], gru["share"]) == (3, 0.75)
    assert gru["seconds"] == pytest.approx(2 ** (1 / 3) * TOKENS / 44800)
    assert gru["expected_s"] == pytest.approx((1 + 1 + 2 + 10) / 3 * TOKENS / 44800)  # the fourth ran to its end


def test_how_long_the_training_took_has_no_part_in_it(
    runs: pd.DataFrame, curves: pd.DataFrame, settings: pd.DataFrame
) -> None:
    quality = Quality("val_perplexity", 5)
    usual, slow = (time_to_quality(runs.assign(wall_s=s), curves, settings, quality) for s in (0.1, 1000.0))
    pd.testing.assert_frame_equal(usual, slow)


def test_a_speed_of_too_few_processes_has_seconds_without_an_interval(
    runs: pd.DataFrame, curves: pd.DataFrame, settings: pd.DataFrame
) -> None:
    whole = time_to_quality(runs, curves, settings, Quality("val_perplexity", 9))
    few = settings.assign(tokens_per_s_low=None, tokens_per_s_high=None)
    table = time_to_quality(runs, curves, few, Quality("val_perplexity", 9))
    assert table["seconds"].tolist() == pytest.approx(whole["seconds"].tolist(), nan_ok=True)
    assert table["seconds"].notna().any()
    assert table[["seconds_low", "seconds_high"]].isna().all(axis=None)


def test_what_no_run_reaches_has_no_seconds(runs: pd.DataFrame, curves: pd.DataFrame, settings: pd.DataFrame) -> None:
    table = time_to_quality(runs, curves, settings, Quality("val_perplexity", 1))
    assert table["reached"].eq(0).all()
    assert table[["seconds", "expected_s", "epochs"]].isna().all(axis=None)
    with pytest.raises(UserError, match="no curve has accuracy; choose perplexity or val_perplexity"):
        time_to_quality(runs, curves, settings, Quality("accuracy", 0.5))


@pytest.mark.parametrize("text", ["val_perplexity<9", " val_perplexity <= 9.0 ", "val_perplexity<9e0"])
def test_a_quality_is_a_metric_and_a_value(text: str) -> None:
    assert Quality.read(text) == Quality("val_perplexity", 9)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("val_perplexity", "'val_perplexity<9'"),
        ("val_perplexity<", "'val_perplexity<9'"),
        ("val_perplexity<nan", "'val_perplexity<9'"),
        ("val_perplexity<1e999", "'val_perplexity<9'"),
        ("perplexty<9", "did you mean perplexity"),
        ("val_perplexity>9", "'val_perplexity<9'"),
        ("accuracy<0.9", "'accuracy>0.9'"),
    ],
)
def test_anything_else_is_one_line(text: str, said: str) -> None:
    with pytest.raises(UserError) as caught:
        Quality.read(text)
    assert said in str(caught.value)
    assert "\n" not in str(caught.value)


def test_half_of_the_settings_reach_the_usual_quality(runs: pd.DataFrame, settings: pd.DataFrame) -> None:
    settings = settings.assign(best_val_perplexity=[3.21419, 5.0, 7.0])
    quality = usual_quality(settings[settings["model"] != "lstm"])
    assert quality is not None
    reached = settings.loc[settings["tokens_per_s"].notna(), "best_val_perplexity"]
    assert quality.metric == "val_perplexity"
    assert quality.value >= reached.median()
    assert quality.value == pytest.approx(reached.median(), rel=0.01)
    assert usual_quality(settings.assign(tokens_per_s=math.nan)) is None
