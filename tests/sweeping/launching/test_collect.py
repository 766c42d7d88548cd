"""Sweeps by jobs, with a cluster that runs each job in this process when it is told to, or never. CPU, 4 s."""

import json
import math
import os
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from ablate.cli import main
from ablate.config.errors import ConfigError, UserError
from ablate.config.launchers import launchers
from ablate.config.schema import Config
from ablate.records import results
from ablate.records.files import write_json
from ablate.records.jobs import Batch, State, batches, jobs_dir, new_batch
from ablate.records.processes import start_ticks, this_process
from ablate.sweeping.launch import run_sweep
from ablate.sweeping.launching import collect, following, worker
from ablate.sweeping.launching.following import GONE, SILENT, Followed, fate
from ablate.sweeping.launching.options import options_of
from ablate.sweeping.launching.queues import LEAVING, RUNNING, WAITING
from ablate.sweeping.launching.worker import DONE, Beacon, CarryOut, Work
from ablate.sweeping.plan import Run
from ablate.sweeping.schedule import RunGroup
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
    monkeypatch.setattr(collect, "LATE_S", 0.0)
    monkeypatch.setattr(collect, "LOOK_S", 0.01)

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

    monkeypatch.setattr(collect, "LATE_S", 20.0)
    monkeypatch.setattr(collect, "time", SimpleNamespace(monotonic=time.monotonic, sleep=sleep))
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


@pytest.mark.parametrize(
    ("state", "known", "silent_s", "how"),
    [
        (State(), {"7_0": WAITING}, 1e6, WAITING),
        (State(), {}, 0, GONE),
        (State(), None, 1e6, WAITING),  # the queue does not answer, and it has not begun
        (State(beat=3), None, 10, RUNNING),
        (State(beat=3), None, 1e6, SILENT),
        (State(beat=3), {"7_0": RUNNING}, 1e6, RUNNING),
        (State(beat=3), {"7_0": "TIMEOUT"}, 0, "TIMEOUT"),
        (State(beat=3), {}, 0, GONE),
        (State(beat=3, ended=DONE), {}, 1e6, DONE),
    ],
)
def test_what_has_become_of_a_job(state: State, known: Any, silent_s: float, how: str, tmp_path: Path) -> None:
    assert fate(Batch(tmp_path, "slurm", 1, ["7_0"]), 0, state, known, silent_s) == how


def test_a_batch_whose_submitter_was_killed_before_it_knew_the_ids(tmp_path: Path) -> None:
    """The id that one job tells gives those of all: what of them still waits is not submitted again."""
    batch = Batch(tmp_path / "jobs" / "0001", "slurm", 2)
    batch.write()
    assert fate(batch, 0, State(), {}, 0) == GONE
    write_json(batch.state_path(1), {"id": "9_1", "beat": 1})
    known = {"9_0": WAITING, "9_1": RUNNING}
    assert [fate(batch, job, batch.state(job), known, 0) for job in range(2)] == [WAITING, RUNNING]
    alone = Batch(tmp_path / "jobs" / "0002", "slurm", 1)
    alone.write()
    write_json(alone.state_path(0), {"id": "9", "beat": 1})
    assert fate(alone, 0, alone.state(0), {"9": RUNNING}, 0) == RUNNING


def test_tasks_of_ray_live_as_long_as_the_program_that_submitted_them(tmp_path: Path) -> None:
    """Seen from another program: `ablate status`, or the same search typed a second time."""
    with subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE) as driver:
        batch = new_batch(tmp_path, "ray", 1, 600, outlives_us=False)
        assert not batch.has_submitter()  # an earlier search of this process: it waits for nothing any more
        batch.submitter = {**this_process(), "pid": driver.pid, "started": start_ticks(driver.pid)}
        batch.write()
        [stored] = batches(tmp_path)
        assert fate(stored, 0, State(), following.known_states(stored), 0) == WAITING
        assert fate(stored, 0, State(beat=1), following.known_states(stored), 0) == RUNNING
        driver.kill()
        driver.wait()
        assert fate(stored, 0, State(beat=1), following.known_states(stored), 0) == GONE
    batch.submitter["place"] = "another machine"
    batch.write()
    assert batch.has_submitter()  # it may well wait in a queue
    os.utime(batch.path / "batch.json", (0, 0))
    assert not batch.has_submitter()
    for silent_s, lives in ((20, True), (batch.silent_s - 60, True), (batch.silent_s + 60, False)):
        write_json(batch.state_path(0), {"id": "1", "beat": 1, "at": time.time() - silent_s})
        assert batch.has_submitter() == lives


