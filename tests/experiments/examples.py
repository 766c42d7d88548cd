"""The examples of the documents, and the records of what a command left."""

from pathlib import Path
from typing import Any

from ablate.records import results

EXAMPLES = Path(__file__).resolve().parents[2] / "docs" / "examples"
HILL = f"experiment={EXAMPLES / 'experiment.py'}:hill"
TWO = """
def train(lr=0.1, width=4, engine="a", loss=0.0, *, seed, report):
    report(1, loss=lr + seed / 100)
    return {"loss": lr + seed / 100, "gain": lr * width}
"""


def records(folder: Path) -> list[dict[str, Any]]:
    return [record for record in results.records(folder) if isinstance(record, dict)]
