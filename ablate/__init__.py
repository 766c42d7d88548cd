"""ablate: which part of a recurrent network, which hyperparameter matters, and by how much.

The package, from what everything rests on to what a person types; each room imports only those above it:

    config              what a setting is: knobs, what may be chosen by name, validation, identity, presets, errors
    stats               estimates, intervals, tests: the one kernel of all inference
    cells               recurrent cells, each its equations; what follows from them: parameters, states, gates, a graph
    optimizers          what moves the parameters: update rules on stacked parameters, and schedules of their rate
    records             what a run leaves on disk; locks; the machine and the code that computed it
    analysis            from records to tables: one row per run, per setting, per comparison; without torch
    data                texts, sentence pairs, sequences made by rule; vocabularies, minibatches
    networks            stacks of cells, directions, encoder–decoder, how their parameters start
    claims              statements in words, and which of them the runs confirm or refute
    engines             what computes a network and its gradients: cohorts of replicas, native, in torch, by autograd
    tasks               what a network is trained to do, what of it counts, and how well it is done
    experiments         any training function as a task of its own kind, its knobs read from the signature
    report              tables, figures and the page of a sweep
    training            the loop, random streams, checkpoints, and which engine computes a setting
    timing              tokens per second: the lane that has the machine to itself; benchmarks of engines
    testing             what a user's own cell, task or optimizer has to satisfy
    sweeping            a list of settings to finished runs: plan, skip, fuse, reuse, isolate, resume; ablation paths
    searching           Optuna: which configuration is best, over raced seeds, resumable, in several processes
    testing             what a person brings, checked: check_cell
    plugins             the classes that Hydra discovers
    cli                 the command line, its help and its one-line errors
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from ablate.cells.cell import cell as cell

_MODULES = {
    "cell": "ablate.cells.cell",
    "DataSet": "ablate.data.sets",
    "Features": "ablate.networks.parameters",
    "HeldOut": "ablate.tasks.facts",
    "Knob": "ablate.config.registry",
    "Metric": "ablate.config.metrics",
    "Task": "ablate.tasks.task",
    "Words": "ablate.tasks.facts",
    "experiment": "ablate.experiments.declaring",
    "figure": "ablate.report.sections",
    "metric": "ablate.config.metrics",
    "optimizer": "ablate.optimizers.optimizer",
    "schedule": "ablate.optimizers.schedule",
    "task": "ablate.tasks.facts",
}
"""Name → the module that defines it, imported when the name is first used: `import ablate` loads nothing else.

What users bring things of their own with, `ablate.cell`, `ablate.task` and the like, has its line here, too.
"""


def __getattr__(name: str) -> Any:
    if name not in _MODULES:
        raise AttributeError(f"module 'ablate' has no attribute {name!r}")
    value = getattr(import_module(_MODULES[name]), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *_MODULES})
