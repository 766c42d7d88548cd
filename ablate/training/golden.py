"""The numbers of the code as it is, as those of records that have none of their own: `behaviour.json`.

    python -m ablate.training.golden

`tests/training/test_behaviour.py` says when it is right to write them.
"""

import json
from collections.abc import Iterable, Iterator
from dataclasses import replace

from ablate.config.choice_files import summaries
from ablate.config.composing import compose, from_dict
from ablate.config.registry import TASKS
from ablate.config.resolved import Resolved, resolve
from ablate.config.schema import CONFIG_ROOT
from ablate.records.files import entries, write_atomically
from ablate.records.reading import RecordError
from ablate.records.results import records
from ablate.training.behaviour import GOLDEN_PATH, keys
from ablate.training.probes import probe


def write_golden(configs: Iterable[Resolved]) -> int:
    """Write `GOLDEN` anew from the code as it is, for these configs; the number of probes."""
    names = sorted({key for config in configs for key in keys(config).values()})
    lines = [f"{json.dumps(name)}: {json.dumps(probe(name))}" for name in names]
    write_atomically(GOLDEN_PATH, ("{\n" + ",\n".join(lines) + "\n}\n").encode())
    return len(names)


def families() -> Iterator[Resolved]:
    """A config of each family that is shipped, and of each that a record in `results/` without numbers belongs to."""
    models = sorted(summaries("model"))
    for model in models:
        for formulation in ("torch", "textbook"):
            one = _composed(f"model={model}", f"formulation={formulation}")
            yield from (one, one.but(layers=2), one.but(layers=2, dropout=0.5))
    for model in ("rnn", "gru", "lstm"):
        one = _composed(f"model={model}")
        for init in ("torch", "normal", "xavier", "orthogonal"):
            yield from (one.but(init=init, forget_bias=bias) for bias in (None, 1.0))
    for optimizer in sorted(summaries("optimizer")):
        one = _composed(f"optimizer={optimizer}")
        for decay in (0.0, 0.1):
            options = one.optimizer.but(weight_decay=decay)
            yield from (one.but(optimizer=options, clip=clip) for clip in (None, 1.0))
    for task in TASKS:
        for name in task.data:
            one = _composed(f"task={task.name}")
            one = one.but(data=replace(one.data, name=name))
            yield from (one.but(sampling=how) for how in ("sequential", "random", "sequential-reset"))
    for folder in entries(CONFIG_ROOT / "results"):
        for record in records(folder):
            if not isinstance(record, RecordError) and not record["code"]:
                yield from_dict(record["config"])


def _composed(*overrides: str) -> Resolved:
    return resolve(compose(overrides))


if __name__ == "__main__":
    print(f"wrote {GOLDEN_PATH.name}: {write_golden(families())} probes")
