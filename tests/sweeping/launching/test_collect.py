"""Sweeps by jobs, with a cluster that runs each job in this process when it is told to, or never. CPU, 4 s."""

import json
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from ablate.cli import main
from ablate.config.errors import ConfigError
from ablate.config.launchers import launchers
from ablate.config.schema import Config
from ablate.records import results
from ablate.records.files import write_json
from ablate.records.jobs import DONE, Batch, batches, jobs_dir
from ablate.sweeping.launch import run_sweep
from ablate.sweeping.launching import collect, follower, following
from ablate.sweeping.launching.options import options_of
from ablate.sweeping.launching.queues import LEAVING, RUNNING, WAITING
from ablate.sweeping.launching.worker import Beacon, CarryOut, Work
from ablate.sweeping.summary import Summary

Configs = Callable[..., Config]


class Cluster:
    """Runs the jobs of which `runs(job)` says so, when they are submitted; of the others it says `says`."""

    name = "a cluster"

    def __init__(self, runs: Callable[[int], bool] = lambda job: True, says: str | None = WAITING) -> None:
        self.runs, self.says = runs, says
        self.batches: list[Batch] = []

    def submit(self, batch: Batch, carry_out: CarryOut) -> list[str]:
        self.batches.append(batch)
        for job in filter(self.runs, range(batch.jobs)):
            Work(str(batch.path.absolute()), job, carry_out)()
        return [f"7_{job}" for job in range(batch.jobs)]

    def said(self) -> str | None:
        return self.says

    def states(self, batch: Batch | None = None) -> dict[str, str] | None:
        said = self.said()
        return {} if said is None else {f"7_{job}": said for job in range(batch.jobs if batch else 9)}

    def why_waiting(self, batch: Batch) -> dict[str, str]:
        return {}

    def cancel(self, batch: Batch) -> None:
        pass


def runs_of(folder: Path) -> list[str]:
    return sorted(record["run_id"] for record in results.records(folder) if isinstance(record, dict))


def outcomes(folder: Path) -> dict[str, Any]:
    return {record["run_id"]: record["metrics"] for record in results.records(folder) if isinstance(record, dict)}


