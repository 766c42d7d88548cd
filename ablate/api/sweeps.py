"""Sweeps from Python: train what is missing, and look at what is there."""

import math
import os
import warnings
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import cached_property, reduce
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pandas as pd

from ablate.analysis.across import Across, across
from ablate.analysis.aggregate import aggregate, metric_warnings
from ablate.analysis.budgets import budget_correlation
from ablate.analysis.compare import comparisons
from ablate.analysis.frames import curves_frame, factor_name, factors, runs_frame, swept_knobs
from ablate.analysis.throughput import speed_frames, with_speed
from ablate.analysis.time_to_quality import Quality, time_to_quality
from ablate.api.loading import load_reports, load_training
from ablate.api.summary import html_table
from ablate.api.words import words_of
from ablate.claims import Frames, Verdict
from ablate.claims.reading import Claim
from ablate.claims.sentences import claim_of
from ablate.claims.verdicts import judge
from ablate.config.columns import named_column
from ablate.config.errors import UserError, counted, listing, nearest
from ablate.config.metrics import METRICS, FailedMetrics
from ablate.config.plugins import load as load_plugins
from ablate.config.plugins import load_again
from ablate.config.quoting import quote
from ablate.config.shell import command_line
from ablate.experiments.words import about, translated
from ablate.records.design import Designs
from ablate.records.files import encodable, present
from ablate.records.manifest import plugins_of
from ablate.records.places import no_run, no_sweep
from ablate.report import wording

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from ablate.sweeping.summary import Summary

StrPath = str | os.PathLike[str]


def sweep(
    *,
    sweeps: str | Sequence[str] | None = None,
    name: str | None = None,
    results_dir: StrPath = "results",
    plugins: StrPath | Sequence[StrPath] = (),
    report: bool = False,
    progress: bool = True,
    experiment: "str | Callable[..., Any] | None" = None,
    **knobs: Any,
) -> "Sweep":
    """Train the missing runs of a sweep, and return the sweep.

        sweep = ablate.sweep(model=["gru", "lstm"], num_hiddens=[32, 256], seeds=5)

    The knobs are those of the command line (`ablate run --help`); a list of values is swept, and every combination is
    trained with `seeds` seeds. It is the same sweep as that of the command, with the same folder `results_dir/name` and
    the same runs; what is finished there, or in another sweep beside it, is not trained again.

    sweeps       a preset, such as "table15_rnn_lr"; a knob given here replaces that of the preset. Of several presets,
                 each is a sweep with a folder of its own; they are trained in turn and returned together
    name         the folder; by default made from the preset and the knobs
    plugins      files with cells, tasks and the like of your own
    report       also draw the page, tables and figures (`Sweep.report`)
    experiment   a training function to sweep instead of a network, or "train.py:train"; its parameters are the knobs
    progress     show progress on standard error: a bar in a terminal or a notebook with ipywidgets, otherwise a line
                 per setting; what should be known before the training is in `Sweep.notes` in any case
    **knobs      a knob of a group by its dotted name, `**{"model.gates.reset": 1}`, or in a mapping,
                 `model={"name": "gru", "gates": {"reset": 1}}`; knobs that change together by their names with colons,
                 `**{"num_hiddens:lr": [(32, 1), (64, 0.5)]}` (or `["32:1", "64:0.5"]`)

    Raises UserError, in one line, for what the command would refuse, and KeyboardInterrupt after an interruption: what
    is finished is kept, and the same call resumes. For a setting that cannot be trained there is a warning, and it is
    named in `Sweep.failures`; the others are trained.
    """
    load_training()
    from ablate.records.compaction import compacted
    from ablate.sweeping.expansion import expand
    from ablate.sweeping.launch import run_sweep

    for key in knobs:
        if key.partition("/")[0].partition(".")[0] == "hydra":
            again = command_line("search", "sweeps=search_gru")
            raise UserError(f"{key} is of the command line; a search is run there: {again}")
    given = {"sweeps": sweeps, **knobs, "name": name}
    given = {key: value for key, value in given.items() if value is not None or key in knobs}
    if plugins:
        files = [plugins] if isinstance(plugins, str | os.PathLike) else plugins
        given["plugins"] = [os.fspath(path) for path in files]
        load_plugins(given["plugins"])  # what they bring has knobs of its own, of which words are made
    if os.fspath(results_dir) != "results":
        given["results_dir"] = os.fspath(results_dir)
    planned = []
    for one in _one_preset_each(given):
        words = words_of(one)
        if callable(experiment):
            words = about(experiment, words)
        else:
            words = translated([*([] if experiment is None else [f"experiment={quote(experiment)}"]), *words])
        planned.append((*expand(words), command_line(*words)))  # all, before one is trained
    folders, notes = [], list[str]()
    for configs, asked, command in planned:
        summary = run_sweep(configs, asked.name, command, asked.preset, asked.given, quiet=not progress)
        _check(summary)
        compacted(summary.folder)
        folders.append(summary.folder)
        notes += summary.notes
    found = Sweep(folders, notes=notes)
    if report:
        found.report(show=progress)
    return found


