"""Optuna's samplers and pruners by name, with their options."""

import copy
import hashlib
import inspect
import math
import warnings
from collections.abc import Callable, Container, Mapping, Sequence
from importlib.util import find_spec
from typing import Any

import optuna
from optuna import Study, pruners, samplers
from optuna.distributions import BaseDistribution, CategoricalDistribution
from optuna.trial import FrozenTrial, TrialState

from ablate.config.errors import ConfigError, UserError, listing, nearest
from ablate.searching.race import Scale
from ablate.searching.settings import is_of
from ablate.searching.space import GRID_LIMIT, Space, on_grid


class Grid(samplers.GridSampler):
    """Optuna's, but for the end of a trial, where it would stop the study, which ask and tell do not allow.

    It fails there after a trial that was begun again, which has no number of the grid. That all has been tried the
    search sees by itself. The grid of an older study, with 0.30000000000000004 for 0.3, is the same.
    """

    @staticmethod
    def _grid_value_equal(value1: Any, value2: Any) -> bool:
        if isinstance(value1, float) and isinstance(value2, float):
            return math.isclose(value1, value2, rel_tol=1e-12, abs_tol=1e-15) or (value1 != value1 and value2 != value2)
        return bool(value1 == value2)

    def after_trial(self, study: Study, trial: FrozenTrial, state: TrialState, values: Sequence[float] | None) -> None:
        pass