@pytest.fixture
def launch(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Summary]:
    """Run these configs as a sweep by a cluster, in tmp_path/results."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(follower, "LATE_S", 0.0)
    monkeypatch.setattr(follower, "LOOK_S", 0.01)

    def run(configs: Sequence[Config], cluster: Cluster, **options: Any) -> Summary:
        monkeypatch.setattr(collect, "queue_of", lambda _: cluster)
        monkeypatch.setattr(following.slurm, "states_of", lambda _: cluster.states())
        monkeypatch.setattr(following.slurm, "reachable", lambda: True)
        cluster_options = options_of({"name": "slurm", **launchers()["slurm"], **options})
        return run_sweep([c.but(results_dir="results") for c in configs], "a", "a test", cluster=cluster_options)

    return run


@pytest.mark.full
def test_the_records_are_those_of_this_machine(small: Configs, launch: Any, sweep: Any) -> None:
    configs = [small(f"model={name}", "seeds=3", "engine=cohort") for name in ("rnn", "gru")]
    cluster = Cluster()
    summary = launch(configs, cluster, runs_per_job=2)
    assert (summary.trained, summary.away, summary.exit_status) == (6, 0, 0)
    assert [batch.jobs for batch in cluster.batches] == [4]
    here = sweep([config.but(fresh=True) for config in configs], name="here").folder
    assert outcomes(summary.folder) == outcomes(here)
    assert not jobs_dir(summary.folder).exists()
    again = launch(configs, cluster)
    assert (again.trained, again.already, len(cluster.batches)) == (0, 6, 1)


@pytest.mark.full
def test_submit_leave_and_collect(small: Configs, launch: Any, capsys: pytest.CaptureFixture[str]) -> None:
    configs = [small(f"model={name}", "seeds=2") for name in ("rnn", "gru")]
    waiting = Cluster(runs=lambda job: False)
    summary = launch(configs, waiting, detach=True)
    assert (summary.trained, summary.away, summary.exit_status) == (0, 2, 0)
    assert launch(configs, waiting, detach=True).away == 2  # nothing is submitted twice
    assert len(waiting.batches) == 1
    assert main(["run", "results_dir=results", "name=a", "model=rnn", "data=copy", "task=memory"]) == 2
    assert main(["status", "--json", "results/a"]) == 0
    told = json.loads(capsys.readouterr().out)["sweeps"][0]
    assert [(job["id"], job["state"], job["runs"]) for job in told["jobs"]] == [
        ("7_0", WAITING, 2),
        ("7_1", WAITING, 2),
    ]
    [batch] = batches(summary.folder)
    Work(str(batch.path), 0)()
    half = launch(configs, waiting, detach=True)
    assert (half.already, half.away) == (2, 1)
    Work(str(batch.path), 1)()
    assert launch(configs, waiting).already == 4
    assert len(waiting.batches) == 1


@pytest.mark.full
def test_fresh_runs_are_collected_once(small: Configs, launch: Any) -> None:
    """Their records are there before; those that are written since tell that they have been trained again."""
    configs = [small("seeds=2")]
    launch(configs, Cluster())
    fresh = [config.but(fresh=True) for config in configs]
    cluster = Cluster(runs=lambda job: False)
    assert launch(fresh, cluster, detach=True).away == 1
    [batch] = batches(Path("results/a"))
    Work(str(batch.path), 0)()
    collected = launch(fresh, cluster, detach=True)
    assert (collected.trained, collected.away, len(cluster.batches)) == (2, 0, 1)


@pytest.mark.full
@pytest.mark.parametrize(("says", "word"), [("OUT_OF_MEMORY", "OUT_OF_MEMORY"), (None, "gone from the queue")])
def test_a_job_that_is_lost_fails_its_settings_and_no_others(
    small: Configs, launch: Any, says: str | None, word: str
) -> None:
    configs = [small(f"model={name}", "seeds=2") for name in ("rnn", "gru")]
    summary = launch(configs, Cluster(lambda job: job == 1, says))
    assert (summary.trained, summary.exit_status) == (2, 1)
    [(_, why)] = summary.failures
    assert "7_0" in why
    assert word in why
    assert len(list((summary.folder / "failures").glob("*.json"))) == 1
    again = launch(configs, Cluster())
    assert (again.trained, again.exit_status) == (2, 0)
    assert not jobs_dir(summary.folder).exists()


@pytest.mark.full
@pytest.mark.parametrize("then", [None, WAITING])
@pytest.mark.parametrize("known_by", ["the job", "the queue"])
def test_a_job_that_is_leaving_is_waited_for(
    small: Configs, launch: Any, monkeypatch: pytest.MonkeyPatch, then: str | None, known_by: str
) -> None:
    """As by scancel, a moment ago: the job has saved its checkpoints, and SLURM has not killed it yet; or SLURM ends
    it, and it has not heard of that. Whether it is gone then, and its runs are submitted again, or is queued again, is
    known once it has left."""
    configs = [small("seeds=2")]
    assert launch(configs, Cluster(lambda job: False), detach=True).away == 1
    [batch] = batches(Path("results/a"))
    if known_by == "the job":
        Beacon(batch, 0).say_stopped("it was asked to end")
    else:
        Beacon(batch, 0).beat()
    cluster, answers = Cluster(), [RUNNING if known_by == "the job" else LEAVING] * 3
    monkeypatch.setattr(cluster, "said", lambda: answers.pop() if answers else then)
    summary = launch(configs, cluster, detach=True)
    assert (summary.exit_status, summary.away) == (0, 1)
    assert len(cluster.batches) == (then is None)
    assert len(runs_of(summary.folder)) == (2 if then is None else 0)


@pytest.mark.full
def test_records_that_are_seen_late_are_not_trained_again(
    small: Configs, launch: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As by a network file system, of a job that was killed a moment ago, when all was done."""
    configs = [small("seeds=2")]
    assert launch(configs, Cluster(lambda job: False), detach=True).away == 1
    [batch] = batches(Path("results/a"))
    Work(str(batch.path.absolute()), 0)()
    Beacon(batch, 0).beat()
    there, unseen = Path("results/a/runs"), Path("results/unseen")
    there.rename(unseen)

    def sleep(_: float) -> None:
        if unseen.exists():
            unseen.rename(there)

    monkeypatch.setattr(follower, "LATE_S", 20.0)
    monkeypatch.setattr(follower, "time", SimpleNamespace(monotonic=time.monotonic, sleep=sleep))
    cluster = Cluster(says=None)
    assert launch(configs, cluster).trained == 2
    assert not cluster.batches


@pytest.mark.full
def test_what_fails_in_a_job_is_told_as_on_this_machine(small: Configs, launch: Any) -> None:
    configs = [small("num_steps=5"), small("num_steps=399"), small("num_steps=6")]
    summary = launch(configs, Cluster())
    assert (summary.trained, summary.exit_status) == (2, 1)
    assert [name for name, _ in summary.failures] == ["rnn num_steps=399"]


@pytest.mark.parametrize("what", ["ablate", "torch"])
def test_a_machine_with_other_code_trains_nothing(
    small: Configs, launch: Any, monkeypatch: pytest.MonkeyPatch, what: str
) -> None:
    submit = Cluster.submit

    def changed(self: Cluster, batch: Batch, carry_out: CarryOut) -> list[str]:
        order = batch.order(0)
        batch.write_order(0, order | {"code": order["code"] | {what: "0"}})
        return submit(self, batch, carry_out)

    monkeypatch.setattr(Cluster, "submit", changed)
    summary = launch([small("seeds=2")], Cluster())
    assert (summary.trained, summary.exit_status) == (0, 1)
    assert f"another {what}" in summary.failures[0][1]


