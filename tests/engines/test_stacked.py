"""Cohorts under autograd against one network at a time, in float64: losses, updates, evaluation. CPU, 10 s."""

from collections.abc import Callable

import pytest
import torch
from torch import Generator, Tensor

from ablate.config.choice_files import choices
from ablate.config.composing import compose
from ablate.config.metrics import UNSCORED
from ablate.config.resolved import resolve
from ablate.config.schema import Config, with_seed
from ablate.engines.autograd import AutogradProgram
from ablate.engines.cohort.capacity import chunk_size, is_derived, memory_bytes
from ablate.engines.cohort.stacked import StackedCohort
from ablate.networks import recurrence, scan
from ablate.networks.parameters import Sizes, initial
from ablate.training.choice import any_minibatch, kernel
from ablate.training.choice import build as program_of

SMALL = ["num_hiddens=5", "num_steps=6", "batch_size=4", "val_tokens=0", "optimizer=momentum", "lr=0.3"]
NETWORKS = {
    "bidirectional": ["model=gru", "model.bidirectional=true", "layers=2", "sampling=random"],
    "residual": ["model=lstm", "model.connection=residual", "layers=3"],
    "dense": ["model=rnn", "model.connection=dense", "model.transition=4", "layers=3"],
    "lstm-peepholes": ["model=lstm-peepholes"],
    "lstm-full-gate-recurrence": ["model=lstm-full-gate-recurrence"],
    "minlstm": ["model=minlstm", "layers=2"],
    "nothing of the input": ["model=gru", "model.gates.update=1", "model.connection=residual", "layers=2"],
    "plain gru": ["model=gru", "layers=2", "dropout=0.3"],
    "translation": ["task=translation", "data=number_pairs", "layers=2", "dropout=0.2"],
}
R = 3


def configs(name: str) -> list[Config]:
    config = resolve(compose([*NETWORKS[name], *SMALL]))
    return [with_seed(config, k) for k in range(R)]


def made(name: str) -> tuple[StackedCohort, list[AutogradProgram]]:
    """A cohort and its replicas one by one, from the same weights, with dropout drawn alike."""
    own, sizes = configs(name), SIZES[name == "translation"]
    parameters = [initial(c, sizes, Generator().manual_seed(c.seed), torch.float64) for c in own]
    together = StackedCohort(own, sizes, parameters, generators=[Generator().manual_seed(k) for k in range(R)])
    alone = [
        AutogradProgram("eager", c, sizes, p, Generator().manual_seed(k))
        for k, (c, p) in enumerate(zip(own, parameters, strict=True))
    ]
    return together, alone


SIZES: tuple[int, Sizes] = (11, Sizes(9, 11))


def minibatch(name: str, seed: int, B: int = 4) -> tuple[Tensor, Tensor]:
    """Random tokens, some targets unscored, equally many for no two replicas."""
    generator = Generator().manual_seed(seed)
    X, Y = any_minibatch(SIZES[name == "translation"], (R, 6, B), generator)
    Y = Y.clone()
    for k in range(R):
        Y[k, :k] = UNSCORED
    return X, Y


@pytest.mark.full
@pytest.mark.parametrize("name", NETWORKS)
def test_training_together_is_training_alone(name: str) -> None:
    together, alone = made(name)
    carries = name not in ("bidirectional", "translation")
    for step in range(4):
        X, Y = minibatch(name, step)
        losses = together.step(X, Y, carry=carries and step > 0)
        expected = [one.step(X[k : k + 1], Y[k : k + 1], carry=carries and step > 0) for k, one in enumerate(alone)]
        torch.testing.assert_close(losses, torch.cat(expected), rtol=1e-9, atol=1e-11)
    for k, one in enumerate(alone):
        torch.testing.assert_close(together.named_tensors(k), dict(one.named_tensors()), rtol=1e-8, atol=1e-10)


@pytest.mark.full
@pytest.mark.parametrize("name", NETWORKS)
def test_evaluation_is_that_of_each_alone_and_leaves_nothing_behind(name: str) -> None:
    together, alone = made(name)
    X, Y = minibatch(name, 0, B=33)  # more than a training minibatch reads at once
    X, Y = X[0], Y[1]
    before = together.parameters.clone()
    expected = torch.cat([one.evaluate(X, Y) for one in alone])
    torch.testing.assert_close(together.evaluate(X, Y), expected, rtol=1e-9, atol=0)
    assert torch.equal(together.parameters, before)


@pytest.mark.full
@pytest.mark.parametrize("name", ["lstm-peepholes", "plain gru", "bidirectional"])
def test_a_cohort_goes_on_from_its_checkpoint(name: str) -> None:
    first, _ = made(name)
    carry = name != "bidirectional"
    first.step(*minibatch(name, 0), carry=False)
    saved = first.replica_states()
    expected = [first.step(*minibatch(name, k), carry=carry) for k in (1, 2)]
    second, _ = made(name)
    second.load_replica_states(saved)
    assert torch.equal(
        torch.stack(expected), torch.stack([second.step(*minibatch(name, k), carry=carry) for k in (1, 2)])
    )


