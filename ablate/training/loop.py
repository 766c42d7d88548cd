"""Training one run: the published protocol, exactly, and what is measured beside it.

Every run is fully determined by its config, with `config.seed`; initial weights, data order and dropout each
draw from a generator of their own, whatever else is trained before, after or beside it.
"""

import copy
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict
from datetime import UTC, datetime
from typing import Any

import numpy as np
import torch
from torch import Generator, Tensor

from ablate.config.errors import ConfigError, counted
from ablate.config.identity import run_identity, setting_of, short_hash
from ablate.config.metrics import evaluation
from ablate.config.resolved import Resolved, resolve
from ablate.config.schema import Config, to_dict
from ablate.data.corpora import Corpus, as_used
from ablate.engines.cohort import Cohort
from ablate.engines.precision import as_asked, out_of_reach, tf32_state
from ablate.engines.program import Program
from ablate.networks.parameters import count, initial
from ablate.records.environment import environment
from ablate.records.record import Record
from ablate.tasks import task_of
from ablate.tasks.facts import measures
from ablate.tasks.measured import final_scores, scores
from ablate.tasks.task import Task
from ablate.training.agreement import disagreement
from ablate.training.behaviour import behaviour
from ablate.training.called import called
from ablate.training.checkpoints import Checkpoints
from ablate.training.choice import Choice, build, choose, kernel, no_such_products
from ablate.training.minibatches import measured_on
from ablate.training.trajectory import (
    Epoch,
    Replica,
    Stopped,
    Trajectory,
    Watched,
    epochs_ahead,
    measures_held_out,
    stream,
    train_epochs,
)

GRACE_S = 2.0
"""Seconds that a program may go on after it was asked to stop, to end its epoch and lose nothing of it."""
LONG_EPOCH_S = GRACE_S / 2
"""From this length on an epoch's beginning is held in memory, for a stop that cannot wait for its end."""

OnEpoch = Callable[[int, float], None]
Watch = Callable[[int, Sequence[Watched]], Sequence[bool]]
Keep = Callable[[str, Mapping[str, np.ndarray]], None]
"""Called with a run's id and its trained parameters by name, before there is a record of it."""


def train(config: Config, corpus: Corpus, on_epoch: OnEpoch | None = None) -> Record:
    """One run by itself, with the engine that `config.engine` asks for; see `train_together`."""
    own, device = as_used(resolve(config), corpus), resolve_device(config.device)
    choice = choose(own, task_of(own, corpus).sizes, device, replicas=1)
    return train_together([own], corpus, choice, on_epoch=on_epoch)[0]


