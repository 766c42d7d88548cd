"""Made-up searches: a table of trials of known content, as trials.csv and search.json, and as a study of Optuna's."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import optuna
import pandas as pd
from optuna.storages import BaseStorage, JournalStorage, RDBStorage
from optuna.storages.journal import JournalFileBackend
from optuna.trial import TrialState

from ablate.analysis.trials import distribution

SPACE: dict[str, dict[str, Any]] = {
    "lr": {"kind": "float", "low": 0.01, "high": 10.0, "step": None, "log": True},
    "num_hiddens": {"kind": "choice", "choices": [8, 16, 32]},
    "layers": {"kind": "int", "low": 1, "high": 3, "step": 1, "log": False},
    "clip": {"kind": "choice", "choices": [None, 1]},
    "dropout": {"kind": "float", "low": 0.0, "high": 0.5, "step": None, "log": False, "conditions": {"layers": [2, 3]}},
}


def made_up(count: int = 60) -> pd.DataFrame:
    """lr decides nearly all, with its optimum at 1; num_hiddens a little; the rest nothing."""
    rng = np.random.default_rng(0)
    start = pd.Timestamp("2026-01-01T00:00:00")
    rows = []
    for number in range(count):
        lr, hidden = 10 ** rng.uniform(-2, 1), int(rng.choice([8, 16, 32]))
        layers = int(rng.integers(1, 4))
        value = 8 + 3 * np.log10(lr) ** 2 + 4 / hidden + rng.normal(0, 0.02)
        state = (
            "diverged" if number % 20 == 19 else "pruned" if number % 10 == 8 else "dropped" if number % 3 else "done"
        )
        began = start + pd.Timedelta(seconds=5 * (number // 2))
        rows.append(
            {
                "number": number,
                "state": state,
                "lr": lr,
                "num_hiddens": hidden,
                "layers": layers,
                "clip": rng.choice(["null", "1"]),
                "dropout": rng.uniform(0, 0.5) if layers > 1 else None,
                "val_perplexity": np.inf if state == "diverged" else value,
                "n": 2,
                "last_epoch": None,
                "started": began.isoformat(),
                "ended": (began + pd.Timedelta(seconds=7)).isoformat(),
                "worker": f"process {number % 2}",
                "setting_id": str(number),
                "duplicate_of": None,
                "again": None,
                "reason": None,
            }
        )
    return pd.DataFrame(rows)


FEW = (4, 10, 1)
"""Trials that are the best few of every made-up search."""


def finalist(trials: pd.DataFrame, number: int | None, objectives: Sequence[str], value: float = 7.5) -> dict[str, Any]:
    """A configuration as search.json has it, with 6 fresh seeds around `value`; without a number the baseline."""
    row = None if number is None else trials.set_index("number").loc[number]
    fresh = {"value": value, "low": value - 0.5, "high": value + 0.5, "seeds": {str(k): value for k in range(6, 12)}}
    return {
        "number": number,
        "values": {} if row is None else {"lr": row["lr"]},
        "overrides": ["lr=1.0000123456789"] if number is not None else ["model=rnn"],
        "in_the_search": {} if row is None else {name: float(row[name]) for name in objectives},
        "fresh": {name: fresh for name in objectives if name != "tokens_per_s"},
        "speed": None,
        "failure": None,
    }


def write_search(
    folder: Path, trials: pd.DataFrame, objectives: Sequence[str] = ("val_perplexity",), **changes: Any
) -> Path:
    """trials.csv and search.json of a search that has come to its end; `changes` replace parts of the latter."""
    folder.mkdir(parents=True, exist_ok=True)
    trials.to_csv(folder / "trials.csv", index=False)
    few = [finalist(trials, number, objectives, 7.5 + 0.1 * rank) for rank, number in enumerate(FEW)]
    several = len(objectives) > 1
    facts = {
        "study": folder.name,
        "space": SPACE,
        "settings": {"objectives": [{"name": name} for name in objectives]},
        "winner": None if several else few[0],
        "finalists": few,
        "front": few if several else [],
        "baseline": finalist(trials, None, objectives, 9.0),
        "against_baseline": {"ratio": 0.833, "low": 0.81, "high": 0.86, "n": 6, "p": 0.03125},
    }
    (folder / "search.json").write_text(json.dumps(facts | changes), encoding="utf-8")
    return folder


def write_study(folder: Path, trials: pd.DataFrame, journal: bool = False) -> None:
    """The same trials in study.db or study.journal."""
    folder.mkdir(parents=True, exist_ok=True)
    storage: BaseStorage = (
        JournalStorage(JournalFileBackend(str(folder / "study.journal")))
        if journal
        else RDBStorage(f"sqlite:///{folder / 'study.db'}")
    )
    study = optuna.create_study(storage=storage, study_name=folder.name, direction="minimize")
    study.set_user_attr("design", {"objectives": ["val_perplexity"], "seeds": [0, 1], "fixed": {}, "space": SPACE})
    for _, row in trials.iterrows():
        chosen = {name: row[name] for name in SPACE if not pd.isna(row[name])}
        pruned = row["state"] == "pruned"
        attributes = {"key": row["setting_id"], "worker": row["worker"], "n": row["n"]}
        attributes |= {state: 1 for state in ("dropped", "diverged") if row["state"] == state}
        attributes |= {"reason": "pruned after epoch 20", "last_epoch": 20} if pruned else {}
        study.add_trial(
            optuna.create_trial(
                params={name: _native(value, SPACE[name]) for name, value in chosen.items()},
                distributions={name: distribution(SPACE[name]) for name in chosen},
                value=None if pruned else float(row["val_perplexity"]),
                state=TrialState.PRUNED if pruned else TrialState.COMPLETE,
                intermediate_values={10: 99.0, 20: float(row["val_perplexity"])} if pruned else {},
                user_attrs=attributes,
            )
        )
    if isinstance(storage, RDBStorage):
        storage.remove_session()
        storage.engine.dispose()


def _native(value: Any, facts: dict[str, Any]) -> Any:
    """A value of the table as Optuna stores it."""
    if facts["kind"] == "choice":
        return str(value)
    return int(value) if facts["kind"] == "int" else float(value)