@pytest.mark.parametrize(
    "text",
    [
        '{"launcher": "slurm"}',
        '{"launcher": "slurm", "jobs": "x"}',
        '{"launcher": "slurm", "jobs": 2, "ids": ["1"]}',
        '{"launcher": "ray", "jobs": 1, "submitter": {"pid": 1}}',
        '{"launcher": "ray", "jobs": 1, "submitter": 7}',
        '{"launcher": "slurm", "jobs": -1}',
        "[]",
    ],
)
def test_a_file_that_is_no_batch_is_passed_over(tmp_path: Path, text: str) -> None:
    (tmp_path / "jobs" / "0001").mkdir(parents=True)
    (tmp_path / "jobs" / "0001" / "batch.json").write_text(text)
    assert batches(tmp_path) == []


@pytest.mark.parametrize(
    "state",
    [{"beat": "x"}, {"programs": [1]}, {"programs": [{"runs": ["a"]}]}, {"failures": [["a"]]}, {"at": None}],
)
def test_a_file_that_is_no_state_is_that_of_a_job_that_has_not_begun(tmp_path: Path, state: dict[str, Any]) -> None:
    batch = Batch(tmp_path / "jobs" / "0001", "slurm", 1)
    write_json(batch.state_path(0), {"id": "9", "beat": 1, **state})
    assert batch.state(0) == State()


@pytest.mark.parametrize(
    ("stopped", "said"),
    [
        (None, "job 7_0 on one: it was lost; it continues on two"),
        ("its time was up", "on one: its time was up; it continues"),
    ],
)
def test_a_job_that_is_begun_again_is_told(tmp_path: Path, stopped: str | None, said: str) -> None:
    """By the cluster, on another node: once, and not of one that had been begun again before we looked."""
    batch = Batch(tmp_path / "jobs" / "0001", "slurm", 1, ["7_0"])
    batch.write()
    job = Followed(batch, 0, {})
    assert job.look() is None
    for host in ("one", "two"):
        beacon = Beacon(batch, 0)
        beacon.state.host = host
        beacon.beat()
        if host == "one":
            assert job.look() is None
            beacon.state.stopped = stopped
            beacon.beat()
            assert job.look() is None
    assert said in (job.look() or "")
    assert job.look() is None
    beacon = Beacon(batch, 0)
    beacon.state.ended = "it was begun too often"
    beacon.beat()
    assert job.look() is None  # it does not continue
    assert Followed(batch, 0, {}).look() is None


