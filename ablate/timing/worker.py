"""A fresh process that times one setting: `python -m ablate.timing.worker`, one JSON line in, one out.

It says that it is ready once it has loaded what it needs.

In:  {"config": …, "setting_id": …, "threads": n, "count": …}   first, answered by what is known of the setting;
                                         with `count` what a step multiplies, too
     {"subject": name, "seconds": s}      a sample of about s seconds, answered by what it took
Before a step that takes long it says how long, by what it has measured so far: {"expects": seconds}. What says nothing
for much longer hangs.
The process ends when its input does. Axes: R replicas, T steps, B sequences.
"""

import importlib
import json
import platform
import signal
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from typing import Any

import torch
from torch import Generator, Tensor

from ablate.config import plugins
from ablate.config.composing import from_dict
from ablate.config.errors import DataError, reason
from ablate.config.identity import setting_id
from ablate.config.resolved import Resolved
from ablate.config.validation import api_cannot
from ablate.data.corpora import Corpus, load
from ablate.engines.cohort import chunk_size
from ablate.engines.precision import computing, tf32_state
from ablate.engines.program import Program
from ablate.networks.families import trainable
from ablate.networks.parameters import count, initial
from ablate.tasks import task_of
from ablate.tasks.task import Task
from ablate.timing import clock
from ablate.timing.flops import flops
from ablate.timing.process import START_S, answers
from ablate.training.choice import build, kernel
from ablate.training.loop import resolve_device
from ablate.training.minibatches import stacked
from ablate.training.trajectory import stream

resource: Any = None
with suppress(ImportError):  # Windows has none
    resource = importlib.import_module("resource")

WARM_UP_S = 0.5
COMPILE_S = 20.0
"""What the compiler takes for a cell, about, or torch to load its own count of products."""


def engine_of(config: Resolved) -> str:
    """The engine that `formulation` means: torch.nn where the model is torch.nn's, else the readable settings.

    The cohort's where only that has the products of `precision`: other products would be another speed.
    """
    if config.precision == "bf16":
        return "cohort"
    return "eager" if config.formulation == "textbook" or api_cannot(config) else "torch_nn"


class Timed:
    """Something that is done minibatch by minibatch, and for how many tokens each."""

    def __init__(
        self,
        step: Callable[[Tensor, Tensor, bool], Any],
        minibatches: Iterator[Any],
        replicas: int,
        device: torch.device,
    ) -> None:
        self.step, self.minibatches, self.replicas, self.device = step, minibatches, replicas, device

    def run(self, n: int) -> float:
        """Seconds for n minibatches, the time to draw them included, as in training."""

        def work() -> None:
            for _ in range(n):
                X, Y, carry = next(self.minibatches)
                self.step(X, Y, carry)

        return clock.seconds(work, self.device)


def real_minibatches(task: Task, replicas: int) -> Iterator[tuple[Tensor, Tensor, bool]]:
    """Minibatches (R, T, B) of the corpus, epoch after epoch, each with whether it continues the one before."""
    orders = [stream(task.config.seed + k, "data") for k in range(replicas)]
    while True:
        first = True
        for parts in zip(*(task.minibatches(order) for order in orders), strict=False):
            X, Y = (part.to(task.device) for part in stacked(parts))
            yield X, Y, not first and task.carries_state
            first = False


