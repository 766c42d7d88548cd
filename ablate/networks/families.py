"""Which network a config means: what reads tokens one after the other, or an encoder–decoder."""

from collections.abc import Mapping
from typing import Any

from torch import Generator, Tensor

from ablate.config.schema import Config
from ablate.networks.language_model import ENGINES, LanguageModel
from ablate.networks.network import Network
from ablate.networks.parameters import Sizes
from ablate.networks.translation_model import TRANSLATORS
from ablate.networks.translator import Translator


def network_of(config: Config) -> type[Network] | type[Translator]:
    """The readable network, as a function of named parameters that may be stacked."""
    return Translator if config.task.name == "translation" else Network


def carries(config: Config) -> bool:
    """Whether a network can go on from the state in which it stopped; else it reads each sequence whole."""
    return not config.model.bidirectional and config.task.name != "translation"


def trainable(
    engine: str,
    config: Config,
    vocabulary_size: int | Sizes,
    parameters: Mapping[str, Tensor],
    generator: Generator | None = None,
) -> LanguageModel:
    """The network as a module with parameters of its own, for engine=eager or engine=torch_nn."""
    kinds: Mapping[str, Any] = TRANSLATORS if config.task.name == "translation" else ENGINES
    model: LanguageModel = kinds[engine](config, vocabulary_size, parameters, generator)
    return model
