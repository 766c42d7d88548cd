"""Numbers as people read them. CPU, under 1 s."""

import math

import pytest

from ablate.report.tables import plus_minus, value_text


@pytest.mark.parametrize(
    ("mean", "high", "text"),
    [
        (3.2149, 3.2549, "3.215 ± 0.040"),
        (3.21, 3.61, "3.21 ± 0.40"),
        (123.4, 163.4, "123 ± 40"),
        (15.23, 17.93, "15.2 ± 2.7"),
        (1.0321, math.nan, "1.032"),  # one seed: no interval
        (math.nan, math.nan, "–"),
        (2.0, 2.0, "2.00 ± 0.00"),
        (1.00012, 1.00013, "1.0001 ± 0.0000"),
    ],
)
def test_plus_minus_has_the_digits_that_the_interval_supports(mean: float, high: float, text: str) -> None:
    assert plus_minus(mean, high) == text


@pytest.mark.parametrize(
    ("value", "text"),
    [(None, "null"), (math.nan, "null"), (1.0, "1"), (0.005, "0.005"), (256, "256"), ("gru", "gru")],
)
def test_values_as_typed(value: object, text: str) -> None:
    assert value_text(value) == text
