"""The comparison with FlashRNN, as far as it goes without it: what is missing, and that both get the same work. CPU."""

import runpy
from pathlib import Path
from typing import Any

import pytest
import torch

from ablate.networks.recurrence import recurrence

SCRIPT = Path(__file__).parents[2] / "docs" / "benchmarks" / "flashrnn_heads.py"


@pytest.fixture(scope="module")
def script() -> dict[str, Any]:
    return runpy.run_path(str(SCRIPT))


def test_what_is_missing_is_one_line(
    script: dict[str, Any], capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    assert script["main"]([]) == 1
    (line,) = capsys.readouterr().err.splitlines()
    assert "a CUDA device" in line


def test_both_get_the_same_work(script: dict[str, Any]) -> None:
    """By the published equations: g = R s + x + b for each head, here those of an lstm, without our code."""
    R, T, B, H = 3, 4, 2, 5
    d = script["derivative"]("lstm")
    given = script["drawn"](d, R, T, B, H, torch.device("cpu"))
    (x, W, b), initial = script["as_heads"]("lstm", d, *given)
    h, c = initial[:, :, 0]
    outputs = []
    for t in range(T):
        i, f, z, o = torch.einsum("gnop,bnp->gbno", W, h) + x[:, t].transpose(0, 1) + b[:, None]
        c = f.sigmoid() * c + i.sigmoid() * z.tanh()
        h = o.sigmoid() * c.tanh()
        outputs.append(h)
    ours, _ = recurrence(d, *given)
    assert script["difference"](ours, torch.stack(outputs, 1)) < 1e-5
