"""Frames of made-up sweeps that resemble real ones, for the tests of the figures."""

import zlib
from collections.abc import Callable, Mapping, Sequence
from itertools import product
from typing import Any

import numpy as np
import pandas as pd

from ablate.analysis.aggregate import aggregate
from ablate.analysis.frames import KNOBS, in_order
from ablate.config.metrics import METRICS, metrics_of_test

BASELINE = {
    "model": "rnn",
    "activation": "tanh",
    "num_hiddens": 256,
    "layers": 1,
    "dropout": 0.0,
    "formulation": "torch",
    "num_steps": 35,
    "batch_size": 32,
    "sampling": "sequential",
    "optimizer": "sgd",
    "schedule": "constant",
    "lr": 1.0,
    "clip": 1.0,
    "epochs": 500,
    "max_tokens": 10000,
    "corpus": "time_machine",
    "corpus_sha256": "3b4c",
    "unit": "char",
}
LEVEL_OF_MODEL = {"rnn": 1.25, "lstm": 1.1, "gru": 1.0}
GATES = (
    "gru",
    "gru-no-reset",
    "gru-no-reset-as-published",
    "gru-no-update",
    "gru-no-update-as-published",
    "lstm",
    "rnn",
)


def falling(setting: Mapping[str, Any]) -> float:
    """A training perplexity that falls with num_hiddens, by model."""
    return 1 + 4.2 * LEVEL_OF_MODEL.get(setting["model"], 1.2) * (32 / setting["num_hiddens"]) ** 0.9


def sweep(
    values: Mapping[str, Sequence[Any]],
    seeds: int = 5,
    perplexity: Callable[[Mapping[str, Any]], float] = falling,
    diverges: Callable[[Mapping[str, Any], int], bool] = lambda setting, seed: False,
) -> pd.DataFrame:
    """One row per run of the product of the values, as runs_frame gives them; a diverged run has no metric."""
    rows = []
    for combination in product(*values.values()):
        setting = BASELINE | dict(zip(values, combination, strict=True))
        setting_id = f"{zlib.crc32(repr(sorted(setting.items(), key=str)).encode()):08x}"
        rng = np.random.default_rng(int(setting_id, 16))
        for seed in range(seeds):
            ok = not diverges(setting, seed)
            train = 1 + (perplexity(setting) - 1) * np.exp(0.05 * rng.standard_normal()) if ok else np.nan
            held_out = 8 + 30 / train * np.exp(0.05 * rng.standard_normal())
            metrics = dict.fromkeys(METRICS.names, train) | {
                "tail_perplexity": 1 + 1.02 * (train - 1),  # so that a figure of the one is not one of the other
                "val_perplexity": held_out,
                "best_val_perplexity": held_out,
                **dict.fromkeys(metrics_of_test(), np.nan),  # no test text was kept
            }
            rows.append(
                {
                    "run_id": f"{setting_id}-{seed}",
                    "setting_id": setting_id,
                    "seed": seed,
                    "status": "ok" if ok else "diverged",
                    **dict.fromkeys(KNOBS),
                    **setting,
                    **metrics,
                    "diverged_epoch": None if ok else 40 + seed,
                    "parameters": 1000,
                    "updates_per_epoch": 8,
                }
            )
    return in_order(pd.DataFrame(rows))


def settings_of(runs: pd.DataFrame, timed: bool = False) -> pd.DataFrame:
    """The settings, with tokens/s that fall with num_hiddens where `timed`."""
    settings = aggregate(runs)
    speed = 3e6 / settings["num_hiddens"] / settings["model"].map(LEVEL_OF_MODEL).fillna(1.3) ** -1 if timed else np.nan
    return settings.assign(
        tokens_per_s=speed, tokens_per_s_low=speed * 0.97, tokens_per_s_high=speed * 1.03, cpu="AMD EPYC 9V74"
    )


def published_of(settings: pd.DataFrame, timed: bool = True) -> pd.DataFrame:
    """Published values a little beside the settings'."""
    return pd.DataFrame(
        {
            "setting_id": settings["setting_id"],
            "published_perplexity": settings["perplexity"].fillna(10) * 1.1,
            "published_tokens_per_s": 0.6 * settings["tokens_per_s"].astype(float) if timed else np.nan,
            "source": "table18_19",
            "differs": "",
        }
    )


