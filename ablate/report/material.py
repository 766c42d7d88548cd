"""Everything that a report tells of one sweep, read once."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, nullcontext, suppress
from dataclasses import dataclass, field
from functools import cached_property, partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pandas as pd

from ablate.analysis.ablation_path import path_frame
from ablate.analysis.across import Across, across
from ablate.analysis.aggregate import aggregate, metric_warnings
from ablate.analysis.baselines import baselines_frame
from ablate.analysis.budgets import FEWEST_SETTINGS, budget_correlation
from ablate.analysis.compare import comparisons, neighbours
from ablate.analysis.confounders import Warning_, confounders
from ablate.analysis.curves import Course, StoredCurves
from ablate.analysis.effects import main_effects, variance_split
from ablate.analysis.frames import (
    Factor,
    factor_name,
    factored,
    factors,
    is_full_grid,
    runs_frame,
    swept_knobs,
)
from ablate.analysis.importance import importance
from ablate.analysis.own_published import own_file, read_own
from ablate.analysis.pareto import pareto
from ablate.analysis.published import match
from ablate.analysis.tasks import made_anew, many_questions
from ablate.analysis.throughput import speed_frame, with_speed
from ablate.analysis.trials import search_importance
from ablate.analysis.tuning import tuned
from ablate.claims import Frames, Verdict, claims_for, evaluate
from ablate.claims.designs import ALWAYS_VALID, Design, design_of
from ablate.claims.protocol import preset_path
from ablate.config import plugins
from ablate.config.errors import UserError
from ablate.config.metrics import DEFAULT_METRIC, FailedMetrics
from ablate.records import results
from ablate.records.failures import failures
from ablate.records.files import encodable
from ablate.records.manifest import load_manifest, plugins_of
from ablate.records.parquet_files import TableError
from ablate.records.places import is_search, is_sweep, no_sweep
from ablate.records.reading import RecordError
from ablate.records.tables import curves_of, runs_of
from ablate.report.blocks import Attempts, unheard
from ablate.report.drawing import at_once
from ablate.report.numbers import listed, percent
from ablate.report.wording import epoch_measure, main_metric, seeing, training_metric

if TYPE_CHECKING:
    from ablate.analysis.study import StoredSearch
    from ablate.report.sections import Drawings

MANY = 5000
"""Runs from which on what goes through all curves is left to another process."""
PERPLEXITIES = (DEFAULT_METRIC, "val_perplexity")
"""What is compared beside the task's main measure: on the training text, and on held-out text."""