@as_asked
def train_together(
    configs: Sequence[Resolved],
    corpus: Corpus,
    choice: Choice,
    *,
    on_epoch: OnEpoch | None = None,
    checkpoints: Checkpoints | None = None,
    stop: Callable[[], bool] = lambda: False,
    resumes: Callable[[], bool] = lambda: True,
    watch: Watch | None = None,
    keep: Keep | None = None,
) -> list[Record]:
    """Runs that differ in per-replica knobs only (one, unless the engine is cohort), as one program; where it can be
    filled up with zeros (`ablate.engines.cohort.padding`), in their width, too.

    Each run's outcome is that of training it by itself. `on_epoch(epoch, perplexity)` is called after every
    epoch with the mean over the runs; divergence, or a rule, ends that run only and is recorded. Where
    `checkpoints` has the runs' states, training goes on from there. `watch(epoch, replicas)` is called after every
    epoch but the last and tells which runs to go on with; the others leave no record. `keep` gets each run's trained
    parameters.
    Raises CombinationError where the corpus is too short, Stopped soon after `stop()` became true: with a checkpoint,
    if the program is one that `resumes()` later.
    """
    config = max(configs, key=lambda own: own.num_hiddens)
    if not config.task.thing.has_network:
        return [called(own, corpus, on_epoch=on_epoch, stop=stop, watch=watch) for own in configs]
    device = resolve_device(config.device)
    started, clock = datetime.now(UTC), time.perf_counter()
    task = task_of(config, corpus, device)
    tasks = {config.num_hiddens: task}
    for replica_config in configs:  # what is made of a trained network is made by the task of its own width
        if replica_config.num_hiddens not in tasks:
            tasks[replica_config.num_hiddens] = task_of(replica_config, corpus, device)
    V = task.sizes
    held_out, test = measured_on(task, task.held_out, "held-out data"), measured_on(task, task.test, "test data")
    updates = config.epochs * task.epoch_updates
    together, computed = len(configs), kernel(choice.engine, config, device)
    means = {"engine": choice.engine, "kernel": computed}  # others would go on with another rounding

    def begin() -> tuple[list[Replica], list[dict[str, Tensor]], list[Generator], Program]:
        parameters = [initial(own, V, stream(own.seed, "weights")) for own in configs]
        dropout = [stream(own.seed, "dropout") for own in configs]
        program = build(choice.engine, configs, V, parameters, dropout, device, updates)
        return [Replica(own) for own in configs], parameters, dropout, program

    replicas, parameters, dropout, program = begin()
    try:
        done, spent_s = _restore(program, replicas, checkpoints, means)
    except Exception as error:  # of another network: what it changed before it failed is not known
        assert checkpoints is not None
        checkpoints.say(f"{checkpoints.paths[0]} does not fit ({type(error).__name__}); starting from the beginning")
        replicas, parameters, dropout, program = begin()
        done, spent_s = 0, 0.0
    _tell(program, replicas)
    clock -= spent_s
    ending = Ending(stop, lambda: checkpoints is not None and resumes())
    held_states: list[dict[str, Any]] = []  # of the last epoch's end, where it is not on disk and the next may be lost

    def states_after(epoch: int) -> list[dict[str, Any]]:
        return _states(program, replicas, means | {"epoch": epoch, "spent_s": time.perf_counter() - clock})

    began = 0.0  # when the epochs did that were begun together

    def epochs() -> Iterator[tuple[int, Epoch, float, bool]]:
        """One after the other, with its number, its seconds and whether the program stands where it was at its end."""
        nonlocal began
        epoch = done
        while epoch < config.epochs:
            silent = isinstance(program, Cohort) and program.silent and watch is None
            count = min(epochs_ahead(own, epoch, task.epoch_updates) for own in configs) if silent else 1
            began = time.monotonic()
            try:
                trained = train_epochs(task, program, [r.order for r in replicas], ending.now, count)
            except Stopped:
                if checkpoints and resumes() and held_states:
                    checkpoints.save(held_states)
                raise
            took = (time.monotonic() - began) / count
            for number, one in enumerate(trained, 1):
                yield epoch + number, one, took, number == count
            epoch += count

    for epoch, measured, took, rests in epochs():
        due = [measures_held_out(replica.config, epoch) for replica in replicas]
        held = program.evaluate(*held_out).tolist() if held_out and any(due) else None
        tested = program.evaluate(*test).tolist() if test and any(due) else None
        in_training = [k for k, replica in enumerate(replicas) if replica.trajectory.goes_on]
        for k, replica in enumerate(replicas):
            own = replica.trajectory.add(
                [loss[k] for loss in measured.losses],
                held[k] if held and due[k] else None,
                [weight[k] for weight in measured.weights],
                measured.causes[k],
            )
            if own:
                replica.trajectory.seconds += took / len(in_training)
            if own and due[k]:
                replica.trajectory.score(scores(tasks[replica.config.num_hiddens], program.named_tensors(k)))
                if tested:
                    replica.trajectory.test(tested[k])
        for replica in replicas:
            replica.trajectory.end_by_rule(replica.config)
        # Those, too, that diverged in what the program does not see: a perplexity beyond all numbers, held-out data.
        if ended := [k for k in in_training if not replicas[k].trajectory.goes_on]:
            program.end(ended)
        _tell(program, replicas)
        running = [replica.trajectory.perplexity[-1] for replica in replicas if replica.trajectory.goes_on]
        if not running:
            break
        if on_epoch:
            on_epoch(epoch, sum(running) / len(running))
        going_on = watch(epoch, replicas) if watch and epoch < config.epochs else [True] * len(replicas)
        if not all(going_on):
            kept = [k for k, goes_on in enumerate(going_on) if goes_on]
            if checkpoints:
                checkpoints.keep(kept)
            if not kept:
                return []
            states = program.replica_states()
            replicas, configs = [replicas[k] for k in kept], [configs[k] for k in kept]
            program = build(
                choice.engine, configs, V, [parameters[k] for k in kept], [dropout[k] for k in kept], device, updates
            )
            program.load_replica_states([states[k] for k in kept])
            _tell(program, replicas)
            parameters, dropout = [parameters[k] for k in kept], [dropout[k] for k in kept]
        if checkpoints and rests and epoch < config.epochs:
            stopping = stop()
            if checkpoints.due or (stopping and resumes()):
                checkpoints.save(states_after(epoch))
                held_states = []
            else:
                long = time.monotonic() - began >= LONG_EPOCH_S
                held_states = copy.deepcopy(states_after(epoch)) if long else []  # the program goes on with its own
            if stopping:
                raise Stopped

    timing = {
        "started": started.isoformat(timespec="seconds"),
        "wall_s": round((time.perf_counter() - clock) / together, 3),
        "trained_together": together,
        "resumed_at_epoch": done or None,
        "threads": torch.get_num_threads(),
        "device": str(device),
        "kernel": computed,
        "calibration_ms": choice.milliseconds,
    }
    if isinstance(program, Cohort) and program.silent:
        timing["cuda_graphs"] = program.graphs
    records = []
    for k, replica in enumerate(replicas):
        text: dict[str, str] = {}
        own_task = tasks[replica.config.num_hiddens]
        parameters_now = program.named_tensors(k)
        if not replica.trajectory.divergence:
            text = own_task.texts(parameters_now, config.prefixes)
            last = replica.trajectory.perplexity[-1]
            replica.trajectory.score(final_scores(own_task, parameters_now, last))
        width = {"padded_to": config.num_hiddens} if replica.config.num_hiddens < config.num_hiddens else {}
        record = make_record(replica.config, own_task, replica.trajectory, text, choice.engine, timing | width)
        record.sees_future = own_task.sees_future(parameters_now)
        if keep:
            keep(record.run_id, {name: value.cpu().contiguous().numpy() for name, value in parameters_now.items()})
        records.append(record)
    return records