def _one_preset_each(given: Mapping[str, Any]) -> list[dict[str, Any]]:
    """What is given, once for each preset. Raises UserError."""
    sweeps = given.get("sweeps")
    names = sweeps.split(",") if isinstance(sweeps, str) else list(sweeps or ())
    if len(names) < 2:
        return [dict(given) | ({"sweeps": names[0]} if names else {})]
    if "name" in given:
        raise UserError(f"sweeps={names} makes {len(names)} sweeps, each in its own folder; leave out name")
    return [dict(given) | {"sweeps": str(name).strip()} for name in names]


def _check(summary: "Summary") -> None:
    """Raise what ended a sweep, and warn of settings that failed."""
    if summary.interrupted:
        raise KeyboardInterrupt("stopped; every finished run is kept, the same call resumes")
    if summary.storage:
        raise UserError(f"{summary.storage}; the stored runs are kept, the same call resumes")
    if summary.lost:
        raise UserError(
            f"not in {summary.folder} any more: {counted(summary.lost, 'run')}; it was moved, or emptied, meanwhile: "
            "move it back, or call the same again"
        )
    if summary.failures:
        first = ": ".join(summary.failures[0])
        others = f", and {len(summary.failures) - 1} more" if len(summary.failures) > 1 else ""
        if not summary.trained + summary.already + summary.reused:
            raise UserError(f"no setting could be trained: {first}{others}")
        warnings.warn(f"failed: {first}{others}; Sweep.failures says why", UserWarning, stacklevel=3)


def load(*folders: StrPath | Iterable[StrPath], level: float = 0.95) -> "Sweep":
    """The finished runs of one or several sweeps, `ablate.load("results/a", "results/b")`, or of a list of them; trains
    nothing.

    Raises UserError for a folder that holds no finished run.
    """
    given: list[StrPath] = []
    for one in folders:
        given += [one] if isinstance(one, str | os.PathLike) else one
    if not given:
        raise UserError('give the folder of a sweep, such as ablate.load("results/smoke")')
    return Sweep([Path(folder).expanduser() for folder in given], level=level)


