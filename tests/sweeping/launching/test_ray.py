"""Sweeps by a real Ray cluster of this machine, of three nodes: a node is lost, the program that submitted is killed.
Needs ray. The lost node is tried by `make test-all`, too; CPU, 30 s. The others: 2 min.
"""

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from local_slurm import until

from ablate.cli import main
from ablate.records import results
from ablate.records.jobs import State, batches
from ablate.sweeping.launching import collect, follower

pytestmark = pytest.mark.filterwarnings("default")  # ray's own warnings

ON_RAY = ("hydra/launcher=ray", "hydra.launcher.cpus=1")
SHORT = ("model=gru,lstm", "seeds=2", "engine=cohort", "epochs=20")
LONG = ("model=gru,lstm", "seeds=2", "engine=cohort", "epochs=20000")
LONGER = (*LONG[:-1], "epochs=200000")


@pytest.fixture(scope="module")
def cluster() -> Iterator[Any]:
    """A head without a core, so that it is never lost with a task, and two nodes of one core each."""
    pytest.importorskip("ray")
    from ray.cluster_utils import Cluster

    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("RAY_USAGE_STATS_ENABLED", "0")
        patch.setenv("OMP_NUM_THREADS", "1")
        patch.setenv("ABLATE_CHECKPOINT_S", "0.5")
        patch.delenv("TMPDIR", raising=False)
        made = Cluster(initialize_head=True, head_node_args={"num_cpus": 0, "include_dashboard": False})
        made.nodes = [made.add_node(num_cpus=1) for _ in range(2)]
        made.wait_for_nodes()
        patch.setenv("RAY_ADDRESS", made.address)
        yield made
        import ray

        ray.shutdown()
        made.shutdown()


@pytest.fixture
def words(tmp_path: Path, small_arguments: list[str], monkeypatch: pytest.MonkeyPatch) -> list[str]:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(follower, "LATE_S", 3.0)
    own = [word for word in small_arguments if not word.startswith(("seeds=", "epochs="))]
    return [*own, "report=false", "name=a"]


def states(folder: Path) -> list[State]:
    return [batch.state(job) for batch in batches(folder) for job in range(batch.jobs)]


def records(folder: Path) -> list[dict[str, Any]]:
    return [record for record in results.records(folder) if isinstance(record, dict)]


def training(folder: Path) -> bool:
    found = states(folder)
    return bool(found) and all(one.programs for one in found)


def node_of(cluster: Any, state: State) -> Any:
    """The node on which a task is: that whose raylet has begun its process."""
    parent = int(Path(f"/proc/{state.id}/stat").read_text().rpartition(")")[2].split()[1])
    return next(node for node in cluster.nodes if node.all_processes["raylet"][0].process.pid == parent)


@pytest.mark.slow
def test_the_records_are_those_of_this_machine(cluster: Any, words: list[str]) -> None:
    assert main([*words[:-1], *SHORT, "name=here"]) == 0
    assert main([*words, *SHORT, *ON_RAY, "fresh=true"]) == 0
    one, other = (
        {record["run_id"]: record["metrics"] for record in records(Path("results") / name)} for name in ("a", "here")
    )
    assert one == other
    assert len(one) == 4
    assert not Path("results/a/jobs").exists()


@pytest.mark.full
def test_a_node_that_is_lost(
    cluster: Any, words: list[str], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Its task is begun again on another node, and goes on from its checkpoints. It is the first that has some: on a
    busy machine the other may begin when that would have ended."""
    folder, look = Path("results/a"), collect.SweepJobs.look
    lost = list[Any]()

    def look_and_lose(self: collect.SweepJobs) -> None:
        look(self)
        saved = {path.stem for path in (folder / "checkpoints").glob("*.pt")}
        ready = [one for one in states(folder) if one.programs and saved.issuperset(one.programs[0]["runs"])]
        if ready and not lost:
            lost.append(node_of(cluster, ready[0]))
            cluster.nodes.remove(lost[0])
            cluster.remove_node(lost[0], allow_graceful=False)
            cluster.nodes.append(cluster.add_node(num_cpus=1))

    monkeypatch.setattr(collect.SweepJobs, "look", look_and_lose)
    assert main([*words, *LONG, *ON_RAY]) == 0
    assert lost
    assert sorted(bool(record["timing"]["resumed_at_epoch"]) for record in records(folder)) == [
        False,
        False,
        True,
        True,
    ]


@pytest.mark.slow
def test_the_program_that_submitted_is_killed(cluster: Any, words: list[str]) -> None:
    """Ray ends its tasks; the same command resumes from what they left."""
    folder = Path("results/a")
    command = [sys.executable, "-m", "ablate", "run", *words, *LONG, *ON_RAY]
    with subprocess.Popen(command, stderr=subprocess.DEVNULL, start_new_session=True) as driver:
        until(lambda: training(folder))
        os.kill(driver.pid, signal.SIGKILL)
    assert main([*words[:-1], *SHORT, *ON_RAY, "name=b"]) == 0  # another sweep has room in the cluster
    assert main([*words, *LONG, *ON_RAY]) == 0
    assert len(records(folder)) == 4


@pytest.mark.slow
def test_ctrl_c_saves_checkpoints(cluster: Any, words: list[str]) -> None:
    folder = Path("results/a")
    command = [sys.executable, "-m", "ablate", "run", *words, *LONGER, *ON_RAY]
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True, start_new_session=True) as driver:
        until(lambda: training(folder))
        os.kill(driver.pid, signal.SIGINT)
        assert driver.wait(120) == 130
    assert len(list((folder / "checkpoints").glob("*.pt"))) == 4


@pytest.mark.slow
def test_a_search(cluster: Any, words: list[str]) -> None:
    """Two tasks share the study; the same command collects, with nothing left to train."""
    own = ["num_hiddens=range(4,12)", "n_trials=8", "seeds=2", "epochs=20", "engine=cohort", "parallel=1"]
    own += ["hydra.sweeper.race.fresh=2", "hydra.sweeper.race.best=1"]
    search = list({word.partition("=")[0]: word for word in [*words, *own, *ON_RAY]}.values())
    folder = Path("results/a")
    for _ in range(2):
        assert main(["search", *search]) == 0
        assert (folder / "best.yaml").exists()
        found = [record["run_id"] for record in records(folder)]
        assert len(set(found)) == len(found)


@pytest.mark.full
def test_what_cannot_be_reached_is_one_line(words: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    pytest.importorskip("ray")
    assert main([*words, *SHORT, *ON_RAY, "--detach"]) == 2
    assert "ray job submit" in capsys.readouterr().err
    assert main([*words, *SHORT, *ON_RAY, "speed=true"]) == 2
    assert "machine to itself" in capsys.readouterr().err
