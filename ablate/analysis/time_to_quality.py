"""How long training takes until a metric reaches a value: the measure of MLPerf (Mattson et al. 2020).

Seconds are those of the speed lane, tokens until then over its tokens per second: of one run alone on the machine with
one thread. How long a run took among others, or as one of a cohort, says nothing of that.
"""

import math
from dataclasses import dataclass

import pandas as pd

from ablate.analysis.curves import StoredCurves
from ablate.config.columns import columns_in
from ablate.config.errors import UserError, listing, nearest
from ablate.config.metrics import METRICS
from ablate.config.stopping import condition
from ablate.stats import geometric_mean, share_interval

MEASURED = ("n", "reached", "share", "share_low", "share_high", "epochs", "tokens_per_s")
SECONDS = ("seconds", "seconds_low", "seconds_high", "expected_s")


@dataclass(frozen=True)
class Quality:
    """A value that a metric reaches: at most, or at least, as the metric is better."""

    metric: str
    value: float

    @property
    def at_most(self) -> bool:
        return METRICS.known(self.metric).better != "higher"

    @classmethod
    def read(cls, text: str) -> "Quality":
        """Of `val_perplexity<9`, or with `<=`, which is the same: the value itself reaches it. Raises UserError."""
        found = condition(text.replace("<=", "<").replace(">=", ">"))
        if found is None or not math.isfinite(found[2]):
            raise UserError(f"{text!r} names no quality; write a metric and a value, such as 'val_perplexity<9'")
        metric, given, value = found
        known = [one.name for one in METRICS if one.better != "neither"]
        if metric not in known:
            raise UserError(f"{text!r}: there is no metric {metric!r}; choose {listing(known)}{nearest(metric, known)}")
        quality = cls(metric, value)
        if (given == "<") != quality.at_most:
            sign = "<" if quality.at_most else ">"
            raise UserError(
                f"{text!r}: {metric} is better when {METRICS[metric].better}; write '{metric}{sign}{value:g}'"
            )
        return quality

    def __str__(self) -> str:
        return f"{METRICS.known(self.metric).title} {'≤' if self.at_most else '≥'} {self.value:g}"

    def reached(self, values: "pd.Series[float]") -> "pd.Series[bool]":
        return values <= self.value if self.at_most else values >= self.value


def time_to_quality(
    runs: pd.DataFrame,
    curves: pd.DataFrame | StoredCurves,
    settings: pd.DataFrame,
    quality: Quality,
    level: float = 0.95,
) -> pd.DataFrame:
    """One row per setting that the speed lane has timed: its knobs, and

    n, reached               runs, diverged ones among them; how many of them reach the quality
    share, _low, _high       of the runs that reach it, and its exact interval
    epochs                   geometric mean of the first epoch in which they do, at which the metric was measured
    tokens_per_s             of the speed lane
    seconds, _low, _high     tokens until then over tokens per second, the geometric mean of the runs that reach it. Its
                             interval is that over seeds (Student t on logarithms) and that of the speed together: the
                             squares of their half widths on logarithms add up; NaN where either has none
    expected_s               seconds until one run reaches it where a run that does not is followed by another: the
                             epochs of all runs over the number that reach it (expected running time, Hansen et al.
                             2010)

    `settings`: with tokens_per_s (`ablate.analysis.throughput.with_speed`). Raises UserError where no curve has the
    metric.
    """
    timed = settings[settings["tokens_per_s"].notna()]
    own = runs[runs["setting_id"].isin(timed["setting_id"])]
    table = curves.of(own["run_id"]) if isinstance(curves, StoredCurves) else curves
    if quality.metric not in table or table[quality.metric].isna().all():
        measured = [name for name in METRICS.names if name in table and table[name].notna().any()]
        raise UserError(
            f"no curve has {quality.metric}; choose {listing(measured)}" if measured else "there is no curve"
        )
    first = table[quality.reached(table[quality.metric])].groupby("run_id")["epoch"].min()
    last = table.groupby("run_id")["epoch"].max()
    own = own.assign(first=own["run_id"].map(first), last=own["run_id"].map(last).fillna(0.0))
    rows = []
    for setting in timed.to_dict("records"):
        of_setting = own[own["setting_id"] == setting["setting_id"]]
        epochs = of_setting["first"].dropna().to_numpy(float)
        n, reached = len(of_setting), len(epochs)
        share_low, share_high = share_interval(reached, n, level)
        row = {name: setting[name] for name in ("setting_id", *columns_in(timed))}
        row |= {"n": n, "reached": reached, "share": reached / n if n else math.nan}
        row |= {"share_low": share_low, "share_high": share_high, "tokens_per_s": setting["tokens_per_s"]}
        row |= dict.fromkeys(("epochs", *SECONDS), math.nan)
        if reached:
            per_epoch = float(of_setting["tokens_per_epoch"].iloc[0]) / setting["tokens_per_s"]
            mean, low, high = geometric_mean(epochs, level)
            spent = of_setting["first"].fillna(of_setting["last"]).sum()
            row |= {"epochs": mean, "seconds": mean * per_epoch, "expected_s": spent * per_epoch / reached}
            slowest, fastest = setting["tokens_per_s_low"], setting["tokens_per_s_high"]
            of_speed = math.nan if pd.isna(slowest) else math.log(fastest / slowest) / 2
            half = math.hypot(math.log(high / low) / 2, of_speed)
            row |= {"seconds_low": row["seconds"] / math.exp(half), "seconds_high": row["seconds"] * math.exp(half)}
        rows.append(row)
    return pd.DataFrame(rows)


def usual_quality(settings: pd.DataFrame) -> Quality | None:
    """What half of the timed settings reach: the median of what they come to, rounded so that these still reach it.

    By the held-out perplexity in its best epoch where all have one, else by that of the training text at its end.
    """
    timed = settings[settings["tokens_per_s"].notna() & (settings["n"] > 0)]
    for metric, reached in (("val_perplexity", "best_val_perplexity"), ("perplexity", "tail_perplexity")):
        if len(timed) and timed[reached].notna().all():
            value = float(timed[reached].median())
            step = 10.0 ** (math.floor(math.log10(value)) - 2)
            return Quality(metric, float(f"{math.ceil(value / step) * step:.6g}"))
    return None
