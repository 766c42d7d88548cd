"""Searches that are killed for real and go on, and several processes on one study. Starts programs; CPU, 15 s."""

import csv
import json
import os
import signal
import sqlite3
import time
from collections import Counter
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import optuna
import pytest
from optuna.trial import TrialState
from synthetic import Noisy, run, searching, settings, space_of

from ablate.analysis.study import state_of
from ablate.config.errors import UserError
from ablate.records import processes, results
from ablate.records.reading import RecordError
from ablate.searching import workers
from ablate.searching.storage import takes_slot

SEARCH = (
    "-m",
    "hydra/sweeper=optuna",
    "name=found",
    "seeds=2",
    "epochs=40",
    "num_hiddens=choice(8,16,24,32)",
    "lr=tag(log, interval(0.1, 4))",
    "hydra.sweeper.sampler=random",
    "hydra.sweeper.race={best: 1, fresh: 1}",
    "threads=1",
    "prefixes=[]",
)

BOWL = space_of("x=interval(-2,2)")


def bowl(knobs: dict[str, str]) -> float:
    return 5 + float(knobs["x"]) ** 2


def trial_table(folder: Path) -> list[dict[str, str]]:
    with (folder / "trials.csv").open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def finished_runs(folder: Path) -> dict[str, Any]:
    """Each run and when it was trained."""
    found = [one for one in results.records(folder) if not isinstance(one, RecordError)]
    return {record["run_id"]: record["timing"] for record in found}


def change(table: str, key: str, value: str) -> str:
    """Of an attribute in a study's file."""
    return f"update {table}_user_attributes set value_json = '{value}' where key like '{key}'"


DAMAGES = {
    "a design that is no JSON": change("study", "design", "{"),
    "a design that is a list": change("study", "design", "[1]"),
    "a space without kinds": change("study", "design", '{"space": {"x": {}}}'),
    "a process that is a number": change("study", "worker:%", "1.5"),
    "a process of other types": change("study", "worker:%", '{"beat": "x"}'),
    "a trial's attribute that is no JSON": change("trial", "n", "x"),
    "a trial's attribute of another type": change("trial", "seeds", "[]"),
    "no objectives": "delete from study_directions",
    "no objectives and no design": "delete from study_directions; delete from study_user_attributes",
    "a trial without its value": "delete from trial_values",
    "a trial whose value is a text": "update trial_values set value = 'x'",
    "a knob that is no JSON": "update trial_params set distribution_json = ''",
}
"""Of a study's file, by what disks, people and other programs may do to it."""


@pytest.mark.parametrize("damage", DAMAGES.values(), ids=DAMAGES)
def test_a_search_does_not_go_on_from_a_damaged_study(tmp_path: Path, damage: str) -> None:
    few = settings(n_trials=2, seeds=(0,), race=None)
    run(BOWL, few, Noisy(bowl), tmp_path)
    with closing(sqlite3.connect(tmp_path / "study.db")) as study, study:
        study.executescript(damage)
        assert study.total_changes
    with pytest.raises(UserError, match=r"is damaged \(.+\); move it away, or give another name=") as refused:
        run(BOWL, few, Noisy(bowl), tmp_path)
    assert "\n" not in str(refused.value)


@pytest.mark.parametrize(
    "line",
    [
        "5",
        "{}",
        '{"op_code": 2, "worker_id": "x", "study_id": 0, "user_attr": {"design": [1]}}',
        "\0\0\0",
        '{"op_code": 99, "worker_id": "x"}',
    ],
)
def test_a_search_does_not_go_on_from_a_damaged_journal(tmp_path: Path, line: str) -> None:
    few = settings(n_trials=2, seeds=(0,), race=None, storage="journal")
    run(BOWL, few, Noisy(bowl), tmp_path)
    with (tmp_path / "study.journal").open("a", encoding="utf-8") as study:
        study.write(f"{line}\n")
    with pytest.raises(UserError, match=r"is damaged \(.+\); move it away, or give another name=") as refused:
        run(BOWL, few, Noisy(bowl), tmp_path)
    assert "\n" not in str(refused.value)


def test_a_search_goes_on_from_a_journal_in_which_half_a_line_was_left(tmp_path: Path) -> None:
    """By a process that was killed, or found no room, while it wrote. The next line would be appended to it."""
    few = settings(n_trials=2, seeds=(0,), race=None, storage="journal")
    before = run(BOWL, few, Noisy(bowl), tmp_path)
    path = tmp_path / "study.journal"
    whole = path.read_bytes()
    path.write_bytes(whole + whole.splitlines()[-1][:20])
    after = run(BOWL, settings(n_trials=3, seeds=(0,), race=None, storage="journal"), Noisy(bowl), tmp_path)
    assert [trial.values for trial in after[:2]] == [trial.values for trial in before]
    assert len(after) == 3
    assert path.read_bytes().startswith(whole)
    for line in path.read_bytes().splitlines():
        json.loads(line)


