"""What Ray answers, in our words, with a module in the place of ray. CPU, 1 s."""

import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from local_slurm import free_port

import ablate
from ablate.config.errors import UserError
from ablate.records.jobs import Batch
from ablate.sweeping.launching.queues import RUNNING, WAITING
from ablate.sweeping.launching.ray import RayQueue, check_head, described


class TaskError(Exception):
    """As ray's RayTaskError: what the task has raised is its cause."""

    def __init__(self, text: str, cause: object = None) -> None:
        super().__init__(text)
        self.cause = cause


class Ray(SimpleNamespace):
    """Tasks are what `get` of them returns or raises; None: it has not ended."""

    def wait(self, tasks: list[Any], num_returns: int, timeout: float) -> tuple[list[Any], list[Any]]:
        if self.lost:
            raise ConnectionError("failed to connect to GCS")
        return [task for task in tasks if task is not None], []

    def get(self, task: Any) -> None:
        if isinstance(task, Exception):
            raise task


pytestmark = pytest.mark.usefixtures("errors_are_ours")


def queue(tasks: dict[str, Any], lost: bool = False) -> RayQueue:
    made = object.__new__(RayQueue)
    made.ray, made.tasks = Ray(lost=lost), tasks
    return made


def test_how_tasks_have_ended(tmp_path: Path) -> None:
    ended = {
        "a": TaskError("a traceback of many lines", AttributeError("'Work' object has no attribute 'most'")),
        "b": TaskError("Task was killed due to the node running low on memory.\nMemory on the node was …"),
        "c": "done",
        "d": None,
    }
    batch = Batch(tmp_path / "jobs" / "0001", "ray", 4, list(ended))
    assert queue(ended).states(batch) == {
        "a": "TaskError: 'Work' object has no attribute 'most'",
        "b": "TaskError: Task was killed due to the node running low on memory.",
        "c": "ENDED",
        "d": WAITING,
    }
    batch.write()
    (batch.path / "3.state.json").write_text('{"beat": 1}')
    assert (queue(ended).states(batch) or {})["d"] == RUNNING


@pytest.mark.parametrize("address", ["127.0.0.1:{port}", "ray://127.0.0.1:{port}", "[::1]:{port}", "127.0.0.1:port"])
def test_an_address_at_which_nothing_answers_is_one_line(address: str) -> None:
    """At once, where Ray itself would try for minutes."""
    with pytest.raises(UserError, match="give the address of a head that runs"):
        check_head(address.format(port=free_port()))


def test_variables_of_the_environment_may_be_numbers() -> None:
    """Which Ray would refuse; Hydra reads OMP_NUM_THREADS: 1 as one."""
    given = {"env_vars": {"A": 1, "B": "x", "C": True}, "working_dir": "/x"}
    assert described(given) == {"env_vars": {"A": "1", "B": "x", "C": "true"}, "working_dir": "/x"}
    assert described({"env_vars": None}) == {"env_vars": None}


@pytest.mark.parametrize("how", ["as installed", "python -m"])
def test_tasks_import_what_the_program_does(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, how: str) -> None:
    """Ray has them find modules in the folder in which it is begun, which may be another checkout."""
    seen = list[Path]()
    queue = RayQueue.__new__(RayQueue)
    queue.ray = SimpleNamespace(init=lambda **_: seen.append(Path.cwd()))
    queue.options = SimpleNamespace(address="local", runtime_env={})
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [*[str(tmp_path)] * (how == "python -m"), *sys.path])
    queue._connect()
    assert seen == [tmp_path if how == "python -m" else Path(ablate.__file__).parents[1]]
    assert Path.cwd() == tmp_path


@pytest.mark.parametrize("address", [None, "auto", "local"])
def test_no_address_is_left_to_ray(address: str | None) -> None:
    check_head(address)


@pytest.mark.parametrize(
    ("options", "why"),
    [
        ({"cpus": 1}, "other tasks have the nodes, or the task is being started"),
        ({"cpus": 2}, "2 CPU, a node has 1 at most"),
        ({"cpus": 1, "gpus": 1}, "1 GPU, a node has 0 at most"),
        ({"cpus": 1, "mem_gb": 4}, "4 GB of memory, a node has 1.863 at most"),
        ({"cpus": 1, "resources": {"a100": 1}}, "1 a100, a node has 0"),
        ({"cpus": 1, "resources": {"b": 1}}, "of all that it asks for"),
    ],
)
def test_why_tasks_wait(options: dict[str, Any], why: str) -> None:
    """Ray itself would be silent for ever."""
    nodes = [
        {"Alive": True, "Resources": {"CPU": 1.0, "memory": 2e9}},
        {"Alive": True, "Resources": {"memory": 2e9, "b": 1.0}},
        {"Alive": False, "Resources": {"CPU": 64.0, "GPU": 8.0, "memory": 1e12, "a100": 8.0}},
    ]
    queue = RayQueue.__new__(RayQueue)
    queue.ray = SimpleNamespace(nodes=lambda: nodes)
    queue.options = SimpleNamespace(**{"gpus": 0, "mem_gb": None, "resources": {}, **options})
    [said] = queue.why_waiting(Batch(Path("jobs"), "ray", 1, ["a"])).values()
    assert why in said


def test_a_cluster_that_is_lost_is_one_line(tmp_path: Path) -> None:
    batch = Batch(tmp_path / "jobs" / "0001", "ray", 1, ["a"])
    with pytest.raises(UserError, match=r"Ray is lost: failed to connect to GCS; .*run the same command again"):
        queue({"a": None}, lost=True).states(batch)
