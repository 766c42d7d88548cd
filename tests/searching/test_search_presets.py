"""The searches in sweeps/: question and command on top, and every corner of the space is legal. CPU, 5 s."""

from collections.abc import Callable
from typing import Any

import optuna
import pytest
import yaml

from ablate.config.schema import CONFIG_ROOT
from ablate.config.validation import validate
from ablate.searching import run
from ablate.searching.samplers import make_pruner, make_sampler
from ablate.searching.settings import check_produced
from ablate.searching.space import Problem

PRESETS = {"search_gru": 5, "search_pareto": 4, "search_baseline": 4}
"""Preset → dimensions."""


class Caught(Exception):
    """In place of the search."""


@pytest.fixture
def problem_of(main: Callable[..., Any], monkeypatch: pytest.MonkeyPatch) -> Callable[..., Problem]:
    problems: list[Problem] = []

    def catch(problem: Problem, command: str) -> None:
        problems.append(problem)
        for values in problem.space.corners():  # while Hydra is there to compose
            validate(problem.compose(problem.space.written(values)))
        check_produced(problem.settings, problem.compose(problem.settings.baseline or ()))
        raise Caught

    monkeypatch.setattr(run, "run_search", catch)

    def caught(*arguments: str) -> Problem:
        with pytest.raises(Caught):
            main(*arguments)
        return problems[-1]

    return caught


def test_this_table_is_complete() -> None:
    assert {path.stem for path in (CONFIG_ROOT / "sweeps").glob("search_*.yaml")} == PRESETS.keys()


@pytest.mark.usefixtures("errors_are_ours")
@pytest.mark.full
@pytest.mark.parametrize("preset", PRESETS)
def test_a_search_preset(preset: str, problem_of: Callable[..., Problem]) -> None:
    text = (CONFIG_ROOT / "sweeps" / f"{preset}.yaml").read_text(encoding="utf-8")
    lines = text.splitlines()
    assert lines[0] == "# @package _global_"
    question, command = lines[1].removeprefix("# ").split("   ")
    assert question.endswith("?")
    assert command == f"python -m ablate sweeps={preset}"
    assert {"override /hydra/sweeper": "optuna"} in yaml.safe_load(text)["defaults"]

    problem = problem_of(f"sweeps={preset}")
    settings = problem.settings
    assert len(problem.space.dimensions) == PRESETS[preset]
    assert problem.name == preset
    make_sampler(settings.sampler, settings.sampler_options, 0, problem.space, len(settings.objectives) > 1)
    make_pruner(settings.pruner, settings.pruner_options, 60, len(settings.objectives) > 1)


@pytest.mark.usefixtures("errors_are_ours")
@pytest.mark.full
def test_the_options_of_a_preset_can_be_typed_over(problem_of: Callable[..., Problem]) -> None:
    problem = problem_of("sweeps=search_gru", "hydra.sweeper.n_trials=7", "hydra.sweeper.sampler=random", "lr=0.5")
    assert (problem.settings.n_trials, problem.settings.sampler) == (7, "random")
    assert "lr" not in problem.space.to_json()


@pytest.mark.parametrize("name", ["median", "percentile"])
def test_a_warm_up_where_only_the_runs_know_how_many_epochs_they_have(name: str) -> None:
    """A quarter of what the first ones had; before one has finished nothing is pruned."""
    pruner = make_pruner(name, {"n_startup_trials": 0}, None, several=False)
    study = optuna.create_study(pruner=pruner)
    first = study.ask()
    for step in range(1, 41):
        first.report(1.0, step)
        assert not first.should_prune()
    study.tell(first, 1.0)
    worse = study.ask()
    pruned = []
    for step in range(1, 41):
        worse.report(2.0, step)
        pruned.append(worse.should_prune())
    assert pruned.index(True) + 1 == 10


@pytest.mark.parametrize("name", ["hyperband", "halving", "median", "percentile", "none", "wilcoxon"])
def test_every_pruner_without_a_number_of_epochs(name: str) -> None:
    pruner = make_pruner(name, {}, None, several=False)
    study = optuna.create_study(pruner=pruner)
    for value in range(1, 9):
        trial = study.ask()
        for step in range(1, 5):
            trial.report(float(value), step)
            trial.should_prune()
        study.tell(trial, float(value))
    assert len(study.trials) == 8
