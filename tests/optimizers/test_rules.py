"""The rules that come with the package against torch.optim and the formulas of its documentation, in float64."""

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import Generator, nn

from ablate.config.errors import ConfigError
from ablate.config.registry import OPTIMIZERS
from ablate.config.schema import Config
from ablate.engines.updates import Update
from ablate.testing import check_optimizer
from tests.optimizers.torch_rules import torch_optimizer

Configs = Callable[..., Config]

OPTIONS = {
    "sgd": [],
    "momentum": ["optimizer.momentum=0.6"],
    "rmsprop": ["optimizer.alpha=0.7", "optimizer.eps=1e-3"],
    "adam": ["optimizer.betas=[0.8,0.9]", "optimizer.eps=1e-3"],
    "adamw": ["optimizer.betas=[0.8,0.9]", "optimizer.eps=1e-3"],
}
SLOPES = torch.tensor([1.0, 3.0, -0.5], dtype=torch.float64)
START = torch.tensor([1.0, -2.0, 0.5], dtype=torch.float64)


def expected_path(name: str, lr: float, decay: float, steps: int) -> np.ndarray:
    """θ after some steps on f = ½ Σ a θ², by the formulas of torch.optim's documentation."""
    a, theta = SLOPES.numpy(), START.numpy().copy()
    m, v = np.zeros(3), np.zeros(3)
    beta1, beta2, eps, alpha = 0.8, 0.9, 1e-3, 0.7
    for t in range(1, steps + 1):
        g = a * theta
        if name == "adamw":
            theta = theta * (1 - lr * decay)
        else:
            g = g + decay * theta
        if name == "sgd":
            theta = theta - lr * g
        elif name == "momentum":
            m = 0.6 * m + g
            theta = theta - lr * m
        elif name == "rmsprop":
            v = alpha * v + (1 - alpha) * g**2
            theta = theta - lr * g / (np.sqrt(v) + eps)
        else:
            m, v = beta1 * m + (1 - beta1) * g, beta2 * v + (1 - beta2) * g**2
            theta = theta - lr * (m / (1 - beta1**t)) / (np.sqrt(v / (1 - beta2**t)) + eps)
    return theta


@pytest.mark.parametrize("decay", [0.0, 0.3])
@pytest.mark.parametrize("name", OPTIONS)
def test_rules_follow_their_formulas(compose: Configs, name: str, decay: float) -> None:
    config = compose(f"optimizer={name}", *OPTIONS[name], f"optimizer.weight_decay={decay}", "lr=0.1", "clip=null")
    update = Update([config], START.clone().unsqueeze(0))
    for _ in range(5):
        update(SLOPES * update.parameters)
    np.testing.assert_allclose(update.parameters[0].numpy(), expected_path(name, 0.1, decay, 5), rtol=1e-12)


@pytest.mark.parametrize("momentum", [False, True])
@pytest.mark.parametrize("name", OPTIONS)
def test_replicas_move_as_torch_moves_each(compose: Configs, name: str, momentum: bool) -> None:
    """Three replicas of their own lr and weight decay, thirty updates by random gradients, to 1e-12."""
    further = (
        ["optimizer.momentum=0.5"] if momentum and "momentum" in {knob.name for knob in OPTIMIZERS[name].knobs} else []
    )
    base = compose(f"optimizer={name}", *OPTIONS[name], *further, "clip=null")
    configs = []
    for lr, decay in ((0.1, 0.0), (0.01, 0.3), (0.003, 0.01)):
        configs.append(base.but(lr=lr, optimizer=base.optimizer.but(weight_decay=decay)))
    generator = Generator().manual_seed(0)
    start = torch.randn(3, 20, generator=generator, dtype=torch.float64)
    gradients = torch.randn(30, 3, 20, generator=generator, dtype=torch.float64)
    update = Update(configs, start.clone())
    for each in gradients:
        update(each.clone())
    for k, config in enumerate(configs):
        parameter = nn.Parameter(start[k].clone())
        reference = torch_optimizer(config, [parameter])
        for each in gradients:
            parameter.grad = each[k].clone()
            reference.step()
        torch.testing.assert_close(update.parameters[k], parameter.detach(), rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("name", [one.name for one in OPTIMIZERS])
def test_what_is_shipped_passes_the_check_for_what_is_brought(name: str) -> None:
    check_optimizer(name)


def test_conf_says_what_the_optimizers_say_of_themselves(compose: Configs) -> None:
    for found in OPTIMIZERS:
        chosen = compose(f"optimizer={found.name}").optimizer
        assert chosen.lr == found.lr
        assert found.options(chosen) == {knob.name: knob.default for knob in found.knobs}


def test_only_descent_without_decay_is_plain(compose: Configs) -> None:
    plain = [
        words
        for words in ("optimizer=sgd", "optimizer=sgd optimizer.weight_decay=0.1", "optimizer=momentum")
        if Update([compose(*words.split())], torch.zeros(1, 4)).descends
    ]
    assert plain == ["optimizer=sgd"]


def test_an_unknown_optimizer_is_one_line(compose: Configs) -> None:
    base = compose()
    config = base.but(optimizer=replace(base.optimizer, name="adan"))
    with pytest.raises(ConfigError, match=r"adan.*did you mean adam"):
        Update([config], torch.zeros(1, 4))
