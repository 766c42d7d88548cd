"""What has to be right on a device: each check compares it with the CPU, or with itself, and says what differs.

On a CPU, in a rehearsal, the same lines run against the CPU. Axes: R replicas, T steps, B sequences.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace

import torch
from torch import Generator, Tensor

from ablate.config.errors import CombinationError
from ablate.config.registry import DATASETS, TASKS
from ablate.config.resolved import Resolved
from ablate.data.corpora import Corpus, as_used, load, of_blocks
from ablate.data.labelled import labelled
from ablate.engines.cohort import Cohort
from ablate.engines.precision import computing, tf32_state
from ablate.networks.parameters import initial
from ablate.timing.gpu.apart import LEAST_S, Apart, limit_of
from ablate.timing.gpu.budget import Budget
from ablate.timing.gpu.work import MADE_UP, REHEARSAL, config_of, reason_of, text
from ablate.timing.process import WorkerFailed, WorkerHung
from ablate.training.choice import Choice, any_minibatch, build
from ablate.training.loop import train_together

V, R, MINIBATCHES = 11, 3, 4
SMALL = replace(REHEARSAL, shape=("num_steps=6", "batch_size=32", "max_tokens=400"))
EXACT = 1e-4
"""Of a loss, relatively: float32 in any order of its sums, after a few updates."""
SHORTENED = 1e-2
"""The same of products in TF32 or bfloat16."""

Compute = Callable[[torch.device], str]
"""What differs, in words; empty for nothing. Raises CombinationError where the device cannot."""


@dataclass
class Outcome:
    check: str
    status: str  # passed, failed, not done, not here, not run
    told: str = ""


def checked(name: str, device: torch.device) -> Outcome:
    """One of the checks. Whatever it raises is what it is there to find."""
    try:
        differs = CHECKS[name](device)
    except CombinationError as error:
        return Outcome(name, "not here", reason_of(error))
    except Exception as error:
        return Outcome(name, "failed", f"{type(error).__name__}: {reason_of(error)}")
    return Outcome(name, "failed" if differs else "passed", differs)


def run(apart: Apart, budget: Budget, say: Callable[[str], None]) -> list[Outcome]:
    """All checks within their time, in a process of their own. One that fails, hangs or ends it costs none other."""
    out = []
    for name in CHECKS:
        limit_s = limit_of(budget, "checks")
        if limit_s < LEAST_S:
            budget.leave_out(f"the check of {name}")
            outcome = Outcome(name, "not run", "no time was left")
        else:
            try:
                outcome = Outcome(**apart.ask({"check": name}, limit_s))
            except WorkerFailed as error:  # one that was given up may have hung, or have lacked time
                outcome = Outcome(name, "not done" if isinstance(error, WorkerHung) else "failed", str(error))
            apart.renew_after(outcome.told)
        out.append(outcome)
        say(f"{name}: {outcome.status}{f' ({outcome.told})' if outcome.told else ''}")
    return out


def losses(
    engine: str,
    config: Resolved,
    device: torch.device,
    dtype: torch.dtype = torch.float32,
    runs: int = R,
    seeds: range | None = None,
) -> Tensor:
    """The losses of a few minibatches (J, R), and of a held-out one, (J + 1, R), in float64 on the CPU."""
    seeds = range(runs) if seeds is None else seeds
    shape = (1, config.num_steps, config.batch_size)
    held_out = any_minibatch(V, shape, Generator().manual_seed(0))[0][0].to(device)
    programs = []
    groups = [seeds] if engine == "cohort" else [range(k, k + 1) for k in seeds]
    for group in groups:
        single = [initial(config, V, Generator().manual_seed(k)) for k in group]
        parameters = [{name: value.to(dtype) for name, value in one.items()} for one in single]
        generators = [Generator().manual_seed(k) for k in group]
        program = build(engine, [config] * len(group), V, parameters, generators, device, MINIBATCHES)
        own = []
        for number in range(MINIBATCHES):
            drawn = [any_minibatch(V, shape, Generator().manual_seed(MINIBATCHES * k + number)) for k in group]
            tokens, targets = (torch.cat(parts).to(device) for parts in zip(*drawn, strict=True))
            own.append(program.step(tokens, targets, carry=number > 0).double().cpu())
        own.append(program.evaluate(held_out, held_out).double().cpu())
        programs.append(torch.stack(own))
    return torch.cat(programs, 1)


def difference(found: Tensor, expected: Tensor, tolerance: float) -> str:
    """By how much the losses differ, if by more than they may."""
    apart = float(((found - expected) / expected).abs().max())
    return "" if apart <= tolerance else f"losses differ by {apart:.1e} of them, {tolerance:.0e} is allowed"


def engines(device: torch.device) -> str:
    """Each engine in float32 on the device, against float64 on the CPU."""
    for model in ("gru", "lstm", "rnn", "mgu"):
        config = config_of(model, 16, SMALL, "layers=2")
        expected = losses("eager", config, torch.device("cpu"), torch.float64)
        with computing("ieee"):
            for engine in ("cohort", "eager", *(["torch_nn"] if model != "mgu" else [])):
                if differs := difference(losses(engine, config, device), expected, EXACT):
                    return f"{model}, engine={engine}: {differs}"
    return ""


def shortened(device: torch.device) -> str:
    """tf32 and bf16 against float64: coarser than ieee, and no coarser than they may be; the flags as asked for."""
    config = config_of("gru", 64, SMALL)
    expected = losses("eager", config, torch.device("cpu"), torch.float64)
    with computing("ieee"):
        exact = losses("cohort", config, device)
    for precision, among in (("tf32", ("torch_nn", "eager", "cohort")), ("bf16", ("cohort",))):
        asked = config.but(precision=precision)
        with computing(precision):
            if tf32_state() != dict.fromkeys(tf32_state(), precision == "tf32"):
                return f"{precision}: torch's flags are {tf32_state()}"
            for engine in among:
                found = losses(engine, asked, device)
                if differs := difference(found, expected, SHORTENED):
                    return f"{precision}, engine={engine}: {differs}"
        if torch.equal(found, exact):
            return f"{precision} computes what ieee does, bit for bit"
    return ""


def graphs(device: torch.device) -> str:
    """A minibatch as the replay of a graph against the same one launched call by call."""
    if device.type != "cuda":
        raise CombinationError("CUDA graphs are a GPU's")
    config = config_of("lstm", 16, SMALL, "layers=2")
    found = []
    for replayed in (False, True):
        parameters = [initial(config, V, Generator().manual_seed(k)) for k in range(R)]
        program = Cohort([config] * R, V, parameters, device=device, updates=MINIBATCHES, cuda_graphs=replayed)
        shape = (R, config.num_steps, config.batch_size)
        own = []
        for number in range(2 * MINIBATCHES):
            x, y = (part.to(device) for part in any_minibatch(V, shape, Generator().manual_seed(number)))
            own.append(program.step(x, y, carry=number > 0).double().cpu())
        found.append(torch.stack(own))
    return difference(found[1], found[0], EXACT / 100)


def company(device: torch.device) -> str:
    """A replica's losses do not depend on what its neighbours are, bit for bit."""
    config = config_of("gru", 16, SMALL)
    with computing("ieee"):
        first, other = (losses("cohort", config, device, seeds=range(start, start + R)) for start in (0, 1))
    return "" if torch.equal(first[:-1, 1], other[:-1, 0]) else "another place in the company is another number"


