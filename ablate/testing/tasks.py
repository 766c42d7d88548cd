"""Whether a task of one's own keeps what training, engines and reports rely on. CPU, about a second."""

import math
from collections.abc import Sequence
from itertools import islice
from typing import Any

import torch
from torch import Generator, Tensor

from ablate.config.composing import compose
from ablate.config.errors import ConfigError, UserError
from ablate.config.metrics import METRICS
from ablate.config.registry import DATASETS, TASKS
from ablate.config.resolved import Resolved, resolve
from ablate.config.schema import DataConfig, TaskConfig
from ablate.data.corpora import load
from ablate.engines.autograd import AutogradProgram
from ablate.engines.cohort.stacked import StackedCohort
from ablate.networks.families import network_of
from ablate.networks.parameters import Features, Sizes, initial
from ablate.networks.targets import counted, loss_of, losses
from ablate.tasks import task_of
from ablate.tasks.facts import TaskFacts
from ablate.tasks.measured import final_scores, scores
from ablate.tasks.task import Minibatch, Task, as_int64

MINIBATCHES = 3
"""So many of an epoch are looked at."""
SEEDS = (1, 2)
TOLERANCE = 1e-9
"""By which engines may differ in float64, relative to a loss."""


def check_task(
    task: str | type[Task] | TaskFacts,
    data: str = "",
    num_steps: int = 12,
    batch_size: int = 4,
    path: str | None = None,
) -> None:
    """Raise an AssertionError that says what is wrong, unless the task does what it declares on one of its data sets.

    It checks that minibatches have the shapes and types that the network reads, and depend on the seed and on nothing
    else; that targets that are not scored count in no loss and no gradient; that gradients reach every parameter, in
    float64, and are the same in a cohort as in a single run; that the declared metrics are measured, finite and within
    their range; and that no held-out example is trained on, if the task says so (`disjoint`). `path` is the file of a
    data set that reads one.
    """
    facts = _facts(task)
    data = data or facts.data[0]
    assert path or not DATASETS[data].own_file, f"data={data} needs a file: give path=FILE"
    config = small_config(facts, data, num_steps, batch_size, path)
    bound = task_of(config, load(config.data))
    first = _epoch(bound, SEEDS[0])
    assert first, "an epoch has no minibatch"
    for X, Y in first:
        _check_minibatch(bound, X, Y, batch_size)
    _check_seeds(bound, first)
    if bound.held_out is not None:
        _check_minibatch(bound, *bound.held_out, None)
    _check_unscored(config, first[0])
    _check_gradients(config, bound, first[0])
    if facts.disjoint and bound.held_out is not None:
        _check_disjoint(bound, first)
    _check_measures(facts, bound)


def _facts(task: str | type[Task] | TaskFacts) -> TaskFacts:
    if isinstance(task, TaskFacts):
        return task
    facts = TASKS[task] if isinstance(task, str) else getattr(task, "facts", None)
    assert isinstance(facts, TaskFacts), f"{task!r} is no task; give a class with the decorator @ablate.task"
    return facts


def small_config(
    facts: TaskFacts, data: str, num_steps: int = 12, batch_size: int = 4, path: str | None = None, **own: Any
) -> Resolved:
    """A small setting of a task, whose own knobs are their defaults but for `own`."""
    base = compose(["model=gru", "device=cpu"])
    chosen = TaskConfig.of({"name": facts.name, **own}, given=True)
    held_out = 100 if facts.reads_text else 0
    return resolve(
        base.but(
            task=chosen,
            data=DataConfig.of({**base.data.own, "name": data, "path": path, **DATASETS[data].fixed}, given=True),
            num_hiddens=5,
            num_steps=num_steps,
            batch_size=batch_size,
            max_tokens=500,
            val_tokens=held_out,
            epochs=2,
            sampling="random",
            prefixes=[],
        )
    )


def _epoch(task: Task, seed: int) -> list[Minibatch]:
    return [as_int64(one) for one in islice(task.minibatches(Generator().manual_seed(seed)), MINIBATCHES)]


def _check_minibatch(task: Task, X: Tensor, Y: Tensor, batch_size: int | None) -> None:
    assert Y.dim() == 2, f"targets are {tuple(Y.shape)}; they must be (T, B)"
    scored = counted(Y)
    assert bool(scored.any()), "a minibatch has no scored target"
    if batch_size is not None:
        assert Y.shape[1] <= batch_size, f"a minibatch has {Y.shape[1]} sequences, with batch_size={batch_size}"
    if isinstance(task.sizes, Features):
        expected = (*Y.shape, task.sizes.inputs)
        assert tuple(X.shape) == expected, f"inputs are {tuple(X.shape)}; with these targets they must be {expected}"
        assert X.is_floating_point(), f"inputs are {X.dtype}; real numbers have a floating dtype"
        assert bool(X.isfinite().all()), "an input is not finite"
        outputs = task.sizes.outputs
    elif isinstance(task.sizes, Sizes):
        assert X.shape[:1] == (2,), f"inputs are {tuple(X.shape)}; an encoder–decoder reads (2, T, B)"
        outputs = task.sizes.target
    else:
        assert X.shape == Y.shape, f"inputs are {tuple(X.shape)}, targets {tuple(Y.shape)}; both must be (T, B)"
        assert not X.is_floating_point(), f"inputs are {X.dtype}; tokens are integers (facts: real_inputs=True)"
        assert 0 <= int(X.min()) <= int(X.max()) < task.sizes, f"a token is none of the {task.sizes}"
        outputs = task.sizes
    if not Y.is_floating_point():
        highest = int(Y[scored].max())
        assert 0 <= int(Y[scored].min()) <= highest < outputs, f"a target, {highest}, is none of the {outputs} outputs"


