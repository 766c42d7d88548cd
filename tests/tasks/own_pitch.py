"""The task of docs/examples, small, and trained by an engine."""

import importlib.util
import sys
from pathlib import Path
from types import ModuleType

from ablate.config.registry import TASKS
from ablate.config.schema import Config, OptimizerConfig
from ablate.data.corpora import load
from ablate.records.record import Record
from ablate.testing.tasks import small_config
from ablate.training.choice import Choice
from ablate.training.loop import train_together

EXAMPLES = Path(__file__).resolve().parents[2] / "docs" / "examples"


def example(name: str) -> ModuleType:
    spec = importlib.util.spec_from_file_location(f"example_{name}", EXAMPLES / f"{name}.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module


def pitch(noise: float = 0.2) -> Config:
    facts = TASKS["pitch"]
    config = small_config(facts, "pitch", num_steps=16, batch_size=32, noise=noise)
    return config.but(
        num_hiddens=16, epochs=12, lr=0.02, optimizer=OptimizerConfig.of({"name": "adam", "lr": 0.02}, given=True)
    )


def trained(config: Config, engine: str, seeds: int = 2) -> list[Record]:
    corpus = load(config.data)
    many = [config.but(seed=seed) for seed in range(seeds)]
    if engine == "cohort":
        return train_together(many, corpus, Choice(engine, {}))
    return [record for one in many for record in train_together([one], corpus, Choice(engine, {}))]
