"""ablate: which part of a recurrent network matters, which hyperparameter matters, and by how much.

The subpackages, called rooms, from what everything rests on to the command line; each imports some of those above it
and none below (docs/architecture.md has the table):

    config              what a setting is: knobs, what can be chosen by name, validation, identity, presets, errors
    stats               estimates, intervals, tests: all statistical inference
    cells               recurrent cells, each its equations; what follows from them: parameters, states, gates, a graph
    optimizers          update rules on stacked parameters, and schedules of the learning rate
    records             what a run leaves on disk; locks; the machine and the code that computed it
    analysis            from records to tables: one row per run, per setting, per comparison; without torch
    data                texts, sentence pairs, generated sequences; vocabularies, minibatches
    networks            stacks of cells, directions, encoder–decoder, initial parameters
    claims              statements in words, and which of them the runs confirm or refute
    engines             what computes a network and its gradients: cohorts of replicas, native, in torch, by autograd
    tasks               what a network is trained to do, what of it counts, and how well it is done
    experiments         any training function as a task of its own kind, its knobs read from the signature
    report              tables, figures and the page of a sweep
    training            the loop, random streams, checkpoints, and which engine computes a setting
    timing              tokens per second: the speed lane, which has the machine to itself; benchmarks of engines
    testing             what a user's own cell, task or optimizer has to satisfy
    sweeping            a list of settings to finished runs: plan, skip, fuse, reuse, isolate, resume; ablation paths
    searching           Optuna: which configuration is best, with several seeds each, resumable, in several processes
    export              records to other programs: CSV, Parquet, Excel, TensorBoard, MLflow, Weights & Biases
    api                 the Python interface: `ablate.sweep(…)` and what it returns
    plugins             the classes that Hydra discovers
    cli                 the command line, its help and its one-line errors

From Python, `import ablate` and:

    sweep       train the missing runs of a sweep: ablate.sweep(model=["gru", "lstm"], num_hiddens=[32, 256], seeds=5)
    load        the runs of one or several sweeps: ablate.load("results/a", "results/b")
    Sweep       what both return: .frame() .settings() .curves() .compare() .claim() .plot() .report() …
    module      the trained network of a run as a torch.nn.Module (of runs with keep="weights")
    generate    what the trained network of a run writes, or how it translates
    UserError   the error, one clear line, for mistakes that the caller can correct
    __version__ the version that is installed

For cells, tasks and the like of your own (docs/examples; `plugins=[mine.py]` loads a file of them):

    cell        @ablate.cell: a recurrent cell, by the equations of one step
    task        @ablate.task: what a network is trained to do, a class that derives from Task
    Task        the base of a task's code: its minibatches, its sizes, how well it is done
    DataSet     what a task is trained on
    Corpus      what the loader of a data set returns; Corpus.of_arrays for numbers of your own
    HeldOut     what of a task's data is held out
    Words       how tables, axes and sentences word what a task does
    Features    the sizes of a network that reads real numbers instead of tokens
    metric      @ablate.metric: a number that is computed from what a run recorded
    Metric      what tables, figures, claims and searches need to know about a number that a task measures
    optimizer   @ablate.optimizer: an update rule
    schedule    @ablate.schedule: what the learning rate is multiplied by in the course of training
    figure      @ablate.figure: a figure of every report
    experiment  @ablate.experiment: any training function, its knobs read from the signature
    Knob        a knob of a thing's own: type, default, bounds, choices
"""

import os
from importlib import import_module
from typing import TYPE_CHECKING, Any

# A product that MKL computes in a batch is otherwise not, on some processors, what it computes alone, and a replica in
# a crowd not what it is by itself. MKL reads this at its first product.
os.environ.setdefault("MKL_CBWR", "AUTO")

if TYPE_CHECKING:
    from ablate.api.sweeps import Sweep as Sweep
    from ablate.api.sweeps import load as load
    from ablate.api.sweeps import sweep as sweep
    from ablate.api.trained import generate as generate
    from ablate.api.trained import module as module
    from ablate.cells.cell import cell as cell
    from ablate.config.errors import UserError as UserError
    from ablate.config.metrics import Metric as Metric
    from ablate.config.metrics import metric as metric
    from ablate.config.registry import Knob as Knob
    from ablate.data.corpora import Corpus as Corpus
    from ablate.data.sets import DataSet as DataSet
    from ablate.experiments.declaring import experiment as experiment
    from ablate.networks.parameters import Features as Features
    from ablate.optimizers.optimizer import optimizer as optimizer
    from ablate.optimizers.schedule import schedule as schedule
    from ablate.report.sections import figure as figure
    from ablate.tasks.facts import HeldOut as HeldOut
    from ablate.tasks.facts import Words as Words
    from ablate.tasks.facts import task as task
    from ablate.tasks.task import Task as Task

    __version__: str | None

_MODULES = {
    "Corpus": "ablate.data.corpora",
    "DataSet": "ablate.data.sets",
    "Features": "ablate.networks.parameters",
    "HeldOut": "ablate.tasks.facts",
    "Knob": "ablate.config.registry",
    "Metric": "ablate.config.metrics",
    "Sweep": "ablate.api.sweeps",
    "Task": "ablate.tasks.task",
    "UserError": "ablate.config.errors",
    "Words": "ablate.tasks.facts",
    "cell": "ablate.cells.cell",
    "experiment": "ablate.experiments.declaring",
    "figure": "ablate.report.sections",
    "generate": "ablate.api.trained",
    "load": "ablate.api.sweeps",
    "metric": "ablate.config.metrics",
    "module": "ablate.api.trained",
    "optimizer": "ablate.optimizers.optimizer",
    "schedule": "ablate.optimizers.schedule",
    "sweep": "ablate.api.sweeps",
    "task": "ablate.tasks.facts",
}
"""Name → the module that defines it, imported when the name is first used: `import ablate` loads nothing else.

What users bring things of their own with, `ablate.cell`, `ablate.task` and the like, has its line here, too.
"""


def _installed_version() -> str | None:
    """That of the installed distribution; None where only the source is there."""
    from ablate.records.environment import DISTRIBUTION, installed

    return installed(DISTRIBUTION)


if not TYPE_CHECKING:  # with it every misspelt name would be of any type

    def __getattr__(name: str) -> Any:
        if name == "__version__":
            value = _installed_version()
        elif name in _MODULES:
            value = getattr(import_module(_MODULES[name]), name)
        else:
            raise AttributeError(f"module 'ablate' has no attribute {name!r}")
        globals()[name] = value
        return value


def __dir__() -> list[str]:
    return sorted({*_MODULES, "__version__", *(name for name in globals() if name.startswith("__"))})
