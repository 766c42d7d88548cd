"""The answer in a few sentences, each made from the numbers at hand."""

from collections import Counter
from collections.abc import Container, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

from ablate.analysis.rivals import rivals
from ablate.analysis.samples import samples
from ablate.analysis.tasks import of_networks
from ablate.config.errors import counted
from ablate.config.metrics import DEFAULT_METRIC, METRICS, reported_as
from ablate.report.blocks import Block, bullets
from ablate.report.material import Material
from ablate.report.numbers import interval_text, listed, number, percent, ratio_text
from ablate.report.search_answer import search_answer
from ablate.report.sections import Made, Section, contributed, sentences_of
from ablate.report.tables import mean_text, setting_name, thousands
from ablate.report.wording import (
    DAGGER,
    capital,
    future_note,
    heading,
    marked_source,
    own_metrics,
    perplexity_of,
    scale_name,
    scored,
    seeing,
    shown_metrics,
)

MOST_NAMED = 3
"""Settings that are as good as the best and are named; of more the number is given."""

VERDICTS = ("confirmed", "refuted", "undecided", "not testable")


def answer(m: Material) -> list[str]:
    """Claims, best settings, what matters most, agreement with the published numbers, and what went wrong."""
    if m.search is not None:  # its best setting by name would be the luckiest of many
        return [*search_answer(m.search, m.searched), *_claims(m), *_failed(m)]
    return [*_claims(m), *_path(m), *_best(m), *_matters(m), *_published(m), *_diverged(m)]


def verdict_counts(m: Material) -> dict[str, int]:
    """How many claims got each verdict, the verdicts that none got left out."""
    found = Counter(verdict.verdict for verdict in m.verdicts)
    return {verdict: found[verdict] for verdict in VERDICTS if found[verdict]}


def _claims(m: Material) -> Iterator[str]:
    counts = verdict_counts(m)
    tested = sum(n for verdict, n in counts.items() if verdict != "not testable")
    if not counts:
        return
    if not tested:
        yield f"None of the {counted(len(m.verdicts), 'claim')} about this sweep can be tested on what it holds."
        return
    parts = [
        f"{counts[verdict]} {'is' if counts[verdict] == 1 else 'are'} {verdict}"
        for verdict in VERDICTS[:3]
        if verdict in counts
    ]
    said = parts[0] if len(parts) == 1 else f"{', '.join(parts[:-1])} and {parts[-1]}"
    missing = counts.get("not testable", 0)
    more = f"; {missing} cannot be tested here" if missing else ""
    yield f"Of {counted(tested, 'claim')} tested, {said}, {'each ' * (tested > 1)}at {percent(m.level)}{more}."


def _path(m: Material) -> Iterator[str]:
    if m.path is None or len(m.path) < 2:
        return
    last = m.path.iloc[-1]
    metric = METRICS[last["metric"]].title
    interval = interval_text(last["total_low"], last["total_high"])
    said = f" ({percent(m.level)} interval {interval})" if interval != "–" else ""
    yield (
        f"In {counted(len(m.path) - 1, 'step')} from the baseline to the target: {ratio_text(last['total'])} times the "
        f"{metric} of the baseline{said}."
    )


