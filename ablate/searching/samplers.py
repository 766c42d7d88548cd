"""Optuna's samplers and pruners by name, with their options."""

import hashlib
import inspect
import warnings
from collections.abc import Mapping
from typing import Any

import optuna
from optuna import pruners, samplers

from ablate.errors import ConfigError, UserError, listing, nearest
from ablate.searching.space import Space

SAMPLERS: dict[str, type[samplers.BaseSampler]] = {
    "tpe": samplers.TPESampler,
    "gp": samplers.GPSampler,
    "cmaes": samplers.CmaEsSampler,
    "qmc": samplers.QMCSampler,
    "random": samplers.RandomSampler,
    "grid": samplers.GridSampler,
    "nsga2": samplers.NSGAIISampler,
}
PRUNERS: dict[str, type[pruners.BasePruner]] = {
    "none": pruners.NopPruner,
    "median": pruners.MedianPruner,
    "percentile": pruners.PercentilePruner,
    "halving": pruners.SuccessiveHalvingPruner,
    "hyperband": pruners.HyperbandPruner,
    "wilcoxon": pruners.WilcoxonPruner,
}
SINGLE = ("cmaes",)
"""Samplers for one objective only."""
FIXED_SEED = ("qmc", "grid")
"""Samplers that count their trials in the study and need the same seed each time."""


def make_sampler(name: str, options: Mapping[str, Any], seed: int, space: Space, several: bool) -> samplers.BaseSampler:
    """A sampler by its name. Raises ConfigError for an unknown one, an unknown option, or one that does not fit."""
    kind = _choose(name, SAMPLERS, "sampler")
    given: dict[str, Any] = {"seed": seed} | dict(options)
    if several and name in SINGLE:
        raise ConfigError(f"sampler={name} has one objective only; choose tpe, nsga2, gp, qmc, random or grid")
    if name == "grid":
        given["search_space"] = grid_space(space)
    if name in ("tpe",) and space.conditional:
        given = {"group": True} | given
    if name == "qmc":
        given = {"scramble": True} | given
    if "warn_independent_sampling" in inspect.signature(kind).parameters and name != "tpe":
        given = {"warn_independent_sampling": False} | given
    if name == "cmaes" and not _installed("cmaes"):
        raise UserError("sampler=cmaes needs the package cmaes: pip install 'ablate-rnn[search]'")
    sampler: samplers.BaseSampler = _make(kind, name, given, "sampler")
    return sampler


def make_pruner(name: str, options: Mapping[str, Any], epochs: int, several: bool) -> pruners.BasePruner:
    """A pruner by its name; the resources of hyperband and halving are epochs, as is the median's warm-up."""
    kind = _choose(name, PRUNERS, "pruner")
    if several and name in ("hyperband", "wilcoxon"):
        raise ConfigError(f"pruner={name} has one objective only; choose none, median, percentile or halving")
    given: dict[str, Any] = dict(options)
    if name == "hyperband":
        given = {"min_resource": max(1, epochs // 20), "max_resource": epochs} | given
    if name == "halving":
        given = {"min_resource": max(1, epochs // 20)} | given
    if name in ("median", "percentile"):  # the first epochs say little: a quick learner need not be the best in the end
        given = {"n_warmup_steps": epochs // 4} | given
    if name == "percentile":
        given = {"percentile": 50.0} | given
    pruner: pruners.BasePruner = _make(kind, name, given, "pruner")
    return pruner


def grid_space(space: Space) -> dict[str, list[Any]]:
    """The values of each dimension. Raises ConfigError for one that has too many."""
    out = {}
    for dimension in space.dimensions:
        values = dimension.listed()
        if values is None:
            raise ConfigError(
                f"sampler=grid needs values that can be listed, but {dimension.name} is an interval; "
                f"write {dimension.name}=choice(…) or range(…)"
            )
        out[dimension.name] = values
    return out


def sampler_seed(name: str, seed: int, trials: int, alone: bool, worker: str) -> int:
    """The seed of a sampler that begins, or goes on, after so many trials.

    The same seed on resuming would propose the same trials again; and two processes that go on together must differ.
    """
    if name in FIXED_SEED or (trials == 0 and alone):
        return seed
    text = f"{seed}/{trials}/{'' if alone else worker}"
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:4], "little")


def _choose(name: str, kinds: Mapping[str, Any], what: str) -> Any:
    if name not in kinds:
        raise ConfigError(f"{what} is {name!r}; choose {listing(kinds)}{nearest(name, kinds)}")
    return kinds[name]


def _make(kind: Any, name: str, options: Mapping[str, Any], what: str) -> Any:
    known = [option for option in inspect.signature(kind).parameters if option not in ("args", "kwargs")]
    for option in options:
        if option not in known:
            raise ConfigError(
                f"{what}={name} has no option {option!r}; it has {listing(known)}{nearest(option, known)}"
            )
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
        warnings.simplefilter("ignore", FutureWarning)
        try:
            return kind(**options)
        except (ValueError, TypeError) as error:
            raise ConfigError(f"{what}={name}: {str(error).splitlines()[0]}") from error


def _installed(module: str) -> bool:
    from importlib.util import find_spec

    return find_spec(module) is not None
