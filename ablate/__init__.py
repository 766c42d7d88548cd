"""ablate: which part of a recurrent network, which hyperparameter matters, and by how much.

The package, from what everything rests on to what a person types:

    config, compose    the knobs: what is legal, what decides an outcome, from overrides to a Config
    errors, files      one line for each error; the one module that writes files, and locks, the one that holds them
    knobs              which knobs follow from which, and which merely vary together
    metrics, results   what is measured; what a run leaves on disk
    data               texts, sentence pairs, sequences made by rule; vocabularies, minibatches
    models             cells, stacks and translators, readable and as torch.nn has them, on shared named parameters
    cohort             seeds as a tensor dimension: replicas trained as one program, native, in torch or by autograd
    engines            which of these computes a config, and what they have in common
    tasks, bleu        what a network is trained to do, what of it counts, and how well it is done
    training           from configs to records, one loop for all engines; trajectory, checkpoints of long runs
    behaviour          what the code computes, in numbers: whether a stored run is still that of today; its fixed draws
    speed              tokens per second: the lane that has the machine to itself
    sweeping           a list of configs to finished records: skip, fuse, reuse, isolate, resume, progress
    searching          Optuna: which configuration is best, over raced seeds, resumable, in several processes
    plugins            the classes that Hydra discovers
    stats              estimates, intervals, tests: the one kernel of all inference
    analysis, report   records to tables and figures, without torch
    claims             statements in words, and which of them the runs confirm or refute
    cli, explain       python -m ablate; its help and its one-line errors
    overrides, presets the words of a command and the files they name, checked before Hydra sees them
    entry, commands    how every command begins and ends; what it prints for a person to paste into a shell
    plan               python -m ablate.plan: what a sweep would take and can tell, before anything is spent
    path               python -m ablate.path: from a baseline to a target, one trained change at a time
    bench              python -m ablate.bench: timings of cells, and of the engines against each other
"""

from importlib import import_module
from typing import Any

_PUBLIC = {
    "DataSet": "ablate.data.sets",
    "Features": "ablate.networks.parameters",
    "HeldOut": "ablate.tasks.facts",
    "Knob": "ablate.config.registry",
    "Metric": "ablate.config.metrics",
    "Task": "ablate.tasks.task",
    "Words": "ablate.tasks.facts",
    "figure": "ablate.report.sections",
    "metric": "ablate.config.metrics",
    "task": "ablate.tasks.facts",
}
"""Public name → where it is; imported when it is asked for, since some of it needs torch."""

__all__ = list(_PUBLIC)


def __getattr__(name: str) -> Any:
    if name in _PUBLIC:
        return getattr(import_module(_PUBLIC[name]), name)
    raise AttributeError(f"module 'ablate' has no attribute {name!r}")
