"""Sweeps by a real SLURM, of one node and without accounting, that is disturbed: jobs cancelled, killed, preempted and
queued again, their time limit reached, the node drained and lost. After each the records are those of a sweep on this
machine. Needs SLURM's daemons (Debian's slurmctld, slurmd and munge), root, and submitit. The first one is run by `make
test-all`, too; CPU, 20 s. The others: 10 min.
"""

import json
import os
import signal
import subprocess
import sys
from collections import Counter
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from local_slurm import Slurm, until

from ablate.analysis.study import read_study
from ablate.cli import main
from ablate.config.errors import UserError
from ablate.records import results
from ablate.records.jobs import Batch, State, batches
from ablate.sweeping.launching import follower

ON_SLURM = (
    "hydra/launcher=slurm",
    "hydra.launcher.cpus=1",
    "hydra.launcher.time_min=20",
)
SHORT = ("model=gru,lstm", "seeds=2", "engine=cohort", "epochs=20")
LONG = ("model=gru,lstm", "seeds=2", "engine=cohort", "epochs=20000")
"""About half a minute a job: long enough to be disturbed."""

Run = Callable[..., int]


@pytest.fixture
def run(tmp_path: Path, small_arguments: list[str], monkeypatch: pytest.MonkeyPatch) -> Run:
    """`ablate run` in tmp_path."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(follower, "LATE_S", 3.0)
    monkeypatch.setenv("OMP_NUM_THREADS", "1")

    def run(*words: str, name: str = "a") -> int:
        own = [word for word in small_arguments if not word.startswith(("seeds=", "epochs="))]
        return main([*own, "report=false", f"name={name}", *words])

    return run


def states(folder: Path) -> list[State]:
    return [batch.state(job) for batch in batches(folder) for job in range(batch.jobs)]


def outcomes(folder: Path) -> dict[str, Any]:
    found = [record for record in results.records(folder) if isinstance(record, dict)]
    return {record["run_id"]: (record["metrics"], record["text"]) for record in found}


def resumed(folder: Path) -> list[bool]:
    found = [record for record in results.records(folder) if isinstance(record, dict)]
    return [bool(record["timing"]["resumed_at_epoch"]) for record in found]


def training(folder: Path, epochs: int = 1) -> list[str]:
    """The jobs that train and have come so far: on a busy machine one may end before another begins."""
    jobs = [(batch.id_of(job), batch.state(job)) for batch in batches(folder) for job in range(batch.jobs)]
    return [job for job, one in jobs if one.programs and one.programs[0]["epoch"] >= epochs and one.ended is None]


@pytest.mark.full
def test_the_records_are_those_of_this_machine(slurm: Slurm, run: Run) -> None:
    assert run(*SHORT, name="here") == 0
    assert run(*SHORT, *ON_SLURM, "fresh=true") == 0
    assert outcomes(Path("results/a")) == outcomes(Path("results/here"))
    assert len(outcomes(Path("results/a"))) == 4
    assert not Path("results/a/jobs").exists()
    until(lambda: slurm.jobs() == {})  # each ends once its last words are written


@pytest.mark.slow
def test_submit_and_leave(slurm: Slurm, run: Run, capsys: pytest.CaptureFixture[str]) -> None:
    folder = Path("results/a")
    assert run(*LONG, *ON_SLURM, "--detach") == 0
    assert len(slurm.jobs()) == 2
    until(lambda: len(training(folder)) == 2)
    capsys.readouterr()
    assert main(["status", "--json", str(folder)]) == 0
    told = json.loads(capsys.readouterr().out)["sweeps"][0]
    assert [(job["state"], job["runs"]) for job in told["jobs"]] == [("running", 2)] * 2
    assert told["missing"] == 4
    assert run(*LONG) == 2  # the same runs are not trained twice
    assert "jobs of a cluster" in capsys.readouterr().err
    assert run(*LONG, *ON_SLURM) == 0
    assert len(outcomes(folder)) == 4
    assert not (folder / "jobs").exists()


@pytest.mark.slow
def test_a_job_that_was_cancelled_goes_on_from_its_checkpoints(slurm: Slurm, run: Run) -> None:
    folder = Path("results/a")
    assert run(*LONG, *ON_SLURM, "--detach") == 0
    until(lambda: training(folder))
    slurm.ask("scancel", training(folder)[0])
    until(lambda: len(list((folder / "checkpoints").glob("*.pt"))) == 2)
    until(lambda: any(one.stopped for one in states(folder)))
    assert run(*LONG, *ON_SLURM) == 0
    assert sorted(resumed(folder)) == [False, False, True, True]


@pytest.mark.slow
def test_a_cancelled_job_that_has_not_heard_of_it_is_waited_for(
    slurm: Slurm, run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The queue ends it already, and what it says of itself is as if it had not heard, as seen by a slow network."""
    folder, state = Path("results/a"), Batch.state

    def unheard(self: Batch, job: int) -> State:
        return replace(state(self, job), leaving=False, stopped=None)

    assert run(*LONG, *ON_SLURM, "--detach") == 0
    until(lambda: training(folder))
    [one, *_] = training(folder)
    monkeypatch.setattr(Batch, "state", unheard)
    slurm.ask("scancel", one)
    assert run(*LONG, *ON_SLURM) == 0
    assert sorted(resumed(folder)) == [False, False, True, True]