def curves_of(runs: pd.DataFrame, epochs: int = 500) -> pd.DataFrame:
    """Curves that fall from 20 to each run's perplexity, with spikes; a diverged run's ends at its epoch."""
    parts = []
    epoch = np.arange(1, epochs + 1)
    for number, run in enumerate(runs.to_dict("records")):
        rng = np.random.default_rng(number)
        end = run["perplexity"] if run["status"] == "ok" else 9.0
        train = end + (20 - end) * np.exp(-epoch / (epochs / 6)) * np.exp(0.02 * rng.standard_normal(epochs))
        train *= np.where(rng.random(epochs) < 0.01, 1.35, 1)
        held_out = 8 + 8 * np.exp(-epoch / (epochs / 10)) + 20 * epoch / epochs / end
        curve = pd.DataFrame({"run_id": run["run_id"], "epoch": epoch, "perplexity": train, "val_perplexity": held_out})
        if run["status"] != "ok":
            curve.loc[curve["epoch"] >= run["diverged_epoch"], ["perplexity", "val_perplexity"]] = np.nan
        parts.append(curve)
    return pd.concat(parts, ignore_index=True)


def published_layers(setting: Mapping[str, Any]) -> float:
    """The published perplexity of stacked layers."""
    return {1: 4.2, 2: 2.09, 3: 2.54, 4: 17.4, 5: 17.5}[setting["layers"]]


def gates(setting: Mapping[str, Any]) -> float:
    """About what the gate study finds."""
    return dict(zip(GATES, (1.05, 1.04, 1.1, 1.4, 10.0, 1.12, 1.3), strict=True))[setting["model"]]


SIZES = (32, 64, 128, 256, 512, 1024)
LRS = (0.01, 0.1, 0.25, 0.5, 1.0)

SHAPES: dict[str, pd.DataFrame] = {
    "one_knob": sweep({"num_hiddens": SIZES}),
    "lr": sweep({"lr": LRS}, perplexity=lambda s: 1 + 0.12 / s["lr"]),
    "gates": sweep({"model": GATES}, perplexity=gates),
    "models_by_sizes": sweep({"model": ("rnn", "lstm", "gru"), "num_hiddens": SIZES}, seeds=20),
    "layers": sweep({"model": ("lstm",), "layers": (1, 2, 3, 4, 5)}, perplexity=published_layers),
    "sampling": sweep({"sampling": ("sequential", "random"), "formulation": ("textbook",)}),
    "sampling_by_clip": sweep(
        {"sampling": ("sequential", "random"), "clip": (None, 1.0)},
        diverges=lambda s, seed: s["clip"] is None and (s["sampling"] == "sequential" or seed == 0),
    ),
    "beside_each_other": sweep(
        {"model": ("lstm", "gru"), "sampling": ("sequential", "random"), "clip": (None, 0.1, 1.0)},
        diverges=lambda s, seed: seed == 0,
    ),
    "model_by_lr_by_size": sweep({"model": ("rnn", "lstm", "gru"), "lr": LRS, "num_hiddens": SIZES}, seeds=3),
    "model_by_sampling": sweep({"model": ("rnn", "gru"), "sampling": ("sequential", "random"), "num_hiddens": SIZES}),
    "two_numbers": sweep({"lr": LRS, "num_hiddens": SIZES}, seeds=3),
    "twenty_values": sweep({"lr": tuple(round(0.05 * i, 2) for i in range(1, 21))}),
    "twenty_settings": sweep(
        {
            "model": ("rnn", "lstm", "gru", "gru-no-reset"),
            "formulation": ("torch", "textbook"),
            "optimizer": tuple("abc"),
        }
    ),
    "all_diverged": sweep(
        {"lr": (0.5, 1.0, 2.0, 4.0)}, diverges=lambda s, seed: s["lr"] > 1 or (s["lr"] == 1 and not seed)
    ),
    "models_diverged": sweep(
        {"model": ("rnn", "lstm", "gru"), "lr": LRS}, diverges=lambda s, seed: s["lr"] == 1 and s["model"] != "gru"
    ),
    "nothing_finished": sweep({"lr": (2.0, 4.0)}, diverges=lambda s, seed: True),
    "one_setting": sweep({"model": ("gru",)}),
    "one_seed": sweep({"model": ("rnn", "gru"), "num_hiddens": SIZES[:3]}, seeds=1),
    "long_names": sweep(
        {"corpus": tuple(f"/home/somebody/texts/a_rather_long_name_of_book_{i}.txt" for i in range(3))}
    ),
    "chinese": sweep({"corpus": ("红楼梦", "三国演义"), "num_hiddens": SIZES[:3]}),
    "many_lines": sweep({"corpus": tuple(f"book{i}" for i in range(15)), "num_hiddens": SIZES[:3]}, seeds=2),
    "many_rows": sweep({"corpus": tuple(f"book{i}" for i in range(60))}, seeds=2),
}
"""Name → runs."""


ASTRAY = {"model": ["rnn", "gru"], "lr": [0.25, 0.5, 1.0, 2.0]}


def goes_astray(setting: Mapping[str, Any]) -> float:
    return 1e6 if setting["model"] == "rnn" and setting["lr"] == 2 else 2.0
