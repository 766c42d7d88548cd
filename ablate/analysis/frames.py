"""Records as a DataFrame, one row per run."""

import math
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from ablate.analysis.curves import read_curves
from ablate.analysis.edited import without_former_sources
from ablate.analysis.rows import IDS, Kinds, Rows
from ablate.analysis.tasks import many_questions
from ablate.config.columns import columns, columns_in
from ablate.config.dependence import independent, is_function
from ablate.config.metrics import FailedMetrics
from ablate.records.exclusion import exclusions
from ablate.records.reading import RecordError
from ablate.records.record import newer
from ablate.records.results import load_curve, summaries

MODEL_ORDER = ("rnn", "lstm", "gru", "gru-no-reset", "gru-no-update")

KNOBS = columns()
"""What may tell two settings apart, as columns of the frames: without what a person brings."""


def runs_frame(sweep: Path, failed: FailedMetrics | None = None) -> tuple[pd.DataFrame, list[str]]:
    """One row per run of a sweep: its knobs, metrics and provenance; and a line for each file that is no record.

    `failed` is told of the metrics of a user's own that fail, whose runs count all the same.

    Runs that somebody excluded are not there, nor those of a state before of code that was edited since; a line says
    how many, and why.
    """
    rows, kinds, problems = Rows(), Kinds(), list[str]()
    try:
        left_out = exclusions(sweep)
    except RecordError as error:
        left_out = []
        problems.append(f"{error}; no run is excluded")
    problems += map(str, left_out)
    excluded = {run_id for one in left_out for run_id in one.runs}
    failed = FailedMetrics() if failed is None else failed
    identities: dict[str, Mapping[str, Any]] = {}
    seen: dict[tuple[str, int], str] = {}  # a setting's seed counts once, whoever wrote it twice
    for record in summaries(sweep):
        if isinstance(record, RecordError):
            problems.append(str(record))
            continue
        if record["run_id"] in excluded:
            continue
        first = seen.setdefault((record["setting_id"], record["seed"]), record["run_id"])
        if first != record["run_id"]:
            problems.append(f"{record['run_id']}: seed {record['seed']} of the setting that {first} has, too")
            continue
        try:
            kind = kinds.of(record)
            if kind.outdated:
                later = newer(record)  # which this version neither reads nor trains again
                again = f"{kind.outdated}; the sweep's command trains it again"
                remedy = f"{later}; upgrade ablate" if later else again
                problems.append(f"{record['run_id']}: {remedy}")
                continue
            curve = partial(load_curve, sweep, record["run_id"])
            rows.append(kind.row(record, curve, failed))
            identities.setdefault(record["setting_id"], getattr(record, "first", record)["identity"])
        except (KeyError, TypeError) as error:
            problems.append(f"{record['run_id']}: not a whole record ({type(error).__name__}: {error})")
    frame = rows.frame() if len(rows) else pd.DataFrame({name: [] for name in (*IDS, *columns())})
    if len(rows):
        frame, lines = without_former_sources(frame, identities, sweep)
        problems += lines
        # A text counts by its content: a file that was renamed in between is no other knob.
        by_age = frame.sort_values("started", kind="stable", na_position="first")
        frame["corpus"] = frame["corpus_sha256"].map(by_age.groupby("corpus_sha256")["corpus"].last())
        for name in ("formulation", "bias_vectors"):  # what tells no two settings apart, however it was typed
            frame[name] = frame["setting_id"].map(by_age.groupby("setting_id")[name].last())
    return in_order(frame), problems


def in_order(frame: pd.DataFrame) -> pd.DataFrame:
    """Rows sorted by model (rnn, lstm, gru, ablations), then by every other knob, then by seed.

    Those of tasks whose data sets are different questions by these first.
    """
    if frame.empty:
        return frame

    def rank(column: pd.Series) -> pd.Series:
        if column.name != "model":
            return _with_texts_last(column)
        order = [*MODEL_ORDER, *sorted(set(column) - set(MODEL_ORDER))]
        return column.map({name: position for position, name in enumerate(order)})

    by = _varying(frame)
    return frame.sort_values([*by, "seed"], key=rank, ignore_index=True)


def _with_texts_last(column: pd.Series) -> pd.Series:
    """The column, or where it holds numbers and texts (forget_bias) their places in order, texts behind."""
    if column.dtype != object:
        return column
    values = {value for value in column if not pd.isna(value)}
    texts = {value for value in values if isinstance(value, str)}
    if not texts or texts == values:
        return column
    order = [*sorted(values - texts), *sorted(texts)]
    return column.map({value: place for place, value in enumerate(order)})


def _varying(frame: pd.DataFrame) -> list[str]:
    """The knobs of which there are several values, in their order; but different questions first."""
    varying = [name for name in columns_in(frame) if frame[name].nunique(dropna=False) > 1]
    if many_questions(frame):
        varying.sort(key=lambda name: name != "corpus")
    return varying


def swept_knobs(runs: pd.DataFrame) -> list[str]:
    """The knobs that tell the settings of a sweep apart, those that merely vary together included.

    What follows from another knob by its meaning (see `ablate.config.dependence`), or was set by a rule (the width with
    match=params, epochs with updates=N), is left out.
    """
    varying = _varying(runs)
    columns = _values(runs, varying)
    ruled = ["num_hiddens"] * matched(runs) + ["epochs"] * equal_updates(runs)
    kept = independent({name: columns[name] for name in varying})
    for name in ruled:
        if name in kept and is_function(columns[name], [columns[other] for other in kept if other != name]):
            kept.remove(name)
    return kept


Factor = tuple[str, ...]
"""Knobs whose effects cannot be told apart in a sweep: one alone, or the first and what varies with it."""


