"""The rules and schedules of torch.optim that ours are compared with."""

from collections.abc import Iterable

import torch
from torch import nn

from ablate.config.schema import Config


def torch_optimizer(config: Config, parameters: Iterable[nn.Parameter]) -> torch.optim.Optimizer:
    """The one of torch.optim that `config.optimizer` names, at the learning rate `config.lr`."""
    chosen, lr = config.optimizer, config.lr
    trained = [p for p in parameters if p.requires_grad]
    decay = chosen.weight_decay
    match chosen.name:
        case "sgd":
            return torch.optim.SGD(trained, lr, weight_decay=decay)
        case "momentum":
            return torch.optim.SGD(trained, lr, momentum=chosen.momentum, weight_decay=decay)
        case "rmsprop":
            return torch.optim.RMSprop(
                trained, lr, alpha=chosen.alpha, eps=chosen.eps, momentum=chosen.momentum, weight_decay=decay
            )
        case "adam" | "adamw":
            rule = torch.optim.Adam if chosen.name == "adam" else torch.optim.AdamW
            return rule(trained, lr, betas=(chosen.betas[0], chosen.betas[1]), eps=chosen.eps, weight_decay=decay)
    raise AssertionError(chosen.name)
