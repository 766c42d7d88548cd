"""A run of a task without a network of ours: a function of a person's own, called once."""

import math
import time
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from typing import Any

from ablate.config.identity import run_id, run_identity, setting_id
from ablate.config.schema import Config, resolve, to_dict
from ablate.config.validation import FUNCTION
from ablate.data.corpora import Corpus
from ablate.records.environment import environment
from ablate.records.results import Record
from ablate.tasks import task_of
from ablate.training.trajectory import Stopped


def called(
    config: Config,
    corpus: Corpus,
    *,
    on_epoch: Callable[[int, float], None] | None = None,
    stop: Callable[[], bool] = lambda: False,
) -> Record:
    """The record of one run. `on_epoch(epoch, main metric)` after each epoch that the function reports.

    Raises what the function raises, and Stopped at the report after `stop()` became true.
    """
    task: Any = task_of(config, corpus)
    facts = config.task.thing
    started, clock = datetime.now(UTC), time.perf_counter()

    def reported(epoch: int, measured: Mapping[str, float]) -> None:
        if stop():
            raise Stopped
        if on_epoch and facts.main in measured:
            on_epoch(epoch, measured[facts.main])

    final, curve = task.call(reported)
    epochs = int(curve["epoch"][-1] or 0) if curve["epoch"] else 0
    sound = math.isfinite(final[facts.main])
    return Record(
        run_id=run_id(config, corpus.sha256),
        setting_id=setting_id(config, corpus.sha256),
        seed=config.seed,
        status="ok" if sound else "diverged",
        config=to_dict(resolve(config)),
        identity=run_identity(config, corpus.sha256),
        corpus={"name": corpus.name, "sha256": corpus.sha256, "unit": corpus.unit},
        metrics={name: value if sound and math.isfinite(value) else None for name, value in final.items()},
        counts={"epochs_done": epochs},
        text={},
        engine=FUNCTION,
        timing={
            "started": started.isoformat(timespec="seconds"),
            "wall_s": round(time.perf_counter() - clock, 3),
            "threads": 1,
            "device": "cpu",
        },
        environment=environment("cpu"),
        divergence=None if sound else {"epoch": epochs, "last_finite_loss": None, "cause": facts.main},
        curve=curve,
    )
