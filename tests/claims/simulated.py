"""Sweeps with a known truth: one claim of every kind, and settings for which it is true, false, barely either."""

import itertools
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from ablate.analysis.frames import KNOBS
from ablate.claims import Claim, Frames
from ablate.claims.measured import Samples
from ablate.claims.reading import make_claim

BASELINE = dict.fromkeys(KNOBS) | {
    "task": "language_model",
    "model": "rnn",
    "num_hiddens": 64,
    "layers": 1,
    "formulation": "torch",
    "sampling": "sequential",
    "num_steps": 35,
    "batch_size": 32,
    "optimizer": "sgd",
    "schedule": "constant",
    "lr": 1.0,
    "clip": 1.0,
    "epochs": 500,
    "max_tokens": 10000,
    "corpus": "time_machine",
}
SEED_SD, NOISE_SD = 0.03, 0.1
"""Standard deviations of the logarithm: what a seed does to all settings alike, and to each by itself.

That runs of one seed hardly have anything in common is what the records show.
"""
EPOCHS = 40
SEED_SPREAD, NOISE_SPREAD = 0.006, 0.02
"""The same of an accuracy, which has no logarithm."""
MEASURES = {"runs": "tail_perplexity", "shares": "tail_perplexity", "scores": "accuracy", "solved": "accuracy"}
"""Measure of a kind → the column in which the records have it."""


def grid(**knobs: Sequence[Any]) -> list[dict[str, Any]]:
    """Every combination, the last knob fastest."""
    return [dict(zip(knobs, values, strict=True)) for values in itertools.product(*knobs.values())]


@dataclass(frozen=True)
class Kind:
    """A predicate, its settings, and the medians of its metric in them for four truths.

    `weak` is true by half a standard deviation of what decides; `edge` is as near to true as what is not true can be:
    all parts hold by far but one, which is on its bound.
    """

    predicate: dict[str, Any]
    settings: list[dict[str, Any]]
    true: Sequence[float]
    false: Sequence[float]
    weak: Sequence[float]
    edge: Sequence[float]
    metric: str = "tail_perplexity"
    measure: str = "runs"
    """runs, shares (of failed runs), changes (late in the curve), processes, scores (from 0 to 1) or solved."""
    enough: int = 20
    thin: int = 8

    @property
    def claim(self) -> Claim:
        metric = {} if self.metric == "tail_perplexity" else {"metric": self.metric}
        return make_claim({"id": "c", "statement": "It is so."} | metric | self.predicate)

    def samples(self, medians: Sequence[float], n: int, rng: np.random.Generator, diverge: float = 0.0) -> Samples:
        """One sweep: n values for each setting, of which a share diverged."""
        shape = (len(self.settings), n)
        truth = np.array(medians, dtype=float)[:, None]
        if self.measure == "shares":
            failed = rng.random(shape) < truth
            values = np.where(failed, np.where(rng.random(shape) < 0.5, math.inf, 17.0), 1.5)
        elif self.measure == "solved":
            solved = rng.random(shape) < truth
            values = np.where(solved, rng.uniform(0.99, 1, shape), np.where(rng.random(shape) < 0.5, -math.inf, 0.98))
        elif self.measure == "scores":
            values = truth + rng.normal(0, SEED_SPREAD, n) + rng.normal(0, NOISE_SPREAD, shape)
            values = values.clip(0, 1)
        elif self.measure in ("changes", "processes"):
            values = truth * np.exp(rng.normal(0, 0.01, shape))
        else:
            values = truth * np.exp(rng.normal(0, SEED_SD, n) + rng.normal(0, NOISE_SD, shape))
        worst = -math.inf if self.measure in ("scores", "solved") else math.inf
        values = np.where(rng.random(shape) < diverge, worst, values)
        settings = {str(k): pd.Series(row, index=pd.Index(range(n), name="seed")) for k, row in enumerate(values)}
        unit = "processes" if self.measure == "processes" else "seeds"
        return Samples(settings, metric=self.metric, unit=unit)

    def frames(self, samples: Samples) -> Frames:
        """The same as the records would have it."""
        rows = [
            {
                **BASELINE,
                **knobs,
                "setting_id": str(k),
                "run_id": f"{k}-{seed}",
                "seed": seed,
                "status": "ok" if math.isfinite(value) else "diverged",
                MEASURES.get(self.measure, "tail_perplexity"): value
                if math.isfinite(value) and self.measure in MEASURES
                else math.nan,
            }
            for k, knobs in enumerate(self.settings)
            for seed, value in samples.values[str(k)].items()
        ]
        speed = [
            {"setting_id": setting, "machine": "m", "threads": 1, "launch": launch, "tokens_per_s": value}
            for setting, values in samples.values.items()
            for launch, value in values.items()
            if self.measure == "processes"
        ]
        return Frames(pd.DataFrame(rows), pd.DataFrame(self.curves(samples)), pd.DataFrame(speed))

    def curves(self, samples: Samples) -> Iterator[dict[str, Any]]:
        """Flat but for a step before the last 5 % of the epochs."""
        if self.measure != "changes":
            return
        for setting, values in samples.values.items():
            for seed, change in values.items():
                for epoch in range(1, EPOCHS + 1):
                    late = epoch > EPOCHS * 0.95
                    yield {"run_id": f"{setting}-{seed}", "epoch": epoch, "perplexity": 3 * (change if late else 1)}


