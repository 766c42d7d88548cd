"""What changing one knob does, with everything else the same: pairs of settings."""

import math
from collections import defaultdict
from collections.abc import Iterable, Iterator
from itertools import combinations, pairwise
from typing import Any

import pandas as pd
from pandas.api.types import is_numeric_dtype

from ablate.analysis.frames import decided, factor_name, in_order, named, setting_name, swept_knobs
from ablate.analysis.samples import samples
from ablate.analysis.tasks import many_questions
from ablate.config.metrics import METRICS, by_difference
from ablate.stats import DifferenceTest, RatioTest, difference, holm, probability_of_improvement, ratio


def columns(metric: str) -> list[str]:
    """Those of a table of comparisons: a metric that may be 0 has a difference where others have a ratio."""
    pair = ["knob", "from_value", "to_value", "at", "setting_id", "reference_id", "n"]
    effect = "difference" if by_difference(metric) else "ratio"
    return [*pair, effect, "low", "high", "p", "p_holm", "p_rank", "ranks_agree", "improvement", "needed", "method"]


def comparisons(runs: pd.DataFrame, metric: str, level: float = 0.95) -> pd.DataFrame:
    """One row per pair of settings that differ in one swept knob, and in what never changes without it.

    Of a numeric knob neighbouring values are compared, of any other all pairs. Columns:

    knob               `lr`, or `model + lr (confounded)` where both change
    from_value         of the setting reference_id; to_value: of setting_id; at: the other swept knobs, as typed
    n                  seeds of the setting that has fewer
    ratio, low, high   geometric mean of the metric at to_value over that at from_value, and the interval of this pair
                       alone; of a metric that may be 0 instead difference, low, high: mean at to_value minus the other
    p, p_holm          two-sided, of the test that gave estimate and interval (Welch's t, see method); corrected over
                       the whole table. Empty where the runs are identical: that is a fact
    p_rank             of the exact rank-sum test of the pair, a check
    ranks_agree        whether p and p_rank lie on the same side of 1 − level; empty where so few runs cannot
    improvement        probability that a run at to_value is the better one, empty where one of the two sees the future
    needed             about how many seeds would make the pair significant, corrected for the size of the table, in
                       four of five repetitions; empty where it is, or where that takes more than 10,000
    method             the test
    """
    by_setting, sighted = samples(runs, metric), _sighted(runs)
    rows, tests = list[dict[str, Any]](), list[RatioTest | DifferenceTest]()
    for changed, others, reference, setting in neighbours(runs):
        a, b = by_setting[setting["setting_id"]], by_setting[reference["setting_id"]]
        test = difference(a, b, level) if by_difference(metric) else ratio(a, b, level)
        if not test.n:  # nobody measured the metric in one of them
            continue
        tests.append(test)
        better = probability_of_improvement(a, b, METRICS[metric].better)
        rows.append(
            {
                "knob": factor_name(changed),
                "from_value": _changed(changed, reference),
                "to_value": _changed(changed, setting),
                "at": setting_name(setting, others),
                "setting_id": setting["setting_id"],
                "reference_id": reference["setting_id"],
                "n": test.n,
                **_effect(test),
                "low": test.low,
                "high": test.high,
                "p": test.p(),
                "p_rank": test.rank_p,
                "ranks_agree": _ranks_agree(test),
                "improvement": math.nan if sighted & {setting["setting_id"], reference["setting_id"]} else better,
                "method": test.method,
            }
        )
    table = pd.DataFrame(rows, columns=columns(metric))
    table["p_holm"] = holm(table["p"])
    settled = table["p_holm"] <= 1 - level
    each = 1 - (1 - level) / max(1, len(tests))
    needed = [None if done else test.at(each).needed() for test, done in zip(tests, settled, strict=True)]
    table["needed"] = pd.array(needed, dtype="Int64")
    return table.astype({"ranks_agree": "boolean"})


def _ranks_agree(test: RatioTest | DifferenceTest) -> bool | None:
    """Whether the rank test falls on the same side; None where so few runs cannot fall on both."""
    alpha = 1 - test.level
    return (test.p() <= alpha) == (test.rank_p <= alpha) if test.rank_least_p <= alpha else None


def _effect(test: RatioTest | DifferenceTest) -> dict[str, float]:
    return {"difference": test.difference} if isinstance(test, DifferenceTest) else {"ratio": test.ratio}


def _sighted(runs: pd.DataFrame) -> set[str]:
    """The settings that see the future: that they are better at what they have seen says nothing."""
    return set(runs.loc[runs["sees_future"].eq(True), "setting_id"]) if "sees_future" in runs else set()


def _changed(knobs: list[str], setting: dict[str, Any]) -> Any:
    """The value of the one knob, or the text of several."""
    return setting[knobs[0]] if len(knobs) == 1 else named(knobs, [setting[knob] for knob in knobs])


def neighbours(runs: pd.DataFrame) -> Iterator[tuple[list[str], list[str], dict[str, Any], dict[str, Any]]]:
    """Each pair of settings that differ in one swept knob: the knobs that change, the others, and the rows of both.

    A knob that never varies by itself changes along with those that decide it: then both are among the first.
    """
    along = decided(runs)
    swept = swept_knobs(runs)
    knobs = [knob for knob in swept if knob not in along]
    settings = in_order(runs.drop_duplicates("setting_id"))
    codes = {knob: pd.factorize(settings[knob], use_na_sentinel=False)[0].tolist() for knob in swept}
    known = zip(settings["setting_id"], *codes.values(), strict=True)
    code_of = {setting: dict(zip(swept, row, strict=True)) for setting, *row in known}
    rows = settings[["setting_id", *swept]].to_dict("records")
    asks = many_questions(settings)
    for knob in knobs:
        if knob == "corpus" and asks:  # other questions: no answer to one is better than that to another
            continue
        others = [name for name in knobs if name != knob]
        groups: dict[tuple[int, ...], list[dict[str, Any]]] = defaultdict(list)
        for row, *key in zip(rows, *(codes[name] for name in others), strict=True):
            groups[tuple(key)].append(row)
        for group in groups.values():
            for reference, setting in (pairwise if is_numeric_dtype(settings[knob]) else all_pairs)(group):
                one, two = code_of[reference["setting_id"]], code_of[setting["setting_id"]]
                changed = [name for name in swept if name == knob or one[name] != two[name]]
                yield changed, [name for name in swept if name not in changed], reference, setting


def all_pairs(group: list[dict[str, Any]]) -> Iterable[tuple[dict[str, Any], dict[str, Any]]]:
    return combinations(group, 2)