@dataclass
class Material:
    """The frames of a sweep and what the analysis says of them; None or empty where there is nothing to say.

    Of a search for speed alone, which trains nothing, runs and settings are empty.
    """

    folder: Path
    title: str
    level: float
    manifest: dict[str, Any]
    runs: pd.DataFrame
    settings: pd.DataFrame  # with speed
    stored_curves: StoredCurves
    published: pd.DataFrame
    speed: pd.DataFrame  # every timing, also those without a number
    swept: list[str]  # the knobs that tell the settings apart
    factors: list[Factor]  # the same, those together whose effects cannot be told apart
    skipped: list[str]  # records that are none
    broken: list[str]  # metrics of a person's own that fail
    failures: list[tuple[str, str]]  # settings that could not be run, and why
    verdicts: list[Verdict] = field(default_factory=list)
    warnings: list[Warning_] = field(default_factory=list)
    comparisons: dict[str, pd.DataFrame] = field(default_factory=dict)  # by metric
    full_grid: bool = True  # whether what a factor does by itself can be told
    effects: pd.DataFrame | None = None
    variance: pd.DataFrame | None = None
    importance: pd.DataFrame | None = None
    tuned: pd.DataFrame | None = None
    pareto: pd.DataFrame | None = None
    path: pd.DataFrame | None = None
    own_published: pd.DataFrame | None = None  # the rows of a person's own
    search: "StoredSearch | None" = None
    searched: dict[str, pd.DataFrame] = field(default_factory=dict)  # objective → importance of the knobs
    drawings: dict[str, "Drawings"] = field(default_factory=dict)
    """Section → its figures, where these have been found out."""
    attempt: Attempts = field(default_factory=lambda: Attempts(unheard))
    """What makes the parts of the report one by one, and knows which of them failed."""

    @cached_property
    def frames(self) -> Frames:
        """What claims are judged by, and what of it has been read for them."""
        return Frames(self.runs, self.stored_curves, sweep=self.folder)

    @cached_property
    def curves(self) -> pd.DataFrame:
        """One row per run and epoch, of all runs: for whoever cannot do with some of them."""
        return self.stored_curves.frame

    @cached_property
    def baselines(self) -> pd.DataFrame:
        """What predicts the held-out texts of the settings without a network, where the folder has it."""
        return baselines_frame(self.folder, self.settings)

    @cached_property
    def across(self) -> Across | None:
        """What settings do over several data sets; None of one data set, and of a search."""
        return None if self.search is not None or self.runs.empty else across(self.runs, self.main, self.level)

    @cached_property
    def budgets(self) -> pd.DataFrame:
        """How well ranks after a part of the training predict those at its end; empty of few settings, of
        several data sets, whose values are not ranked together, and of a search, which stops runs by what comes out."""
        several = self.search is not None or self.runs["corpus_sha256"].nunique(dropna=False) > 1
        if several or len(self.settings) < FEWEST_SETTINGS:
            return pd.DataFrame()
        return budget_correlation(self.runs, self.stored_curves, epoch_measure(self.settings), level=self.level)

    @cached_property
    def design(self) -> Design:
        """With how many seeds the settings were declared, and whether somebody could look before the last was asked
        for."""
        return design_of(self.frames.declared, self.runs, set(self.runs["setting_id"]))

    @property
    def fixed_tests_note(self) -> str:
        """What is to be said beside every p that allows for no look in between; empty where nobody could."""
        if not self.design.always_valid:
            return ""
        why = self.design.text.removeprefix(ALWAYS_VALID).removeprefix("for ")
        return (
            f"These tests and intervals hold for a number of runs that was fixed beforehand. Here it was not ({why}): "
            f"with looks in between, more than {percent(1 - self.level)} are wrong by chance. Verdicts on claims allow "
            "for that."
        )

    @property
    def factor_names(self) -> list[str]:
        """What effects can be attributed to: `lr`, or `model + lr (confounded)`."""
        return [factor_name(factor) for factor in self.factors]

    @cached_property
    def factored_settings(self) -> pd.DataFrame:
        """The settings, with a column for each of these."""
        return factored(self.settings, self.factors)

    @property
    def question(self) -> str:
        """As the preset asks it, or else what the sweep varies."""
        asked = self.manifest.get("question")
        if asked:
            return str(asked)
        if self.search:
            return f"Which {listed(list(self.search.space))} is best?"
        return (
            f"What difference {'does' if len(self.factors) == 1 else 'do'} {listed(self.factor_names)} make?"
            if self.factors
            else ""
        )

    @property
    def heading(self) -> str:
        """Of the figures, which also stand by themselves: the title that was given, or else the question."""
        return self.title if self.title != self.folder.name else self.question or self.title

    @property
    def main(self) -> str:
        """The metric that the settings are compared by."""
        return main_metric(self.settings)

    @property
    def timed(self) -> bool:
        return "tokens_per_s" in self.settings and bool(self.settings["tokens_per_s"].notna().any())


def gather(
    folder: Path, attempt: Attempts, level: float = 0.95, title: str | None = None, whole: bool = True
) -> Material:
    """Read a sweep's folder and analyse it; unless `whole`, only for its table and its verdicts.

    Raises UserError where it holds no finished run.
    """
    for line in plugins.load_again(plugins_of(folder)):
        attempt.say(line)
    known, failed = None, FailedMetrics()
    with _course_of_many(folder) if whole else nullcontext(lambda: None) as course:
        runs, skipped = runs_frame(folder, failed)
        with suppress(Exception):  # it is read again where it is asked for, and said there why it cannot be
            known = course()
    search = attempt("the search", lambda: _search(folder))
    if search is None and not is_sweep(folder) and not list(results.records(folder)):
        raise _no_trials(folder) if is_search(folder) else no_sweep(folder)
    if search is not None:
        skipped += search.skipped
    for problem in skipped:
        attempt.say(f"skipped: {problem}")
    for line in metric_warnings(failed, runs, folder):
        attempt.say(f"warning: {line}")
    if search is None and runs.empty:
        raise UserError(f"{folder} holds no finished run yet")
    try:
        manifest = load_manifest(folder)
    except RecordError:
        manifest = {"commands": []}
    material = Material(
        folder=folder,
        title=encodable(title or str(manifest.get("title") or folder.name)),
        level=level,
        manifest=manifest,
        runs=runs,
        settings=pd.DataFrame(),
        stored_curves=StoredCurves(folder, [] if runs.empty else [str(run_id) for run_id in runs["run_id"]], known),
        published=pd.DataFrame(),
        speed=pd.DataFrame(),
        swept=[],
        factors=[],
        skipped=skipped,
        broken=failed.lines(len(runs), folder),
        failures=[(one.name, one.error) for one in failures(folder)],
        search=search,
        attempt=attempt,
    )
    if not runs.empty:
        _aggregate(material, attempt)
        _analyse(material, attempt, whole)
    if search is not None:
        for name in search.objectives:
            what = f"the importance of the knobs for {name}"
            table = attempt(what, partial(search_importance, search.trials, search.space, name))
            if table is not None:
                material.searched[name] = table
    return material


