"""Which network a config means: what reads one step after the other, or an encoder–decoder."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from torch import Generator, Tensor

from ablate.config.errors import ConfigError, listing
from ablate.config.registry import TASKS
from ablate.config.resolved import Resolved
from ablate.networks.language_model import ENGINES, LanguageModel
from ablate.networks.network import Network
from ablate.networks.parameters import Sizes, Vocabulary
from ablate.networks.translation_model import TRANSLATORS
from ablate.networks.translator import Translator


@dataclass(frozen=True)
class Family:
    """Networks of one build: as a function of named parameters, and as modules, by the name of the engine."""

    readable: type[Network] | type[Translator]
    trainable: Mapping[str, Any]
    steps: bool = True
    """Whether it reads one step after the other, so that it can go on from the state in which it stopped."""
    stacks: int = 1
    """The stacks of layers that it has."""


FAMILIES = {
    "sequence": Family(Network, ENGINES),
    "encoder-decoder": Family(Translator, TRANSLATORS, steps=False, stacks=2),
}
"""By the `network` of a task."""


def family(config: Resolved) -> Family:
    """That of a config's task. Raises ConfigError for a network that there is not."""
    name = TASKS[config.task.name].network
    if name not in FAMILIES:
        raise ConfigError(f"task {config.task.name} has the network {name!r}; choose {listing(FAMILIES)}")
    return FAMILIES[name]


def network_of(config: Resolved) -> type[Network] | type[Translator]:
    """The readable network, as a function of named parameters that may be stacked."""
    return family(config).readable


def carries(config: Resolved) -> bool:
    """Whether a network can go on from the state in which it stopped; else it reads each sequence whole."""
    return not config.model.bidirectional and family(config).steps


def trainable(
    engine: str,
    config: Resolved,
    vocabulary_size: Vocabulary | Sizes,
    parameters: Mapping[str, Tensor],
    generator: Generator | None = None,
) -> LanguageModel:
    """The network as a module with parameters of its own, for engine=eager or engine=torch_nn."""
    model: LanguageModel = family(config).trainable[engine](config, vocabulary_size, parameters, generator)
    return model
