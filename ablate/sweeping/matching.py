"""match=params: as wide as it takes to have as many parameters as the sweep's first model."""

from ablate.config.resolved import Resolved
from ablate.config.schema import Config
from ablate.networks.parameters import Sizes, Vocabulary, count

NEAR = 0.05
"""A difference in parameters, relative to those wanted, that is not worth a word."""


def matched(config: Resolved, first: Config, sizes: Vocabulary | Sizes) -> Resolved:
    """The config with the `num_hiddens` that brings it nearest to the parameters of the first config's model.

    That model is given every other knob of `config`, its num_hiddens included. `sizes` are those of the task.
    """
    if config.match is None:
        return config
    target = _wanted(config, first, sizes)

    def parameters(num_hiddens: int) -> int:
        return count(config.but(num_hiddens=num_hiddens), sizes)

    enough = 1
    while parameters(enough) < target:
        enough *= 2
    too_few = enough // 2
    while enough - too_few > 1:
        middle = (too_few + enough) // 2
        too_few, enough = (middle, enough) if parameters(middle) < target else (too_few, middle)
    return config.but(num_hiddens=min((max(too_few, 1), enough), key=lambda h: abs(parameters(h) - target)))


def unequal(asked: Resolved, config: Resolved, first: Config, sizes: Vocabulary | Sizes) -> list[str]:
    """A line where `config`, which `matched` made of `asked`, differs from the parameters wanted by more than 5 %."""
    if asked.match is None:
        return []
    wanted, has = _wanted(asked, first, sizes), count(config, sizes)
    if abs(has - wanted) <= NEAR * wanted:
        return []
    return [
        f"match=params: {config.model.name} of num_hiddens={config.num_hiddens} has {has:,} parameters, as near as it "
        f"gets to the {wanted:,} of {first.model.name}; a larger num_hiddens brings them closer"
    ]


def _wanted(config: Resolved, first: Config, sizes: Vocabulary | Sizes) -> int:
    return count(config.but(model=first.model), sizes)
