"""The end of a search on made-up objectives: the best few and the baseline on fresh seeds. CPU, 3 s."""

import errno
import json
import os
import re
from pathlib import Path
from typing import Any

import pytest
from synthetic import LINE, Noisy, knobs, line, searching, settings, space_of

from ablate.config.registry import TASKS
from ablate.searching.evaluation import Overrides
from ablate.searching.finale import Outcome, alone, conclude
from ablate.searching.outcome import result_line, write_summary
from ablate.searching.run import chosen_and_reported
from ablate.searching.settings import Objective, Race, objectives
from ablate.tasks.facts import Words


def finale_beside(baseline: str, evaluator: Noisy, folder: Path) -> tuple[Outcome, list[tuple[Overrides, int]]]:
    """The outcome of two finalists and a baseline, and what was evaluated for it beyond the search."""
    wanted = settings(n_trials=10, sampler="grid", storage="memory", race=Race(best=2, fresh=7), baseline=(baseline,))
    with searching(LINE, wanted, evaluator, folder) as (search, _):
        search.run()
        before = len(evaluator.evaluated)
        return conclude(search, evaluator, None), evaluator.evaluated[before:]


def test_the_best_few_and_the_baseline_are_evaluated_on_fresh_seeds(tmp_path: Path) -> None:
    found, extra = finale_beside("x=9", Noisy(line, common=0.3, own=0.01), tmp_path)
    by_x = {x: sorted(seed for overrides, seed in extra if knobs(overrides)["x"] == x) for x in "019"}
    assert by_x == {"0": list(range(6, 13)), "1": [6, 7, 8], "9": [9, 10, 11, 12]}  # three choose, four report
    assert len(extra) == sum(map(len, by_x.values()))
    assert found.confirmed
    assert found.winner is not None
    assert found.winner.values == {"x": 0}
    against = found.against_baseline
    assert against is not None
    assert against.n == 4
    assert against.low < 5 / 14 < against.high


def test_a_baseline_that_wins_is_computed_once(tmp_path: Path) -> None:
    """A run on the way belongs to one ticket: under a second one its result would never be told."""
    found, extra = finale_beside("x=0", Noisy(line, own=0.01), tmp_path)
    assert len(extra) == len(set(extra))
    assert found.winner is not None
    assert found.baseline is not None
    assert found.winner.values == {"x": 0}
    assert found.baseline.runs == found.winner.runs
    assert sorted(found.winner.runs) == [9, 10, 11, 12]
    assert found.against_baseline is None
    assert "what is chosen is the baseline itself" in found.notes


def concluded(evaluator: Noisy, folder: Path, space: Any = LINE, **changes: Any) -> Any:
    """The outcome of a search of the whole grid."""
    wanted = settings(**{"n_trials": 10, "sampler": "grid", "storage": "memory"} | changes)
    with searching(space, wanted, evaluator, folder) as (search, _):
        search.run()
        return conclude(search, evaluator, None)


def test_the_reported_half_of_the_fresh_seeds_chooses_nothing(tmp_path: Path) -> None:
    """x = 1 is the best on the reporting seeds alone: it does not win by them."""

    class Lucky(Noisy):
        def value(self, overrides: Any, seed: int) -> float:
            return 1.0 if seed >= 12 and knobs(overrides)["x"] == "1" else super().value(overrides, seed)

    found = concluded(Lucky(line), tmp_path, race=Race(best=3, fresh=12))
    assert found.winner.values == {"x": 0}
    assert found.winner.estimate(Objective("perplexity")) == pytest.approx(5.0)


def test_one_fresh_seed_reports_and_the_search_chooses(tmp_path: Path) -> None:
    found = concluded(Noisy(line), tmp_path, race=Race(fresh=1))
    assert (found.winner.values, sorted(found.winner.runs), found.winner.choosing) == ({"x": 0}, [6], {})