class Subjects:
    """The subjects of one setting, built and warmed up when first asked for.

    `expects` hears how many seconds the next step will take.
    """

    def __init__(self, config: Resolved, corpus: Corpus, expects: Callable[[float], None] = lambda _: None) -> None:
        self.expects = expects
        self.config = config
        self.device = resolve_device(config.device)
        self.task = task_of(config, corpus, self.device)
        self.timed: dict[str, Timed] = {}
        self.cpu_told = time.process_time()
        self.per_sample: dict[str, float] = {}

    def subject(self, name: str) -> Timed:
        """train: one run as `formulation` means it; cohort_1, cohort_R: the cohort engine; inference: forward only."""
        if name not in self.timed:
            replicas = self.together if name == "cohort_R" else 1
            minibatches = real_minibatches(self.task, replicas)
            self.timed[name] = Timed(self.work(name, replicas), minibatches, replicas, self.device)
            self.warm_up(name)
        return self.timed[name]

    def work(self, name: str, replicas: int) -> Callable[[Tensor, Tensor, bool], Any]:
        if name == "inference":
            return self.forward_only()
        engine = engine_of(self.config) if name == "train" else "cohort"
        program = self.program(engine, replicas)
        return lambda X, Y, carry: program.step(X, Y, carry=carry)

    def program(self, engine: str, replicas: int) -> Program:
        generators = [Generator().manual_seed(k) for k in range(replicas)]
        parameters = [initial(self.config, self.task.sizes, generator) for generator in generators]
        updates = self.config.epochs * self.task.epoch_updates
        return build(engine, [self.config] * replicas, self.task.sizes, parameters, generators, self.device, updates)

    def forward_only(self) -> Callable[[Tensor, Tensor, bool], Any]:
        """From a zero state to the logits, or where the cohort alone has the products, to the loss."""
        engine = engine_of(self.config)
        if engine == "cohort":
            program = self.program(engine, 1)
            return lambda X, Y, carry: program.evaluate(X[0], Y[0])
        parameters = initial(self.config, self.task.sizes, Generator().manual_seed(0))
        model = trainable(engine, self.config, self.task.sizes, parameters).to(self.device).eval()

        def forward(X: Tensor, Y: Tensor, carry: bool) -> None:
            with torch.inference_mode():
                model(X[0], model.initial_state(Y.shape[-1]))

        return forward

    @property
    def together(self) -> int:
        return chunk_size(self.config, self.device) or 20

    def warm_up(self, name: str) -> None:
        """Thrown away; leaves the time of a minibatch, from which samples get their size."""
        seconds, n = 0.0, 0
        while seconds < WARM_UP_S or n < 3:
            last = self.timed[name].run(1)
            seconds, n = seconds + last, n + 1
            if n == 1:
                self.expects(max(WARM_UP_S, 2 * last))
        self.per_sample[name] = last

    def flops_per_token(self) -> int:
        """Multiplications and additions of the matrix products in one training step, counted as it runs."""
        X, Y, _ = next(real_minibatches(self.task, 1))
        program = self.program("eager", 1)
        return flops(lambda: program.step(X, Y, carry=False)) // Y.numel()

    def last_epoch(self) -> float:
        """Tokens per second as the published protocol reads it: one epoch, once, after one epoch of warming up."""
        n = self.task.epoch_updates
        timed = Timed(self.work("train", 1), real_minibatches(self.task, 1), 1, self.device)
        timed.run(1)  # which takes longer than the others
        self.expects(n * timed.run(1))
        rest = max(1, n - 2)
        self.expects(n * timed.run(rest) / rest)
        return self.task.tokens_per_epoch / timed.run(n)

    def sample(self, name: str, seconds: float) -> dict[str, Any]:
        """Tokens per second over about `seconds`, after one minibatch that wakes caches and threads."""
        timed = self.subject(name)
        n = max(2, round(seconds / self.per_sample[name]))
        if (n + 1) * self.per_sample[name] > START_S:  # else it is not worth a word while others might be disturbed
            self.expects((n + 1) * self.per_sample[name])
        timed.run(1)
        before, cpu = involuntary_switches(), time.process_time()
        took = timed.run(n)
        after, cpu_now = involuntary_switches(), time.process_time()
        since_last, self.cpu_told = cpu_now - self.cpu_told, cpu_now
        return {
            "tokens_per_s": n * timed.replicas * self.task.tokens_per_epoch / self.task.epoch_updates / took,
            "seconds": took,
            "cpu_s": cpu_now - cpu,
            "cpu_since_last_s": since_last,
            "involuntary_switches": None if after is None or before is None else after - before,
            "minibatches": n,
        }

    def facts(self, count_flops: bool) -> dict[str, Any]:
        before = peak_memory_bytes(self.device) or 0
        last_epoch = self.last_epoch()  # first: nothing else has taken memory yet
        self.expects(COMPILE_S)
        return {
            "host": platform.node(),
            "engine": engine_of(self.config),
            "kernel": kernel("cohort", self.config, self.device),
            "replicas_together": self.together,
            "parameters": count(self.config, self.task.sizes),
            "last_epoch_tokens_per_s": last_epoch,
            "memory_bytes": None if (peak := peak_memory_bytes(self.device)) is None else peak - before,
            **({"flops_per_token": self.flops_per_token()} if count_flops else {}),
            **({"tf32": tf32_state()} if self.device.type == "cuda" else {}),
        }


def peak_memory_bytes(device: torch.device) -> int | None:
    """So far: of the whole process on a CPU, of torch's tensors on a GPU; None where the system does not tell."""
    if device.type == "cuda":
        return int(torch.cuda.max_memory_allocated(device))
    if resource is None:
        return None
    unit = 1 if sys.platform == "darwin" else 1024
    return int(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss) * unit


def involuntary_switches() -> int | None:
    """How often this process was taken off its core so far; None where the system does not tell."""
    return None if resource is None else int(resource.getrusage(resource.RUSAGE_SELF).ru_nivcsw)


def main() -> None:
    """Answer the lane until it hangs up; an error is an answer, too. Ctrl-C is the lane's to hear."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    out = answers()

    def answer(value: dict[str, Any]) -> None:
        out.write(json.dumps(value) + "\n")
        out.flush()

    try:
        serve(answer)
    except Exception as error:
        answer({"error": reason(error)})


def serve(answer: Callable[[dict[str, Any]], None]) -> None:
    def expects(seconds: float) -> None:
        """Say how long the next step will take."""
        answer({"expects": seconds})

    answer({"ready": True})
    line = sys.stdin.readline()
    if not line:
        return
    task = json.loads(line)
    torch.set_num_threads(task["threads"])
    torch.set_flush_denormal(True)
    plugins.load(task["config"].get("plugins", ()))
    config = from_dict(task["config"])
    corpus = load(config.data)
    if setting_id(config, corpus.sha256) != task["setting_id"]:
        files = " or ".join([corpus.name, *config.plugins])
        raise DataError(f"{files} is not what this setting was trained with any more")
    with computing(config.precision):
        expects(START_S)
        setting = Subjects(config, corpus, expects)
        answer(setting.facts(task["count"]))
        setting.cpu_told = time.process_time()
        for line in sys.stdin:
            request = json.loads(line)
            answer(setting.sample(request["subject"], request["seconds"]))


if __name__ == "__main__":
    main()
