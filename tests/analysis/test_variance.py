"""Main effects, interactions and the split of variance on tables of which the shares are known. CPU, 1 s."""

import itertools
import math
from collections.abc import Callable

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from ablate.analysis.effects import main_effects, variance_split
from ablate.analysis.importance import importance

Setting = Callable[..., pd.DataFrame]
KNOBS = ["model", "num_hiddens"]
MODELS, SIZES = ("rnn", "lstm", "gru"), (8, 16)

OF_MODEL = {"rnn": 0.3, "lstm": 0.0, "gru": -0.3}
OF_SIZE = {8: 0.1, 16: -0.1}
OF_BOTH = {("rnn", 8): 0.2, ("rnn", 16): -0.2, ("lstm", 8): -0.2, ("lstm", 16): 0.2, ("gru", 8): 0, ("gru", 16): 0}
OF_SEED = [0.05, -0.05, 0.1, -0.1]


def grid(setting: Setting, together: Setting, log: Callable[[str, int, int], float], seeds: int = 4) -> pd.DataFrame:
    return together(
        *(
            setting([math.exp(log(m, h, s)) for s in range(seeds)], model=m, num_hiddens=h)
            for m, h in itertools.product(MODELS, SIZES)
        )
    )


def shares(table: pd.DataFrame) -> dict[str, float]:
    return dict(table.itertuples(index=False, name=None))


def test_known_shares(setting: Setting, together: Setting) -> None:
    """Variances add: 0.06 of the model, 0.01 of the size, 0.08/3 of both together, 0.00625 of the seed."""
    runs = grid(setting, together, lambda m, h, s: 1 + OF_MODEL[m] + OF_SIZE[h] + OF_BOTH[m, h] + OF_SEED[s])
    parts = {"model": 0.06, "num_hiddens": 0.01, "model × num_hiddens": 0.08 / 3, "seed": 0.00625, "residual": 0}
    total = sum(parts.values())
    split = variance_split(runs, "perplexity", KNOBS)
    assert list(split["source"]) == list(parts)
    assert shares(split) == pytest.approx({name: part / total for name, part in parts.items()}, abs=1e-9)


def test_against_the_sums_of_squares_of_two_ways(setting: Setting, together: Setting) -> None:
    noise = np.random.default_rng(0).normal(0, 0.2, (3, 2, 4))
    runs = grid(setting, together, lambda m, h, s: noise[MODELS.index(m), SIZES.index(h), s])
    mean = noise.mean()
    squares = {
        "model": 8 * np.sum((noise.mean((1, 2)) - mean) ** 2),
        "num_hiddens": 12 * np.sum((noise.mean((0, 2)) - mean) ** 2),
        "seed": 6 * np.sum((noise.mean((0, 1)) - mean) ** 2),
    }
    squares["model × num_hiddens"] = 4 * np.sum((noise.mean(2) - mean) ** 2) - squares["model"] - squares["num_hiddens"]
    total = np.sum((noise - mean) ** 2)
    squares["residual"] = total - sum(squares.values())
    found = shares(variance_split(runs, "perplexity", KNOBS))
    assert found == pytest.approx({name: value / total for name, value in squares.items()})
    assert sum(found.values()) == pytest.approx(1)


def test_an_incomplete_grid(setting: Setting, together: Setting) -> None:
    """Without one setting and some runs, what is additive is still all explained; the overlap goes to neither twice."""
    runs = grid(setting, together, lambda m, h, s: OF_MODEL[m] + OF_SIZE[h])
    runs = runs[(runs["setting_id"] != "model=gru num_hiddens=16") & ~((runs["model"] == "rnn") & (runs["seed"] > 1))]
    split = shares(variance_split(runs, "perplexity", KNOBS))
    assert split["residual"] == pytest.approx(0, abs=1e-9)
    assert split["seed"] == pytest.approx(0, abs=1e-9)
    assert split["model × num_hiddens"] == pytest.approx(0, abs=1e-9)
    assert sum(split.values()) == pytest.approx(1)
    assert split["model"] > 4 * split["num_hiddens"] > 0