@pytest.mark.parametrize(("part", "seed"), [("choosing", 7), ("reporting", 13)])
def test_a_finalist_that_diverges_on_fresh_seeds_gives_way_and_that_is_said(
    part: str, seed: int, tmp_path: Path
) -> None:
    evaluator = Noisy(line, diverges_on=lambda k, s: k["x"] == "0" and s == seed)
    found = concluded(evaluator, tmp_path)
    assert found.winner.values == {"x": 1}
    [gone] = [one for one in found.finalists if one.values == {"x": 0}]
    assert re.search(rf"^trial {gone.number} diverged .*\b1 of 6 {part} seeds$", gone.trouble)
    assert sum(gone.trouble in note for note in found.notes) == (part == "reporting")  # it had been chosen


def test_where_no_finalist_survives_the_reasons_are_told(tmp_path: Path) -> None:
    found = concluded(Noisy(line, diverges_on=lambda k, s: s > 5), tmp_path)
    assert (found.winner, found.concluded, found.waits) == (None, True, False)
    assert found.notes[-1].startswith("none of the best 3 survived")
    assert found.notes[-1].count("6 of 6 choosing") == 3


def test_a_baseline_that_diverges_counts_as_worse_and_that_is_said(tmp_path: Path) -> None:
    found = concluded(Noisy(line, diverges_on=lambda k, s: k["x"] == "9" and s > 12), tmp_path, baseline=("x=9",))
    assert (found.against_baseline.n, found.against_baseline.reference_diverged) == (6, 5)
    assert found.against_baseline.p < 0.05
    [note] = [note for note in found.notes if "baseline" in note]
    assert re.search(r"\bdiverged .*\b5 of 6 reporting seeds$", note)


@pytest.mark.parametrize(
    ("evaluator", "words"),
    [
        (Noisy(line, diverges=lambda k: True), ["none of 10 trials", "10 diverged", "2 of 2 runs diverged", "lower"]),
        (Noisy(line, breaks=lambda k: True), ["none of 10 trials", "10 failed", "RuntimeError: it broke"]),
        (
            Noisy(line, breaks=lambda k: int(k["x"]) < 4, diverges=lambda k: True),
            ["6 diverged", "4 failed", "it broke"],
        ),
    ],
)
def test_a_search_without_any_value_says_why(evaluator: Noisy, words: list[str], tmp_path: Path) -> None:
    found = concluded(evaluator, tmp_path)
    assert (found.winner, found.finalists, found.concluded) == (None, [], True)
    [note] = found.notes
    assert [word for word in words if word not in note] == []
    assert "\n" not in note


def test_the_remedy_for_divergence_names_the_searched_lr(tmp_path: Path) -> None:
    space = space_of("lr=choice(10.0,20.0)")
    found = concluded(Noisy(lambda k: 5.0, diverges=lambda k: True), tmp_path, space, n_trials=2)
    assert "lower values of lr than 10" in found.notes[0]


def test_where_no_trial_differs_there_is_no_winner(tmp_path: Path) -> None:
    evaluator = Noisy(lambda k: 28.77 * (1 + 1e-8 * float(k["x"])), common=0.01)  # seeds differ, knobs by rounding
    found = concluded(evaluator, tmp_path)
    assert (found.winner, found.finalists) == (None, [])
    assert "no trial differs" in found.notes[0]
    assert {seed for _, seed in evaluator.evaluated} <= set(range(6))  # nothing is spent on fresh seeds


def test_ties_are_named(tmp_path: Path) -> None:
    """Two values of x, four configurations of each: the first three of the better four go on, and are equal again."""
    evaluator = Noisy(lambda k: 5.0 if int(k["x"]) < 4 else 6.0)
    found = concluded(evaluator, tmp_path, space_of("x=range(0,8)"), n_trials=8)
    assert found.winner is not None
    assert "equal in the search" in found.notes[0]
    assert "equal on the choosing seeds" in found.notes[1]
    for note in found.notes:
        assert str(found.winner.number) in note


