"""Claims about tokens per second: whose timings count, and what a reader is told of them. CPU, 1 s."""

from typing import Any

import numpy as np
import pandas as pd
import pytest

from ablate.claims import Frames
from tests.claims.judged import MODELS, runs, verdict
from tests.claims.simulated import grid


def test_timings_of_the_machine_that_timed_most_settings_with_one_thread() -> None:
    frame = runs(grid(model=["gru", "lstm", "rnn"]), [2, 2, 2])
    rng = np.random.default_rng(8)

    def timed(setting: int, machine: str, threads: int, median: float) -> list[dict[str, Any]]:
        values = median * np.exp(rng.normal(0, 0.01, 5))
        common = {"setting_id": f"setting {setting}", "machine": machine, "threads": threads}
        return [common | {"launch": k, "tokens_per_s": value} for k, value in enumerate(values)]

    speed = pd.DataFrame(timed(0, "a", 1, 5e4) + timed(2, "a", 1, 6e4) + timed(2, "b", 1, 1e4) + timed(0, "a", 2, 9e4))
    order = {"order": MODELS, "metric": "tokens_per_s"}
    one = verdict(Frames(frame, speed=speed), **order)
    assert (one.verdict, one.n, one.method) == ("confirmed", 5, "Welch t, on logarithms")
    assert one.ratio == pytest.approx(5 / 6, rel=0.02)
    lstm = verdict(Frames(frame, speed=speed), metric="tokens_per_s", order=MODELS | {"ascending": ["lstm", "rnn"]})
    assert lstm.evidence == "No measured setting with model=lstm."


def timings(**of_setting: tuple[str, str, str, float]) -> pd.DataFrame:
    """Five processes of each setting: machine, engine, when, tokens per second."""
    spread = np.exp(np.linspace(-0.01, 0.01, 5))
    return pd.DataFrame(
        [
            {"setting_id": name.strip("_").replace("_", " "), "machine": machine, "threads": 1, "launch": k}
            | {"engine": engine, "measured_at": when, "tokens_per_s": speed * factor}
            for name, (machine, engine, when, speed) in of_setting.items()
            for k, factor in enumerate(spread)
        ]
    )


def test_speeds_of_different_engines_and_times_are_said() -> None:
    frame = runs(grid(model=["gru", "mgu"]), [2, 2])
    claim = {"order": {"along": "model", "ascending": ["mgu", "gru"]}, "metric": "tokens_per_s"}
    of_gru, early, late = ("m", "torch_nn", "2026-01-05T10:00:00+00:00", 9e4), "2026-01-05T10:03:00+00:00", "2026-01-08"
    for of_mgu, told in (
        (("m", "torch_nn", early, 5e4), ()),
        (("m", "eager", early, 5e4), ("timed with different engines, 1 setting by eager and 1 setting by torch_nn",)),
        (("m", "torch_nn", late, 5e4), ("not timed in turn, but up to 3 days apart",)),
        (("m", "eager", late, 5e4), ("different engines", "days apart")),
    ):
        one = verdict(Frames(frame, speed=timings(setting_0=of_gru, setting_1=of_mgu)), **claim)
        assert one.verdict == "confirmed"
        assert [said in one.evidence for said in ("different engines", "apart")] == [
            any(said in text for text in told) for said in ("different engines", "apart")
        ]
        assert all(text in one.evidence for text in told)


def test_speeds_come_from_the_machine_that_timed_what_is_compared() -> None:
    """Not from one that has timed more of the other settings."""
    frame = runs(grid(model=["gru", "lstm", "rnn", "mgu"]), [2] * 4)
    speed = pd.concat(
        [
            timings(setting_0=("a", "e", "", 5e4), setting_1=("a", "e", "", 5e4), setting_3=("a", "e", "", 5e4)),
            timings(setting_0=("b", "e", "", 5e4), setting_2=("b", "e", "", 6e4)),
        ]
    )
    assert verdict(Frames(frame, speed=speed), order=MODELS, metric="tokens_per_s").verdict == "confirmed"
