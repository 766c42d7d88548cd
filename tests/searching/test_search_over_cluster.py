"""Searches by jobs, with a cluster that runs each job in this process when it is told to, or never. CPU, 5 s."""

import json
import shutil
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import optuna
import pytest
from optuna.storages import JournalStorage
from optuna.storages.journal import JournalFileBackend

from ablate.analysis.study import read_study
from ablate.cli import main
from ablate.config.errors import UserError
from ablate.records import results
from ablate.records.jobs import Batch, batches, jobs_dir
from ablate.searching import over_cluster
from ablate.searching.evaluation import Evaluator
from ablate.searching.finale import Outcome
from ablate.searching.search import Search
from ablate.sweeping.launching import follower, following
from ablate.sweeping.launching.queues import WAITING
from ablate.sweeping.launching.worker import CarryOut, Work

SPACE = ("num_hiddens=choice(4,5,6)", "seeds=2", "n_trials=3", "sampler=random")
SHORT = ("epochs=1", "engine=cohort", "hydra.sweeper.race.fresh=2", "hydra.sweeper.race.best=1")
ON_CLUSTER = ("hydra/launcher=slurm", "hydra.launcher.cpus=1", "parallel=1")


class Cluster:
    """Runs the jobs of which `runs(job)` says so, when they are submitted; the others are `says`."""

    name = "a cluster"

    def __init__(self) -> None:
        self.runs: Callable[[int], bool] = lambda job: True
        self.says: str | None = WAITING
        self.works: list[Work] = []

    def submit(self, batch: Batch, carry_out: CarryOut) -> list[str]:
        works = [Work(str(batch.path.absolute()), job, carry_out) for job in range(batch.jobs)]
        self.works += works
        for work in works:
            if self.runs(work.job):
                work()
        return [f"7_{job}" for job in range(batch.jobs)]

    def states(self, batch: Batch) -> dict[str, str] | None:
        return {} if self.says is None else {f"7_{job}": self.says for job in range(batch.jobs)}

    def why_waiting(self, batch: Batch) -> dict[str, str]:
        return {}

    def cancel(self, batch: Batch) -> None:
        raise UserError("the queue is down")


