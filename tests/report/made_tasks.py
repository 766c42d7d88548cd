"""Made-up runs of tasks beside language modelling, and what reports gather of them."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
from matplotlib.figure import Figure
from matplotlib.text import Text

from ablate.report.blocks import Attempts
from ablate.report.material import Material, gather
from tests.report.made import config, write_manifest, write_run

TASK = {"masked": 0.15, "symbols": 8, "sequences": 320, "pairs": 601, "val_pairs": 0, "embed": 32}
TASK |= {"context": "constant", "attention": False}
SEEDS = 6


def add(sweep: Path, settings: Mapping[str, Any], seed: int, perplexity: float, sha256: str = "", **more: Any) -> None:
    """A made-up run; `more`: what its record has beside, metrics by their names."""
    sha = {"sha256": sha256} if sha256 else {}
    run = write_run(sweep, settings, seed, perplexity, perplexity * 1.1, corpus=settings["data"]["name"], **sha)
    path = sweep / "runs" / f"{run}.json"
    record = json.loads(path.read_text())
    metrics = ("accuracy", "bleu", "course_bleu", "course_loss")
    record["metrics"] |= {name: more.pop(name) for name in metrics if name in more}
    path.write_text(json.dumps(record | more))


def gathered(sweep: Path) -> Material:
    write_manifest(sweep)
    return gather(sweep, Attempts(lambda line: pytest.fail(line)))


def of_task(name: str, model: str = "gru", **knobs: Any) -> dict[str, Any]:
    return config(model, **knobs) | {"task": {"name": name, **TASK}}


def texts(figure: Figure) -> str:
    """All that is written in a figure."""
    return " ".join(" ".join(text.get_text() for text in figure.findobj(Text)).split())
