"""What is timed once for several settings, and what is timed anew. No engine is run. CPU, 1 s."""

from collections.abc import Callable
from typing import Any

import pytest
import torch

from ablate.config.resolved import resolve
from ablate.config.schema import Config
from ablate.training import choice
from ablate.training.choice import Choice, choose

Configs = Callable[..., Config]


def test_what_decides_the_speed_is_timed_anew(compose: Configs, monkeypatch: pytest.MonkeyPatch) -> None:
    """Other engines compute a network that drops tokens than one that does not, and other kernels clip by value."""
    timed: list[Any] = []
    monkeypatch.setattr(choice, "_choices", {})
    monkeypatch.setattr(choice, "agreeing", lambda config: ("cohort", "torch_nn"))
    monkeypatch.setattr(choice, "_fastest", lambda *of: timed.append(of[1]) or Choice("cohort", {"cohort": 1.0}))

    def count(*overrides: str) -> int:
        choose(resolve(compose("model=gru", "layers=2", *overrides)), 5, torch.device("cpu"), 1)
        return len(timed)

    assert count() == count("seed=3", "lr=0.1", "init=normal") == 1
    assert count("dropout=0.2") == count("dropout=0.5") == 2
    assert count("dropout_in=0.2") == 3
    assert count("dropout_out=0.2") == 4
    assert count("dropout_out=0.2", "dropout_mask=variational") == 5
    assert count("clip=1", "clip_by=value") == 6