def factors(runs: pd.DataFrame) -> list[Factor]:
    """The swept knobs, sorted into factors: a knob alone, or several that are confounded.

    A knob whose value the others decide in every setting is confounded with those of them that decide it. It comes
    after them; where either could stand for the other, the earlier column comes first.
    """
    knobs = swept_knobs(runs)
    columns = _values(runs, knobs)
    deciding, decided_by = _decided(columns)
    groups: list[list[str]] = [[knob] for knob in deciding]
    for knob, sources in decided_by.items():
        joined = [group for group in groups if set(group) & set(sources)]
        groups = [group for group in groups if group not in joined]
        groups.append([one for group in joined for one in group] + [knob])
    place = {knob: number for number, knob in enumerate(knobs)}
    return sorted((tuple(group) for group in groups), key=lambda group: min(place[knob] for knob in group))


def decided(runs: pd.DataFrame, swept: Sequence[str]) -> dict[str, list[str]]:
    """Swept knob that never varies by itself → the knobs that decide its value in every setting."""
    return _decided(_values(runs, swept))[1]


def _decided(columns: Mapping[str, Sequence[Any]]) -> tuple[list[str], dict[str, list[str]]]:
    """The fewest knobs that tell all settings apart; and each other knob with those of them that decide it."""
    deciding = list(columns)
    for knob in reversed(list(columns)):
        others = [name for name in deciding if name != knob]
        if others and is_function(columns[knob], [columns[name] for name in others]):
            deciding = others
    decided_by = {}
    for knob in columns:
        if knob not in deciding:
            sources = list(deciding)
            for name in reversed(deciding):
                fewer = [source for source in sources if source != name]
                if fewer and is_function(columns[knob], [columns[source] for source in fewer]):
                    sources = fewer
            decided_by[knob] = sources
    return deciding, decided_by


CONFOUNDED = "confounded"


def factor_name(factor: Sequence[str]) -> str:
    """`lr`, or `model + lr (confounded)`."""
    return factor[0] if len(factor) == 1 else f"{' + '.join(factor)} ({CONFOUNDED})"


def factored(frame: pd.DataFrame, of: Sequence[Factor]) -> pd.DataFrame:
    """The frame with a column for each factor of several knobs: `gru, lr=0.5` in `model + lr (confounded)`."""
    several = {factor_name(factor): factor for factor in of if len(factor) > 1}
    if not several:
        return frame
    texts = {name: [named(factor, one) for one in _rows(frame, factor)] for name, factor in several.items()}
    return frame.assign(**texts)


def _rows(frame: pd.DataFrame, knobs: Sequence[str]) -> list[tuple[Any, ...]]:
    return list(zip(*(frame[knob].tolist() for knob in knobs), strict=True))


def _values(runs: pd.DataFrame, knobs: Sequence[str]) -> dict[str, list[Any]]:
    """knob → its value in each setting, with None for a missing one, as Python has them."""
    settings = runs[list(knobs)].drop_duplicates()
    return {knob: [None if pd.isna(value) else value for value in settings[knob].tolist()] for knob in knobs}


def is_full_grid(runs: pd.DataFrame, of: Sequence[Factor]) -> bool:
    """Whether there is a setting for every combination of the levels of these factors: only then do they average out.

    A setting of which all runs diverged is there.
    """
    knobs = [knob for factor in of for knob in factor]
    settings = runs[knobs].drop_duplicates()
    return len(settings) == math.prod(len(settings[list(factor)].drop_duplicates()) for factor in of) if knobs else True


def matched(frame: pd.DataFrame) -> bool:
    """Whether num_hiddens was set so that all models have as many parameters (match=params)."""
    return "match" in frame and bool((frame["match"] == "params").all())


def equal_updates(frame: pd.DataFrame) -> bool:
    """Whether epochs were set so that all settings have as many updates (updates=N)."""
    if "equal_updates" not in frame:
        return False
    return bool(frame["equal_updates"].notna().all() and frame["equal_updates"].nunique() == 1)


def curves_frame(sweep: Path, runs: pd.DataFrame) -> pd.DataFrame:
    """One row per run and epoch: run_id, epoch and what was measured; nothing of a run whose curve is damaged."""
    return read_curves(sweep, [str(run_id) for run_id in runs["run_id"]])


def setting_name(row: Mapping[Any, Any] | pd.Series, knobs: Sequence[str]) -> str:
    """`model=gru clip=null`: the values of some knobs of a row, as typed on the command line."""
    return " ".join(f"{name}={value_text(row[name])}" for name in knobs)


def setting_names(settings: pd.DataFrame, knobs: Sequence[str]) -> list[str]:
    """The name of each row; with all digits where names of six would be the same."""
    rows = settings.to_dict("records")
    names = [setting_name(row, knobs) for row in rows]
    exact = [setting_name({knob: _exact(row[knob]) for knob in knobs}, knobs) for row in rows]
    return names if len(set(names)) == len(set(exact)) else exact


def _exact(value: Any) -> Any:
    return repr(value) if isinstance(value, float) and value == value else value


def named(knobs: Sequence[str], values: Sequence[Any]) -> str:
    """`gru, lr=0.5`: a model by its name, other knobs with theirs; of a factor, the values that it was given."""
    pairs = zip(knobs, values, strict=True)
    by_itself = ("model",)
    return ", ".join(
        value_text(value) if knob in by_itself or knob.endswith(f"({CONFOUNDED})") else f"{knob}={value_text(value)}"
        for knob, value in pairs
    )


def value_text(value: Any) -> str:
    """A knob's value as typed."""
    if value is None or value != value:
        return "null"
    if isinstance(value, bool | np.bool_):
        return str(value).lower()
    return f"{value:g}" if isinstance(value, float) else str(value)
