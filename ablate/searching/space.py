"""What is searched: Hydra's override grammar as dimensions, some of which exist under conditions only.

    num_hiddens=choice(32,64,128)      one of these; also num_hiddens=32,64,128 and model=choice(rnn,gru)
    lr='tag(log, interval(0.01, 2))'   a number between, on a logarithmic scale
    layers=range(1,4)                  1, 2 or 3; range(0,0.6,0.2) has a step, too
    num_hiddens='int(interval(16,256))'   a whole number between, both ends included

A condition says when a dimension exists: `dropout: {layers: [2, 3]}` is only drawn where layers is 2 or 3.
"""

import itertools
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any

import numpy as np
from hydra.core.override_parser.types import (
    ChoiceSweep,
    IntervalSweep,
    Override,
    QuotedString,
    RangeSweep,
    Transformer,
)
from optuna.distributions import (
    BaseDistribution,
    CategoricalDistribution,
    FloatDistribution,
    IntDistribution,
)
from optuna.trial import Trial

from ablate.config.errors import ConfigError, listing, nearest, span
from ablate.config.grid import on_steps
from ablate.config.knobs import condition_names
from ablate.config.schema import Config
from ablate.searching.settings import Settings
from ablate.sweeping.launching.options import Options

Values = dict[str, Any]
"""The knobs of one trial, by name."""

GRID_LIMIT = 100_000
"""A space with more configurations counts as infinite."""
MOST_NAMED = 12
"""Of more values a message names the first and the last."""


@dataclass(frozen=True)
class Dimension:
    """One knob that is searched."""

    key: str  # as typed: num_hiddens, or +model.gates.output
    distribution: BaseDistribution
    texts: tuple[str, ...] = ()  # of choices: how each is written in an override
    conditions: tuple[tuple[str, tuple[Any, ...]], ...] = ()  # exists where each of these knobs has one of the values

    @property
    def name(self) -> str:
        return self.key.lstrip("+")

    def exists(self, values: Mapping[str, Any]) -> bool:
        """Whether this dimension exists beside the values drawn so far."""
        return all(parent in values and values[parent] in allowed for parent, allowed in self.conditions)

    def suggest(self, trial: Trial) -> Any:
        d = self.distribution
        if isinstance(d, CategoricalDistribution):
            return trial.suggest_categorical(self.name, d.choices)
        if isinstance(d, IntDistribution):
            return on_grid(trial.suggest_int(self.name, d.low, d.high, step=d.step, log=d.log), d)
        assert isinstance(d, FloatDistribution)
        return on_grid(trial.suggest_float(self.name, d.low, d.high, step=d.step, log=d.log), d)

    def draw(self, rng: np.random.Generator) -> Any:
        """A value at random: uniform, or uniform in the logarithm."""
        finite = self.finite()
        if finite is not None:
            return finite[int(rng.integers(len(finite)))]
        d = self.distribution
        assert isinstance(d, FloatDistribution | IntDistribution)
        if d.log:
            value = float(np.exp(rng.uniform(np.log(d.low), np.log(d.high))))
        else:
            value = float(rng.uniform(d.low, d.high))
        value = min(max(value, d.low), d.high)
        return round(value) if isinstance(d, IntDistribution) else value

    def finite(self) -> Sequence[Any] | None:
        """All values, where they can be listed and are equally likely; of whole numbers there may be billions."""
        d = self.distribution
        if isinstance(d, CategoricalDistribution):
            return d.choices
        if isinstance(d, IntDistribution) and not d.log:
            return range(d.low, d.high + 1, d.step)
        if isinstance(d, FloatDistribution) and d.step is not None:
            return [on_grid(d.low + k * d.step, d) for k in range(round((d.high - d.low) / d.step) + 1)]
        return None

    def listed(self) -> Sequence[Any] | None:
        """All values, where they can be listed; see `finite`."""
        d = self.distribution
        return range(d.low, d.high + 1) if isinstance(d, IntDistribution) and d.log else self.finite()

    def ends(self) -> list[Any]:
        """The values that show whether all are legal: every choice, both ends of an interval."""
        d = self.distribution
        if isinstance(d, CategoricalDistribution):
            return list(d.choices)
        assert isinstance(d, FloatDistribution | IntDistribution)
        return [d.low, d.high]

    def written(self, value: Any) -> str:
        """The override that sets this knob."""
        if self.texts:
            assert isinstance(self.distribution, CategoricalDistribution)
            return f"{self.key}={self.texts[int(self.distribution.to_internal_repr(value))]}"
        return f"{self.key}={value!r}"

    def to_json(self) -> dict[str, Any]:
        """What tells this dimension from another one."""
        d = self.distribution
        out: dict[str, Any]
        if isinstance(d, CategoricalDistribution):
            out = {"kind": "choice", "choices": list(d.choices)}
        else:
            assert isinstance(d, FloatDistribution | IntDistribution)
            kind = "int" if isinstance(d, IntDistribution) else "float"
            out = {"kind": kind, "low": d.low, "high": d.high, "step": d.step, "log": d.log}
        if self.conditions:
            out["conditions"] = {parent: list(allowed) for parent, allowed in self.conditions}
        return out


