"""What is known of jobs, by what they and what the cluster say of them, and how they are waited for. CPU, 1 s."""

import os
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from ablate.config.errors import UserError
from ablate.config.schema import Config
from ablate.records.files import write_json
from ablate.records.jobs import DONE, Batch, State, batches, new_batch
from ablate.records.processes import start_ticks, this_process
from ablate.sweeping.launching import follower, following, worker
from ablate.sweeping.launching.following import GONE, SILENT, Followed, fate
from ablate.sweeping.launching.queues import LEAVING, RUNNING, WAITING
from ablate.sweeping.launching.worker import Beacon
from ablate.sweeping.plan import Run
from ablate.sweeping.schedule import RunGroup

Configs = Callable[..., Config]


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
    monkeypatch.setattr(follower, "LEAVES_S", 0.0)
    monkeypatch.setattr(follower, "LOOK_S", 0.01)
    job = Followed(Batch(tmp_path / "jobs" / "0001", "slurm", 1, ["7_0"]), 0, {}, how=LEAVING)
    said = list[str]()
    follower.see_off([job], lambda: None, said.append)
    assert said[-1].startswith("1 job still in the queue; ")


def test_what_trains_is_told_as_soon_as_it_has_begun(small: Configs, tmp_path: Path) -> None:
    """Not with the next beat, before which a short training has ended."""
    batch = Batch(tmp_path / "jobs" / "0001", "slurm", 1, ["7_0"])
    batch.write()
    beacon = Beacon(batch, 0)
    group = RunGroup([], [Run("a", small(), ()), Run("b", small(), ())], None)
    beacon.epoch(group, "rnn", 1, 9.0)
    beacon.epoch(group, "rnn", 2, 8.0)  # is told later
    assert [(program["runs"], program["epoch"]) for program in batch.state(0).programs] == [(["a", "b"], 1)]


def test_a_cluster_that_fails_while_jobs_are_ended_hides_no_stop() -> None:
    def fail() -> None:
        raise UserError("Ray is gone")

    said = list[str]()
    follower.cancel([], fail, said.append)
    assert said == ["Ray is gone"]
