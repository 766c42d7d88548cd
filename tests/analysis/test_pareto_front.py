"""The front of hand-placed points, and how sure it is of them. CPU, 1 s."""

import math
from itertools import product

import numpy as np
import pandas as pd
import pytest

from ablate.analysis.pareto import pareto

NAN = math.nan


def settings(*rows: tuple[str, float, float, float, float]) -> pd.DataFrame:
    """Name, perplexity ± half, tokens per second ± half."""
    return pd.DataFrame(
        [
            {
                "setting_id": name,
                "tail_perplexity": ppl,
                "tail_perplexity_low": ppl - ppl_half,
                "tail_perplexity_high": ppl + ppl_half,
                "tokens_per_s": speed,
                "tokens_per_s_low": speed - speed_half,
                "tokens_per_s_high": speed + speed_half,
            }
            for name, ppl, ppl_half, speed, speed_half in rows
        ]
    )


def test_hand_placed_points() -> None:
    table = pareto(
        settings(
            ("good and slow", 1.0, 0.05, 100, 5),
            ("between", 2.0, 0.3, 200, 10),
            ("fast and bad", 5.0, 0.1, 400, 10),
            ("near the front", 2.2, 0.3, 195, 10),  # beaten by "between", but within the intervals
            ("beaten", 6.0, 0.1, 90, 5),  # by all, whatever the noise
            ("untimed", 1.0, 0.1, NAN, NAN),
            ("diverged", NAN, NAN, 500, 5),
        )
    ).set_index("setting_id")
    assert list(table.index) == ["fast and bad", "between", "near the front", "good and slow", "beaten"]
    assert dict(table["on_front"]) == {
        "fast and bad": True,
        "between": True,
        "near the front": False,
        "good and slow": True,
        "beaten": False,
    }
    assert dict(table["surely"]) == {
        "fast and bad": True,
        "between": False,  # "near the front" may beat it
        "near the front": False,
        "good and slow": True,
        "beaten": True,
    }


def test_equal_points_do_not_dominate_each_other() -> None:
    table = pareto(settings(("a", 1, 0, 10, 0), ("b", 1, 0, 10, 0), ("c", 1, 0, 9, 0)))
    assert dict(zip(table["setting_id"], table["on_front"], strict=True)) == {"a": True, "b": True, "c": False}
    assert table["surely"].all()


def test_without_intervals_nothing_is_sure() -> None:
    table = pareto(settings(("a", 1, NAN, 10, NAN), ("b", 2, NAN, 5, NAN)))
    assert list(table["on_front"]) == [True, False]
    assert not table["surely"].any()


def test_never_timed() -> None:
    for frame in (pd.DataFrame({"tail_perplexity": [1.0]}), settings(("a", 1, 0, NAN, 0))):
        table = pareto(frame)
        assert table.empty
        assert {"on_front", "surely", "tail_perplexity", "tokens_per_s"} <= set(table.columns)


def test_sure_means_for_every_place_within_the_intervals() -> None:
    """Against all corners of all intervals."""
    rng = np.random.default_rng(2)
    seen = set()
    for _ in range(30):
        rows = [(str(k), *rng.uniform((1, 0, 1, 0), (3, 0.6, 3, 0.6))) for k in range(3)]
        table = pareto(settings(*rows)).set_index("setting_id").loc[["0", "1", "2"]]
        corners = [list(product((p - e, p + e), (s - f, s + f))) for _, p, e, s, f in rows]
        fronts = np.array([front(points) for points in product(*corners)])
        settled = (fronts == fronts[0]).all(axis=0)
        assert list(table["surely"]) == list(settled)
        assert list(table["on_front"]) == front([(p, s) for _, p, _, s, _ in rows])
        seen |= set(zip(table["on_front"], table["surely"], strict=True))
    assert len(seen) == 4


def front(points: list[tuple[float, float]] | tuple[tuple[float, float], ...]) -> list[bool]:
    return [not any(q < p and t > s for q, t in points) for p, s in points]


@pytest.mark.parametrize("metric", ["val_perplexity"])
def test_another_quality(metric: str) -> None:
    frame = settings(("a", 1, 0, 10, 0), ("b", 2, 0, 20, 0), ("c", 3, 0, 5, 0)).rename(
        columns=lambda name: name.replace("tail_perplexity", metric)
    )
    assert list(pareto(frame, quality=metric)["on_front"]) == [True, True, False]