@pytest.fixture
def cluster(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Cluster:
    made = Cluster()
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(follower, "LATE_S", 0.0)
    monkeypatch.setattr(follower, "LOOK_S", 0.01)
    monkeypatch.setattr(over_cluster, "queue_of", lambda _: made)
    monkeypatch.setattr(following.slurm, "reachable", lambda: True)
    monkeypatch.setattr(
        following.slurm, "states_of", lambda ids: {} if made.says is None else dict.fromkeys(ids, made.says)
    )
    return made


@pytest.fixture
def search(small_arguments: Sequence[str]) -> Callable[..., int]:
    def run(*words: str) -> int:
        own = [*small_arguments, "report=false", "name=a", *SPACE, *SHORT, *words]
        return main(["search", *{word.partition("=")[0]: word for word in own}.values()])

    return run


def outcomes(folder: Path) -> dict[str, Any]:
    return {record["run_id"]: record["metrics"] for record in results.records(folder) if isinstance(record, dict)}


def found(folder: Path) -> dict[str, Any]:
    told: dict[str, Any] = json.loads((folder / "search.json").read_text())
    return {name: told[name] for name in ("finalists", "winner") if name in told}


@pytest.mark.full
def test_what_is_found_is_what_this_machine_finds(cluster: Cluster, search: Callable[..., int]) -> None:
    assert search("parallel=1", "results_dir=elsewhere") == 0
    assert search(*ON_CLUSTER) == 0
    here, there = Path("elsewhere/a"), Path("results/a")
    assert outcomes(there) == outcomes(here)
    assert found(there) == found(here)
    assert (there / "best.yaml").exists()
    assert (there / "study.journal").exists()
    assert not jobs_dir(there).exists()
    assert len(cluster.works) == 1
    assert search(*ON_CLUSTER) == 0  # all of it is there
    assert search("parallel=1") == 0  # and this machine goes on with the same study
    assert len(cluster.works) == 1
    assert outcomes(there) == outcomes(here)


@pytest.mark.full
def test_a_run_that_the_file_system_shows_late_is_waited_for(
    cluster: Cluster, search: Callable[..., int], monkeypatch: pytest.MonkeyPatch
) -> None:
    attempts, conclude = [], over_cluster.conclude

    def late(asking: Search, evaluator: Evaluator, folder: Path) -> Outcome:
        attempts.append(folder)
        last = max(results.records(folder), key=lambda record: record["seed"])  # one that reports
        path = folder / "runs" / f"{last['run_id']}.json"
        if len(attempts) == 1:
            path.rename(folder / "late")
        try:
            return conclude(asking, evaluator, folder)
        finally:
            if len(attempts) == 1:
                (folder / "late").rename(path)

    monkeypatch.setattr(over_cluster, "conclude", late)
    monkeypatch.setattr(follower, "LATE_S", 20.0)
    assert search(*ON_CLUSTER) == 0
    assert len(attempts) == 2
    assert found(Path("results/a"))["winner"]


@pytest.mark.full
def test_what_another_sweep_has_ends_a_search_of_jobs(cluster: Cluster, search: Callable[..., int]) -> None:
    assert search("parallel=1", "hydra.sweeper.storage=journal") == 0
    assert search(*ON_CLUSTER, "name=b") == 0
    assert found(Path("results/b"))["winner"]
    assert len(cluster.works) == 1


@pytest.mark.full
def test_submit_leave_and_collect(
    cluster: Cluster, search: Callable[..., int], capsys: pytest.CaptureFixture[str]
) -> None:
    cluster.runs = lambda job: False
    folder = Path("results/a")
    assert search(*ON_CLUSTER, "--detach") == 0
    assert search(*ON_CLUSTER, "--detach") == 0  # nothing is submitted twice
    assert len(cluster.works) == 1
    assert not (folder / "search.json").exists()
    capsys.readouterr()
    assert main(["status", "--json", str(folder)]) == 0
    assert [job["state"] for job in json.loads(capsys.readouterr().out)["sweeps"][0]["jobs"]] == [WAITING]
    cluster.works[0]()
    assert search(*ON_CLUSTER) == 0
    assert (folder / "search.json").exists()
    assert len(cluster.works) == 1
    assert not jobs_dir(folder).exists()


@pytest.mark.full
def test_jobs_that_are_not_ended_are_said_to_be_at_work(
    cluster: Cluster, search: Callable[..., int], capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Ctrl-C while the queue does not answer; the same command then waits for what is there."""
    cluster.runs = lambda job: False

    def stop(*_: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(over_cluster.SearchJobs, "wait", stop)
        assert search(*ON_CLUSTER) == 130
    said = capsys.readouterr().err
    assert said.count("the queue is down") == 1
    assert "1 job at work" in said
    assert "stopped" in said
    cluster.works[0]()
    assert search(*ON_CLUSTER) == 0
    assert len(cluster.works) == 1


@pytest.mark.slow
def test_a_lost_job_leaves_its_search_to_the_same_command(
    cluster: Cluster, search: Callable[..., int], capsys: pytest.CaptureFixture[str]
) -> None:
    cluster.runs, cluster.says = lambda job: False, "OUT_OF_MEMORY"
    assert search(*ON_CLUSTER) == 1
    said = capsys.readouterr().err
    assert "OUT_OF_MEMORY" in said
    assert "the same command" in said
    assert batches(Path("results/a")) == []
    cluster.runs = lambda job: True
    assert search(*ON_CLUSTER) == 0


@pytest.mark.slow
def test_a_job_of_another_search_changes_nothing(
    cluster: Cluster, search: Callable[..., int], capsys: pytest.CaptureFixture[str]
) -> None:
    """As where a preset was changed between the submission and the beginning of the job: the study tells."""
    cluster.runs = lambda job: False
    assert search(*ON_CLUSTER, "--detach") == 0
    [batch] = batches(Path("results/a"))
    order = batch.order(0)
    words = [word for word in order["words"] if not word.startswith("clip=")]
    batch.write_order(0, order | {"words": [*words, "clip=0.5"]})
    cluster.works[0]()
    assert "begun with" in str(batch.state(0).ended)
    assert outcomes(Path("results/a")) == {}
    assert search(*ON_CLUSTER, "--detach") == 0
    assert "begun with" in capsys.readouterr().err
    assert len(cluster.works) == 2


@pytest.mark.slow
def test_many_jobs_share_the_trials(cluster: Cluster, search: Callable[..., int]) -> None:
    space = ("num_hiddens=range(4,12)", "n_trials=8")
    assert search(*ON_CLUSTER, *space) == 0
    assert len(cluster.works) == 2  # four trials a place
    trials, _ = read_study(Path("results/a"))
    assert sum(trial.state.name == "COMPLETE" for trial in trials) >= 8


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (("storage=sqlite",), "storage=journal"),
        (("storage=memory",), "storage=journal"),
        (("storage=sqlite:///x.db",), "storage=journal"),
        (("objective=[val_perplexity,tokens_per_s]",), "one machine"),
    ],
)
def test_what_several_machines_cannot_share_is_one_line(
    cluster: Cluster, search: Callable[..., int], words: Sequence[str], says: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert search(*ON_CLUSTER, *words) == 2
    assert says in capsys.readouterr().err
    assert not Path("results").exists()


def test_a_search_that_a_cluster_refuses_leaves_nothing(
    cluster: Cluster, search: Callable[..., int], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """A study would bind the next command of this name to what was searched."""

    def refuse(self: Cluster, batch: Batch, carry_out: CarryOut) -> list[str]:
        raise UserError("no such partition")

    monkeypatch.setattr(Cluster, "submit", refuse)
    assert search(*ON_CLUSTER) == 2
    assert "no such partition" in capsys.readouterr().err
    assert not Path("results").exists()


@pytest.mark.parametrize("kind", ["journal", "database"])
@pytest.mark.parametrize("is_new", [True, False])
def test_a_study_that_a_refused_search_has_made_is_deleted(
    cluster: Cluster,
    search: Callable[..., int],
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
    kind: str,
    is_new: bool,
) -> None:
    """In a database, too, and beside studies of other names in one file; not one that was there before."""
    url = f"sqlite:///{tmp_path / 'database'}" if kind == "database" else None

    def studies() -> list[str]:
        file = JournalFileBackend("results/a/study.journal") if url is None else None
        storage = url if file is None else JournalStorage(file)
        return sorted(optuna.get_all_study_names(storage)) if url or Path("results/a/study.journal").exists() else []

    def refuse(self: Cluster, batch: Batch, carry_out: CarryOut) -> list[str]:
        assert "a" in studies()
        raise UserError("no such partition")

    # A file stands for the server: what several machines cannot share is refused otherwise.
    monkeypatch.setattr(over_cluster, "shared", lambda problem: problem)
    words = [*ON_CLUSTER, f"storage={url or 'journal'}"]
    cluster.runs = lambda job: False
    assert search(*words, "--detach", *(() if not is_new else ("study=other",))) == 0
    shutil.rmtree("results/a/jobs")
    monkeypatch.setattr(Cluster, "submit", refuse)
    assert search(*words) == 2
    assert studies() == (["other"] if is_new else ["a"])
