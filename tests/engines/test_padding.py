"""Networks of several widths in one program: each comes out as by itself, to rounding, and its further units stay 0.

CPU, 20 s.
"""

import pytest
import torch
from torch import Generator, Tensor

from ablate.config.choice_files import summaries
from ablate.config.resolved import Resolved
from ablate.config.schema import with_seed
from ablate.engines.cohort import Cohort
from ablate.engines.cohort.padding import pads
from ablate.engines.cohort.portions import Stacked
from ablate.engines.cohort.stacked import StackedCohort
from ablate.networks.parameters import Features, Vocabulary
from tests.engines.sample_networks import batches, network, weights

V, NUMBERS, J = 7, Features(3, 7), 6
WIDTHS = (3, 5, 2, 5)
NOT_PADDED = ("lstm-full-gate-recurrence",)
"""Its gates are states, too, and a gate of no weights is 0.5."""


def replicas(config: Resolved) -> list[Resolved]:
    each = zip(WIDTHS, (1.0, 0.3, 0.5, 0.7), (0.1, 1.0, None, 0.3), strict=True)
    return [
        with_seed(config, k).but(num_hiddens=H, lr=lr * config.lr, clip=clip) for k, (H, lr, clip) in enumerate(each)
    ]


def cohort(
    configs: list[Resolved], parameters: list[dict[str, Tensor]], V: Vocabulary = V, silent: bool = False
) -> Cohort:
    generators = [Generator().manual_seed(config.seed) for config in configs]
    return Cohort(configs, V, parameters, generators=generators, updates=3 * J, cuda_graphs=silent)


@pytest.mark.full
@pytest.mark.parametrize(("optimizer", "V"), [("sgd", V), ("adamw", NUMBERS)], ids=["tokens", "numbers"])
@pytest.mark.parametrize("formulation", ["torch", "textbook"])
@pytest.mark.parametrize("model", sorted(set(summaries("model")) - set(NOT_PADDED)))
def test_a_padded_replica_is_the_one_by_itself(model: str, formulation: str, optimizer: str, V: Vocabulary) -> None:
    config = network(f"model={model}", f"optimizer={optimizer}", f"formulation={formulation}", layers=2, dropout=0.3)
    assert pads(config)
    configs = replicas(config)
    parameters = [weights(own, V, own.seed) for own in configs]
    together = cohort(configs, parameters, V, silent=optimizer == "adamw")
    minibatches = batches(config, V, len(configs), J)
    losses = torch.stack([together.step(x, y, carry=k > 0) for k, (x, y) in enumerate(minibatches)])
    held_out = together.evaluate(*minibatches[0])
    for k, own in enumerate(configs):
        alone = cohort([own], [parameters[k]], V)
        of_it = [(x[k : k + 1], y[k : k + 1]) for x, y in minibatches]
        expected = torch.stack([alone.step(x, y, carry=j > 0) for j, (x, y) in enumerate(of_it)])
        torch.testing.assert_close(losses[:, k : k + 1], expected, rtol=1e-11, atol=1e-12)
        torch.testing.assert_close(together.named_tensors(k), alone.named_tensors(0), rtol=1e-10, atol=1e-11)
        torch.testing.assert_close(held_out[k : k + 1], alone.evaluate(*of_it[0]), rtol=1e-11, atol=0)
        beyond = set(range(5)) - set(range(own.num_hiddens))
        for layer in together._states:
            assert all(float(part[k][:, list(beyond)].abs().sum()) == 0 for part in layer)
    numbers = sum(sum(tensor.numel() for tensor in p.values()) for p in parameters)
    assert int((together.parameters != 0).sum()) <= numbers  # nothing has come to be beyond them


@pytest.mark.full
@pytest.mark.parametrize("model", ["gru", "lstm-peepholes", "mingru"])
def test_a_checkpoint_is_that_of_the_run_by_itself(model: str) -> None:
    config = network(f"model={model}", "optimizer=adam", layers=2, dropout=0.3)
    configs = replicas(config)
    parameters = [weights(own, V, own.seed) for own in configs]
    together, later = cohort(configs, parameters), cohort(configs, parameters)
    minibatches = batches(config, V, len(configs), 2 * J)
    for k, (x, y) in enumerate(minibatches[:J]):
        together.step(x, y, carry=k > 0)
    saved = together.replica_states()
    later.load_replica_states(saved)
    rest = [(x, y) for x, y in minibatches[J:]]
    expected = torch.stack([together.step(x, y, carry=True) for x, y in rest])
    assert torch.equal(torch.stack([later.step(x, y, carry=True) for x, y in rest]), expected)
    for k, own in enumerate(configs):
        alone = cohort([own], [parameters[k]])
        alone.load_replica_states(saved[k : k + 1])
        found = torch.stack([alone.step(x[k : k + 1], y[k : k + 1], carry=True) for x, y in rest])
        torch.testing.assert_close(found, expected[:, k : k + 1], rtol=1e-11, atol=1e-12)


@pytest.mark.parametrize("model", NOT_PADDED)
def test_a_cell_that_makes_something_of_zeros_is_not_padded(model: str) -> None:
    config = network(f"model={model}")
    assert not pads(config)
    configs = [config, config.but(num_hiddens=3)]
    with pytest.raises(ValueError, match="must agree in num_hiddens"):
        Cohort(configs, V, [weights(own, V, 0) for own in configs])


def test_only_the_derived_form_takes_several_widths() -> None:
    configs = [network("model=gru"), network("model=gru", num_hiddens=3)]
    with pytest.raises(ValueError, match="must agree in num_hiddens"):
        StackedCohort(configs, V, [weights(own, V, 0) for own in configs])


def test_a_portion_of_padded_replicas_is_its_minibatches() -> None:
    config = network("model=gru", layers=2, dropout=0.3)
    configs = replicas(config)
    parameters = [weights(own, V, own.seed, torch.float32) for own in configs]
    minibatches = batches(config, V, len(configs), J)
    asking, silent = (cohort(configs, parameters, silent=silent) for silent in (False, True))
    expected = torch.stack([asking.step(x, y, carry=k > 0) for k, (x, y) in enumerate(minibatches)])
    X, Y = (torch.stack(parts) for parts in zip(*minibatches, strict=True))
    assert torch.equal(silent.train(Stacked(X, Y), carry=False), expected)
