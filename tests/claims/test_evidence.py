"""What a verdict says beside itself: the rank test that checks it, its p, what is assumed. CPU, 3 s."""

import math
from typing import Any

import numpy as np
import pandas as pd
import pytest

from ablate.claims.comparison import RatioComparison
from ablate.claims.parts import Fact
from ablate.claims.reading import make_claim
from ablate.claims.verdicts import p_text
from ablate.config.errors import UserError
from ablate.stats import ratio
from tests.claims.judged import MODELS, runs, verdict

APART = (
    [0.900, 0.930, 0.925, 1.027, 0.975, 1.013, 1.088, 1.090],
    [1.182, 1.078, 1.046, 1.039, 1.089, 1.122, 1.023, 1.007],
)
"""Eight runs each of two settings, which Welch's t test tells apart (p = 0.03) and the exact rank test does not."""


def of(first: list[float], second: list[float]) -> pd.DataFrame:
    frame = runs([{"model": "gru"}, {"model": "rnn"}], [1.0, 1.0], seeds=len(first))
    return frame.assign(tail_perplexity=[*first, *second])


def test_a_rank_test_that_does_not_agree_is_told() -> None:
    told = verdict(of(*APART), order=MODELS)
    assert told.verdict == "confirmed"
    assert told.p <= 0.05 < told.p_rank
    assert "the exact rank test of this comparison does not agree (p = 0.065)" in told.evidence
    clear = verdict(of(APART[0], [10 * value for value in APART[1]]), order=MODELS)
    assert clear.verdict == "confirmed"
    assert "rank test" not in clear.evidence


@pytest.mark.parametrize(("seeds", "checked"), [(3, False), (4, True)])
def test_whether_a_rank_test_could_check_it(seeds: int, checked: bool) -> None:
    """Of C(2n, n) orders one is the clearest: 1/20 with three runs each, 1/70 with four, and 1/40 is what decides."""
    told = verdict(of(APART[0][:seeds], [10 * value for value in APART[1][:seeds]]), order=MODELS)
    assert told.verdict == "confirmed"
    assert ("so few runs leave no rank test to check it by" in told.evidence) is not checked


@pytest.mark.parametrize(("p", "text"), [(math.nan, "–"), (0.00099, "9.9e-04"), (0.001, "0.001"), (0.0316, "0.032")])
def test_a_p_as_it_is_printed(p: float, text: str) -> None:
    assert p_text(p) == text


def test_a_fact_holds_or_does_not_and_no_bound_but_one_is_named() -> None:
    for holds in (True, False):
        fact = Fact("", 6, holds, "see the tokens that they are to predict")
        assert (fact.confirm, fact.contrary) == (1 - holds, holds)
    values = pd.Series(np.linspace(1, 2, 6))
    assert RatioComparison("", "", ratio(values, 2 * values)).against == ""
    assert RatioComparison("", "", ratio(values, 2 * values), bound=1.05).against == ", bound 1.050"


@pytest.mark.parametrize(
    ("given", "name", "value"), [({"sees_future": {}}, "share", 0.5), ({"converged": {}}, "within", 0.01)]
)
def test_what_is_assumed_where_nothing_is_given(given: dict[str, Any], name: str, value: float) -> None:
    claim = make_claim({"id": "c", "statement": "It is so."} | given)
    assert getattr(claim.predicate, name) == value


@pytest.mark.parametrize(
    ("given", "limits"),
    [
        ({"sees_future": {"in_share": 1}}, "in_share is 1; it must be above 0 and below 1"),
        ({"converged": {"within": 0}}, "within is 0; it must be above 0"),
        ({"fails": {"above": math.inf, "at_least": 0.5}}, "above is inf; it must be finite"),
    ],
)
def test_a_number_outside_its_limits_is_told_them(given: dict[str, Any], limits: str) -> None:
    with pytest.raises(UserError) as raised:
        make_claim({"id": "c", "statement": "It is so."} | given)
    assert str(raised.value).endswith(limits)