def test_a_metric_that_may_be_0_is_searched_for_its_largest_value(tmp_path: Path) -> None:
    """Accuracy, best at x = 5; x = 0 has an accuracy of 0, x = 9 diverges."""
    evaluator = Noisy(
        lambda k: 1 - abs(float(k["x"]) - 5) / 5,
        own=0.01,
        names=("accuracy", "val_perplexity"),
        diverges=lambda k: k["x"] == "9",
    )
    wanted = {"objectives": objectives("accuracy"), "baseline": ("x=0",)}
    found = concluded(evaluator, tmp_path, **wanted)
    assert found.winner.values == {"x": 5}
    assert found.winner.estimate(wanted["objectives"][0]) == pytest.approx(1, abs=0.02)
    against = found.against_baseline
    assert (against.kind, against.n) == ("difference", 6)
    assert against.value == pytest.approx(1, abs=0.02)
    assert against.low > 0.9
    both = concluded(
        Noisy(lambda k: float(k["x"]) / 10, names=("accuracy",), speed=lambda k: 100 - float(k["x"])),
        tmp_path,
        objectives=objectives(["accuracy", "tokens_per_s"]),
        seeds=(0, 1),
        parallel=4,
    )
    assert {one.values["x"] for one in both.front} == set(range(10))


def test_a_lock_that_cannot_be_had_is_not_one_that_is_held(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    said: list[str] = []
    for number in (errno.ENOLCK, errno.ENOSYS, errno.EOPNOTSUPP):

        def broken(*_: Any, number: int = number) -> None:
            raise OSError(number, os.strerror(number))

        monkeypatch.setattr("portalocker.portalocker.LOCKER", broken)
        with alone(tmp_path, said.append) as first:
            assert first
    assert len(said) == 3
    monkeypatch.undo()
    with alone(tmp_path) as first, alone(tmp_path) as second:
        assert (first, second) == (True, False)


def test_what_the_held_out_text_chose_is_reported_by_the_test_text(tmp_path: Path) -> None:
    """x = 1 is best on the test text: it does not win by that, and the winner's number is that of the test text."""

    class Tested(Noisy):
        def submit(self, ticket: int, overrides: Any, seeds: Any) -> None:
            super().submit(ticket, overrides, seeds)
            for run in self.events[-1].runs.values():  # type: ignore[union-attr]
                run["test_perplexity"] = 1.0 if knobs(overrides)["x"] == "1" else 10 * run["val_perplexity"]  # type: ignore[index]

    changed = {"objectives": objectives("val_perplexity"), "baseline": ("x=9",)}
    found = concluded(Tested(line), tmp_path, **changed)
    wanted = settings(**changed)
    [objective] = wanted.objectives
    assert found.winner.values == {"x": 0}
    assert found.winner.reported(objective).name == found.compared_by == "test_perplexity"
    assert "test perplexity 50" in result_line(found.winner, wanted)
    write_summary(tmp_path, "made", "memory", {"space": {}, "fixed": {}}, wanted, found)
    stored = json.loads((tmp_path / "search.json").read_text())
    assert stored["reported"] == {"val_perplexity": "test_perplexity"}
    assert stored["winner"]["fresh"]["test_perplexity"]["value"] == pytest.approx(50)
    assert {*stored["winner"]["choosing"]} == {"val_perplexity"}
    said = chosen_and_reported(wanted, found, Words())
    assert said.endswith("the text of the search chose, the test text reports")
    sequences = TASKS["classification"].words
    said = chosen_and_reported(wanted, found, sequences)
    assert said.endswith("the sequences of the search chose, the test set reports")
    without = concluded(Noisy(line), tmp_path, **changed)
    said = chosen_and_reported(wanted, without, sequences)
    assert said.endswith("all of them on the held-out sequences by which the search chose, too")
    assert without.winner.reported(objective) == objective
    assert without.compared_by == "val_perplexity"
