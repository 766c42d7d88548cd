"""The published tables beside ours, in the documents: which cells stand there, and what is said of them. CPU, 1 s."""

import math
from typing import Any

import pytest
from generating import published


def ours(low: float, mean: float, high: float, **more: Any) -> dict[str, Any]:
    return {"perplexity_low": low, "perplexity": mean, "perplexity_high": high, "n": 6, "sweep": "mine", **more}


@pytest.mark.parametrize(
    ("theirs", "low", "high", "is_inside"),
    [(1.26, 1.2, 1.3, True), (1.26, 1.0, 1.1, False), (17.5, 17.44, 17.46, True), (17.4, 17.46, 17.48, False)],
)
def test_a_published_value_may_have_been_rounded(theirs: float, low: float, high: float, is_inside: bool) -> None:
    assert published.inside({"perplexity": theirs}, ours(low, (low + high) / 2, high)) is is_inside


def test_ranks_are_of_what_both_have() -> None:
    assert published.ranks([(1, 10), (2, 20), (3, 30), (4, math.nan)]) == "1.00 (3)"
    assert published.ranks([(1, 30), (2, 20), (3, 10)]) == "-1.00 (3)"
    assert published.ranks([(1, 10), (2, 20)]) == "–"


def test_a_cell_that_nothing_repeats_stays_in_the_table(monkeypatch: pytest.MonkeyPatch) -> None:
    cells = {
        ("rnn", "textbook", 512, 1, 35, 32, "sequential", 1.0, 500): ours(1.0, 1.05, 1.1),
    }
    monkeypatch.setattr(published, "repeated", lambda: cells)
    published.compared.cache_clear()
    lines = published.cells_table("table09").splitlines()
    published.compared.cache_clear()
    assert len(lines) == 4
    assert "**outside** | 6 | `mine`" in lines[2]
    assert "not repeated" in lines[3]