STEP = math.exp(0.5 * NOISE_SD * 2**0.5)
"""A ratio that a pair of runs shows by half a standard deviation."""
RISE = 0.5 * NOISE_SPREAD * 2**0.5
"""The same of a difference."""

KINDS = {
    "order": Kind(
        {"order": {"along": "model", "ascending": ["gru", "lstm", "rnn"]}},
        grid(num_hiddens=[32, 64], model=["gru", "lstm", "rnn"]),
        true=[2, 3, 4, 1.2, 1.5, 2],
        false=[2, 3, 4, 1.5, 2, 1.5],
        weak=[2, 3, 4, 1.2, 1.2 * STEP, 2],
        edge=[2, 3, 4, 1.2, 1.2, 2],
    ),
    "order of places": Kind(
        {"order": {"along": "model", "ascending": [["gru", "lstm"], "rnn"]}},
        grid(model=["gru", "lstm", "rnn"]),
        true=[2, 1.5, 3],
        false=[2, 4, 3],
        weak=[2, 3 / STEP, 3],
        edge=[2, 3, 3],
    ),
    "order in most": Kind(
        {"order": {"along": "model", "ascending": ["gru", "lstm"], "in": "most"}},
        grid(num_hiddens=[32, 64, 128], model=["gru", "lstm"]),
        true=[2, 3, 2, 3, 3, 2],
        false=[2, 3, 3, 2, 3, 2],
        weak=[2, 3, 2, 2 * STEP, 3, 2],
        edge=[2, 3, 2, 2, 3, 2],
    ),
    "monotone": Kind(
        {"monotone": {"along": "num_hiddens", "direction": "falls"}},
        grid(num_hiddens=[32, 64, 128]),
        true=[3, 2, 1.5],
        false=[3, 2, 2.5],
        weak=[3, 2, 2 / STEP],
        edge=[3, 2, 2],
    ),
    "monotone with a margin": Kind(
        {"monotone": {"along": "num_hiddens", "direction": "rises", "margin": 0.1}},
        grid(num_hiddens=[32, 64, 128]),
        true=[2, 3, 3],
        false=[2, 3, 2.3],
        weak=[2, 3, 3 / 1.1 * STEP],
        edge=[2, 3, 3 / 1.1],
    ),
    "u_shape": Kind(
        {"u_shape": {"along": "batch_size", "optimum": 32}},
        grid(batch_size=[16, 32, 64]),
        true=[2, 1.5, 2],
        false=[1.2, 1.5, 2],
        weak=[2, 1.5, 1.5 * STEP],
        edge=[2, 1.5, 1.5],
    ),
    "u_shape with a margin": Kind(
        {"u_shape": {"along": "layers", "optimum": 2, "margin": 0.1}},
        grid(layers=[1, 2, 3, 4]),
        true=[3, 1.5, 5, 5],
        false=[3, 1.5, 1.2, 5],
        weak=[3, 1.5, 5, 5 / 1.1 * STEP],
        edge=[3, 1.5, 5, 5 / 1.1],
    ),
    "u_shape, peak somewhere": Kind(
        {"u_shape": {"along": "batch_size", "peak": True}},
        grid(batch_size=[16, 32, 64, 128]),
        true=[1e4, 3e4, 5e4, 4e4],
        false=[1e4, 3e4, 4e4, 5e4],
        weak=[1e4, 3e4, 5e4, 5e4 * math.exp(-0.017)],
        edge=[1e4, 3e4, 5e4, 5e4],
        metric="tokens_per_s",
        measure="processes",
        enough=5,
        thin=3,
    ),
    "ratio": Kind(
        {"ratio": {"of": {"model": "gru"}, "to": {"model": "rnn"}, "below": 0.9}},
        grid(model=["gru", "rnn"]),
        true=[1.2, 2],
        false=[2, 2],
        weak=[1.8 / STEP, 2],
        edge=[1.8, 2],
    ),
    "ratio of speeds": Kind(
        {"ratio": {"of": {"model": "rnn"}, "to": {"model": "gru"}, "above": 1}},
        grid(model=["gru", "rnn"]),
        true=[5e4, 6e4],
        false=[5e4, 4e4],
        weak=[5e4, 5e4 * math.exp(0.01)],
        edge=[5e4, 5e4],
        metric="tokens_per_s",
        measure="processes",
        enough=5,
        thin=5,
    ),
    "equivalent": Kind(
        {"equivalent": {"of": {"model": "gru"}, "to": {"model": "rnn"}, "margin": 0.15}},
        grid(model=["gru", "rnn"]),
        true=[2, 2],
        false=[2, 3],
        weak=[2 * 1.15 / STEP, 2],
        edge=[2 * 1.15, 2],
    ),
    "no_trend": Kind(
        {"no_trend": {"along": "num_steps", "margin": 0.2}},
        grid(num_steps=[10, 20, 40]),
        true=[2, 2.5, 2],
        false=[2, 2.2, 3],
        weak=[2, 2, 2 * 1.2 / STEP],
        edge=[2, 2, 2 * 1.2],
    ),
    "no_trend of speeds": Kind(
        {"no_trend": {"along": "lr", "margin": 0.05}},
        grid(lr=[0.01, 0.1, 1.0]),
        true=[5e4, 5.2e4, 5e4],
        false=[5e4, 5e4, 6e4],
        weak=[5e4, 5e4, 5e4 * 1.05 * math.exp(-0.01)],
        edge=[5e4, 5e4, 5e4 * 1.05],
        metric="tokens_per_s",
        measure="processes",
        enough=5,
        thin=5,
    ),
    "narrows": Kind(
        {"narrows": {"along": "num_hiddens", "between": {"model": ["rnn", "gru"]}}},
        grid(num_hiddens=[32, 64, 128], model=["gru", "rnn"]),
        true=[2, 4, 2, 5, 2, 2.2],
        false=[2, 3, 2, 3, 2, 5],
        weak=[2, 4, 2, 3, 2, 4 / STEP**2**0.5],
        edge=[2, 4, 2, 3, 2, 4],
    ),
    "fails at least": Kind(
        {"fails": {"above": 9.5, "at_least": 0.8}},
        [{}],
        true=[1.0],
        false=[0.3],
        weak=[0.95],
        edge=[0.8],
        measure="shares",
    ),
    "fails at most": Kind(
        {"fails": {"above": 9.5, "at_most": 0.2}},
        [{}],
        true=[0.0],
        false=[0.7],
        weak=[0.05],
        edge=[0.2],
        measure="shares",
    ),
    "converged": Kind(
        {"converged": {"within": 0.02}},
        [{}],
        true=[1.0],
        false=[0.95],
        weak=[math.exp(0.005) / 1.02],
        edge=[1 / 1.02],
        measure="changes",
    ),
    "not_converged": Kind(
        {"not_converged": {"within": 0.02}},
        [{}],
        true=[0.95],
        false=[1.0],
        weak=[math.exp(-0.005) / 1.02],
        edge=[1 / 1.02],
        measure="changes",
    ),
    "order of scores": Kind(
        {"order": {"along": "model", "ascending": ["rnn", "gru"]}},
        grid(num_steps=[10, 20], model=["gru", "rnn"]),
        true=[0.9, 0.8, 0.7, 0.3],
        false=[0.8, 0.9, 0.7, 0.3],
        weak=[0.7 + RISE, 0.7, 0.7, 0.3],
        edge=[0.7, 0.7, 0.7, 0.3],
        metric="accuracy",
        measure="scores",
    ),
    "monotone with a margin, of scores": Kind(
        {"monotone": {"along": "num_steps", "direction": "falls", "margin": 0.05}},
        grid(num_steps=[10, 20, 50]),
        true=[0.8, 0.5, 0.5],
        false=[0.8, 0.5, 0.7],
        weak=[0.8, 0.5, 0.55 - RISE],
        edge=[0.8, 0.5, 0.55],
        metric="accuracy",
        measure="scores",
    ),
    "u_shape of scores, peak": Kind(
        {"u_shape": {"along": "num_hiddens", "optimum": 64, "peak": True, "margin": 0.05}},
        grid(num_hiddens=[32, 64, 128]),
        true=[0.5, 0.8, 0.6],
        false=[0.5, 0.6, 0.8],
        weak=[0.5, 0.8, 0.8 - RISE],
        edge=[0.5, 0.8, 0.8],
        metric="accuracy",
        measure="scores",
    ),
    "difference": Kind(
        {"difference": {"of": {"model": "gru"}, "to": {"model": "rnn"}, "above": 0.1}},
        grid(model=["gru", "rnn"]),
        true=[0.8, 0.5],
        false=[0.55, 0.5],
        weak=[0.6 + RISE, 0.5],
        edge=[0.6, 0.5],
        metric="accuracy",
        measure="scores",
    ),
    "equivalent scores": Kind(
        {"equivalent": {"of": {"model": "gru"}, "to": {"model": "rnn"}, "margin": 0.05}},
        grid(model=["gru", "rnn"]),
        true=[0.5, 0.5],
        false=[0.5, 0.6],
        weak=[0.55 - RISE, 0.5],
        edge=[0.55, 0.5],
        metric="accuracy",
        measure="scores",
    ),
    "no_trend of scores": Kind(
        {"no_trend": {"along": "num_steps", "margin": 0.1}},
        grid(num_steps=[10, 20, 40]),
        true=[0.5, 0.6, 0.5],
        false=[0.5, 0.55, 0.7],
        weak=[0.5, 0.5, 0.6 - RISE],
        edge=[0.5, 0.5, 0.6],
        metric="accuracy",
        measure="scores",
    ),
    "narrows, of scores": Kind(
        {"narrows": {"along": "num_hiddens", "between": {"model": ["gru", "rnn"]}}},
        grid(num_hiddens=[32, 64, 128], model=["gru", "rnn"]),
        true=[0.8, 0.3, 0.8, 0.2, 0.8, 0.7],
        false=[0.8, 0.7, 0.8, 0.7, 0.8, 0.3],
        weak=[0.8, 0.5, 0.8, 0.6, 0.8, 0.5 + RISE * 2**0.5],
        edge=[0.8, 0.5, 0.8, 0.6, 0.8, 0.5],
        metric="accuracy",
        measure="scores",
    ),
    "solves": Kind(
        {"solves": {"at_least": 0.99, "in_share": 0.8}},
        [{}],
        true=[1.0],
        false=[0.3],
        weak=[0.95],
        edge=[0.8],
        metric="accuracy",
        measure="solved",
    ),
    "does_not_solve": Kind(
        {"does_not_solve": {"at_least": 0.99, "in_share": 0.8}},
        [{}],
        true=[0.0],
        false=[0.7],
        weak=[0.05],
        edge=[0.2],
        metric="accuracy",
        measure="solved",
    ),
}
