"""What changing one knob does, with everything else the same: pairs of settings."""

from collections import defaultdict
from collections.abc import Iterable, Iterator
from itertools import combinations, pairwise
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
from pandas.api.types import is_numeric_dtype

from ablate.analysis.frames import decided, factor_name, in_order, named, setting_name, swept_knobs
from ablate.analysis.samples import samples
from ablate.analysis.tasks import many_questions
from ablate.config.metrics import METRICS, by_difference
from ablate.stats import holm, pairwise_differences, pairwise_improvements, pairwise_ratios


def columns(metric: str) -> list[str]:
    """Those of a table of comparisons: a metric that may be 0 has a difference where others have a ratio."""
    pair = ["knob", "from_value", "to_value", "at", "setting_id", "reference_id", "n"]
    effect = "difference" if by_difference(metric) else "ratio"
    return [*pair, effect, "low", "high", "p", "p_holm", "p_rank", "ranks_agree", "improvement", "needed", "method"]


def comparisons(
    runs: pd.DataFrame, metric: str, level: float = 0.95, pairs: "Iterable[Neighbours] | None" = None
) -> pd.DataFrame:
    """One row per pair of settings that differ in one swept knob, and in what never changes without it; `pairs`: the
    `neighbours` of the runs, where they are known.

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
    found = [
        pair
        for pair in (neighbours(runs) if pairs is None else pairs)
        if len(by_setting[pair.setting["setting_id"]]) and len(by_setting[pair.reference["setting_id"]])
    ]  # those of which somebody measured the metric in both
    ids = [(pair.setting["setting_id"], pair.reference["setting_id"]) for pair in found]
    tests = (pairwise_differences if by_difference(metric) else pairwise_ratios)(by_setting, ids, level)
    improvement = pairwise_improvements(by_setting, ids, METRICS[metric].better)
    rows = [
        (
            factor_name(pair.changed),
            _changed(pair.changed, pair.reference),
            _changed(pair.changed, pair.setting),
            setting_name(pair.setting, pair.others),
            *two,
        )
        for pair, two in zip(found, ids, strict=True)
    ]
    table = pd.DataFrame(rows, columns=columns(metric)[:6])
    alpha = 1 - level
    agree = pd.array((tests.p <= alpha) == (tests.rank_p <= alpha), dtype="boolean")
    agree[~(tests.rank_least_p <= alpha)] = pd.NA  # where so few runs cannot fall on both sides
    table = table.assign(
        n=tests.n,
        **{"difference" if by_difference(metric) else "ratio": tests.estimate},
        low=tests.low,
        high=tests.high,
        p=tests.p,
        p_rank=tests.rank_p,
        ranks_agree=agree,
        improvement=np.where([bool(sighted & set(two)) for two in ids], np.nan, improvement),
        method=tests.method,
        p_holm=holm(tests.p),
    )
    settled = table["p_holm"] <= alpha
    needed = tests.needed(1 - alpha / max(1, len(found)))
    table["needed"] = pd.array([None if done else n for n, done in zip(needed, settled, strict=True)], dtype="Int64")
    return table[columns(metric)]


def _sighted(runs: pd.DataFrame) -> set[str]:
    """The settings that see the future: that they are better at what they have seen says nothing."""
    return set(runs.loc[runs["sees_future"].eq(True), "setting_id"]) if "sees_future" in runs else set()


def _changed(knobs: list[str], setting: dict[str, Any]) -> Any:
    """The value of the one knob, or the text of several."""
    return setting[knobs[0]] if len(knobs) == 1 else named(knobs, [setting[knob] for knob in knobs])


class Neighbours(NamedTuple):
    """Two settings that differ in one swept knob."""

    changed: list[str]
    others: list[str]  # the other swept knobs
    reference: dict[str, Any]  # knob → value
    setting: dict[str, Any]


def neighbours(runs: pd.DataFrame) -> Iterator[Neighbours]:
    """Each pair of settings that differ in one swept knob.

    A knob that never varies by itself changes along with those that decide it: then both are among the first.
    """
    swept = swept_knobs(runs)
    along = decided(runs, swept)
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
                yield Neighbours(changed, [name for name in swept if name not in changed], reference, setting)


def all_pairs(group: list[dict[str, Any]]) -> Iterable[tuple[dict[str, Any], dict[str, Any]]]:
    return combinations(group, 2)
