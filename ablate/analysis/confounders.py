"""What may mislead a reader of a sweep's numbers, one sentence each."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
import pandas as pd

from ablate.analysis.aggregate import without_logarithm
from ablate.analysis.curves import StoredCurves, fitted_since_best, late_change
from ablate.analysis.frames import Factor, factors, named, setting_name, swept_knobs, value_text
from ablate.analysis.tasks import each_task, facts_of, made_anew, many_questions, of_networks
from ablate.config.errors import counted
from ablate.config.metrics import DEFAULT_METRIC, METRICS
from ablate.config.registry import TASKS
from ablate.stats import least_runs, outlying

NOT_CONVERGED = 0.01
"""Relative fall of the perplexity, from the 5 % of epochs before the last 5 % to those, that is still training."""
OVERFITTED = 0.1
"""How far above its best the held-out perplexity may end."""
BIMODAL_GAP = 0.2
"""Two groups of runs lie at least this far apart."""
OUTLYING_GAP = 0.05
"""A run within this share of the median is not far from it, however closely the others agree."""
SAME_TOKENS = 0.01
"""Settings whose training tokens differ by no more than this count as equal: sampling drops what fills no minibatch."""

MOST_NAMED = 4
"""Values of knobs that are named beside what computed their runs, and settings of knobs that vary together."""

MEANS = {
    "engine": "engines",
    "device": "devices",
    "cpu": "processors",
    "gpu": "GPUs",
    "torch": "versions of torch",
    "git_commit": "versions of the code",
}
"""Columns of runs that say what computed them."""


@dataclass(frozen=True)
class Warning_:
    """One thing to keep in mind: what kind it is, and a sentence."""

    kind: str
    text: str


def confounders(
    runs: pd.DataFrame, settings: pd.DataFrame, curves: pd.DataFrame | StoredCurves, level: float = 0.95
) -> list[Warning_]:
    """Every warning that applies, from `runs_frame`, `aggregate` and `curves_frame`, the graver ones first.

    Kinds: confounded, diverged, missing values, sees the future, few seeds, updates, tokens, parameters, held-out text,
    training text only, not converged, bimodal, outlying, overfitted, mixed, no logarithm.
    """
    swept = swept_knobs(runs)

    def name(setting: pd.Series) -> str:
        return setting_name(setting, swept) or "its only setting"

    found = [
        *_confounded(settings, factors(runs)),
        *_diverged(runs, settings, name),
        *_missing_values(runs, settings, name),
        *_sees_future(settings, name),
        *_few_seeds(settings, level),
        *_unequal(runs, settings, name),
        *_held_out(settings, name),
        *_training_only(settings),
        *_not_converged(runs, settings, curves, name),
        *_bimodal(runs, settings, name),
        *_outlying(runs, settings, name),
        *_overfitted(runs, settings, curves, name),
        *_mixed(runs, swept),
        *(("no logarithm", f"T{line.removeprefix('t')}.") for line in without_logarithm(runs)),
    ]
    return [Warning_(kind, text) for kind, text in found]


Name = Callable[[pd.Series], str]
Found = Iterator[tuple[str, str]]


def _confounded(settings: pd.DataFrame, found: list[Factor]) -> Found:
    """Knobs of which none varies without another one."""
    for factor in found:
        if len(factor) == 1:
            continue
        levels = list(dict.fromkeys(zip(*(settings[knob].tolist() for knob in factor), strict=True)))
        shown = "; ".join(named(factor, values) for values in levels[:MOST_NAMED])
        more = f"; and {len(levels) - MOST_NAMED} more" if len(levels) > MOST_NAMED else ""
        yield (
            "confounded",
            f"{', '.join(factor[:-1])} and {factor[-1]} are confounded, for they vary together ({shown}{more}): what "
            "differs between these settings cannot be attributed to one of them.",
        )


def _diverged(runs: pd.DataFrame, settings: pd.DataFrame, named: Name) -> Found:
    hurt = settings[settings["diverged"] > 0]
    if hurt.empty:
        return
    worst = _largest(hurt, hurt["diverged"])
    of = int(worst["n"] + worst["diverged"])
    yield (
        "diverged",
        f"{settings['diverged'].sum()} of {counted(len(runs), 'run')} diverged, in {_of(hurt, settings)}, most with "
        f"{named(worst)} "
        f"({worst['diverged']} of {of}): they are in no mean, and compared with other runs they count as worse.",
    )


def _missing_values(runs: pd.DataFrame, settings: pd.DataFrame, named: Name) -> Found:
    """Metrics that only some runs of a setting have, the others being not finite, or never having got so far."""
    finished = runs[runs["status"] == "ok"]
    lacking = []
    for metric in METRICS:
        if metric.name not in finished:
            continue
        count = finished[metric.name].isna().groupby(finished["setting_id"]).sum()
        missing = settings["setting_id"].map(count).fillna(0)
        partly = settings.assign(missing=missing.astype(int))[(missing > 0) & (missing < settings["n"])]
        if len(partly):
            most = _largest(partly, partly["missing"])
            lacking.append(f"{metric.title} ({most['missing']} of {most['n']} with {named(most)})")
    if lacking:
        yield (
            "missing values",
            f"Runs that finished have no {', no '.join(lacking)}: the mean and the interval are of the others alone, "
            "and if these are the better runs, too good.",
        )


def _sees_future(settings: pd.DataFrame, named: Name) -> Found:
    """A language model that reads backwards, too, has seen the token that it is asked for."""
    if "sees_future" not in settings:
        return
    seeing = settings[settings["sees_future"].eq(True)]
    if len(seeing):
        as_with = f", as with {named(seeing.iloc[0])}" if 1 < len(settings) != len(seeing) else ""
        yield (
            "sees the future",
            f"In {_of(seeing, settings)}{as_with}, outputs depend on later tokens, the ones to be predicted among "
            f"them: a "
            "perplexity near 1 there is no prediction, and such a setting cannot be compared with the others.",
        )


def _few_seeds(settings: pd.DataFrame, level: float) -> Found:
    least, seeds = least_runs(level), settings["n"] + settings["diverged"]
    few = settings[seeds < least]
    verb = "has" if len(few) == 1 else "have"
    if len(few):
        yield (
            "few seeds",
            f"{_of(few, settings).capitalize()} {verb} fewer than {least} seeds (the fewest: "
            f"{seeds.min()}), and with fewer than {least} no rank test can check a difference at {_percent(level)}.",
        )


def _unequal(runs: pd.DataFrame, settings: pd.DataFrame, named: Name) -> Found:
    per_run = runs.drop_duplicates("setting_id").set_index("setting_id")
    facts, asks = facts_of(settings), many_questions(settings)
    epochs = settings["epochs_trained" if "epochs_trained" in settings else "epochs"].to_numpy(float, na_value=np.nan)
    settings = settings.assign(tokens=per_run[facts.amount].reindex(settings["setting_id"]).to_numpy() * epochs)
    for kind, what, consequence, tolerance in (
        ("updates", "updates of the weights", "part of any difference between them is one of training length", 0.0),
        ("tokens", f"training {facts.words.read} read", facts.words.read_more, SAME_TOKENS),
        ("parameters", "parameters", "part of any difference between them is one of size", 0.0),
    ):
        known = settings[settings[kind].notna()]
        if known.empty:
            continue
        if asks:  # tasks have vocabularies of their own: what differs between them alone says nothing
            known = max((own for _, own in known.groupby("corpus")), key=lambda own: own[kind].max() / own[kind].min())
        lowest, highest = _largest(known, -known[kind]), _largest(known, known[kind])
        if highest[kind] > (1 + tolerance) * lowest[kind]:
            yield (
                kind,
                f"The settings differ in {what}, from {lowest[kind]:,.0f} ({named(lowest)}) to {highest[kind]:,.0f} "
                f"({named(highest)}): {consequence}.",
            )


def _held_out(settings: pd.DataFrame, named: Name) -> Found:
    """Held-out perplexities of different texts: one may be the easier to predict."""
    for task in each_task(settings):
        measured = settings[settings["task"].eq(task.name) & settings["val_perplexity"].notna()]
        decided_by = [name for name in task.held_out.decided_by if name != "max_tokens" or not _in_files(measured)]
        differing = [column for column in decided_by if measured[column].nunique(dropna=False) > 1]
        if not differing:
            continue
        knobs = " and ".join("the corpus" if column == "corpus_sha256" else column for column in differing)
        last = measured.drop_duplicates(differing).iloc[1]
        yield (
            "held-out text",
            f"Settings are not measured on the same held-out {task.words.data}: {knobs} differ"
            f"{'s' * (len(differing) == 1)} ({named(measured.iloc[0])}; {named(last)}), so that part of any difference "
            f"in held-out perplexity may be one between the {task.words.data}.",
        )
        return


def _in_files(settings: pd.DataFrame) -> bool:
    """Whether what is held out lies in files of its own, wherever the training text ends."""
    return "in_files" in settings and bool(settings["in_files"].eq(True).all())


def _training_only(settings: pd.DataFrame) -> Found:
    finished = settings[settings["n"] > 0]
    without = finished[finished["val_perplexity"].isna()]
    alike: dict[tuple[str, str, bool], list[str]] = {}  # what is held out, by which knob → tasks
    for task in each_task(without) if of_networks(without) else ():
        alike.setdefault((task.words.data, task.held_out.knob, task.words.plural), []).append(task.name)
    for (what, knob, plural), tasks in alike.items():
        own = without[without["task"].isin(tasks)]
        yield (
            "training text only",
            f"No held-out {what} {'were' if plural else 'was'} measured in {_of(own, settings)}"
            f"{f' ({knob}=0)' if knob else ''}: "
            f"a perplexity of the training {what} near 1 says that {'they have' if plural else 'it has'} "
            "been memorised, not that the model is good.",
        )


def _not_converged(
    runs: pd.DataFrame, settings: pd.DataFrame, curves: pd.DataFrame | StoredCurves, named: Name
) -> Found:
    finished = runs[runs["status"] == "ok"]
    change = finished["run_id"].map(late_change(curves)) if len(curves) else pd.Series(np.nan, index=finished.index)
    change = change.astype(float)  # of no run, pandas takes what is mapped for the text that a run_id is
    by_setting = change.groupby(finished["setting_id"]).median()
    still = by_setting[by_setting < -NOT_CONVERGED]
    if still.empty:
        return
    steepest = settings[settings["setting_id"] == still.idxmin()].iloc[0]
    moving = settings[settings["setting_id"].isin(still.index)]
    yield (
        "not converged",
        f"In {_of(moving, settings)} training was not at its end: over the last 5 % of epochs the perplexity is more "
        f"than "
        f"{_percent(NOT_CONVERGED)} lower than over the 5 % before (in the median run), most with {named(steepest)} "
        f"({_percent(-still.min())} lower); more epochs may change the order.",
    )


def _bimodal(runs: pd.DataFrame, settings: pd.DataFrame, named: Name) -> Found:
    values = runs.loc[runs["status"] == "ok"].groupby("setting_id")["perplexity"]
    split = {setting: groups for setting, own in values if (groups := two_groups(own.to_numpy(float)))}
    if not split:
        return
    two = settings[settings["setting_id"].isin(list(split))]
    first = two.iloc[0]
    low, high = split[first["setting_id"]]
    yield (
        "bimodal",
        f"In {_of(two, settings)} the runs fall into two groups, as with {named(first)}: {len(low)} near "
        f"{np.median(low):.3g} and {len(high)} near {np.median(high):.3g}; their mean describes neither.",
    )


def two_groups(values: np.ndarray) -> tuple[np.ndarray, np.ndarray] | None:
    """The lower and the upper of two groups, of at least two values each, into which the values (n,) clearly fall.

    They are split at the widest gap between neighbours, on logarithms; it must be above 20 % and above three times the
    standard deviation within the groups, more for few runs. None otherwise.
    """
    values = np.sort(values[np.isfinite(values) & (values > 0)])
    n = len(values)
    if n < 4:
        return None
    logs = np.log(values)
    gaps = np.diff(logs)[1 : n - 2]  # both groups have two or more
    at = int(np.argmax(gaps)) + 2
    within = sum(float(np.square(group - group.mean()).sum()) for group in (logs[:at], logs[at:]))
    # By simulation: of samples of one normal distribution, of any size, 2 % or fewer have so wide a gap.
    sds = max(3.0, 2 + 150 / n**2)
    wide = gaps.max() > max(np.log1p(BIMODAL_GAP), sds * (within / (n - 2)) ** 0.5)
    return (values[:at], values[at:]) if wide else None


def _outlying(runs: pd.DataFrame, settings: pd.DataFrame, named: Name) -> Found:
    """Not of runs that fall into two groups, of which another warning tells, nor of runs that agree within 5 %."""
    known = runs[DEFAULT_METRIC].astype(float)  # of a function of one's own, which need not say it, there is none
    finished = runs[(runs["status"] == "ok") & (known > 0) & np.isfinite(known)]
    far: dict[str, pd.Series] = {}
    for setting, own in finished.groupby("setting_id")[DEFAULT_METRIC]:
        logs = np.log(own.to_numpy(float))
        lies_far = outlying(logs) & (np.abs(logs - np.median(logs)) > np.log1p(OUTLYING_GAP))
        if lies_far.any() and two_groups(own.to_numpy(float)) is None:
            far[str(setting)] = own[lies_far]
    if not far:
        return
    with_some = settings[settings["setting_id"].isin(list(far))]
    first = with_some.iloc[0]
    values, n = far[first["setting_id"]], sum(len(one) for one in far.values())
    yield (
        "outlying",
        f"{_of(with_some, settings).capitalize()} {'holds' if len(with_some) == 1 else 'hold'} a run far from the "
        f"others "
        f"({n} in all), as with {named(first)}: {', '.join(f'{value:.3g}' for value in values[:MOST_NAMED])} beside a "
        f"median of {finished.loc[finished['setting_id'] == first['setting_id'], DEFAULT_METRIC].median():.3g}; means "
        f"and t "
        "intervals mislead there: see the median, and how many runs do so.",
    )


def _overfitted(runs: pd.DataFrame, settings: pd.DataFrame, curves: pd.DataFrame | StoredCurves, named: Name) -> Found:
    """Not of data that are new in every epoch, none of which can be memorised.

    Nor where the training perplexity rose along, in half of the runs or more whose curves tell: that is a run that
    came apart.
    """
    settings = settings[~made_anew(settings)]
    risen = settings["val_perplexity"] / settings["best_val_perplexity"] - 1
    runs = runs[runs["setting_id"].isin(settings.loc[risen > OVERFITTED, "setting_id"])]  # their curves alone are read
    fitted = fitted_since_best(curves, runs["run_id"]) if len(curves) and len(runs) else pd.Series(dtype=bool)
    by_setting = runs["run_id"].map(fitted).dropna().astype(float).groupby(runs["setting_id"]).mean()
    risen = risen.mask(settings["setting_id"].isin(by_setting.index[by_setting <= 0.5]))
    over = settings[risen > OVERFITTED]
    if len(over):
        worst = _largest(settings, risen)
        what = TASKS.known(worst["task"]).words.data
        yield (
            "overfitted",
            f"In {_of(over, settings)} the held-out perplexity ends more than {_percent(OVERFITTED)} above its best, "
            f"most "
            f"with {named(worst)} ({worst['best_val_perplexity']:.3g} at best, {worst['val_perplexity']:.3g} at the "
            f"end): by then it has memorised the training {what}.",
        )


def _mixed(runs: pd.DataFrame, swept: list[str]) -> Found:
    parts = []
    for column, title in MEANS.items():
        counts = runs[column].value_counts() if column in runs else pd.Series(dtype=int)
        if len(counts) > 1:
            shown = [f"{_name(column, value)}: {n}" for value, n in counts.items()]
            more = f", and {len(shown) - 4} more" if len(shown) > 4 else ""
            parts.append(f"{title} ({', '.join(shown[:4])}{more}{_along_with(runs, column, swept)})")
    if parts:
        yield "mixed", f"The runs were computed by different {' and different '.join(parts)}."


def _name(column: str, value: object) -> str:
    return str(value)[:9] if column == "git_commit" else str(value)


def _along_with(runs: pd.DataFrame, column: str, swept: list[str]) -> str:
    """`; bidirectional=true all by api`: the values of knobs that decide what a run was computed by."""
    usual = runs[column].value_counts().index[0]
    said = []
    for knob in swept:
        groups = runs.groupby(knob, dropna=False, sort=False)[column]
        if groups.nunique(dropna=False).max() == 1:
            of_value = groups.first().items()
            said += [f"{knob}={value_text(value)} all by {_name(column, by)}" for value, by in of_value if by != usual]
    return f"; {', '.join(said)}" if 0 < len(said) <= MOST_NAMED else ""


def _largest(settings: pd.DataFrame, values: pd.Series) -> pd.Series:
    """The first setting with the largest of the values."""
    return settings.iloc[int(np.nanargmax(values.to_numpy(float)))]


def _percent(share: float) -> str:
    return f"{100 * share:.{3 if share > 0.99 else 2}g} %"


def _of(some: pd.DataFrame, settings: pd.DataFrame) -> str:
    """`3 of 18 settings`"""
    if len(some) == len(settings):
        return f"all {len(settings)} settings" if len(settings) > 1 else "the only setting"
    return f"{len(some)} of {len(settings)} settings"