def test_knobs_that_never_vary_apart_share_what_they_explain(setting: Setting, together: Setting) -> None:
    logs = {1: (0, 0.1), 2: (1, 1.1), 3: (2, 2.1)}
    runs = together(*(setting(list(np.exp(logs[k])), lr=float(k), batch_size=2**k) for k in logs))
    split = shares(variance_split(runs, "perplexity", ["lr", "batch_size"]))
    whole, seed = 2 / 3, 0.05**2
    each = whole / 2 / (whole + seed)
    expected = {"lr": each, "batch_size": each, "lr × batch_size": 0, "seed": seed / (whole + seed), "residual": 0}
    assert split == pytest.approx(expected, abs=1e-9)


@pytest.mark.parametrize("knobs", [KNOBS, ["model"], []])
def test_shares_are_numbers_and_sum_to_one(setting: Setting, together: Setting, knobs: list[str]) -> None:
    for log in (lambda m, h, s: 0.01 * len(m) * h, lambda m, h, s: 0.1 * s):
        split = variance_split(grid(setting, together, log), "perplexity", knobs)
        assert split["share"].sum() == pytest.approx(1)
        assert split["share"].between(0, 1).all()


def test_rounding_explains_no_more_than_there_is(setting: Setting, together: Setting) -> None:
    """Where one source explains everything its share is 1 at most, whichever way a sum of squares was rounded."""
    draws = np.random.default_rng(0).normal(0, 1, (50, 4))

    def split_of(seeds: np.ndarray) -> pd.DataFrame:
        return variance_split(grid(setting, together, lambda m, h, s: seeds[s]), "perplexity", KNOBS)

    splits = [split_of(seeds) for seeds in draws]
    assert max(split["share"].max() for split in splits) == pytest.approx(1)
    assert max(split["share"].max() for split in splits) <= 1


@pytest.mark.parametrize("value", [None, 28.768732, 1e-300])
def test_without_any_difference_nothing_goes_back_to_anything(
    setting: Setting, together: Setting, value: float | None
) -> None:
    """All runs diverged, or all end at the same value to the last digit."""
    runs = together(*(setting([value] * 3, model=model, num_hiddens=h) for model in MODELS for h in SIZES))
    assert variance_split(runs, "perplexity", KNOBS).empty
    assert importance(runs, "perplexity", KNOBS).empty


def test_one_seed_and_diverged_runs(setting: Setting, together: Setting) -> None:
    runs = together(*(setting([math.e**k, None], lr=float(k)) for k in (1, 2, 3)))
    assert shares(variance_split(runs, "perplexity", ["lr"])) == pytest.approx({"lr": 1, "seed": 0, "residual": 0})


def test_no_main_effect_on_a_perplexity_reaches_below_1(setting: Setting, together: Setting) -> None:
    """A stuck run makes an interval that would."""
    runs = together(setting([1.0, 1.0, 1.0, 40.0], clip=1.0), setting([1.0, 1.1, 1.0, 1.2], clip=None))
    table = main_effects(runs, "perplexity", ["clip"]).set_index("value")
    assert table["low"][1.0] == 1
    assert table["mean"][1.0] == pytest.approx(40**0.25)
    assert table["high"][1.0] > 40


def test_main_effects(setting: Setting, together: Setting) -> None:
    """Over the two sizes; the interval comes from the seeds alone, here from what they do in all settings alike."""
    runs = grid(setting, together, lambda m, h, s: 1 + OF_MODEL[m] + OF_SIZE[h] + OF_SEED[s])
    table = main_effects(runs, "perplexity", KNOBS)
    assert list(zip(table["knob"], table["value"], strict=True)) == [
        *(("model", m) for m in MODELS),
        *(("num_hiddens", h) for h in SIZES),
    ]
    assert list(table["n"]) == [8, 8, 8, 12, 12]
    expected = [*(1 + OF_MODEL[m] for m in MODELS), *(1 + OF_SIZE[h] for h in SIZES)]
    assert list(np.log(table["mean"])) == pytest.approx(expected)
    half = stats.t.ppf(0.975, 3) * np.std(OF_SEED, ddof=1) / 2
    assert list(np.log(table["high"])) == pytest.approx([value + half for value in expected])
    assert list(np.log(table["low"])) == pytest.approx([value - half for value in expected])