def test_another_text_of_the_same_name_trains_nothing(small: Configs, launch: Any, tmp_path: Path) -> None:
    path = tmp_path / "text.txt"
    path.write_text("a text that a person writes " * 40)
    cluster = Cluster(runs=lambda job: False)
    assert launch([small(f"data.path={path}")], cluster, detach=True).away == 1
    path.write_text("and changes before the job begins " * 40)
    [batch] = batches(Path("results/a"))
    Work(str(batch.path), 0)()
    assert "its data differs" in str(batch.state(0).ended)
    assert runs_of(Path("results/a")) == []


def test_a_job_that_is_killed_each_time_is_begun_so_often_and_no_more(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As by Ray, which begins a task again without end that it has killed for its memory."""
    monkeypatch.chdir(tmp_path)  # and back after it, for a job goes where the command was given
    batch = Batch(tmp_path / "jobs" / "0001", "ray", 1)
    batch.write()
    batch.write_order(0, {"cwd": str(tmp_path), "code": {}})
    begun = list[int]()

    def killed(*_: Any) -> None:
        begun.append(batch.state(0).begins)

    for _ in range(4):
        work = Work(str(batch.path), 0, killed, most=2)
        work()
        if batch.state(0).ended == DONE:  # what a killed process could not have written
            write_json(batch.state_path(0), {**vars(batch.state(0)), "ended": None})
    assert begun == [1, 2]
    assert "killed 2 times" in str(batch.state(0).ended)


def test_a_job_without_an_order_does_nothing(tmp_path: Path) -> None:
    Work(str(tmp_path / "jobs" / "0001"), 0)()
    assert list(tmp_path.iterdir()) == []


def test_what_a_cluster_refuses_leaves_nothing(small: Configs, launch: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(self: Cluster, batch: Batch, carry_out: CarryOut) -> list[str]:
        raise ConfigError("no such partition")

    monkeypatch.setattr(Cluster, "submit", refuse)
    with pytest.raises(ConfigError, match="no such partition"):
        launch([small()], Cluster())
    assert not Path("results").exists()


@pytest.mark.full
def test_a_sweep_is_as_before_what_a_cluster_refuses_of_it(
    small: Configs, launch: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = launch([small()], Cluster()).folder
    before = {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}

    def refuse(self: Cluster, batch: Batch, carry_out: CarryOut) -> list[str]:
        raise ConfigError("no such partition")

    monkeypatch.setattr(Cluster, "submit", refuse)
    with pytest.raises(ConfigError, match="no such partition"):
        launch([small("lr=3")], Cluster())
    assert {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()} == before
    assert not jobs_dir(folder).exists()


def refuse(self: Cluster, batch: Batch, carry_out: CarryOut) -> list[str]:
    raise ConfigError("no such partition")


def files_of(folder: Path) -> dict[Path, bytes]:
    return {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_what_a_cluster_refuses_changes_nothing_of_a_batch_in_flight(
    small: Configs, launch: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Not the question of the sweep, which its jobs answer, though they say meanwhile that they are at work."""
    waiting = Cluster(runs=lambda job: False)
    folder = launch([small(f"num_hiddens={size}") for size in (4, 5)], waiting, detach=True).folder
    before = files_of(folder)

    def refuse_late(self: Cluster, batch: Batch, carry_out: CarryOut) -> list[str]:
        own = waiting.batches[0]
        write_json(own.state_path(0), {"beat": 1})
        [run] = own.order(0)["settings"][0]["runs"]
        (folder / "checkpoints").mkdir()
        (folder / "checkpoints" / f"{run['run_id']}.pt").touch()
        return refuse(self, batch, carry_out)

    monkeypatch.setattr(Cluster, "submit", refuse_late)
    with pytest.raises(ConfigError, match="no such partition"):
        launch([small(f"num_hiddens={size}") for size in (4, 5, 6)], Cluster())
    after = files_of(folder)
    assert {path: after.get(path) for path in before} == before
    assert [path.name for path in jobs_dir(folder).iterdir()] == ["0001"]


def test_what_a_cluster_refuses_deletes_no_logs_and_no_failures(
    small: Configs, launch: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    lost = Cluster(runs=lambda job: False, says="OUT_OF_MEMORY")
    folder = launch([small()], lost).folder
    [failure] = (folder / "failures").iterdir()
    log = jobs_dir(folder) / "0001" / "log" / "7_0.out"
    log.parent.mkdir(parents=True, exist_ok=True)
    log.write_text("killed")
    before = files_of(folder)
    monkeypatch.setattr(Cluster, "submit", refuse)
    with pytest.raises(ConfigError, match="no such partition"):
        launch([small(), small("lr=3")], Cluster())
    assert {log, failure} <= before.keys()
    assert files_of(folder) == before