def scanned(device: torch.device) -> str:
    """Linear recurrences, whose steps a GPU takes at once, against the loop in float64."""
    for model in ("mingru", "minlstm"):
        config = config_of(model, 16, SMALL)
        expected = losses("eager", config, torch.device("cpu"), torch.float64)
        with computing("ieee"):
            if differs := difference(losses("cohort", config, device), expected, EXACT):
                return f"{model}: {differs}"
    return ""


def resumed(device: torch.device) -> str:
    """Half of the minibatches, saved, loaded by another program, the other half: bit for bit as all at once."""
    config = config_of("lstm", 16, SMALL, "layers=2", "dropout=0.25", "optimizer=adam", "lr=0.01")
    shape = (R, config.num_steps, config.batch_size)
    batches = [any_minibatch(V, shape, Generator().manual_seed(number)) for number in range(2 * MINIBATCHES)]

    def program() -> Cohort:
        parameters = [initial(config, V, Generator().manual_seed(k)) for k in range(R)]
        generators = [Generator().manual_seed(k) for k in range(R)]
        return Cohort([config] * R, V, parameters, device=device, generators=generators, updates=2 * MINIBATCHES)

    def steps(own: Cohort, numbers: range) -> list[Tensor]:
        return [own.step(*(part.to(device) for part in batches[k]), carry=k > 0) for k in numbers]

    with computing("ieee"):
        whole = steps(program(), range(2 * MINIBATCHES))
        first, second = program(), program()
        steps(first, range(MINIBATCHES))
        second.load_replica_states(first.replica_states())
        rest = steps(second, range(MINIBATCHES, 2 * MINIBATCHES))
    same = all(torch.equal(one, other) for one, other in zip(whole[MINIBATCHES:], rest, strict=True))
    return "" if same else "a program that was loaded goes on with other numbers"


def tasks(device: torch.device) -> str:
    """Two epochs of every task, with all that a record holds, on the device against the CPU."""
    for name, data in _tasks():
        own = config_of("gru", 8, REHEARSAL, "epochs=2", data=[f"task={name}", *data])
        corpus = _made(own)
        own = as_used(own, corpus)
        found = []
        for where in (torch.device("cpu"), device):
            [record] = train_together([own.but(device=str(where))], corpus, Choice("cohort", {}))
            found.append(torch.tensor([value or 0.0 for value in record.curve["perplexity"]]).log())
        if len(found[0]) != len(found[1]):
            return f"{name}: one of them diverged"
        if differs := difference(found[1], found[0], 10 * EXACT):
            return f"{name}: {differs}"
    return ""


def _tasks() -> Iterator[tuple[str, Sequence[str]]]:
    """Every shipped task that has a network, and data for it that need no download."""
    for task in TASKS:
        if not task.has_network or task.name in TASKS.origin:
            continue
        rules = [f"data={name}" for name in task.data if DATASETS[name].generated]
        yield task.name, MADE_UP if task.reads_text else rules[:1] or ["data=labelled_file", "data.path=made-up.npz"]


def _made(config: Resolved) -> Corpus:
    """The data of a task, of which nothing is read from a disk."""
    if config.task.thing.reads_text:
        return of_blocks([text(REHEARSAL.characters)], config.data)
    if config.data.name != "labelled_file":
        return load(config.data)
    x = torch.randn(4 * config.batch_size, config.num_steps, 1, generator=Generator().manual_seed(0))
    y = (x.sum((1, 2)) > 0).long()
    few = config.batch_size
    return labelled("made-up", {"x": x.numpy(), "y": y.numpy(), "x_test": x[:few].numpy(), "y_test": y[:few].numpy()})


CHECKS: dict[str, Compute] = {
    "engines against float64": engines,
    "tf32 and bf16 against float64": shortened,
    "graphs against launches": graphs,
    "replicas in any company": company,
    "linear recurrences scanned": scanned,
    "checkpoint and resume": resumed,
    "every task": tasks,
}
"""What is checked, the gravest first."""