@pytest.mark.slow
def test_a_job_that_was_killed_fails_and_the_others_do_not(slurm: Slurm, run: Run) -> None:
    """Nothing tells of it but the queue, which has the job no more."""
    folder = Path("results/a")

    def kill() -> None:
        until(lambda: training(folder))
        os.kill(process_of(training(folder)[0]), signal.SIGKILL)

    with ThreadPoolExecutor(1) as beside:
        killed = beside.submit(kill)
        assert run(*LONG, *ON_SLURM) == 1
        killed.result()
    assert len(outcomes(folder)) == 2
    [failure] = (folder / "failures").glob("*.json")
    assert "the cluster says FAILED" in json.loads(failure.read_text())["error"]
    assert any(path.is_file() for path in (folder / "jobs").rglob("log/*.out"))
    assert run(*LONG, *ON_SLURM) == 0
    assert len(outcomes(folder)) == 4
    assert not (folder / "jobs").exists()


def process_of(job: str) -> int:
    """The process that trains for a job."""
    [process] = processes_of(job)
    return process


def processes_of(job: str) -> list[int]:
    found = []
    for path in Path("/proc").glob("[0-9]*"):
        try:
            environment = dict(
                entry.split("=", 1) for entry in (path / "environ").read_text().split("\0") if "=" in entry
            )
            command = (path / "cmdline").read_text()
        except OSError:
            continue
        one = f"{environment.get('SLURM_ARRAY_JOB_ID')}_{environment.get('SLURM_ARRAY_TASK_ID')}"
        if one == job and "submitit.core._submit" in command and "srun" not in command.split("\0")[0]:
            found.append(int(path.name))
    return found


@pytest.mark.slow
def test_the_time_limit(slurm: Slurm, run: Run) -> None:
    """A minute before it the job is told, saves its checkpoints, and is queued again."""
    folder = Path("results/a")
    limits = ("hydra.launcher.time_min=2", "hydra.launcher.notice_s=60")
    assert run("model=gru", "seeds=2", "engine=cohort", "epochs=200000", *ON_SLURM[:2], *limits, "--detach") == 0
    until(lambda: any(one.stopped and "queued again" in one.stopped for one in states(folder)), 240)
    until(lambda: slurm.jobs() and "RUNNING" not in slurm.jobs().values())
    # It is leaving for some seconds, in which SLURM forgets when it was told to start.
    until(lambda: slurm.works_again() and training(folder, 2) and not states(folder)[0].stopped)
    assert len(list((folder / "checkpoints").glob("*.pt"))) == 2
    slurm.ask("scancel", *slurm.jobs())


@pytest.mark.slow
def test_a_preempted_job_is_queued_again_and_goes_on(slurm: Slurm, run: Run) -> None:
    folder = Path("results/a")
    assert run(*LONG, *ON_SLURM, "--detach", "hydra.launcher.partition=low") == 0
    until(lambda: training(folder))
    slurm.ask("sbatch", "-p", "high", "--exclusive", "-o", "/dev/null", "--wrap", "sleep 5")
    until(lambda: "high" in slurm.ask("squeue", "-h", "-t", "R", "-o", "%P"))
    until(lambda: "high" not in slurm.ask("squeue", "-h", "-o", "%P"))
    until(slurm.works_again)
    assert run(*LONG, *ON_SLURM) == 0
    assert len(outcomes(folder)) == 4
    assert any(resumed(folder))


@pytest.mark.slow
def test_a_node_that_is_drained_and_one_that_is_lost(slurm: Slurm, run: Run) -> None:
    """On a drained node a job waits, and is not lost; from a lost node it is queued again."""
    folder = Path("results/a")
    slurm.node_is("drain")
    assert run(*LONG, *ON_SLURM, "--detach") == 0
    assert main(["status", str(folder)]) == 0
    assert set(slurm.jobs().values()) == {"PENDING"}
    slurm.node_returns()
    until(lambda: training(folder))
    slurm.node_is("down")
    until(lambda: set(slurm.jobs().values()) == {"PENDING"})
    assert slurm.steps()
    until(lambda: not slurm.steps() and not any(map(processes_of, slurm.jobs())))
    slurm.node_returns()
    until(slurm.works_again)
    assert run(*LONG, *ON_SLURM) == 0
    assert len(outcomes(folder)) == 4


