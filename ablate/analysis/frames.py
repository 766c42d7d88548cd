"""Records as a DataFrame, one row per run."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pandas as pd

from ablate.metrics import METRICS
from ablate.results import RecordError, load_curve, records

MODEL_ORDER = ("rnn", "lstm", "gru", "gru-no-reset", "gru-no-update")

KNOBS = (
    "model",
    "activation",
    "num_hiddens",
    "layers",
    "dropout",
    "impl",
    "init",
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
)
"""What may tell two cells apart, as columns of the frames."""


def runs_frame(sweep: Path) -> tuple[pd.DataFrame, list[str]]:
    """One row per run of a sweep: its knobs, metrics and provenance; and a line for each file that is no record."""
    rows, problems = [], []
    for record in records(sweep):
        if isinstance(record, RecordError):
            problems.append(str(record))
            continue
        try:
            rows.append(row(record))
        except (KeyError, TypeError) as error:
            problems.append(f"{record['run_id']}: not a whole record ({type(error).__name__}: {error})")
    frame = pd.DataFrame(rows, columns=None if rows else ["run_id", "cell_id", "seed", "status", *KNOBS])
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
        **knob_values(config, corpus["name"]),
        **{name: metrics[name] for name in METRICS if name in metrics},
        "wall_s": record["timing"]["wall_s"],
        "diverged_epoch": divergence.get("epoch"),
        **record["counts"],
        "engine": record["engine"],
        "threads": record["timing"]["threads"],
        "device": record["timing"]["device"],
        "cpu": record["environment"]["cpu"],
        "gpu": record["environment"]["gpu"],
        "torch": record["environment"]["torch"],
        "git_commit": record["environment"]["git_commit"],
        "corpus_sha256": corpus["sha256"],
        "reused_from": record["reused_from"],
    }


def knob_values(config: Mapping[str, Any], corpus: str) -> dict[str, Any]:
    """The values of KNOBS in a stored config."""
    known = {
        **config,
        "model": config["model"]["name"],
        "activation": config["model"]["activation"] if config["model"]["cell"] == "rnn" else None,
        "optimizer": config["optimizer"]["name"],
        "corpus": corpus,
        "unit": config["data"]["tokens"],
        "cleaning": config["data"]["cleaning"],
    }
    return {name: known[name] for name in KNOBS}


def in_order(frame: pd.DataFrame) -> pd.DataFrame:
    """Rows sorted by model (rnn, lstm, gru, ablations), then by every other knob, then by seed."""
    if frame.empty:
        return frame

    def rank(column: pd.Series) -> pd.Series:
        if column.name != "model":
            return column
        order = [*MODEL_ORDER, *sorted(set(column) - set(MODEL_ORDER))]
        return column.map({name: position for position, name in enumerate(order)})

    by = [name for name in KNOBS if frame[name].nunique(dropna=False) > 1]
    return frame.sort_values([*by, "seed"], key=rank, ignore_index=True)


def swept_knobs(runs: pd.DataFrame) -> list[str]:
    """The knobs in which the cells of a sweep differ; what only follows from another knob is left out."""
    varying = [name for name in KNOBS if runs[name].nunique(dropna=False) > 1]
    told: list[str] = []
    for name in varying:
        if not told or runs.groupby(told, dropna=False)[name].nunique(dropna=False).max() > 1:
            told.append(name)
    return told


def curves_frame(sweep: Path, runs: pd.DataFrame) -> pd.DataFrame:
    """One row per run and epoch: run_id, epoch, perplexity, val_perplexity."""
    parts = [pd.DataFrame(load_curve(sweep, run_id)).assign(run_id=run_id) for run_id in runs["run_id"]]
    return pd.concat(parts, ignore_index=True) if parts else pd.DataFrame(columns=["run_id", "epoch", "perplexity"])
