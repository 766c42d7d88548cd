"""Perplexity and its tail against the formulas, by hand. CPU, under 1 s."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import ablate
from ablate.config.errors import ConfigError
from ablate.config.metrics import METRICS, FailedMetrics, followed_of, perplexity, tail_perplexity
from ablate.config.registry import scoped


def test_perplexity_is_the_exponential_of_the_cross_entropy() -> None:
    assert perplexity(math.log(28)) == pytest.approx(28)
    assert perplexity(0.0) == 1


def test_what_overflows_is_infinite_and_nan_stays_nan() -> None:
    assert perplexity(710.0) == math.inf
    assert perplexity(math.inf) == math.inf
    assert math.isnan(perplexity(math.nan))


@pytest.mark.parametrize(("epochs", "averaged"), [(1, 1), (19, 1), (20, 1), (21, 2), (100, 5), (500, 25)])
def test_tail_is_the_last_twentieth_of_the_epochs_and_at_least_one(epochs: int, averaged: int) -> None:
    curve = [math.e] * (epochs - averaged) + [1.0] * averaged
    assert tail_perplexity(curve) == pytest.approx(1.0)
    if averaged < epochs:
        longer = [math.e] * (epochs - averaged) + [math.e] + [1.0] * (averaged - 1)
        assert tail_perplexity(longer) == pytest.approx(math.exp(1 / averaged))


@given(st.lists(st.floats(1, 1e6), min_size=1, max_size=120))
def test_tail_is_a_geometric_mean(curve: list[float]) -> None:
    last = curve[-max(1, -(-len(curve) // 20)) :]
    assert tail_perplexity(curve) == pytest.approx(np.prod(np.array(last)) ** (1 / len(last)), rel=1e-9)


@pytest.mark.parametrize("name", ["seed", "model", "n", "epochs", "run_id", "status", "parameters", "momentum"])
def test_no_metric_of_ones_own_has_the_name_of_another_column(name: str) -> None:
    """Its values would stand in that column, or no frame could be made."""
    with scoped(), pytest.raises(ConfigError, match=f"a metric cannot be called '{name}', since tables have a column"):
        ablate.metric("own", better="lower", name=name)(lambda record: 1.0)


def test_what_ablate_ships_and_usual_names_can_be_measured() -> None:
    with scoped():
        for name in ("loss", "epoch", "value", "size"):
            ablate.metric("own", better="lower", name=name)(lambda record: 1.0)
    assert all(name not in METRICS.columns() for name in METRICS.names if name != "wall_s")


@pytest.mark.parametrize(("value", "kept"), [(91.5, None), (-0.1, None), (1.0000001, 1.0000001), (0.5, 0.5)])
def test_a_value_beyond_the_largest_one_is_none(value: float, kept: float | None) -> None:
    """An interval that ends where the metric does would otherwise lie elsewhere than the mean."""
    failed = FailedMetrics()
    with scoped():
        ablate.metric("own", better="higher", name="own_share", top=1.0)(lambda record: value)
        assert followed_of({"status": "ok", "metrics": {}}, failed=failed)["own_share"] == kept
    assert len(failed.said) == (kept is None)
    assert all("which is not from 0 to 1; give its largest value as top=" in line for line in failed.said)


def test_a_perplexity_below_1_is_no_value() -> None:
    """But for rounding; one that is not finite has diverged, which is said elsewhere."""
    perplexity = METRICS["perplexity"]
    assert perplexity.out_of_bounds(0.9) == "0.9, which is not 1 or more"
    assert not any(map(perplexity.out_of_bounds, (1 - 1e-9, 1.0, 1e30, math.inf, math.nan)))


@pytest.mark.parametrize("top", [math.inf, 0.0, math.nan])
def test_a_largest_value_is_a_positive_number(top: float) -> None:
    with pytest.raises(ConfigError, match=r"the metric own: top is .*; give its largest value, or logs=False"):
        ablate.Metric("own", "own", "lower", top=top)
