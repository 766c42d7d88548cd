"""Records as a DataFrame, one row per run."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import fields
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from ablate.analysis.curves import read_curves
from ablate.config import TASK_OPTIONS, ModelConfig
from ablate.identity import relevant_options
from ablate.metrics import METRICS
from ablate.results import RecordError, outdated, records

MODEL_ORDER = ("rnn", "lstm", "gru", "gru-no-reset", "gru-no-update")

KNOBS = (
    "task",
    "model",
    "activation",
    "output_activation",
    "coupled",
    "peepholes",
    "gate_recurrence",
    "bidirectional",
    "connection",
    "transition",
    "num_hiddens",
    "layers",
    "dropout",
    "impl",
    "init",
    "forget_bias",
    "reset",
    "bias_vectors",
    "num_steps",
    "batch_size",
    "sampling",
    "optimizer",
    "lr",
    "clip",
    "epochs",
    "max_tokens",
    "val_tokens",
    "corpus",
    "unit",
    "cleaning",
    "gates",
    "readout",
    "write_back",
    "momentum",
    "weight_decay",
    "betas",
    "eps",
    "alpha",
    "masked",
    "symbols",
    "sequences",
    "pairs",
    "val_pairs",
    "embed",
    "context",
    "attention",
    "corpus_sha256",
)
"""What may tell two cells apart, as columns of the frames."""


NEW_MODEL_KNOBS = {f.name: f.metadata["absent"] for f in fields(ModelConfig) if "absent" in f.metadata}
"""Knobs of a model that records may be older than, and the value that these mean."""


def runs_frame(sweep: Path) -> tuple[pd.DataFrame, list[str]]:
    """One row per run of a sweep: its knobs, metrics and provenance; and a line for each file that is no record."""
    rows, problems = [], []
    for record in records(sweep):
        if isinstance(record, RecordError):
            problems.append(str(record))
            continue
        try:
            if why := outdated(record):
                problems.append(f"{record['run_id']}: {why}; the sweep's command trains it again")
                continue
            rows.append(row(record))
        except (KeyError, TypeError) as error:
            problems.append(f"{record['run_id']}: not a whole record ({type(error).__name__}: {error})")
    frame = pd.DataFrame(rows, columns=None if rows else ["run_id", "cell_id", "seed", "status", *KNOBS])
    if rows:  # a text counts by its content: a file that was renamed in between is no other knob
        newest = (
            frame.sort_values("started", kind="stable", na_position="first").groupby("corpus_sha256")["corpus"].last()
        )
        frame["corpus"] = frame["corpus_sha256"].map(newest)
    return in_order(frame), problems


def row(record: Mapping[str, Any]) -> dict[str, Any]:
    """The columns of one run."""
    config, corpus, metrics = record["config"], record["corpus"], record["metrics"]
    divergence = record["divergence"] or {}
    return {
        "run_id": record["run_id"],
        "cell_id": record["cell_id"],
        "seed": record["seed"],
        "status": record["status"],
        **knob_values(config, corpus),
        **{name: metrics[name] for name in METRICS if name in metrics},
        "wall_s": record["timing"]["wall_s"],
        "started": record["timing"].get("started"),
        "diverged_epoch": divergence.get("epoch"),
        **{name: count for name, count in record["counts"].items() if name not in KNOBS},
        "engine": record["engine"],
        "threads": record["timing"]["threads"],
        "device": record["timing"]["device"],
        "cpu": record["environment"]["cpu"],
        "gpu": record["environment"]["gpu"],
        **{name: record["environment"].get(name) for name in ("cores", "platform", "python", "ablate")},
        "torch": record["environment"]["torch"],
        "git_commit": record["environment"]["git_commit"],
        "git_dirty": record["environment"].get("git_dirty"),
        "reused_from": record["reused_from"],
        "sees_future": record.get("sees_future"),
        "match": config.get("match"),
    }


def knob_values(config: Mapping[str, Any], corpus: Mapping[str, Any]) -> dict[str, Any]:
    """The values of KNOBS in a stored config and its corpus; None where a knob does not apply."""
    model, optimizer = NEW_MODEL_KNOBS | config["model"], config["optimizer"]
    task = config.get("task", {"name": "language_model"})
    known = {
        "forget_bias": None,
        **config,
        **{name: model[name] for name in NEW_MODEL_KNOBS},
        **dict.fromkeys(name for options in TASK_OPTIONS.values() for name in options),
        **relevant_options(task, TASK_OPTIONS),
        "task": task["name"],
        **dict.fromkeys(("momentum", "weight_decay", "betas", "eps", "alpha")),
        **{key: str(value) if key == "betas" else value for key, value in relevant_options(optimizer).items()},
        "model": model["name"],
        "activation": model["activation"] if model["cell"] == "rnn" or model["activation"] != "tanh" else None,
        "gates": " ".join(f"{gate}={value:g}" for gate, value in sorted(model["gates"].items())) or None,
        "readout": model["readout"],
        "write_back": model["write_back"],
        "optimizer": optimizer["name"],
        "corpus": corpus["name"],
        "corpus_sha256": corpus["sha256"],
        "unit": corpus.get("unit", config["data"]["tokens"]),
        "cleaning": config["data"]["cleaning"],
    }
    return {name: known[name] for name in KNOBS}


def in_order(frame: pd.DataFrame) -> pd.DataFrame:
    """Rows sorted by model (rnn, lstm, gru, ablations), then by every other knob, then by seed.

    Those of memory tasks by task first.
    """
    if frame.empty:
        return frame

    def rank(column: pd.Series) -> pd.Series:
        if column.name != "model":
            return column
        order = [*MODEL_ORDER, *sorted(set(column) - set(MODEL_ORDER))]
        return column.map({name: position for position, name in enumerate(order)})

    by = _varying(frame)
    return frame.sort_values([*by, "seed"], key=rank, ignore_index=True)


def _varying(frame: pd.DataFrame) -> list[str]:
    """The knobs of which there are several values, in the order of KNOBS; but what memory tasks differ in first."""
    varying = [name for name in KNOBS if frame[name].nunique(dropna=False) > 1]
    if frame["task"].eq("memory").all():
        varying.sort(key=lambda name: name != "corpus")
    return varying


def swept_knobs(runs: pd.DataFrame) -> list[str]:
    """The knobs in which the cells of a sweep differ; what only follows from another knob is left out."""
    varying = _varying(runs)
    if matched(runs):  # the width follows from all the others
        varying.sort(key=lambda name: name == "num_hiddens")
    told: list[str] = []
    for name in varying:
        if not told or runs.groupby(told, dropna=False)[name].nunique(dropna=False).max() > 1:
            told.append(name)
    return told


def is_full_grid(runs: pd.DataFrame, knobs: Sequence[str]) -> bool:
    """Whether there is a cell for every combination of the values of these knobs: only then do they average out.

    A cell of which all runs diverged is there. `knobs`: from `swept_knobs`, so that none merely follows from others.
    """
    combinations = len(runs[list(knobs)].drop_duplicates()) if knobs else 1
    return combinations == math.prod(int(runs[knob].nunique(dropna=False)) for knob in knobs)


def matched(frame: pd.DataFrame) -> bool:
    """Whether num_hiddens was set so that all models have as many parameters (match=params)."""
    return "match" in frame and bool((frame["match"] == "params").all())


def curves_frame(sweep: Path, runs: pd.DataFrame) -> pd.DataFrame:
    """One row per run and epoch: run_id, epoch and what was measured; nothing of a run whose curve is damaged."""
    return read_curves(sweep, [str(run_id) for run_id in runs["run_id"]])


def setting(row: Mapping[Any, Any] | pd.Series, knobs: Sequence[str]) -> str:
    """`model=gru clip=null`: the values of some knobs of a row, as typed on the command line."""
    return " ".join(f"{name}={value_text(row[name])}" for name in knobs)


def value_text(value: Any) -> str:
    """A knob's value as typed."""
    if value is None or value != value:
        return "null"
    if isinstance(value, bool | np.bool_):
        return str(value).lower()
    return f"{value:g}" if isinstance(value, float) else str(value)
