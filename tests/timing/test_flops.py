"""What is counted of matrix products is what torch counts, of the steps of networks and of what it alone knows.

CPU, 5 s with `full`, of which torch's own counter takes half to load.
"""

import subprocess
import sys
from collections.abc import Callable

import pytest
import torch
from torch import Generator
from torch.nn import functional as F

from ablate.networks.parameters import initial
from ablate.timing.flops import flops
from ablate.training.choice import any_minibatch, build
from tests.engines.sample_networks import network

V = 7


def by_torch(work: Callable[[], object]) -> int:
    from torch.utils.flop_counter import FlopCounterMode

    with FlopCounterMode(display=False) as counter:
        work()
    return int(counter.get_total_flops())


def test_products_are_counted() -> None:
    X, W, Y = torch.rand(2, 3, 4), torch.rand(2, 4, 5), torch.rand(2, 3, 5)
    assert flops(lambda: X @ W) == 2 * 2 * 3 * 4 * 5
    assert flops(lambda: (torch.baddbmm(Y, X, W), Y.baddbmm_(X, W), torch.bmm(X, W, out=Y))) == 3 * 240
    assert flops(lambda: (torch.addmm(Y[0], X[0], W[0]), X[0] @ W[0], F.linear(X[0], W[0].T, Y[0, 0]))) == 3 * 120
    assert flops(lambda: X.exp().sum()) == 0


@pytest.mark.full
def test_torchs_compiler_is_not_loaded() -> None:
    program = """
import sys, torch
from ablate.timing.flops import flops
assert flops(lambda: torch.rand(2, 3) @ torch.rand(3, 4)) == 48
print([name for name in ("torch._dynamo", "torch._inductor") if name in sys.modules])
"""
    assert subprocess.check_output([sys.executable, "-c", program], text=True) == "[]\n"


@pytest.mark.full
@pytest.mark.parametrize(
    ("engine", "model"),
    [*(("eager", model) for model in ("rnn", "gru", "lstm-peepholes", "mgu", "mingru")), ("torch_nn", "gru")],
)
def test_a_training_step_is_what_torch_counts(engine: str, model: str) -> None:
    config = network(f"model={model}", layers=2)
    shape = (1, config.num_steps, config.batch_size)
    X, Y = any_minibatch(V, shape, Generator().manual_seed(0))
    program = build(engine, [config], V, [initial(config, V, Generator())], [Generator()], torch.device("cpu"), 10)

    def step() -> None:
        program.step(X, Y, carry=False)

    counted = flops(step)
    assert counted == by_torch(step)
    assert counted > 0


@pytest.mark.full
def test_what_multiplies_otherwise_is_torchs_to_count() -> None:
    X, W = torch.rand(1, 3, 8), torch.rand(5, 3, 2)
    counted = flops(lambda: (F.conv1d(X, W), W.flatten(1) @ torch.rand(6, 2)))
    assert counted == 2 * 7 * 5 * 3 * 2 + 2 * 5 * 6 * 2