def _check_seeds(task: Task, first: Sequence[Minibatch]) -> None:
    again, other = _epoch(task, SEEDS[0]), _epoch(task, SEEDS[1])
    same = all(_equal(a, b) for a, b in zip(first, again, strict=True))
    assert same, "the same seed gives other minibatches: draw from `order` alone"
    assert len(other) != len(first) or not all(_equal(a, b) for a, b in zip(first, other, strict=True)), (
        "another seed gives the very same minibatches: draw from `order`"
    )


def _equal(one: Minibatch, other: Minibatch) -> bool:
    return all(
        a.shape == b.shape and bool(torch.equal(a.nan_to_num(), b.nan_to_num()))
        for a, b in zip(one, other, strict=True)
    )


def _check_unscored(config: Resolved, minibatch: Minibatch) -> None:
    """The loss of a minibatch is that of its scored targets, whatever stands at the others."""
    _, Y = minibatch
    task = TASKS[config.task.name]
    outputs = _outputs(config)
    logits = torch.randn(*Y.shape, outputs, dtype=torch.float64, generator=Generator().manual_seed(0)).requires_grad_()
    hidden = Y.clone()
    hidden[:, 0] = math.nan if Y.is_floating_point() else -1
    try:
        each = losses(logits, hidden, loss_of(config)).view(Y.shape)
    except UserError as error:
        raise AssertionError(str(error)) from error
    assert bool(each.isfinite().all()), f"the loss of task {task.name} is not finite where a target is not scored"
    (gradient,) = torch.autograd.grad(each.sum(), logits)
    assert bool((each[:, 0] == 0).all()), "what is not scored has a loss"
    assert bool((gradient[:, 0] == 0).all()), "what is not scored has a gradient"
    assert bool(gradient.isfinite().all()), "a gradient of the loss is not finite"


def _outputs(config: Resolved) -> int:
    sizes = task_of(config, load(config.data)).sizes
    return sizes.outputs if isinstance(sizes, Features) else sizes.target if isinstance(sizes, Sizes) else sizes


def _check_gradients(config: Resolved, task: Task, minibatch: Minibatch) -> None:
    """In float64: every parameter has a gradient, and a cohort's losses are those of single runs."""
    X, Y = minibatch
    X = X.double() if X.is_floating_point() else X
    own = [initial(config, task.sizes, Generator().manual_seed(seed), torch.float64) for seed in SEEDS]
    leaves = {name: value.clone().requires_grad_() for name, value in own[0].items()}
    network = network_of(config)(config, task.sizes, leaves)  # type: ignore[arg-type]
    logits, _ = network(X, network.initial_state(Y.shape[1]))
    mean = losses(logits, Y, loss_of(config)).sum() / counted(Y).sum()
    gradients = torch.autograd.grad(mean, list(leaves.values()), allow_unused=True)
    for name, gradient in zip(leaves, gradients, strict=True):
        assert gradient is not None, f"no gradient reaches {name}"
        assert bool(gradient.isfinite().all()), f"the gradient of {name} is not finite"
    single = [AutogradProgram("eager", config, task.sizes, one).evaluate(X, Y).item() for one in own]
    cohort = StackedCohort([config] * len(own), task.sizes, own).evaluate(X, Y).tolist()
    for k, (alone, together) in enumerate(zip(single, cohort, strict=True)):
        assert math.isclose(alone, together, rel_tol=TOLERANCE), (
            f"replica {k} has the loss {together} in a cohort and {alone} by itself"
        )
    assert math.isclose(single[0], mean.item(), rel_tol=TOLERANCE), "evaluation has another loss than training"


def _check_measures(facts: TaskFacts, task: Task) -> None:
    parameters = initial(task.config, task.sizes, Generator().manual_seed(0))
    try:
        found = {
            "metrics": scores(task, parameters),
            "final_metrics": final_scores(task, parameters, perplexity=2.0),
        }
    except ConfigError as error:
        raise AssertionError(str(error)) from error
    for where, values in found.items():
        named = getattr(facts, where)
        for name in named:
            if name not in values:
                held = METRICS[name].held_out or task.held_out is None
                assert held, f"its facts name {name} ({where}), which it does not measure"
                continue
            low, high = METRICS[name].bounds
            value = values[name]
            assert math.isfinite(value), f"{name} is {value}"
            assert low <= value <= high, f"{name} is {value}; it lies between {low:g} and {high:g}"
            assert value > 0 or not METRICS[name].in_logs, (
                f"{name} is {value}; what may be 0 or below needs a top, or logs=False"
            )


def _check_disjoint(task: Task, training: Sequence[Minibatch]) -> None:
    assert task.held_out is not None
    held_out = _examples(task.held_out)
    for minibatch in training:
        both = held_out & _examples(minibatch)
        assert not both, f"{len(both)} held-out examples are trained on, too"


def _examples(minibatch: Minibatch) -> set[bytes]:
    X, Y = (part.cpu() for part in minibatch)
    columns = X.transpose(0, 1) if X.dim() == 3 and X.is_floating_point() else X.movedim(-1, 0)
    return {
        x.contiguous().numpy().tobytes() + y.contiguous().numpy().tobytes() for x, y in zip(columns, Y.T, strict=True)
    }
