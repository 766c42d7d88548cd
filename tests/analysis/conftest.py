"""Runs made by hand."""

from collections.abc import Callable, Sequence
from typing import Any

import pandas as pd
import pytest

from ablate.analysis.frames import KNOBS, in_order
from ablate.config.metrics import METRICS

Setting = Callable[..., pd.DataFrame]


def runs_of(perplexity: Sequence[float | None], first_seed: int = 0, **given: Any) -> pd.DataFrame:
    """One setting as `runs_frame` gives it: a run per perplexity, None for a diverged one.

    What is given sets knobs and any other column; the setting is named after what is given.
    """
    name = " ".join(f"{key}={value}" for key, value in given.items() if key in KNOBS) or "plain"
    knobs = dict.fromkeys(KNOBS, "same") | {"model": "rnn", "num_hiddens": 8, "lr": 1.0, "epochs": 10}
    common = {
        **knobs,
        "setting_id": name,
        "parameters": 100,
        "updates_per_epoch": 8,
        "tokens_per_epoch": 8960,
        "engine": "torch_nn",
        "torch": "2.6",
        "git_commit": "0" * 40,
        "cpu": "made up",
        "wall_s": 0.5,
    }
    rows = []
    for seed, value in enumerate(perplexity, first_seed):
        measured = {metric: value for metric in METRICS.names if metric != "wall_s"}
        status = "diverged" if value is None else "ok"
        rows.append(common | {"run_id": f"{name} {seed}", "seed": seed, "status": status} | measured | given)
    return pd.DataFrame(rows)


@pytest.fixture
def setting() -> Setting:
    return runs_of


@pytest.fixture
def together() -> Callable[..., pd.DataFrame]:
    """Settings as one frame, its rows in the order of `runs_frame`."""

    def joined(*settings: pd.DataFrame) -> pd.DataFrame:
        rows = [row for setting in settings for row in setting.to_dict("records")]
        return in_order(pd.DataFrame(rows))

    return joined
