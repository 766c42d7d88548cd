"""A gradient that overflows float32 in training: every engine ends with the same cause at the same update.

Not constructed, as in test_divergence, but of a network: a rectified linear layer that multiplies its state by 1000 at
every step hands gradients back a thousand times as large. Its states stay tiny, so that losses are finite. Of the
first minibatches nothing is scored, of the third one everything. CPU; the native engines need a C++ compiler, and
precision=bf16 a CPU that multiplies bfloat16.
"""

from collections.abc import Callable, Iterator
from typing import Any

import pytest
import torch
from torch import Tensor

from ablate.config.metrics import UNSCORED
from ablate.config.schema import Config
from ablate.engines.autograd import AutogradProgram
from ablate.engines.cohort import Cohort
from ablate.engines.cohort.native import NativeCohort, unavailable
from ablate.engines.cohort.stacked import StackedCohort
from ablate.networks.language_model import EagerModel
from tests.engines.sample_networks import backpropagate, named_gradients, network, weights

V, GROWTH, HARMLESS = 3, 1e3, 2


def missing(precision: str = "ieee") -> pytest.MarkDecorator:
    return pytest.mark.skipif(bool(unavailable(precision)), reason=unavailable(precision))


def stacked_in_torch(*given: Any) -> StackedCohort:
    cohort = StackedCohort(*given)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("ABLATE_NATIVE", "0")
        _ = cohort._recurrence
    return cohort


def bf16(configs: list[Config], *given: Any) -> NativeCohort:
    return NativeCohort([config.but(precision="bf16") for config in configs], *given)


def plain(engine: str) -> Callable[..., AutogradProgram]:
    return lambda configs, V, parameters: AutogradProgram(engine, configs[0], V, parameters[0])


ENGINES = [
    pytest.param(plain("eager"), id="eager"),
    pytest.param(plain("torch_nn"), id="torch_nn"),
    pytest.param(Cohort, id="cohort, torch"),
    pytest.param(NativeCohort, id="cohort, native", marks=missing()),
    pytest.param(bf16, id="cohort, bf16", marks=missing("bf16")),
    pytest.param(stacked_in_torch, id="stacked, torch"),
    pytest.param(StackedCohort, id="stacked, native", marks=missing()),
]
OUTPUTS = {
    "squares overflow": 1e10,
    "as large as a norm can be": 1.6e23,
    "the norm overflows": 8e23,
    "numbers do": 1e26,
}
"""How large the weights of the output layer are, and with them what comes back from it."""
PASSES = ("squares overflow", "as large as a norm can be")


@pytest.fixture(autouse=True)
def as_in_training() -> Iterator[None]:
    """Denormal numbers are zero."""
    torch.set_flush_denormal(True)
    yield
    torch.set_flush_denormal(False)


def parameters_of(config: Config, output: float) -> dict[str, Tensor]:
    """All hidden units positive, each with a thousandfold weight of itself."""
    made = {name: torch.zeros_like(value) for name, value in weights(config, V, 0, torch.float32).items()}
    made["0.candidate.W_h"] = GROWTH * torch.eye(config.num_hiddens)
    made["0.candidate.b_x"].fill_(1e-37)
    made["output.W"][:, 0] = output
    return made


def minibatches(config: Config, R: int) -> list[tuple[Tensor, Tensor]]:
    """The word 0 again and again, to be followed by the word 1."""
    tokens = torch.zeros(R, config.num_steps, config.batch_size, dtype=torch.long)
    return [(tokens, torch.full_like(tokens, UNSCORED))] * HARMLESS + [(tokens, tokens + 1)]


def config_of(optimizer: str, clip: float | None) -> Config:
    return network("model=rnn", "model.activation=relu", f"optimizer={optimizer}", lr=1e-3, clip=clip, num_steps=6)


@pytest.mark.parametrize("what", OUTPUTS)
def test_the_gradients_are_what_they_are_said_to_be(what: str) -> None:
    """In float64, of the minibatch that is scored."""
    config = config_of("sgd", None)
    exact = {name: value.double() for name, value in parameters_of(config, OUTPUTS[what]).items()}
    model = EagerModel(config, V, exact)
    x, y = minibatches(config, 1)[-1]
    loss = backpropagate(model, [(x[0], y[0])], carry=False)
    row = torch.cat([gradient.flatten() for gradient in named_gradients(model).values()])
    limit = torch.finfo(torch.float32).max
    assert float(loss) < limit
    assert float(row.norm()) ** 2 > limit
    assert (float(row.norm()) < limit) == (what in PASSES)
    assert (float(row.abs().max()) < limit) == (what != "numbers do")


@pytest.mark.full
@pytest.mark.parametrize("what", OUTPUTS)
@pytest.mark.parametrize("clip", [None, 1.0])
@pytest.mark.parametrize("optimizer", ["sgd", "momentum", "adam", "adamw", "rmsprop"])
@pytest.mark.parametrize("engine", ENGINES)
def test_every_engine_records_the_same(
    engine: Callable[..., Any], optimizer: str, clip: float | None, what: str
) -> None:
    config = config_of(optimizer, clip)
    program = engine([config], V, [parameters_of(config, OUTPUTS[what])])
    before = program.named_tensors(0)["0.candidate.b_x"].clone()
    causes = []
    for x, y in minibatches(config, 1):
        assert program.step(x, y, carry=False).isfinite().all()
        causes.append(program.divergences()[0])
    moved = program.named_tensors(0)["0.candidate.b_x"].detach() - before
    if what not in PASSES:
        assert causes == [""] * HARMLESS + ["gradient"]
        assert not moved.any()
    elif clip is None and optimizer in ("adam", "adamw", "rmsprop"):  # the square of the gradient is kept
        assert causes == [""] * HARMLESS + ["update"]
    else:
        assert causes == [""] * (HARMLESS + 1)
        assert (moved.abs() > (1e-4 if clip else 1e20)).all(), "a silent step of nothing"