def on_grid(value: Any, distribution: BaseDistribution) -> Any:
    """A value as it is typed: on the steps of its range, and no number of numpy's, which some samplers draw."""
    if isinstance(distribution, IntDistribution):
        return int(value)
    if isinstance(distribution, FloatDistribution):
        step = distribution.step
        return float(value) if step is None else on_steps(float(value), distribution.low, step)
    return value


@dataclass(frozen=True)
class Space:
    """The dimensions, each after those that it depends on."""

    dimensions: tuple[Dimension, ...]

    def suggest(self, trial: Trial) -> Values:
        """Let the study's sampler choose; a dimension whose conditions do not hold has no value."""
        values: Values = {}
        for dimension in self.dimensions:
            if dimension.exists(values):
                values[dimension.name] = dimension.suggest(trial)
        return values

    def draw(self, rng: np.random.Generator) -> Values:
        """A configuration at random."""
        values: Values = {}
        for dimension in self.dimensions:
            if dimension.exists(values):
                values[dimension.name] = dimension.draw(rng)
        return values

    def written(self, values: Mapping[str, Any]) -> tuple[str, ...]:
        """The overrides that make this configuration."""
        return tuple(d.written(values[d.name]) for d in self.dimensions if d.name in values)

    def today(self, values: Mapping[str, Any]) -> Values:
        """The values of a trial as they are drawn today; older studies have 0.30000000000000004 for 0.3."""
        drawn = {d.name: on_grid(values[d.name], d.distribution) for d in self.dimensions if d.name in values}
        return {**values, **drawn}

    def grid(self) -> list[Values] | None:
        """Every configuration, or None where they cannot be listed."""
        lists = [dimension.listed() for dimension in self.dimensions]
        if any(values is None for values in lists) or np.prod([float(len(v or ())) for v in lists]) > GRID_LIMIT:
            return None
        found: dict[str, Values] = {}
        for combination in itertools.product(*(values or () for values in lists)):
            values: Values = {}
            for dimension, value in zip(self.dimensions, combination, strict=True):
                if dimension.exists(values):
                    values[dimension.name] = value
            found.setdefault(repr(values), values)
        return list(found.values())

    def corners(self) -> Iterator[Values]:
        """Configurations that show, one dimension at a time, whether all values are legal."""
        first: Values = {}
        for dimension in self.dimensions:
            if dimension.exists(first):
                first[dimension.name] = dimension.ends()[0]
        yield dict(first)
        for dimension in self.dimensions:
            for value in dimension.ends():
                held = {parent: self._possible(parent, allowed) for parent, allowed in dimension.conditions}
                corner: Values = {}
                for other in self.dimensions:
                    if other.name in held:
                        corner[other.name] = held[other.name]
                    elif other is dimension:
                        corner[other.name] = value
                    elif other.exists(corner):
                        corner[other.name] = first.get(other.name, other.ends()[0])
                if corner != first:
                    yield corner

    def _possible(self, name: str, allowed: Sequence[Any]) -> Any:
        """The first of these values that a dimension can have."""
        [possible] = [dimension.listed() or () for dimension in self.dimensions if dimension.name == name]
        return next(value for value in allowed if value in possible)

    @property
    def conditional(self) -> bool:
        return any(dimension.conditions for dimension in self.dimensions)

    def to_json(self) -> dict[str, Any]:
        return {dimension.name: dimension.to_json() for dimension in self.dimensions}


@dataclass
class Problem:
    """What is searched, checked but for what only the composed configs show."""

    space: Space
    settings: Settings
    compose: Callable[[tuple[str, ...]], Config]  # overrides of a trial → its config
    defaults: Callable[[Sequence[str]], Config]  # the config of these overrides alone, without preset and command line
    name: str  # of the search's folder, where the config gives none
    preset: str | None = None
    given: tuple[str, ...] = ()  # the knobs that the command line or the preset sets
    cluster: Options | None = None  # that trains it; this machine without