class Ending:
    """When a program that was asked to stop does so in the middle of an epoch: at once where nothing is to be kept, or
    after a grace within which a short epoch ends."""

    def __init__(self, stop: Callable[[], bool], keeps: Callable[[], bool]) -> None:
        self.stop, self.keeps = stop, keeps
        self.heard: float | None = None

    def now(self) -> bool:
        if not self.stop():
            return False
        self.heard = time.monotonic() if self.heard is None else self.heard
        return not self.keeps() or time.monotonic() - self.heard > GRACE_S


def _tell(program: Program, replicas: Sequence[Replica]) -> None:
    """Let the program know what was measured on held-out data so far, which schedules may follow."""
    for k, replica in enumerate(replicas):
        if replica.config.schedule.thing.reads_held_out:
            program.tell(k, [value for value in replica.trajectory.val_perplexity if value is not None])


def _states(program: Program, replicas: Sequence[Replica], facts: Mapping[str, Any]) -> list[dict[str, Any]]:
    return [
        {
            **facts,
            "program": state,
            "order": replica.order.get_state(),
            "trajectory": asdict(replica.trajectory),
        }
        for replica, state in zip(replicas, program.replica_states(), strict=True)
    ]


def _restore(
    program: Program, replicas: Sequence[Replica], checkpoints: Checkpoints | None, means: Mapping[str, str]
) -> tuple[int, float]:
    """Put program and replicas back to their checkpoint: the epoch after which that was, and the seconds until then.

    Zeros where there is none.
    """
    states = checkpoints.load(**means) if checkpoints else None
    if not states:
        return 0, 0.0
    program.load_replica_states([state["program"] for state in states])
    for replica, state in zip(replicas, states, strict=True):
        replica.order.set_state(state["order"])
        replica.trajectory = Trajectory(**state["trajectory"])
    return int(states[0]["epoch"]), float(states[0]["spent_s"])