def test_a_signal_that_comes_while_something_is_said_is_heard(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its handler says something, too, in the same thread: what is said last counts, and the file is whole."""
    batch = Batch(tmp_path / "jobs" / "0001", "slurm", 1, ["7_0"])
    batch.write()
    beacon = Beacon(batch, 0)
    at_once = iter([lambda: beacon.say_stopped("its time was up")])

    def interrupted(path: Path, value: dict[str, Any]) -> None:
        next(at_once, lambda: None)()
        write_json(path, value)

    monkeypatch.setattr(worker, "write_json", interrupted)
    said = threading.Thread(target=beacon.say_leaving, daemon=True)
    said.start()
    said.join(10)
    assert not said.is_alive()
    assert batch.state(0).stopped == "its time was up"


def test_a_job_that_does_not_leave_is_not_waited_for_without_end(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(collect, "LEAVES_S", 0.0)
    monkeypatch.setattr(collect, "LOOK_S", 0.01)
    job = Followed(Batch(tmp_path / "jobs" / "0001", "slurm", 1, ["7_0"]), 0, {}, how=LEAVING)
    said = list[str]()
    collect.see_off([job], lambda: None, said.append)
    assert said[-1].startswith("1 job still in the queue; ")


def test_what_trains_is_told_as_soon_as_it_has_begun(small: Configs, tmp_path: Path) -> None:
    """Not with the next beat, before which a short training has ended."""
    batch = Batch(tmp_path / "jobs" / "0001", "slurm", 1, ["7_0"])
    batch.write()
    beacon = Beacon(batch, 0)
    task = RunGroup([], [Run("a", small(), ()), Run("b", small(), ())], None)
    beacon.epoch(task, "rnn", 1, 9.0)
    beacon.epoch(task, "rnn", 2, 8.0)  # is told later
    assert [(program["runs"], program["epoch"]) for program in batch.state(0).programs] == [(["a", "b"], 1)]


@pytest.mark.parametrize(
    ("option", "value"),
    [
        ("cpus", 0),
        ("cpus", 1.5),
        ("cpus", "4"),
        ("detach", 1),
        ("setup", "module load"),
        ("sbatch", ["a"]),
        ("mem_gb", math.inf),
        ("silent_min", math.nan),
        ("jobs", 0),
    ],
)
def test_an_option_that_cannot_be_meant_is_named(option: str, value: Any) -> None:
    with pytest.raises(ConfigError, match=f"hydra.launcher.{option} is "):
        options_of({"name": "slurm", **launchers()["slurm"], option: value})


def test_a_notice_as_long_as_the_job_is_refused() -> None:
    assert options_of({"name": "slurm", "time_min": 2, "notice_s": 60}) is not None
    with pytest.raises(ConfigError, match="as it begins"):
        options_of({"name": "slurm", "time_min": 1})


@pytest.mark.parametrize(
    ("entry", "says"),
    [
        ("time", "hydra.launcher.sbatch.time cannot be given here: give hydra.launcher.time_min"),
        ("t", "hydra.launcher.sbatch.t cannot be given here: give hydra.launcher.time_min"),
        ("--time", "give hydra.launcher.time_min"),
        ("parti", "give hydra.launcher.partition"),  # as sbatch reads it
        ("A", "give hydra.launcher.account"),
        ("qos", "give hydra.launcher.qos"),
        ("exclusive", "give hydra.launcher.exclusive"),
        ("mem", "give hydra.launcher.mem_gb"),
        ("cpus_per_task", "give hydra.launcher.cpus"),
        ("cpus-per-task", "give hydra.launcher.cpus"),
        ("gpus", "give hydra.launcher.gpus or, where their kind counts, hydra.launcher.sbatch.gres="),
        ("gpus_per_node", "give hydra.launcher.gpus"),
        ("array", "give hydra.launcher.jobs and hydra.launcher.at_once"),
        ("signal", "give hydra.launcher.notice_s"),
        ("o", "keeps the logs"),
        ("open_mode", "keeps the logs"),
        ("nodes", "one task on one node"),
        ("ntasks_per_node", "one task on one node"),
        ("tasks-per-node", "one task on one node"),
        ("tasks", "one task on one node"),
        ("ntasks-per-tres", "one task on one node"),
        ("chdir", "in the folder in which the command is given"),
        ("D", "in the folder in which the command is given"),
        ("Q", "could not follow"),
        ("parsable", "could not follow"),
    ],
)
def test_an_option_of_sbatch_that_the_launcher_sets_is_refused(entry: str, says: str) -> None:
    """Of two of the same, the one that is read last would count in silence."""
    with pytest.raises(ConfigError) as caught:
        options_of({"name": "slurm", "sbatch": {entry: 1}})
    assert says in str(caught.value)


@pytest.mark.parametrize("entry", ["time-min", "mem_per_cpu", "wait-all-nodes", "gres", "job-name", "mail_user", "C"])
def test_any_other_option_of_sbatch_is_taken(entry: str) -> None:
    assert options_of({"name": "slurm", "sbatch": {entry: 1}}) is not None


@pytest.mark.parametrize(
    "entries",
    [{"exclude": ["a", "b"]}, {"": 1}, {"mail-user": "a", "mail_user": "b"}, {"requeue": True, "requ": True}],
)
def test_an_option_of_sbatch_has_one_value(entries: dict[str, Any]) -> None:
    with pytest.raises(ConfigError, match=r"hydra\.launcher\.sbatch"):
        options_of({"name": "slurm", "sbatch": entries})


def test_a_cluster_that_fails_while_jobs_are_ended_hides_no_stop() -> None:
    def fail() -> None:
        raise UserError("Ray is gone")

    said = list[str]()
    collect.cancel([], fail, said.append)
    assert said == ["Ray is gone"]


@pytest.mark.parametrize("name", [name for name in launchers() if name != "local"])
def test_the_files_of_launchers_have_all_options(name: str) -> None:
    found = options_of({"name": name})
    assert found is not None
    assert found.name == name
    assert set(launchers()[name]) <= set(vars(found))