def _best(m: Material) -> Iterator[str]:
    if not m.swept:
        yield from _only(m)
        return
    instead = [section for section in contributed(m) if section.instead_of_best]
    if instead:
        for section in instead:
            yield from sentences_of(section, m)
        return
    of = f" {scored(m.settings)}" if scored(m.settings) else ""
    causal = m.settings[~seeing(m.settings)]
    shown = shown_metrics(m.settings)
    lucky = 0
    for metric in shown:
        if metric == "perplexity" and DEFAULT_METRIC in shown:
            continue  # what settings are compared by is there; the last epoch alone misleads
        facts = METRICS[metric]
        found = _best_of(m, causal, metric) if facts.ranked and facts.better != "neither" else None
        if found is not None:
            best = found.setting
            lucky += found.is_lucky
            what = "lowest training perplexity" if metric == "perplexity" else facts.extreme
            reached = f"{setting_name(best, m.swept)} with {mean_text(best, metric)}, n = {best['n']}"
            test = reported_as(metric)
            tested = test != metric and test in best and pd.notna(best[test])
            reported = f"; its {METRICS[test].title} is {mean_text(best, test)}" * tested
            yield f"{capital(what)}{of * facts.of_loss}: {reached}{found.said}{reported}."
    if len(causal) < len(m.settings):
        some = counted(len(m.settings) - len(causal), "setting")
        one = len(m.settings) - len(causal) == 1
        yield (
            f"{some} {'sees' if one else 'see'} the future ({DAGGER}) and {'is' if one else 'are'} not ranked: where "
            "outputs depend on later tokens, a low perplexity is no prediction."
        )
    fastest = _best_of(m, m.settings, "tokens_per_s")
    if fastest is not None:
        lucky += fastest.is_lucky
        name, speed = setting_name(fastest.setting, m.swept), thousands(fastest.setting, "tokens_per_s")
        yield f"Fastest: {name} with {speed} training tokens per second{fastest.said}."
    if lucky:
        yield (
            "Where a test finds no difference from other settings, the best one was chosen by the same runs whose mean "
            "is reported, and this mean is too good on average (selection bias). Tests: Welch's t, corrected over all "
            f"pairs. {m.fixed_tests_note}".rstrip()
        )


@dataclass(frozen=True)
class _Best:
    """The best setting by one metric, and what is said of the others."""

    setting: pd.Series
    said: str
    """Begins with a semicolon; empty where every other setting is worse by a test."""
    is_lucky: bool
    """Whether others may be as good, so that the one named first owes its place to chance, too."""


def _best_of(m: Material, settings: pd.DataFrame, metric: str) -> _Best | None:
    """None where no setting has a value of the metric."""
    best = best_setting(settings, metric)
    if best is None:
        return None
    speed = metric == "tokens_per_s"
    values = m.frames.processes(settings) if speed else samples(m.runs, metric)
    means = dict(zip(settings["setting_id"], settings[metric].astype(float), strict=True))
    own = {name: values[name] for name in means if name in values}
    if best["setting_id"] not in own:
        return _Best(best, "", False)
    found = rivals(own, means, best["setting_id"], metric, m.level)

    def setting(name: str) -> pd.Series:
        return settings[settings["setting_id"] == name].iloc[0]

    def named(names: Sequence[str]) -> str:
        if len(names) > MOST_NAMED:
            return counted(len(names), "other")
        return listed([setting_name(setting(name), m.swept) for name in names])

    said = f"; tied with {named(found.equal)}" * bool(found.equal)
    if len(found.near) == 1:
        value = (thousands if speed else mean_text)(setting(found.near[0]), metric)
        said += f"; a test finds no difference from {named(found.near)} ({value})"
    elif found.near:
        said += f"; a test finds no difference from {named(found.near)}"
    if found.untested:
        said += f"; too few runs for a test against {named(found.untested)}"
    return _Best(best, said, bool(found.near or found.untested))


def _only(m: Material) -> Iterator[str]:
    """What the one setting of a sweep reaches."""
    setting = m.settings.iloc[0]
    if not setting["n"]:
        return
    own = [f"{heading(name)} {mean_text(setting, name)}" for name in own_metrics(m.settings)]
    if own:
        said = ", ".join(own)
        after = (
            f"After {counted(setting['epochs'], 'epoch')}: {said}." if of_networks(m.settings) else f"{capital(said)}."
        )
        yield after
    if not of_networks(m.settings):
        return
    held_out = "" if pd.isna(setting["val_perplexity"]) else f", {mean_text(setting, 'val_perplexity')} held out"
    yield (
        f"{perplexity_of(m.settings)} after {counted(setting['epochs'], 'epoch')}: {mean_text(setting, 'perplexity')}"
        f"{held_out}."
    )
    yield from [future_note(m.settings)] * bool(future_note(m.settings))