@pytest.mark.slow
def test_the_speed_lane_has_a_node_to_itself(slurm: Slurm, run: Run) -> None:
    speed = ("speed=true", "speed_s=1")
    assert run(*SHORT, *ON_SLURM, *speed) == 2
    assert run(*SHORT, *ON_SLURM, *speed, "hydra.launcher.exclusive=true") == 0
    from ablate.records.timings import timings

    found = list(timings(Path("results/a")))
    assert {timing["facts"]["host"] for timing in found} == {slurm.node}


@pytest.mark.slow
@pytest.mark.parametrize("exclusive", [False, True])
def test_a_job_that_shares_its_node_times_nothing(slurm: Slurm, exclusive: bool) -> None:
    """As `ablate bench` in a script that somebody submits."""
    held = "from ablate.timing.machine import speed_lane\nwith speed_lane(): print('held')"
    command = ["srun", "-n1", *["--exclusive"] * exclusive, sys.executable, "-c", held]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120)
    assert ("held" in done.stdout) == exclusive
    assert ("shares its node" in done.stderr) != exclusive


@pytest.mark.slow
def test_what_slurm_refuses_is_one_line(slurm: Slurm, run: Run, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(*SHORT, *ON_SLURM, "hydra.launcher.partition=nowhere") == 2
    *_, line = lines = capsys.readouterr().err.splitlines()
    assert [one for one in lines if "error" in one or "refuses" in one] == [line]
    assert "nowhere; give another hydra.launcher.partition, of low or high" in line
    assert not Path("results").exists()


SEARCH = ("num_hiddens=range(4,12)", "n_trials=8", "seeds=2", "epochs=2000", "engine=cohort", "model=gru", "parallel=1")
FINALE = ("hydra.sweeper.race.fresh=2", "hydra.sweeper.race.best=1")


@pytest.fixture
def search(run: Run, small_arguments: list[str]) -> Callable[..., int]:
    def search(*words: str, name: str = "a") -> int:
        given = [*small_arguments, "report=false", f"name={name}", *SEARCH, *FINALE, *words]
        return main(["search", *{word.partition("=")[0]: word for word in given}.values()])

    return search


def trials(folder: Path) -> list[Any]:
    try:
        return read_study(folder)[0]
    except UserError:
        return []


def twice(folder: Path) -> list[str]:
    """The runs of which a search would have two records."""
    found = [record["run_id"] for record in results.records(folder) if isinstance(record, dict)]
    return [run_id for run_id, count in Counter(found).items() if count > 1]


@pytest.mark.slow
def test_a_search_of_several_jobs_of_which_one_is_killed(slurm: Slurm, search: Callable[..., int]) -> None:
    """Another job takes over its trials; nothing is lost, and nothing there twice."""
    folder = Path("results/a")
    assert search(*ON_SLURM, "--detach") == 0
    assert len(slurm.jobs()) == 2
    until(lambda: sum(one.worker is not None for one in states(folder)) == 2)
    until(lambda: sum(trial.state.is_finished() for trial in trials(folder)) >= 1)
    [batch] = batches(folder)
    os.kill(process_of(batch.id_of(0)), signal.SIGKILL)
    assert search(*ON_SLURM) == 0
    assert json.loads((folder / "search.json").read_text())["winner"] is not None
    assert sum(trial.state.name == "COMPLETE" for trial in trials(folder)) >= 8
    assert twice(folder) == []
    until(lambda: slurm.jobs() == {})  # each ends once its last words are written


@pytest.mark.slow
def test_a_search_whose_job_was_cancelled_goes_on(slurm: Slurm, search: Callable[..., int]) -> None:
    folder, one_job = Path("results/a"), ("hydra.launcher.jobs=1", "epochs=20000")
    assert search(*ON_SLURM, *one_job, "--detach") == 0
    until(lambda: any((folder / "checkpoints").glob("*.pt")) or any((folder / "runs").glob("*")))
    slurm.ask("scancel", *slurm.jobs())
    until(lambda: states(folder)[0].stopped)
    assert not [trial for trial in trials(folder) if trial.state.name == "RUNNING"]
    assert search(*ON_SLURM, "hydra.launcher.jobs=1", "epochs=20000", "--detach") == 0
    until(lambda: slurm.jobs() != {})
    slurm.ask("scancel", *slurm.jobs())