def make_record(
    config: Resolved, task: Task, trajectory: Trajectory, text: dict[str, str], engine: str, timing: dict[str, Any]
) -> Record:
    """The record of one finished run."""
    corpus = task.corpus
    identity = run_identity(config, corpus.sha256)
    return Record(
        run_id=short_hash(identity),
        setting_id=setting_of(identity),
        seed=config.seed,
        status="diverged" if trajectory.divergence else "ok",
        config=to_dict(config),
        identity=identity,
        corpus={
            "name": corpus.name,
            "sha256": corpus.sha256,
            "unit": corpus.unit,
            "characters": corpus.characters,
            "tokens": corpus.tokens,
            **({"files": dict(corpus.files)} if corpus.files else {}),
            "vocabulary": task.sizes if isinstance(task.sizes, int) else list(task.sizes),
        },
        metrics=trajectory.metrics,
        counts={
            "parameters": count(config, task.sizes),
            "updates_per_epoch": task.epoch_updates,
            "tokens_per_epoch": task.tokens_per_epoch,
            "train_tokens": task.train_tokens,
            "val_tokens": task.val_tokens,
            **task.held_out_counts(),
            "epochs_done": len(trajectory.perplexity),
        },
        text=text,
        references=task.references(config.prefixes) if text else {},
        engine=engine,
        timing=timing,
        code=behaviour(config),
        environment=environment(str(task.device)) | ({"tf32": tf32_state()} if task.device.type == "cuda" else {}),
        divergence=trajectory.divergence,
        ended=trajectory.ended,
        measures=measures(config.task),
        evaluation=evaluation(to_dict(config)),
        curve=trajectory.curve,
    )


def check_device(config: Config | Resolved) -> None:
    """Raise ConfigError for a device that is not here, or that has not the products of `precision`."""
    if reason := out_of_reach(config.precision, resolve_device(config.device)):
        raise no_such_products(config.precision, reason)


def resolve_device(name: str) -> torch.device:
    """The device that `device=name` means here; a GPU with its number, which `torch.cuda.set_device` asks for.

    Raises ConfigError for a GPU where there is none, and for one by MPS that computes something else than the CPU.
    """
    if name == "auto":
        name = "cuda" if torch.cuda.is_available() else "cpu"
    if name == "mps":
        if not torch.backends.mps.is_available():
            raise ConfigError(
                "device is 'mps', but torch finds no GPU of Apple's here; choose device=cpu or device=auto"
            )
        if differs := disagreement(torch.device(name)):
            raise ConfigError(f"device=mps does not compute what the CPU does: {differs}; choose device=cpu")
    if name.startswith("cuda"):
        if not torch.cuda.is_available():
            raise ConfigError(f"device is {name!r}, but torch finds no CUDA GPU here; choose device=cpu or device=auto")
        index = name.removeprefix("cuda").removeprefix(":") or str(_current_gpu())
        if not index.isdecimal() or int(index) >= torch.cuda.device_count():
            raise ConfigError(
                f"device is {name!r}; this machine has {counted(torch.cuda.device_count(), 'GPU')}, from cuda:0"
            )
        return torch.device("cuda", int(index))
    return torch.device(name)


def _current_gpu() -> int:
    """The number of this thread's GPU, without waking CUDA where nothing has: a planner only asks what is there."""
    return torch.cuda.current_device() if torch.cuda.is_initialized() else 0  # type: ignore[no-untyped-call]