SAMPLERS: dict[str, type[samplers.BaseSampler]] = {
    "tpe": samplers.TPESampler,
    "gp": samplers.GPSampler,
    "cmaes": samplers.CmaEsSampler,
    "qmc": samplers.QMCSampler,
    "random": samplers.RandomSampler,
    "grid": Grid,
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
QUIET = {"warn_independent_sampling": False}
DEFAULTS: dict[str, Callable[[Space], dict[str, Any]]] = {
    "tpe": lambda space: {"group": True} if space.conditional else {},
    "gp": lambda space: QUIET,
    "cmaes": lambda space: QUIET,
    "qmc": lambda space: {"scramble": True, **QUIET},
    "grid": lambda space: {"search_space": grid_space(space)},
}
"""Sampler → the options that it has here, where nobody gives others."""
SINGLE = ("cmaes",)
"""Samplers for one objective only."""
FIXED_SEED = ("qmc", "grid")
"""Samplers that count their trials in the study and need the same seed each time."""


MARGIN = 0.1
"""What diverged counts as worse than the worst finite value by this share of the range of the finite ones."""


class ScaledStudy:
    """A study as a sampler sees it: its values where effects add up, and all of them finite.

    Perplexities and speeds are logarithms; what diverged is a little worse than the worst value that did not. Otherwise
    an infinite value reaches a Gaussian process as the largest finite one, 10¹³ beside 8 and 9, and every difference
    that matters vanishes beside it. The study keeps the values as they were measured: the rule applies to the trials
    there are at the moment, also to those of an older search.
    """

    def __init__(self, study: Study, scales: Sequence[Scale]) -> None:
        self._study, self._scales = study, scales

    def __getattr__(self, name: str) -> Any:
        return getattr(self._study, name)

    @property
    def trials(self) -> list[FrozenTrial]:
        return self.get_trials()

    def get_trials(self, deepcopy: bool = True, states: Container[TrialState] | None = None) -> list[FrozenTrial]:
        return self._scaled(self._study.get_trials(deepcopy=False), states)

    def _get_trials(
        self, deepcopy: bool = True, states: Container[TrialState] | None = None, use_cache: bool = False
    ) -> list[FrozenTrial]:
        return self._scaled(self._study._get_trials(deepcopy=False, states=None, use_cache=use_cache), states)

    def _scaled(self, trials: Sequence[FrozenTrial], states: Container[TrialState] | None) -> list[FrozenTrial]:
        told = [trial for trial in trials if trial.state == TrialState.COMPLETE]
        gone = [bool(trial.user_attrs.get("diverged")) for trial in told]
        columns = []
        for place, scale in enumerate(self._scales):
            losses = scale.losses(trial.values[place] for trial in told).tolist()
            sign = 1 if scale.better == "lower" else -1
            known = finite_column([math.inf if d else loss for d, loss in zip(gone, losses, strict=True)])
            columns.append([sign * loss for loss in known])
        values = {trial.number: list(row) for trial, row in zip(told, zip(*columns, strict=True), strict=True)}
        return [
            with_values(trial, values[trial.number]) if trial.number in values else trial
            for trial in trials
            if states is None or trial.state in states
        ]


def finite_column(losses: Sequence[float]) -> list[float]:
    """Losses, ∞ for what diverged, with that a little worse than the worst finite one; all 0 where none is finite."""
    known = [loss for loss in losses if math.isfinite(loss)]
    if not known:
        return [0.0] * len(losses)
    best, worst = min(known), max(known)
    beyond = worst + MARGIN * ((worst - best) or max(1.0, abs(worst)))
    return [loss if math.isfinite(loss) else beyond for loss in losses]


def with_values(trial: FrozenTrial, values: list[float]) -> FrozenTrial:
    seen = copy.copy(trial)
    seen.values = values
    return seen


class ScaledValues(samplers.BaseSampler):
    """A sampler that works on a `ScaledStudy`, and draws the values of ranges as they are typed."""

    def __init__(self, sampler: samplers.BaseSampler, scales: Sequence[Scale]) -> None:
        self.sampler, self.scales = sampler, scales

    def _seen(self, study: Study) -> Any:
        return ScaledStudy(study, self.scales)

    def reseed_rng(self) -> None:
        self.sampler.reseed_rng()

    def infer_relative_search_space(self, study: Study, trial: FrozenTrial) -> dict[str, Any]:
        return self.sampler.infer_relative_search_space(self._seen(study), trial)

    def sample_relative(self, study: Study, trial: FrozenTrial, search_space: dict[str, Any]) -> dict[str, Any]:
        found = self.sampler.sample_relative(self._seen(study), trial, search_space)
        return {name: on_grid(value, search_space[name]) for name, value in found.items()}

    def sample_independent(
        self,
        study: Study,
        trial: FrozenTrial,
        param_name: str,
        param_distribution: BaseDistribution,
    ) -> Any:
        value = self.sampler.sample_independent(self._seen(study), trial, param_name, param_distribution)
        return on_grid(value, param_distribution)

    def before_trial(self, study: Study, trial: FrozenTrial) -> None:
        self.sampler.before_trial(self._seen(study), trial)

    def after_trial(self, study: Study, trial: FrozenTrial, state: TrialState, values: Sequence[float] | None) -> None:
        self.sampler.after_trial(self._seen(study), trial, state, values)


def make_sampler(name: str, options: Mapping[str, Any], seed: int, space: Space, several: bool) -> samplers.BaseSampler:
    """A sampler by its name. Raises ConfigError for an unknown one, an unknown option, or one that does not fit."""
    kind = _choose(name, SAMPLERS, "sampler")
    _check(kind, name, options, "sampler")
    if several and name in SINGLE:
        raise ConfigError(f"sampler={name} has one objective only; choose tpe, nsga2, gp, qmc, random or grid")
    if "x0" in options:
        numbers = [d.name for d in space.dimensions if not isinstance(d.distribution, CategoricalDistribution)]
        given = options["x0"] or dict.fromkeys(numbers, 0)
        if given.keys() != {*numbers} or not all(is_of(value, float) for value in given.values()):
            raise ConfigError(f"sampler={name}: x0 is {given!r}; it must have a number for {listing(numbers)}")
    if name == "cmaes" and not _installed("cmaes"):
        raise UserError("sampler=cmaes needs the package cmaes: pip install cmaes")
    usual = DEFAULTS[name](space) if name in DEFAULTS else {}
    sampler: samplers.BaseSampler = _make(kind, name, {"seed": seed, **usual, **options}, "sampler")
    return sampler


def _is_early(study: Study, trial: FrozenTrial) -> bool:
    """Whether a trial is in the first quarter of the epochs that finished ones had, or none has finished yet."""
    finished = study.get_trials(deepcopy=False, states=(TrialState.COMPLETE,))
    lasts = [one.last_step for one in finished if one.last_step is not None]
    return not lasts or trial.last_step is None or trial.last_step < max(lasts) // 4


class WarmMedian(pruners.MedianPruner):
    """The median, where nobody knows beforehand how many epochs there are."""

    def prune(self, study: Study, trial: FrozenTrial) -> bool:
        return not _is_early(study, trial) and super().prune(study, trial)


class WarmPercentile(pruners.PercentilePruner):
    """The same for a percentile."""

    def prune(self, study: Study, trial: FrozenTrial) -> bool:
        return not _is_early(study, trial) and super().prune(study, trial)


WARM: dict[type[pruners.BasePruner], type[pruners.BasePruner]] = {
    pruners.MedianPruner: WarmMedian,
    pruners.PercentilePruner: WarmPercentile,
}


def make_pruner(name: str, options: Mapping[str, Any], epochs: int | None, several: bool) -> pruners.BasePruner:
    """A pruner by its name; the resources of hyperband and halving are epochs, as is the median's warm-up.

    `epochs`: how many a run has; None where only the run itself knows, so that the first ones to finish tell.
    """
    kind = _choose(name, PRUNERS, "pruner")
    _check(kind, name, options, "pruner")
    if several and name in ("hyperband", "wilcoxon"):
        raise ConfigError(f"pruner={name} has one objective only; choose none, median, percentile or halving")
    given: dict[str, Any] = dict(options)
    if name == "hyperband":
        known: dict[str, Any] = {"min_resource": 1, "max_resource": "auto"}
        known = known if epochs is None else {"min_resource": max(1, epochs // 20), "max_resource": epochs}
        given = known | given
    if name == "halving":
        given = {"min_resource": "auto" if epochs is None else max(1, epochs // 20)} | given
    if name in ("median", "percentile"):  # the first epochs say little: a quick learner need not be the best in the end
        if epochs is not None:
            given = {"n_warmup_steps": epochs // 4} | given
        elif "n_warmup_steps" not in given:
            kind = WARM[kind]
    if name == "percentile":
        given = {"percentile": 50.0} | given
    pruner: pruners.BasePruner = _make(kind, name, given, "pruner")
    return pruner


def grid_space(space: Space) -> dict[str, list[Any]]:
    """The values of each dimension. Raises ConfigError where there are too many."""
    out: dict[str, Sequence[Any]] = {}
    for dimension in space.dimensions:
        values = dimension.listed()
        if values is None:
            raise ConfigError(
                f"sampler=grid needs values that can be listed, but {dimension.name} is an interval; "
                f"write {dimension.name}=choice(…) or range(…)"
            )
        out[dimension.name] = values
    count = math.prod(map(len, out.values()))
    if count > GRID_LIMIT:
        raise ConfigError(
            f"sampler=grid would list {count:,} configurations, more than {GRID_LIMIT:,}; give fewer values, or choose "
            "another sampler"
        )
    return {name: list(values) for name, values in out.items()}


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


KINDS: dict[str, tuple[type, str]] = {
    "int": (int, "a whole number"),
    "float": (float, "a number"),
    "bool": (bool, "true or false"),
    "str": (str, "a text"),
    "dict[str, Any]": (dict, "a table"),
    "None": (type(None), "null"),
}
"""How an option's kind is called in the signatures of Optuna, and by people; options of other kinds cannot be typed."""
LEAST = {
    "n_ei_candidates": 1,
    "popsize": 2,
    "inc_popsize": -1,
    "reduction_factor": 2,
    "min_resource": 1,
    "max_resource": 1,
}
"""The least number that an option may be; of the others 0."""


def _check(kind: Any, name: str, options: Mapping[str, Any], what: str) -> None:
    """Raise ConfigError for an option that there is not, and for a value that Optuna would stumble over later."""
    kinds = {option: _kinds(one.annotation) for option, one in inspect.signature(kind).parameters.items()}
    known = [option for option in kinds if kinds[option]]
    for option, value in options.items():
        if option not in known:
            raise ConfigError(
                f"{what}={name} has no option {option!r}; it has {listing(known)}{nearest(option, known)}"
            )
        least = LEAST.get(option, 0)
        if any(is_of(value, one) for one, _ in kinds[option]) and (
            not is_of(value, float) or least <= value < math.inf
        ):
            continue
        words = [f"{word}, {least} or more" if one in (int, float) else word for one, word in kinds[option]]
        raise ConfigError(f"{what}={name}: {option} is {value!r}; it must be {', or '.join(words)}")


def _kinds(annotation: Any) -> list[tuple[type, str]]:
    """Those of a signature, as a text or as the class itself; none where one of them cannot be typed."""
    parts = (annotation if isinstance(annotation, str) else annotation.__name__).split(" | ")
    return [KINDS[part] for part in parts if part in KINDS] if {*parts} & KINDS.keys() - {"None"} else []


def _make(kind: Any, name: str, options: Mapping[str, Any], what: str) -> Any:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
        warnings.simplefilter("ignore", FutureWarning)
        try:
            return kind(**options)
        except (ValueError, TypeError) as error:
            raise ConfigError(f"{what}={name}: {str(error).splitlines()[0]}") from error


def _installed(module: str) -> bool:
    return find_spec(module) is not None
