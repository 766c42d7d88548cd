"""match=params: as wide as it takes to have as many parameters as the sweep's first model."""

from dataclasses import replace

from ablate.config.schema import Config, resolve
from ablate.data.corpora import Corpus
from ablate.networks.parameters import count
from ablate.tasks import task_of

NEAR = 0.05
"""A difference in parameters, relative to those wanted, that is not worth a word."""


def matched(config: Config, first: Config, corpus: Corpus) -> Config:
    """The config with the `num_hiddens` that brings it nearest to the parameters of the first config's model.

    That model is given every other knob of `config`, its num_hiddens included.
    """
    if config.match is None:
        return config
    sizes, target = task_of(config, corpus).sizes, _wanted(config, first, corpus)

    def parameters(num_hiddens: int) -> int:
        return count(replace(config, num_hiddens=num_hiddens), sizes)

    enough = 1
    while parameters(enough) < target:
        enough *= 2
    too_few = enough // 2
    while enough - too_few > 1:
        middle = (too_few + enough) // 2
        too_few, enough = (middle, enough) if parameters(middle) < target else (too_few, middle)
    return replace(config, num_hiddens=min((max(too_few, 1), enough), key=lambda h: abs(parameters(h) - target)))


def unequal(asked: Config, config: Config, first: Config, corpus: Corpus) -> list[str]:
    """A line where `config`, which `matched` made of `asked`, differs from the parameters wanted by more than 5 %."""
    if asked.match is None:
        return []
    wanted, has = _wanted(asked, first, corpus), count(config, task_of(config, corpus).sizes)
    if abs(has - wanted) <= NEAR * wanted:
        return []
    return [
        f"match=params: {config.model.name} of num_hiddens={config.num_hiddens} has {has:,} parameters, as near as it "
        f"gets to the {wanted:,} of {first.model.name}; a larger num_hiddens brings them closer"
    ]


def _wanted(config: Config, first: Config, corpus: Corpus) -> int:
    return count(resolve(replace(config, model=first.model)), task_of(config, corpus).sizes)