def test_a_diverged_replica_freezes_and_disturbs_nobody() -> None:
    own = configs("residual")
    parameters = [initial(c, 11, Generator().manual_seed(c.seed), torch.float64) for c in own]
    parameters[1]["output.W"][0, 0] = float("nan")
    together = StackedCohort(own, 11, parameters)
    one = AutogradProgram("eager", own[2], 11, parameters[2])
    for step in range(3):
        X, Y = minibatch("residual", step)
        losses = together.step(X, Y, carry=False)
        torch.testing.assert_close(losses[2:], one.step(X[2:], Y[2:], carry=False), rtol=1e-9, atol=1e-11)
    assert together.alive.tolist() == [True, False, True]


@pytest.mark.full
@pytest.mark.parametrize("name", NETWORKS)
def test_plain_stacks_of_every_cell_need_no_autograd(name: str) -> None:
    apart = ("bidirectional", "residual", "dense", "nothing of the input", "translation")
    assert is_derived(configs(name)[0]) == (name not in apart)


def test_of_the_shipped_tasks_translation_alone_needs_autograd() -> None:
    assert [name for name in choices("task") if not is_derived(resolve(compose([f"task={name}"])))] == ["translation"]


@pytest.mark.parametrize("model", ["mingru", "minlstm"])
def test_a_plain_stack_is_scanned_by_the_same_rule_as_any_other(model: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """As on a GPU, here on the CPU: the cohort that scans against the one that takes one step after the other."""
    assert (is_derived(compose([f"model={model}"]), "cuda"), is_derived(compose(["model=gru"]), "cuda")) == (
        False,
        True,
    )
    own = [with_seed(compose([f"model={model}", "layers=2", *SMALL]), k) for k in range(R)]
    parameters = [initial(c, 11, Generator().manual_seed(c.seed), torch.float64) for c in own]
    made = []
    for forced in (False, True):
        monkeypatch.setattr(scan, "scans", lambda d, steps, device, forced=forced: forced)
        generators = [Generator() for _ in own]
        made.append(program_of("cohort", own, 11, parameters, generators, torch.device("cpu"), 3))
        assert ("scanned" in kernel("cohort", own[0], torch.device("cpu"))) == forced
    for step in range(3):
        losses = []
        for forced, program in zip((False, True), made, strict=True):
            monkeypatch.setattr(scan, "scans", lambda d, steps, device, forced=forced: forced)
            losses.append(program.step(*minibatch("minlstm", step), carry=step > 0))
        torch.testing.assert_close(*losses, rtol=1e-10, atol=1e-10)
    for k in range(R):
        torch.testing.assert_close(made[1].named_tensors(k), made[0].named_tensors(k), rtol=1e-10, atol=1e-10)


@pytest.mark.full
def test_wide_networks_train_in_smaller_company() -> None:
    def together(num_hiddens: int) -> int | None:
        return chunk_size(resolve(compose(["model=mgu", f"num_hiddens={num_hiddens}"])))

    sizes = [together(num_hiddens) for num_hiddens in (8, 64, 256, 4096)]
    assert sizes == sorted(sizes, key=lambda size: -(size or 0))
    assert sizes[-1] == 1


@pytest.mark.parametrize("name", ["residual", "bidirectional", "translation"])
def test_the_memory_estimate_is_about_what_autograd_keeps(
    name: str, kept_bytes: Callable[..., int], monkeypatch: pytest.MonkeyPatch
) -> None:
    """And what the layers themselves keep, where torch computes them; the kernels keep less."""
    monkeypatch.setenv("ABLATE_NATIVE", "0")
    spare: dict[object, list[recurrence.Steps]] = {}
    monkeypatch.setattr(recurrence._place, "spare", spare)
    config = resolve(compose([*NETWORKS[name], "num_hiddens=32", "num_steps=20", "batch_size=32", "val_tokens=0"]))
    sizes = SIZES[name == "translation"]
    parameters = [initial(config, sizes, Generator().manual_seed(k)) for k in range(2)]
    cohort = StackedCohort([config] * 2, sizes, parameters, generators=[Generator().manual_seed(k) for k in range(2)])
    X, Y = any_minibatch(sizes, (2, 20, 32), Generator().manual_seed(0))
    kept = kept_bytes(lambda: cohort.step(X, Y, carry=False))
    kept += sum(steps.shape.allocated_bytes for alike in spare.values() for steps in alike)
    assert kept / 2 < memory_bytes(config, 2, sizes) < 4 * kept


@pytest.fixture
def kept_bytes() -> Callable[..., int]:
    """How many bytes of tensors autograd keeps for the way back while a function runs."""

    def of(work: Callable[[], object]) -> int:
        seen: dict[int, int] = {}

        def pack(tensor: Tensor) -> Tensor:
            storage = tensor.untyped_storage()
            seen[storage.data_ptr()] = storage.nbytes()
            return tensor

        with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
            work()
        return sum(seen.values())

    return of
