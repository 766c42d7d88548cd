"""Made-up sweeps for claims, and the verdict of one claim on them."""

from typing import Any

import numpy as np
import pandas as pd

from ablate.claims import Frames, Verdict
from ablate.claims.reading import make_claim
from ablate.claims.verdicts import judge
from tests.claims.simulated import BASELINE


def runs(settings: list[dict[str, Any]], medians: list[float], seeds: int = 10, **columns: Any) -> pd.DataFrame:
    """One row per run; the logarithms differ by no more than a tenth from seed to seed."""
    rng = np.random.default_rng(4)
    return pd.DataFrame(
        [
            BASELINE
            | columns
            | knobs
            | {"setting_id": f"setting {k}", "run_id": f"{k}-{seed}", "seed": seed, "status": "ok", "device": "cpu"}
            | {"tail_perplexity": median * np.exp(rng.normal(0, 0.05))}
            for k, (knobs, median) in enumerate(zip(settings, medians, strict=True))
            for seed in range(seeds)
        ]
    )


def verdict(frame: pd.DataFrame | Frames, **claim: Any) -> Verdict:
    frames = frame if isinstance(frame, Frames) else Frames(frame)
    return judge(frames, make_claim({"id": "c", "statement": "It is so."} | claim))


SAMPLING = {"along": "sampling", "ascending": ["sequential", "random"]}
MODELS = {"along": "model", "ascending": ["gru", "rnn"]}