def build(
    overrides: Sequence[Override],
    conditions: Any = None,
    others: Mapping[str, Any] = MappingProxyType({}),
    full_name: Callable[[str], str] = str,
) -> tuple[Space, list[str]]:
    """The space of these overrides, and the overrides that hold everywhere.

    `others` are the knobs on which a condition may rest though they are not searched, with their values. `full_name`
    gives a knob of a condition its full name. Raises ConfigError where nothing is searched, and for a dimension or
    condition that means nothing.
    """
    dimensions: dict[str, Dimension] = {}
    fixed: list[str] = []
    for override in overrides:
        key = override.get_key_element()
        if not override.is_sweep_override():
            fixed.append(key if override.is_delete() else f"{key}={override.get_value_element_as_str()}")
            continue
        dimension = of_override(override)
        if dimension.distribution.single():
            fixed.append(dimension.written(dimension.ends()[0]))
        else:
            dimensions[dimension.name] = dimension
    if not dimensions:
        raise ConfigError(
            "there is nothing to search: give a knob several values, such as "
            "num_hiddens=choice(32,64,128) or lr='tag(log, interval(0.01, 2))'"
        )
    given = [override.get_key_element().lstrip("+~") for override in overrides]
    resting = _checked(conditions, full_name, dimensions, {*given, *others})
    return Space(tuple(_in_order(_conditioned(dimensions, resting, others, given)))), fixed


def of_override(override: Override) -> Dimension:
    """The dimension that one override means."""
    key, typed = override.get_key_element(), str(override.input_line)
    value: Any = override.value()
    log = _log(value.tags if isinstance(value, ChoiceSweep | RangeSweep | IntervalSweep) else set(), typed)
    if isinstance(value, IntervalSweep):
        return Dimension(key, _interval(value, log, typed))
    if isinstance(value, RangeSweep):
        return Dimension(key, _range(value, log, typed))
    if log:
        raise ConfigError(f"{typed}: a choice has no scale; write tag(log, interval(LOW, HIGH))")
    texts: dict[Any, str] = {}
    for item in override.sweep_iterator(Transformer.identity):
        plain = item.text if isinstance(item, QuotedString) else item
        text = Transformer.str(item)
        texts.setdefault((type(plain), plain) if _primitive(plain) else (str, text), text)
    choices = [value for _, value in texts]
    return Dimension(key, CategoricalDistribution(choices), tuple(texts.values()))


def _primitive(value: Any) -> bool:
    return value is None or isinstance(value, bool | int | float | str)


def _log(tags: set[str], typed: str) -> bool:
    unknown = sorted(tags - {"log"})
    if unknown:
        raise ConfigError(f"{typed}: there is no tag {unknown[0]!r}; log is the only one")
    return "log" in tags


def _interval(value: IntervalSweep, log: bool, typed: str) -> BaseDistribution:
    low, high = value.start, value.end
    assert low is not None
    assert high is not None
    if not (np.isfinite(low) and np.isfinite(high)):
        raise ConfigError(f"{typed}: both ends of an interval are finite numbers")
    if low > high:
        raise ConfigError(f"{typed}: the interval is empty; write interval({high:g}, {low:g})")
    if log and low <= 0:
        raise ConfigError(
            f"{typed}: a logarithmic interval cannot begin at {low:g}; begin above zero, such as {high / 1000:g}"
        )
    if isinstance(low, int) and isinstance(high, int):
        return IntDistribution(low, high, log=log)
    return FloatDistribution(float(low), float(high), log=log)


def _range(value: RangeSweep, log: bool, typed: str) -> BaseDistribution:
    if not value.step:
        raise ConfigError(f"{typed}: a range needs a step other than 0")
    values = sorted(round(v, 12) if isinstance(v, float) else v for v in value.range())
    if not values:
        raise ConfigError(f"{typed}: the range is empty; its second number is left out")
    low, high, step = values[0], values[-1], abs(value.step)
    if log and (low <= 0 or step != 1 or isinstance(low, float)):
        raise ConfigError(f"{typed}: only a range of whole numbers from 1 on, without a step, can be logarithmic")
    if isinstance(low, float):
        return FloatDistribution(low, high, step=float(step) if high > low else None)
    return IntDistribution(int(low), int(high), step=int(step), log=log)


