"""Whether a device computes what the CPU does: a small network in both, forward, back, update and held out.

A device that torch has few users on (MPS) is asked before it trains anything, once a process.
"""

from functools import cache

import torch
from torch import Generator, Tensor

from ablate.config.composing import compose
from ablate.config.resolved import Resolved, resolve
from ablate.engines.cohort import Cohort
from ablate.networks.parameters import initial

V, R, T, B, H = 11, 3, 6, 32, 8
MINIBATCHES = 3
MODELS = ("gru", "lstm")
TOLERANCE = 1e-3
"""Of a number, relatively, and a hundredth of it absolutely: float32 sums of three updates, in any order."""


@cache
def disagreement(device: torch.device) -> str:
    """What this device computes otherwise than the CPU, in words; empty where they agree."""
    for model in MODELS:
        config = resolve(compose([f"model={model}", f"num_hiddens={H}", "layers=2", "optimizer=adam", "lr=0.01"]))
        expected = numbers(config, torch.device("cpu"))
        try:
            found = numbers(config, device)
        except Exception as error:  # whatever an operator that is missing raises
            first = (str(error).splitlines() or [type(error).__name__])[0]
            return f"{model} cannot be computed: {first}"
        for name, value in expected.items():
            if not torch.allclose(value, found[name], rtol=TOLERANCE, atol=TOLERANCE / 100):
                return f"{name} of {model} differs by {float((value - found[name]).abs().max()):.2g}"
    return ""


def numbers(config: Resolved, device: torch.device) -> dict[str, Tensor]:
    """The losses, gradients, trained parameters and held-out losses of a few replicas, on the CPU."""
    parameters = [initial(config, V, Generator().manual_seed(seed)) for seed in range(R)]
    program = Cohort([config] * R, V, parameters, device=device, updates=MINIBATCHES)
    shape = (MINIBATCHES + 1, 2, R, T, B)
    *trained, (x, y) = torch.randint(V, shape, generator=Generator().manual_seed(R)).to(device)
    [first, *_] = trained
    gradients = [one.flatten() for own in program.gradients(*first, carry=False) for one in own.values()]
    losses = [program.step(x, y, carry=number > 0) for number, (x, y) in enumerate(trained)]
    found = {
        "the gradient": torch.cat(gradients),
        "the loss": torch.stack(losses),
        "the update": torch.cat([one.flatten() for k in range(R) for one in program.named_tensors(k).values()]),
        "the held-out loss": program.evaluate(x, y),
    }
    return {name: value.float().cpu() for name, value in found.items()}
