"""Which configurations of a space have been tried: what is the same as what, and what is left."""

from collections.abc import Sequence

import numpy as np
from optuna.trial import FrozenTrial, TrialState

from ablate.config.errors import ConfigError
from ablate.searching.evaluation import Evaluator, Overrides
from ablate.searching.space import Space, Values
from ablate.searching.storage import takes_slot

DRAWS = 200
"""Draws that must all be known before a space counts as exhausted."""


def has_failed(trial: FrozenTrial) -> bool:
    """Whether its configuration did: it would again. One that was given back, or that nobody needed, did not."""
    return trial.state == TrialState.FAIL and takes_slot(trial)


class Tried:
    """The configurations of a space, told apart by what would come out: by their keys."""

    def __init__(self, space: Space, evaluator: Evaluator, rng: np.random.Generator) -> None:
        self.space, self.evaluator, self.rng = space, evaluator, rng
        self._keys: dict[Overrides, str] = {}

    def key(self, overrides: Overrides) -> str:
        """The same for what would come out the same. Raises ConfigError for what cannot be computed."""
        if overrides not in self._keys:
            self._keys[overrides] = self.evaluator.identify(overrides)
        return self._keys[overrides]

    def _keys_of(self, key: str) -> set[str]:
        """What a trial of the same configuration may have been told apart by: trials of older versions are stored."""
        return {key, *self.evaluator.former_keys.get(key, ())}

    def _key_of(self, trial: FrozenTrial) -> str | None:
        """That of a trial, were it drawn today; None where it came to none."""
        if "key" not in trial.user_attrs:
            return None
        values = self.space.today(trial.params)
        same = values == trial.params
        return str(trial.user_attrs["key"]) if same else self.key(self.space.written(values))

    def out_of_date(self, trials: Sequence[FrozenTrial]) -> int | None:
        """The last trial that came out, if the same configuration has another key today; None if it has the same."""
        for trial in reversed(trials):
            if "key" not in trial.user_attrs or trial.state not in (TrialState.COMPLETE, TrialState.PRUNED):
                continue
            try:
                key = self.key(self.space.written(self.space.today(trial.params)))
            except ConfigError:  # of an older version, which had other rules
                return None
            same = trial.params != self.space.today(trial.params) or trial.user_attrs["key"] in self._keys_of(key)
            return None if same else trial.number
        return None

    def twin(self, key: str, number: int, trials: Sequence[FrozenTrial]) -> FrozenTrial | None:
        """A trial of the same configuration as trial `number` that has come out or failed, or began before."""
        keys = self._keys_of(key)
        same = [t for t in trials if self._key_of(t) in keys and t.number != number]
        finished = [t for t in same if t.state in (TrialState.COMPLETE, TrialState.PRUNED) or has_failed(t)]
        running = [t for t in same if t.state == TrialState.RUNNING and t.number < number and takes_slot(t)]
        return next(iter([*finished, *running]), None)

    def among(self, trials: Sequence[FrozenTrial]) -> set[str]:
        """The keys of the configurations that have come out or failed, or are on the way."""
        tried = [t for t in trials if t.state != TrialState.FAIL or has_failed(t)]
        return {key for t in tried if (key := self._key_of(t)) is not None}

    def untried(self, trials: Sequence[FrozenTrial]) -> Values | None:
        """A configuration that nobody has tried, at random; None where none is left, or none found that can be had."""
        known, grid = self.among(trials), self.space.grid()
        if grid is None:
            draws: Sequence[Values] = [self.space.draw(self.rng) for _ in range(DRAWS)]
        else:
            draws = [grid[k] for k in self.rng.permutation(len(grid))]
        for values in draws:
            try:
                new = known.isdisjoint(self._keys_of(self.key(self.space.written(values))))
            except ConfigError:
                continue
            if new:
                return values
        return None