@contextmanager
def _course_of_many(folder: Path) -> Iterator[Callable[[], Course | None]]:
    """What goes through the curves of a sweep's packed runs, where these are many: by another process meanwhile."""
    packed: Sequence[str] = ()
    with suppress(TableError):  # which is said of the runs
        packed = runs.run_ids if (runs := runs_of(folder)) else ()
    with suppress(TableError):  # without which the report has no curves; opened once for all processes
        curves_of(folder)
    job: dict[str, Callable[[], Any]] = {"course": lambda: StoredCurves(folder, packed).course}
    with at_once(job, own=1) if len(packed) >= MANY else nullcontext({"course": lambda: None}) as made:
        yield made["course"]


def _no_trials(folder: Path) -> UserError:
    """What is said of a search of which there is nothing to report: it was stopped before it knew what to search, or
    it cannot be read, and why has been said before.
    """
    return UserError(f"{folder} holds a search without a run or a trial that can be read")


def _search(folder: Path) -> "StoredSearch | None":
    if not is_search(folder):
        return None
    from ablate.analysis.study import stored_search

    return stored_search(folder)


def _aggregate(m: Material, attempt: Attempts) -> None:
    m.speed = speed_frame(m.folder)
    m.settings = with_speed(aggregate(m.runs, m.level), m.speed)
    m.swept = swept_knobs(m.runs)
    chosen = is_search(m.folder)  # by what came out: nobody would attribute anything to a knob there
    m.factors = [(knob,) for knob in m.swept] if chosen else factors(m.runs)
    preset = preset_path(str(m.manifest.get("preset") or ""))
    own = own_file(m.folder, preset)
    m.own_published = None if own is None else attempt("the published values of your own", lambda: read_own(own))
    known = attempt("the comparison with published values", lambda: match(m.settings, m.own_published))
    m.published = match(m.settings.iloc[:0]) if known is None else known
    repeats = m.published.loc[m.published["of_course"].eq(True), "setting_id"]
    m.settings = m.settings.assign(repeats_course=m.settings["setting_id"].isin(repeats))


def _analyse(m: Material, attempt: Attempts, whole: bool = True) -> None:
    """All that rests on the frames alone; each by itself, so that none can take another down."""
    # Those that go through all curves, and fractions of a second of few runs, for which a fork does not pay.
    apart: dict[str, Callable[[], Any]] = {
        "confounders": partial(confounders, m.runs, m.settings, m.stored_curves, m.level)
    }
    many = whole and len(m.runs) >= MANY
    if many:
        apart["budgets"] = lambda: m.budgets
    with at_once(apart, own=1) if many else nullcontext(apart) as made:
        m.verdicts = attempt("the claims' verdicts", lambda: evaluate(m.frames, claims_for(m.frames), m.level)) or []
        if not whole:
            return
        m.path = attempt("the ablation path", lambda: path_frame(m.folder, m.level))
        if m.timed:
            metric = training_metric(m.settings)
            m.pareto = attempt("the Pareto front", lambda: pareto(m.settings[~seeing(m.settings)], metric))
        if m.swept and m.search is None:  # whose settings are chosen by what comes out: no grid to average over
            _compare(m, attempt)
        found = attempt("the confounders", made["confounders"]) or []
        m.warnings = [one for one in found if m.search is None or one.kind != "confounded"]
        if many:
            with suppress(Exception):  # it is made again where it is asked for, and said there why it cannot be
                m.budgets = made["budgets"]()


def _compare(m: Material, attempt: Attempts) -> None:
    """Settings with each other, and what can be attributed to knobs."""
    anew = bool(made_anew(m.settings).all())  # training numbers are as good as held-out ones
    pairs = attempt("the pairs of settings", lambda: list(neighbours(m.runs))) or []
    for metric in dict.fromkeys((m.main, *(PERPLEXITIES[1:] if anew else PERPLEXITIES))):
        if m.runs[metric].notna().any():
            table = attempt(f"the comparisons of {metric}", partial(comparisons, m.runs, metric, m.level, pairs))
            if table is not None and len(table):
                m.comparisons[metric] = table
    if m.path is not None or (
        many_questions(m.settings) and "corpus" in m.swept
    ):  # no grid over which anything could be averaged
        return
    if len(m.factors) > 1 and ("lr",) in m.factors:
        m.tuned = attempt("the tuned learning rates", lambda: tuned(m.runs, "lr", m.main, m.level))
    runs = factored(m.runs, m.factors)
    names = m.factor_names
    m.full_grid = is_full_grid(m.runs, m.factors)
    if m.full_grid and (m.settings["n"] > 0).any():
        m.effects = attempt("the main effects", lambda: main_effects(runs, m.main, names, m.level))
        m.variance = attempt("the variance split", lambda: variance_split(runs, m.main, names))
    if len(names) > 1:
        of_knobs = partial(importance, runs, m.main, names, level=m.level, split=m.variance)
        m.importance = attempt("the importance of the knobs", of_knobs)