class Sweep:
    """The runs of one sweep, or of several together, as they were on disk when they were first read.

    `folders`: where they are; `notes`: remarks made before the training; `level`: confidence level of all intervals and
    verdicts.
    """

    def __init__(self, folders: Iterable[Path], level: float = 0.95, notes: Sequence[str] = ()) -> None:
        if not 0.5 <= level < 1:
            raise UserError(f"level is {level}; give one from 0.5 up to, not including, 1, such as 0.95")
        self.folders = list(dict.fromkeys(folders))
        self.level = level
        self.notes = list(notes)
        for folder in self.folders:
            if present(folder) != "folder":
                raise no_sweep(folder)

    # --- frames ---------------------------------------------------------------------------------------------------

    def frame(self) -> pd.DataFrame:
        """One row per run: `sweep` (its folder), run_id, setting_id, seed, status, knobs, metrics, provenance.

        A run that several of the sweeps hold has a row for each of them.
        """
        return self._frame.copy()

    def settings(self) -> pd.DataFrame:
        """One row per setting, that is, runs that differ only in their seed. For each metric m it has the mean m, the
        interval m_low … m_high, m_sd and so on; also n seeds, and how many runs diverged
        (`ablate.analysis.aggregate`)."""
        return self._settings.copy()

    def curves(self) -> pd.DataFrame:
        """One row per run and epoch: `sweep`, run_id, epoch, perplexity, and what else was measured."""
        parts = [
            curves_frame(folder, own).assign(sweep=encodable(str(folder)))
            for folder in self.folders
            for own in [self._frame[self._frame["sweep"] == encodable(str(folder))]]
        ]
        return _sweep_first(pd.concat(parts, ignore_index=True))

    @property
    def swept(self) -> list[str]:
        """The knobs that tell the settings apart."""
        return swept_knobs(self._runs)

    @property
    def metric(self) -> str:
        """The metric by which settings are compared if none is named."""
        return wording.main_metric(self._settings)

    @property
    def failures(self) -> list[tuple[str, str]]:
        """Settings that could not be trained, each with the reason."""
        from ablate.records.failures import failures

        return [(one.name, one.error) for folder in self.folders for one in failures(folder)]

    # --- answers --------------------------------------------------------------------------------------------------

    def compare(self, metric: str | None = None, by: str | None = None) -> pd.DataFrame:
        """One row per pair of settings that differ in one knob, or only in the knob `by`: the ratio (for a metric that
        may be 0, the difference), its interval, p, and p corrected over the table (`ablate.analysis.compare`).

        Raises UserError for a metric that no run has, or a knob that is not varied.
        """
        table = comparisons(self._runs, self._measured(metric), self.level)
        if by is None:
            return table
        names = {knob: factor_name(factor) for factor in factors(self._runs) for knob in factor}
        if (knob := named_column(by, names)) not in names:
            raise UserError(f"{by} is not varied here; {_choose(by, names)}")
        return table[table["knob"].isin({knob, names[knob]})].reset_index(drop=True)

    def claim(
        self,
        sentence: str,
        metric: str | None = None,
        *,
        by: str | None = None,
        where: Mapping[str, Any] | None = None,
        margin: float | None = None,
        most: bool = False,
    ) -> Verdict:
        """What the runs say about `gru < lstm`: confirmed, refuted, undecided or not testable, with the evidence.

        `<` and `>` compare the metric, lower or higher, `~` says that two are equal within `margin`; see
        `ablate.claims.sentences`. `where={"num_hiddens": 32}` restricts it to some settings. The claim must hold at
        every value of the other knobs; with `most`, in more than half. Raises UserError if it cannot be read.
        """
        if not isinstance(sentence, str):
            raise UserError(f'a claim is a sentence, such as "gru < lstm", not {type(sentence).__name__}')
        claim = claim_of(sentence, self._runs, self.swept, self._measured(metric), by, where, margin, most)
        return judge(self._frames, claim, self.level, any_protocol=True)

    def time_to(self, quality: str) -> pd.DataFrame:
        """One row per setting with timings: the share of seeds that reach `quality`, such as "val_perplexity<9", and
        the seconds until then, from the speed lane (`ablate.analysis.time_to_quality`). Raises UserError if there are
        no timings."""
        if not self._settings["tokens_per_s"].notna().any():
            raise UserError(
                "no setting has a timing, without which nothing tells how long it takes; train with speed=True"
            )
        return time_to_quality(self._runs, self.curves(), self._settings, Quality.read(quality), self.level)

    def budget_correlation(self, metric: str | None = None, epochs: Sequence[int] | None = None) -> pd.DataFrame:
        """One row per number of epochs: how well the ranks of the settings after it predict those at the end
        (`ablate.analysis.budgets`). The default is the metric by which settings are compared, after each epoch."""
        metric = wording.epoch_measure(self._settings) if metric is None else self._measured(metric)
        return budget_correlation(self._runs, self.curves(), metric, epochs, self.level)

    def across(self, metric: str | None = None) -> Across:
        """How the settings compare over several data sets: mean ranks, aggregates, pairs (`ablate.analysis.across`).

        Raises UserError if there are fewer than two data sets, or fewer than two settings on all of them.
        """
        found = across(self._runs, self._measured(metric), self.level)
        if found is None:
            raise UserError("no two settings were trained on the same two data sets; sweep data, such as data=[…, …]")
        return found

    def settle(
        self,
        *sentences: str,
        budget: float | None = None,
        seeds: int = 100,
        metric: str | None = None,
        by: str | None = None,
        where: Mapping[str, Any] | None = None,
        margin: float | None = None,
        most: bool = False,
        progress: bool = True,
    ) -> list[Verdict]:
        """Add seeds until the claims of the sweep, or those in `sentences`, are decided, until `budget` seconds are
        spent, or until their settings have `seeds` seeds, and return the verdicts. The same as `ablate settle`;
        `metric`, `by`, `where`, `margin` and `most` apply to the sentences, as in `claim`.

        Raises UserError for several sweeps, for a claim that cannot be read, and without any claim; KeyboardInterrupt
        after an interruption: what is finished is kept, and the same call continues.
        """
        if len(self.folders) != 1:
            raise UserError(f"settle takes one sweep, not {len(self.folders)}")
        if isinstance(seeds, bool) or not isinstance(seeds, int) or seeds < 2:
            raise UserError(f"seeds is {seeds!r}; give a whole number from 2 on, such as 200")
        if budget is not None and (not isinstance(budget, int | float) or not budget > 0):
            raise UserError(f"budget is {budget!r}; give seconds, more than 0, such as 1800")
        load_training()
        from ablate.claims import claims_for
        from ablate.records.compaction import compacted
        from ablate.sweeping.settle.settling import Settling
        from ablate.sweeping.settle.show import View

        [folder] = self.folders

        def claims(frames: Frames) -> Sequence[Claim]:
            measured = self._measured(metric)
            said = [claim_of(one, frames.runs, self.swept, measured, by, where, margin, most) for one in sentences]
            if not (found := said or claims_for(frames)):
                raise UserError(f'no claim belongs to {folder.name}; give one, such as sweep.settle("gru < lstm")')
            return found

        command = command_line("settle", folder, *sentences)
        most_s = math.inf if budget is None else budget
        settling = Settling(folder, claims, command, seeds, most_s, self.level, any_protocol=bool(sentences))
        found = settling.go(View(self.level, quiet=not progress))
        if settling.summary.trained or settling.summary.reused:
            compacted(folder)
        for name in ("_frame", "_runs", "_settings", "_frames"):  # which are read anew
            self.__dict__.pop(name, None)
        _check(settling.summary)
        return [one.verdict for one in found]

    # --- pictures -------------------------------------------------------------------------------------------------

    def plot(self, x: str | None = None, y: str | None = None, title: str = "") -> "Figure":
        """The metric `y` against the knob `x`, a line for each combination of the others, with intervals over seeds.

        By default x is the swept number with the most values, and y the metrics of the task, with a panel for each. The
        figure belongs to no window and not to pyplot: show it as the last line of a notebook's cell, or use
        `figure.savefig("figure.pdf")`.
        """
        load_reports()
        from ablate.report.plots import by_value

        x = None if x is None else named_column(x, self.swept)
        if x is not None and x not in self.swept:
            raise UserError(f"x is {x!r}, which is not varied here; {_choose(x, self.swept)}")
        measured = None if y is None else self._measured(y)
        return by_value(self._runs, self._settings, self.swept, title=title, level=self.level, x=x, y=measured)

    def report(self, show: bool = False) -> Path:
        """Write page, tables and figures into the sweep's folder, and return the path of the page. Several sweeps also
        get one page about all, in `report/` beside the first. `show` prints the table of settings."""
        load_reports()
        from ablate.report import PAGE, write_report, write_reports
        from ablate.sweeping.baselines import add_baselines

        for folder in self.folders:
            add_baselines(folder)
        if len(self.folders) == 1:
            write_report(self.folders[0], self.level, quiet=not show)
            return self.folders[0] / PAGE
        write_reports(self.folders, None, level=self.level, quiet=not show)
        return self.folders[0].parent / "report" / PAGE

    def export(self, to: str, out: StrPath | None = None) -> Path:
        """Write the runs for another program, and return where: `to` is csv, parquet, xlsx, tensorboard, mlflow or
        wandb (`ablate.export`). Nothing is sent anywhere."""
        from ablate.export import export

        return export(self.folders, to, None if out is None else Path(out), self.level)

    def _repr_html_(self) -> str:
        metrics = [name for name in dict.fromkeys((self.metric, "val_perplexity")) if self._has(name)]
        title = ", ".join(map(str, self.folders))
        return html_table(title, self._settings, self.swept or ["model"], metrics, self.level)

    def __repr__(self) -> str:
        where = ", ".join(map(str, self.folders))
        return f"<ablate.Sweep {where}: {counted(len(self._settings), 'setting')}, {counted(len(self._runs), 'run')}>"

    def __len__(self) -> int:
        """The number of runs."""
        return len(self._runs)

    # --- what is read once ----------------------------------------------------------------------------------------

    @cached_property
    def _frame(self) -> pd.DataFrame:
        parts = []
        for folder in self.folders:
            self.notes += load_again(plugins_of(folder))
            failed = FailedMetrics()
            runs, problems = runs_frame(folder, failed)
            if runs.empty:
                raise no_run(folder, problems)
            self.notes += [f"skipped: {problem}" for problem in problems]
            self.notes += [f"warning: {line}" for line in metric_warnings(failed, runs, folder)]
            parts.append(runs.assign(sweep=encodable(str(folder))))
        return _sweep_first(pd.concat(parts, ignore_index=True))

    @cached_property
    def _runs(self) -> pd.DataFrame:
        """Every run once: that two sweeps share it makes no second seed of it."""
        return self._frame.drop_duplicates(["setting_id", "seed"], ignore_index=True).drop(columns="sweep")

    @cached_property
    def _settings(self) -> pd.DataFrame:
        return with_speed(aggregate(self._runs, self.level), speed_frames(self.folders))

    @cached_property
    def _frames(self) -> Frames:
        if len(self.folders) == 1:
            return Frames(self._runs, sweep=self.folders[0])
        curves = self.curves().drop(columns="sweep").drop_duplicates(["run_id", "epoch"], ignore_index=True)
        own = {name: set(runs["setting_id"]) for name, runs in self._frame.groupby("sweep")}
        each = (Designs.read(folder, own[encodable(str(folder))]) for folder in self.folders)
        designs = reduce(Designs.joined, each)
        return Frames(self._runs, curves, designs=designs)

    def _measured(self, metric: str | None) -> str:
        """A metric that some run has. Raises UserError for any other."""
        if metric is None:
            return self.metric
        if not self._has(metric):
            raise UserError(f"no run has {metric!r}; {_choose(metric, filter(self._has, METRICS.names))}")
        return metric

    def _has(self, metric: str) -> bool:
        return metric in METRICS and metric in self._runs and bool(self._runs[metric].notna().any())


def _choose(value: str, names: Iterable[str]) -> str:
    names = list(names)
    return f"choose {listing(names)}{nearest(value, names)}" if names else "nothing is"


def _sweep_first(frame: pd.DataFrame) -> pd.DataFrame:
    return frame[["sweep", *(name for name in frame if name != "sweep")]]
