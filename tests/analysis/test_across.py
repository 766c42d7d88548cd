"""Settings over several data sets, from runs made by hand. CPU, 1 s."""

from collections.abc import Callable

import numpy as np
import pandas as pd
import pytest

from ablate.analysis.across import across, named_data_sets

Setting = Callable[..., pd.DataFrame]

VALUES = {
    "a": {"rnn": [8.0, 8.2, 7.8], "lstm": [4.0, 4.1, 3.9], "gru": [3.0, 3.1, 2.9]},
    "b": {"rnn": [90.0, 88, 92], "lstm": [60.0, 61, 59], "gru": [50.0, 51, 49]},
    "c": {"rnn": [700.0, 710, 690], "lstm": [500.0, 505, 495], "gru": [520.0, 515, 525]},
}
"""Data set → model → perplexity by seed."""


@pytest.fixture
def runs(setting: Setting, together: Setting) -> pd.DataFrame:
    return together(
        *(
            setting(values, corpus=name, corpus_sha256=f"{name}" * 8, model=model, max_tokens=len(name) * 100)
            for name, models in VALUES.items()
            for model, values in models.items()
        )
    )


def gmean(values: list[float]) -> float:
    return float(np.exp(np.log(values).mean()))


def test_ranks_and_ratios_by_hand(runs: pd.DataFrame) -> None:
    found = across(runs, "perplexity")
    assert found is not None
    table = found.settings.set_index("at")
    assert [*table.index] == ["model=gru", "model=lstm", "model=rnn"]
    assert table["mean_rank"].tolist() == pytest.approx([4 / 3, 5 / 3, 3])
    assert table["best_on"].tolist() == [2, 1, 0]
    assert table["n"].tolist() == [9, 9, 9]
    best = {name: min(map(gmean, models.values())) for name, models in VALUES.items()}
    ratios = sorted(value / best[name] for name, models in VALUES.items() for value in models["rnn"])
    assert table.loc["model=rnn", "iqm"] == pytest.approx(gmean(ratios[2:7]))
    assert table.loc["model=rnn", "iqm_low"] <= table.loc["model=rnn", "iqm"] <= table.loc["model=rnn", "iqm_high"]
    assert found.data_sets == ["a", "b", "c"]
    assert found.cliques == [("model=gru", "model=lstm", "model=rnn")]  # three data sets tell too little


def test_pairs_and_profile_by_hand(runs: pd.DataFrame) -> None:
    found = across(runs, "perplexity")
    assert found is not None
    pairs = found.pairs.set_index(["at", "reference"])
    assert pairs.loc[("model=gru", "model=lstm"), "improvement"] == pytest.approx(2 / 3)
    assert pairs.loc[("model=lstm", "model=rnn"), "improvement"] == 1
    assert pairs.loc[("model=gru", "model=rnn"), "p"] == 0.25  # the least that three data sets can give
    profile = found.profile.pivot(index="tau", columns="at", values="share")
    assert (profile.diff().dropna() >= 0).all(axis=None)
    assert profile.iloc[-1].tolist() == [1, 1, 1]
    assert profile.index[0] == pytest.approx(min(v / gmean(VALUES["a"]["gru"]) for v in VALUES["a"]["gru"]))


def test_what_a_data_set_brings_along_names_no_setting(runs: pd.DataFrame) -> None:
    varied = runs.assign(max_tokens=runs["corpus"].map({"a": 100, "b": 200, "c": 300}))
    found = across(varied, "perplexity")
    assert found is not None
    assert len(found.settings) == 3


def test_only_settings_of_all_data_sets_take_part(runs: pd.DataFrame) -> None:
    lacking = runs[~((runs["corpus"] == "c") & (runs["model"] == "rnn"))]
    found = across(lacking, "perplexity")
    assert found is not None
    assert found.settings["at"].tolist() == ["model=gru", "model=lstm"]
    assert found.left_out == 1


def test_of_a_metric_that_may_be_0_differences(runs: pd.DataFrame) -> None:
    shares = runs.assign(accuracy=1 / runs["perplexity"])
    found = across(shares, "accuracy")
    assert found is not None
    row = found.settings.set_index("at").loc["model=gru"]
    assert row["mean_rank"] == pytest.approx(4 / 3)
    assert row["iqm"] == pytest.approx(0, abs=0.01)


def test_diverged_runs_count_as_the_worst(runs: pd.DataFrame) -> None:
    gone = (runs["model"] == "gru") & (runs["seed"] > 0)
    found = across(runs.assign(status=np.where(gone, "diverged", "ok")), "perplexity")
    assert found is not None
    assert found.settings["at"].iloc[-1] == "model=gru"
    assert found.pairs.set_index(["at", "reference"]).loc[("model=lstm", "model=gru"), "improvement"] > 0.5


def test_one_data_set_or_one_setting_says_nothing(runs: pd.DataFrame) -> None:
    assert across(runs[runs["corpus"] == "a"], "perplexity") is None
    assert across(runs[runs["model"] == "gru"], "perplexity") is None
    assert across(runs.iloc[:0], "perplexity") is None


def test_data_sets_are_named_by_what_tells_them_apart(runs: pd.DataFrame) -> None:
    settings = runs.drop_duplicates("setting_id")
    assert set(named_data_sets(settings)) == {"a", "b", "c"}
    units = settings.assign(corpus="book", unit=settings["corpus"].map({"a": "char", "b": "word", "c": "word"}))
    assert set(named_data_sets(units)) == {"book (char)", "book (word, bbbbbb)", "book (word, cccccc)"}


def test_settings_that_differ_in_the_last_digits_are_several(setting: Setting, together: Setting) -> None:
    rates = (0.1234567, 0.1234568, 0.5)
    some = together(
        *(
            setting([3.0 + lr, 3.1 + lr], corpus=name, corpus_sha256=name * 8, max_tokens=100, lr=lr)
            for name in "ab"
            for lr in rates
        )
    )
    found = across(some, "perplexity")
    assert found is not None
    assert sorted(found.settings["at"]) == [f"lr={lr}" for lr in rates]