def _checked(
    conditions: Any, full_name: Callable[[str], str], searched: Collection[str], known: Collection[str]
) -> dict[str, dict[str, tuple[Any, ...]]]:
    """Knob → knobs on which it rests, each with the values for which it exists. Raises ConfigError for what is none."""
    if conditions is None:
        return {}
    if not isinstance(conditions, Mapping):
        form = "{KNOB: {OTHER: [VALUES]}}, such as {dropout: {layers: [2, 3]}}"
        raise ConfigError(f"conditions is {conditions!r}; write {form}")
    out: dict[str, dict[str, tuple[Any, ...]]] = {}
    for names, allowed in _leaves(conditions):
        name, parent = _pair(names, full_name, searched, known)
        if not parent or allowed in ([], {}):
            inner = allowed if not parent else {parent: allowed}
            raise ConfigError(f"conditions.{name} is {inner!r}; write {{KNOB: [VALUES]}}, such as {{layers: [2, 3]}}")
        out.setdefault(name, {})[parent] = tuple(allowed) if isinstance(allowed, list | tuple) else (allowed,)
    return out


def _leaves(table: Mapping[Any, Any], above: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], Any]]:
    """The keys that lead to each value of a table of tables, and the value."""
    for key, value in table.items():
        if isinstance(value, Mapping) and value:
            yield from _leaves(value, (*above, str(key)))
        else:
            yield (*above, str(key)), value


def _pair(
    names: Sequence[str], full_name: Callable[[str], str], searched: Collection[str], known: Collection[str]
) -> tuple[str, str]:
    """The knob that a condition is of, and the one on which it rests; the second empty where there is but one.

    On the command line Hydra makes a table of tables of a knob with a dot, `conditions.optimizer.momentum={…}`.
    """
    first, rest, whole = names[0], ".".join(names[1:]), ".".join(names)
    if len(names) == 2 and full_name(first) in searched:
        return full_name(first), full_name(rest)
    if full_name(whole) in known:
        return full_name(whole), ""
    name, parent = condition_names(whole, lambda one: full_name(one) in known) or (first, rest)
    return full_name(name), full_name(parent)


def _conditioned(
    dimensions: Mapping[str, Dimension],
    conditions: Mapping[str, Mapping[str, tuple[Any, ...]]],
    others: Mapping[str, Any],
    given: Collection[str],
) -> dict[str, Dimension]:
    """The dimensions with their conditions; those that can never exist are left out. `given` are all knobs that are
    searched or set."""
    out = dict(dimensions)
    for name, parents in conditions.items():
        if name not in dimensions:
            if name not in given:
                raise ConfigError(
                    f"conditions.{name} is of a knob that is not searched; give {name} several values, "
                    f"or leave the condition out{nearest(name, given)}"
                )
            continue  # a knob of the preset that the command line has fixed
        held = []
        for parent, values in parents.items():
            if parent not in dimensions:
                if parent not in others:
                    known = [other for other in dimensions if other != name]
                    raise ConfigError(f"conditions.{name} rests on {parent}, which is no knob{nearest(parent, known)}")
                if others[parent] not in values:
                    out.pop(name, None)
                continue
            possible = dimensions[parent].listed()
            if possible is None:
                raise ConfigError(
                    f"conditions.{name} rests on {parent}, which is drawn from an interval; give {parent} single values"
                )
            if not any(value in possible for value in values):
                tries = listing(map(str, possible)) if len(possible) <= MOST_NAMED else span(possible[0], possible[-1])
                raise ConfigError(
                    f"conditions.{name} wants {parent} to be {listing(map(str, values))}, but the search tries {tries}"
                )
            held.append((parent, values))
        if name in out:
            out[name] = Dimension(out[name].key, out[name].distribution, out[name].texts, tuple(held))
    if not out:
        raise ConfigError("there is nothing to search: no condition can hold")
    return out


def _in_order(dimensions: Mapping[str, Dimension]) -> list[Dimension]:
    """Each after those it depends on. One that depends on a dimension that never exists does not exist either."""
    done: dict[str, Dimension] = {}
    waiting = dict(dimensions)
    while waiting:
        ready = [name for name, d in waiting.items() if all(p in done or p not in dimensions for p, _ in d.conditions)]
        if not ready:
            raise ConfigError(f"conditions: {listing(sorted(waiting))} depend on each other in a circle")
        for name in ready:
            dimension = waiting.pop(name)
            if all(parent in done for parent, _ in dimension.conditions):
                done[name] = dimension
    return list(done.values())