@pytest.mark.full
def test_a_killed_search_goes_on_with_the_same_command(
    start_search: Callable[..., Any], small_arguments: list[str], tmp_path: Path
) -> None:
    folder = tmp_path / "results" / "found"
    kept = [argument for argument in small_arguments if not argument.startswith(("epochs", "seeds", "num_hiddens"))]
    command = [*SEARCH, *kept, "hydra.sweeper.n_trials=6"]
    process = start_search(*command)
    while len(finished_runs(folder)) < 3:
        assert process.poll() is None, process.communicate()
        time.sleep(0.01)
    os.kill(process.pid, signal.SIGKILL)
    process.wait()
    before = finished_runs(folder)
    study = optuna.load_study(study_name="found", storage=f"sqlite:///{folder / 'study.db'}")
    left = [trial for trial in study.get_trials() if trial.state == TrialState.RUNNING]
    assert left
    asked = {trial.number: trial.params for trial in left}
    study._storage._backend.engine.dispose()  # type: ignore[attr-defined]

    again = start_search(*command)
    _, err = again.communicate(timeout=600)
    assert again.returncode == 0, err
    trials = {int(row["number"]): row for row in trial_table(folder)}
    counts = Counter(row["state"] for row in trials.values())
    assert counts["running"] == counts["waiting"] == 0
    assert sum(counts[state] for state in ("done", "dropped", "diverged", "failed")) == 6
    retried = {int(row["again"]): row for row in trials.values() if row["again"]}
    for number, params in asked.items():
        assert trials[number]["state"] == "orphan"
        assert trials[number]["reason"] == "its process died"
        if params:
            assert float(retried[number]["lr"]) == params["lr"]  # with the same parameters
            assert int(retried[number]["num_hiddens"]) == params["num_hiddens"]
    assert before.items() <= finished_runs(folder).items()  # nothing that was finished is trained again
    assert json.loads((folder / "search.json").read_text())["winner"]
    with sqlite3.connect(folder / "study.db") as database:
        assert database.execute("select count(*) from trials where state = 'RUNNING'").fetchone() == (0,)
    database.close()


@pytest.mark.slow  # as in test_postgres, on SQLite
@pytest.mark.parametrize("processes", [2, 4])
def test_processes_share_one_study(
    start_search: Callable[..., Any], small_arguments: list[str], tmp_path: Path, processes: int
) -> None:
    folder = tmp_path / "results" / "found"
    kept = [argument for argument in small_arguments if not argument.startswith(("epochs", "seeds", "num_hiddens"))]
    command = [*SEARCH, *kept, "hydra.sweeper.n_trials=12"]
    started = [start_search(*command) for _ in range(processes)]
    ended = [process.communicate(timeout=600) for process in started]
    assert not any(process.returncode for process in started), ended
    trials = trial_table(folder)
    assert sum(row["state"] in ("done", "dropped", "diverged", "failed") for row in trials) == 12
    assert not [row for row in trials if row["state"] in ("running", "waiting")]
    assert len({row["lr"] for row in trials}) == len([row for row in trials if row["state"] != "duplicate"])
    assert json.loads((folder / "search.json").read_text())["winner"]


def test_a_sweep_and_a_search_do_not_share_a_folder(tmp_path: Path) -> None:
    from ablate.config.errors import UserError
    from ablate.records.locks import exclusive

    with (
        exclusive(tmp_path, shared=True),
        exclusive(tmp_path, shared=True),
        pytest.raises(UserError, match="in use by another ablate"),
        exclusive(tmp_path),
    ):
        pass
    with exclusive(tmp_path), pytest.raises(UserError, match="in use"), exclusive(tmp_path, shared=True):
        pass


# --- orphans, in one process ----------------------------------------------------------------------------


def orphan(study: optuna.Study, worker: str | None, x: float = 0.5) -> int:
    """A trial that somebody asked for and never told."""
    trial = study.ask()
    if worker is not None:
        trial.set_user_attr("worker", worker)
    trial.suggest_float("x", -2, 2)
    return trial.number


@pytest.mark.full
def test_whose_trial_it_is(tmp_path: Path) -> None:
    with searching(BOWL, settings(), Noisy(bowl), tmp_path) as (search, study):
        me = search.worker
        here = {"place": processes.place(), "pid": os.getpid(), "left": False, "beat": 0.0}
        study.set_user_attr("worker:dead", {**here, "pid": 2**22 - 1, "started": 1})
        study.set_user_attr("worker:reborn", {**here, "started": 1})
        study.set_user_attr("worker:left", {**here, "started": processes.start_ticks(os.getpid()), "left": True})
        study.set_user_attr("worker:alive", {**here, "started": processes.start_ticks(os.getpid())})
        away = {"place": "elsewhere", "pid": 1, "started": 1, "left": False}
        study.set_user_attr("worker:far", {**away, "beat": time.time() - 100})
        study.set_user_attr("worker:silent", {**away, "beat": time.time() - 1000})
        numbers = {
            name: orphan(study, name) for name in (me.id, "alive", "far", "dead", "reborn", "left", "silent", "unknown")
        }
        unclaimed = orphan(study, None)
        assert {trial.number for trial in me.orphans()} == {
            numbers[name] for name in ("dead", "reborn", "left", "silent", "unknown")
        }
        for name in ("alive", "far"):
            study.set_user_attr(f"worker:{name}", {**here, "started": 1})
        assert unclaimed in {trial.number for trial in me.orphans()}  # nobody else is there to claim it