def _matters(m: Material) -> Iterator[str]:
    for factor in m.factors:
        if len(factor) > 1 and m.path is None:
            yield f"The knobs {listed(factor)} vary together: no effect can be attributed to one of them."
    if not m.full_grid:
        yield (
            "The settings do not form a full grid, so the effects of single knobs cannot be separated; see the "
            "comparisons, which are made within equal settings."
        )
    if m.variance is None or m.variance.empty or m.variance["share"].isna().all():
        return
    shares = m.variance.set_index("source")["share"]
    others = shares.drop(["seed", "residual"], errors="ignore").sort_values(ascending=False)
    if others.empty:
        return
    chance = 100 * shares.reindex(["seed", "residual"]).fillna(0).sum()
    said = f"{chance:.0f} %" if chance >= 1 else "less than 1 %"
    largest = f"{100 * others.iloc[0]:.0f} %" if others.iloc[0] >= 0.01 else "Less than 1 %"
    knob = marked_source(m.factored_settings, str(others.index[0]))
    yield (
        f"{largest} of the variance of {scale_name(m.main, m.settings)} is due to {knob}; seeds and chance account "
        f"for {said}. {future_note(m.settings)}".strip()
    )


def _published(m: Material) -> Iterator[str]:
    for section in contributed(m):
        if not section.instead_of_best:
            yield from sentences_of(section, m)
    settings = m.settings.merge(m.published, on="setting_id")
    settings = settings[settings["perplexity"].notna() & settings["published_perplexity"].notna()]
    if settings.empty:
        return
    ratios = settings["perplexity"] / settings["published_perplexity"]
    # a published value is rounded to two digits: inside means that some value it may stand for is
    inside = (settings["published_perplexity"] + 0.005 >= settings["perplexity_low"]) & (
        settings["published_perplexity"] - 0.005 <= settings["perplexity_high"]
    )
    known = settings["perplexity_low"].notna()
    spread = f"{ratio_text(ratios.min())} to {ratio_text(ratios.max())} times" if len(ratios) > 1 else ""
    one = f"{number(settings['perplexity'].iloc[0])} here, {settings['published_perplexity'].iloc[0]:g} published"
    text = (
        f"{counted(len(settings), 'setting')} have a published value: ours are {spread} as high, "
        f"{ratio_text(ratios.median())} in the median"
        if len(settings) > 1
        else f"One setting has a published value: {one}"
    )
    where = f"side our {percent(m.level)} interval"
    held = f"; {inside.sum()} of {known.sum()} published values lie in{where}"
    if len(settings) == 1:
        held = f", which lies {'in' if inside.iloc[0] else 'out'}{where}"
    yield f"{text}{held if known.any() else ''}."


def _diverged(m: Material) -> Iterator[str]:
    n = int(m.settings["diverged"].sum())
    if n:
        settings = (m.settings["diverged"] > 0).sum()
        yield f"{n} of {counted(len(m.runs), 'run')} diverged, in {counted(settings, 'setting')}; they enter no mean."
    yield from _failed(m)


def _failed(m: Material) -> Iterator[str]:
    if m.failures:
        yield f"{counted(len(m.failures), 'setting')} could not be run, see the warnings."


def best_setting(settings: pd.DataFrame, metric: str) -> pd.Series | None:
    """The setting with the best mean of a metric; None where no setting has one."""
    values = settings[metric].to_numpy(float)
    if np.isnan(values).all():
        return None
    lower = metric in METRICS and METRICS[metric].better == "lower"
    return settings.iloc[int(np.nanargmin(values) if lower else np.nanargmax(values))]


def main_figure(m: Material, figures: Container[str]) -> str:
    """The first of these figures that shows what the sweep or the search came to; empty where none does.

    What the settings reach, but where they differ in how long they were trained, and in nothing else that could be
    told apart from it: then how they went.
    """
    lengths = len(m.factors) == 1 and "epochs" in m.factors[0]
    of_sweep = ("curves", "by_value") if lengths else ("by_value", "curves")
    order = of_sweep if m.search is None else ("search_front", "search_history")
    return next((name for name in order if name in figures), "")


def _blocks(m: Material, made: Made) -> list[Block]:
    beside = made.of(main_figure(m, made.figures)) if m.search is None else []
    return [*bullets(answer(m)), *beside]


ANSWER = Section("answer", "In short", lambda m: True, blocks=_blocks)