def test_numbers_stand_by_size_whatever_comes_first(setting: Setting, together: Setting) -> None:
    """In the frame 16 comes before 8, which the rnn does not have."""
    runs = together(*(setting([2.0], model=m, num_hiddens=h) for m, h in (("rnn", 16), ("gru", 8), ("gru", 16))))
    table = main_effects(runs, "perplexity", KNOBS)
    assert list(runs["num_hiddens"].unique()) == [16, 8]
    assert list(table["value"]) == ["rnn", "gru", 8, 16]


def test_what_may_be_0_is_averaged_as_it_is(setting: Setting, together: Setting) -> None:
    """Accuracies 0.1 to 0.9: arithmetic means, shares of their own variance, no interval beyond 1."""
    accuracy = {("rnn", 8): 0.1, ("rnn", 16): 0.3, ("gru", 8): 0.7, ("gru", 16): 0.9}
    of_seed = (-0.1, 0.1)
    runs = together(*(setting([a + s for s in of_seed], model=m, num_hiddens=h) for (m, h), a in accuracy.items()))
    table = main_effects(runs, "accuracy", KNOBS)
    assert list(table["mean"]) == pytest.approx([0.2, 0.8, 0.4, 0.6])
    half = stats.t.ppf(0.975, 1) * 0.1  # sd 0.1·√2 over √2 seeds
    assert half > 0.8
    assert (table["low"].tolist(), table["high"].tolist()) == ([0] * 4, [1] * 4)
    split = shares(variance_split(runs, "accuracy", KNOBS))
    parts = {"model": 0.3**2, "num_hiddens": 0.1**2, "model × num_hiddens": 0, "seed": 0.1**2, "residual": 0}
    assert split == pytest.approx({name: part / 0.11 for name, part in parts.items()}, abs=1e-9)


def test_main_effects_count_settings_alike(setting: Setting, together: Setting) -> None:
    runs = together(
        setting([math.e] * 2, lr=0.1, num_hiddens=8),
        setting([math.e**3] * 6, lr=0.1, num_hiddens=16),
        setting([math.e**5, None], lr=1.0, num_hiddens=8),
    )
    table = main_effects(runs, "perplexity", ["lr"])
    assert list(np.log(table["mean"])) == pytest.approx([2, 5])
    assert list(table["n"]) == [8, 1]
    assert math.isnan(table["low"].iloc[1])


def test_settings_of_few_runs_widen_an_effect(setting: Setting, together: Setting) -> None:
    """Over 2 runs of one setting and 8 of another the error is that of both means, not that of ten seeds."""
    many, few = [0.1, -0.1] * 4, [0.3, -0.3]
    runs = together(
        setting(np.exp([1 + value for value in many]).tolist(), num_hiddens=8),
        setting(np.exp([2 + value for value in few]).tolist(), num_hiddens=16, first_seed=8),
        setting([math.e, math.e**2], lr=0.1, num_hiddens=8),
        setting([math.e], lr=0.1, num_hiddens=16),
    )
    table = main_effects(runs, "perplexity", ["lr"]).set_index("value")
    error = math.sqrt(np.var(many, ddof=1) / 8 + np.var(few, ddof=1) / 2) / 2
    weights = np.array([1 / 64] * 8 + [1 / 4] * 2)
    half = stats.t.ppf(0.975, weights.sum() ** 2 / (weights**2).sum() - 1) * error
    assert np.log(table.loc[1.0, "high"]) == pytest.approx(1.5 + half)
    assert table.loc[0.1, ["low", "high"]].isna().all()  # what a single run says of its spread


def test_a_knob_that_can_be_off(setting: Setting, together: Setting) -> None:
    runs = together(setting([2.0, 2.0], clip=1.0), setting([3.0, 3.0], clip=None))
    table = main_effects(runs, "perplexity", ["clip"])
    assert list(table["mean"]) == pytest.approx([2, 3])
    assert table["value"].isna().tolist() == [False, True]
    assert shares(variance_split(runs, "perplexity", ["clip"]))["clip"] == pytest.approx(1)