@pytest.mark.full
def test_a_point_of_a_grid_whose_process_died_is_tried_again(tmp_path: Path) -> None:
    """It ends while one point of the grid is left, and has no number of the grid itself."""
    space, wanted = space_of("x=choice(1,2)"), settings(n_trials=2, sampler="grid")
    with searching(space, wanted, Noisy(bowl), tmp_path) as (_, study):
        trial = study.ask()
        trial.set_user_attr("worker", "unknown")
        first = space.suggest(trial)
    trials = run(space, wanted, Noisy(bowl), tmp_path)
    done = [trial.params for trial in trials if trial.state == TrialState.COMPLETE and takes_slot(trial)]
    assert first in done
    assert sorted(params["x"] for params in done) == [1, 2]


@pytest.mark.full
def test_orphans_come_again_with_their_parameters_but_not_for_ever(tmp_path: Path) -> None:
    wanted = settings(n_trials=3)
    drawn = []
    for attempt in range(4):
        with searching(BOWL, wanted, Noisy(bowl), tmp_path) as (search, study):
            search.worker.release_orphans()
            if attempt < 3:
                trial = study.ask()
                trial.set_user_attr("worker", "dead")
                drawn.append(trial.suggest_float("x", -2, 2))
            states = Counter(state_of(trial) for trial in study.get_trials())
    assert len(set(drawn)) == 1
    assert states == {"orphan": 2, "failed": 1}  # the third death is the configuration's fault
    trials = run(BOWL, wanted, Noisy(bowl), tmp_path)
    assert sum(takes_slot(trial) for trial in trials) == 3


def test_one_orphan_is_released_once(tmp_path: Path) -> None:
    with searching(BOWL, settings(), Noisy(bowl), tmp_path) as (search, study):
        orphan(study, "dead")
        found = search.worker.orphans()
        assert [workers.release(study, trial, "x") for trial in [*found, *found]] == [True, False]
        assert sum(trial.state == TrialState.WAITING for trial in study.get_trials()) == 1


@pytest.mark.full
def test_trials_of_a_process_that_dies_late_are_finished_before_the_search_ends(tmp_path: Path) -> None:
    """Another process asks for a trial while this one has its last in flight, and is gone."""

    class Watched(Noisy):
        study: Any = None

        def poll(self, timeout_s: float) -> Any:
            if self.study is not None and len(self.study.trials) == 4:
                trial = self.study.ask()
                trial.set_user_attr("worker", "elsewhere:1:1")
                trial.suggest_float("x", -2, 2)
                self.study = None
            return super().poll(timeout_s)

    evaluator = Watched(bowl)
    with searching(BOWL, settings(n_trials=5), evaluator, tmp_path) as (search, study):
        evaluator.study = study
        search.run()
        trials = study.get_trials()
    assert evaluator.study is None  # it did ask
    assert all(trial.state.is_finished() for trial in trials)
    assert sum(takes_slot(trial) for trial in trials) == 5
    assert Counter(map(state_of, trials))["orphan"] == 1


def test_without_a_process_table_a_worker_lives_as_long_as_it_is_heard_of() -> None:
    """As on Windows, where no start is known."""
    here = {"place": processes.place(), "pid": os.getpid(), "started": None, "left": False}
    assert workers.lives(here, 100)
    assert not workers.lives(here, 1000)


@pytest.mark.parametrize("off_s", [0, -3 * 86400, 3 * 86400, -600])
def test_how_long_a_machine_was_silent_does_not_depend_on_its_clock(
    off_s: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nor on ours, which is set back by a year in the middle. What was last said long ago is not waited for."""
    listened, now = 0.0, 1.8e9
    monkeypatch.setattr(workers, "time", SimpleNamespace(monotonic=lambda: listened, time=lambda: now))
    far = {"place": "elsewhere", "pid": 1, "started": 1, "left": False}
    study = SimpleNamespace(user_attrs={"worker:far": {**far, "beat": now + off_s}})
    me = workers.Worker(cast(Any, study))
    assert me.others() == (0 if off_s < -workers.OLD_S else 1)
    for beat in range(1, 30):
        listened, now = 30.0 * beat, now + 30 - 365 * 86400 * (beat == 9)
        study.user_attrs["worker:far"] = {**far, "beat": study.user_attrs["worker:far"]["beat"] + 30}
        assert me.others() == 1
    listened += workers.SILENT_S - 1
    assert me.others() == 1
    listened += 1
    assert me.others() == 0
