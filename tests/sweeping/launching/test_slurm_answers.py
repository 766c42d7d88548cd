"""What SLURM's commands answer, as SLURM 22.05 says it, and what is made of that. CPU, 5 s."""

import os
import shlex
import stat
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, cast

import pytest

from ablate.config.launchers import launchers
from ablate.records.files import write_json
from ablate.records.jobs import Batch, State
from ablate.sweeping.launching import follower, following, slurm
from ablate.sweeping.launching.following import Followed
from ablate.sweeping.launching.options import Slurm, options_of
from ablate.sweeping.launching.queues import LEAVING, RUNNING, WAITING


@pytest.fixture
def command(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[str, str], None]:
    """Put a script in the place of a program."""
    folder = tmp_path / "bin"
    folder.mkdir()
    monkeypatch.setenv("PATH", str(folder), prepend=os.pathsep)

    def put(name: str, script: str) -> None:
        (folder / name).write_text(f"#!/bin/sh\n{script}\n")
        (folder / name).chmod(stat.S_IRWXU)

    return put


def test_why_jobs_wait_is_told_once_and_what_helps_where_they_would_for_ever(
    tmp_path: Path, command: Callable[[str, str], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(following.Waiting, "EVERY_S", 0.0)
    batch = Batch(tmp_path / "jobs" / "0001", "slurm", 3, ["7_0", "7_1", "7_2"])
    jobs = [Followed(batch, job, {}, how=WAITING) for job in range(3)]
    said = list[str]()
    waiting = following.Waiting(said.append)
    command("squeue", "printf '7_0|Resources\n7_1|PartitionTimeLimit\n7_2|PartitionTimeLimit\n'")
    waiting.tell(jobs)
    waiting.tell(jobs)
    assert sorted(said) == [
        "1 job waiting in the queue: Resources",
        "2 jobs waiting in the queue: PartitionTimeLimit: the partition has a shorter time limit: give a smaller "
        "hydra.launcher.time_min",
    ]
    command("squeue", "printf '7_0|None\n7_1|Priority\n'")
    waiting.tell(jobs)
    assert said[2:] == ["1 job waiting in the queue: Priority"]
    command("squeue", "echo 'slurm_load_jobs error: Unable to contact slurm controller' >&2; exit 1")
    waiting.tell(jobs)
    assert len(said) == 3
    batch.ids = None  # its submitter was killed: one job has told its own
    write_json(batch.state_path(0), {"id": "8_0", "beat": 1})
    command("squeue", "printf '8_1|Licenses\\n'")
    waiting.tell(jobs)
    assert said[3:] == ["1 job waiting in the queue: Licenses"]


def test_what_a_command_prints_counts_though_it_fails(command: Callable[[str, str], None]) -> None:
    """As squeue does that knows some of the jobs, and sinfo in a cluster of which a part does not answer."""
    command("squeue", "echo '7_0|Resources'; exit 1")
    command("sinfo", "echo low; exit 1")
    assert slurm.why_waiting(["7_0"]) == {"7_0": "Resources"}
    assert slurm._partitions() == "low"


def test_a_job_that_was_told_to_go_is_leaving(tmp_path: Path, command: Callable[[str, str], None]) -> None:
    """By the queue, which knows of scancel before the job does, or by the job, which knows of its time limit first."""
    batch = Batch(tmp_path / "jobs" / "0001", "slurm", 3, ["7_0", "7_1", "7_2"])
    command("squeue", "printf '7_0|COMPLETING\n7_1|RUNNING\n7_2|RUNNING\n'")
    known = following.known_states(batch)
    states = [State(beat=1), State(beat=1, leaving=True), State(beat=1)]
    how = [following.fate(batch, job, state, known, 0.0) for job, state in enumerate(states)]
    assert how == [LEAVING, LEAVING, RUNNING]


def test_a_question_that_took_long_does_not_leave_jobs_alone_for_minutes() -> None:
    """As of a controller that has not answered for half a minute."""
    assert [follower.pause_after(look_s) for look_s in (0.01, 0.5, 30.0)] == [1.0, 5.0, 15.0]


@pytest.mark.parametrize(
    ("script", "goes_on"),
    [
        ("exit 0", False),
        ("echo 'scancel: error: Kill job error on job id 7: Invalid job id specified' >&2; exit 1", False),
        ("echo 'scancel: error: Unable to contact slurm controller (connect failure)' >&2; exit 1", True),
        ("exit 3", True),
        (None, True),
    ],
)
def test_jobs_that_slurm_does_not_end_are_said_to_go_on(
    tmp_path: Path,
    command: Callable[[str, str], None],
    monkeypatch: pytest.MonkeyPatch,
    script: str | None,
    goes_on: bool,
) -> None:
    """Ctrl-C while the queue is down: one line, no traceback, and no minute of waiting for checkpoints."""
    if script is None:
        monkeypatch.setenv("PATH", str(tmp_path))
    else:
        command("scancel", script)
    monkeypatch.setattr(follower, "LOOK_S", 0.01)
    batch = Batch(tmp_path / "jobs" / "0001", "slurm", 2, ["7_0", "7_1"])
    queue = object.__new__(slurm.SlurmQueue)
    jobs = [Followed(batch, job, {}, queue, State(beat=1, stopped="it was asked to end")) for job in range(2)]
    said = list[str]()
    follower.cancel(jobs, lambda: None, said.append)
    assert len(said) == goes_on
    assert all("the same command collects them" in line for line in said)
    assert [one.queue is None for one in jobs] == [goes_on] * 2


@pytest.mark.parametrize(
    ("said", "line"),
    [
        (
            "invalid partition specified: x",
            "invalid partition specified: x; give another hydra.launcher.partition, of low",
        ),
        (
            "Invalid account or account/partition combination specified",
            "…; give another hydra.launcher.account or another hydra.launcher.partition, of low",
        ),
        (
            "Job violates accounting/QOS policy (job submit limit, user's size and/or time limits)",
            "…; so many jobs, or such large ones, are not allowed: give fewer hydra.launcher.jobs, or less of "
            "hydra.launcher.cpus, gpus, mem_gb and time_min, or wait until others have ended",
        ),
        ("Invalid qos specification", "…; give another hydra.launcher.qos"),
        ("Invalid wckey specification", "…; give another hydra.launcher.sbatch.wckey"),
        (
            "Requested time limit is invalid (missing or exceeds some limit)",
            "…; give a smaller hydra.launcher.time_min",
        ),
        (
            "Requested node configuration is not available",
            "…; no node is so large: give less of hydra.launcher.cpus, gpus and mem_gb",
        ),
        ("Memory specification can not be satisfied", "…; no node has so much: give less hydra.launcher.mem_gb"),
        ("Memory required by task is not available", "…; no node has so much: give less hydra.launcher.mem_gb"),
        ("Cannot allocate memory", "…"),
        ("Invalid generic resource (gres) specification", "…; no node has such a GPU: give fewer hydra.launcher.gpus"),
        (
            "Batch job submission failed: Invalid job array specification",
            "…; the cluster takes no array of so many jobs: give fewer hydra.launcher.jobs",
        ),
        ("it is out of order", "…"),
    ],
)
def test_what_sbatch_refuses_is_said_with_a_remedy(command: Callable[[str, str], None], said: str, line: str) -> None:
    command("sinfo", r"printf 'low\nlow\n'")
    error = Exception(f"sbatch: error: {said}\nsbatch: error: Batch job submission failed: Invalid")
    assert slurm._said(error) == line.replace("…", said)


@pytest.mark.parametrize(
    ("options", "flags", "none_of"),
    [
        ({}, {"job-name=ablate", "requeue", "time=60", "cpus-per-task=4"}, {"wckey", "mem", "no-requeue"}),
        ({"sbatch": {"wckey": "lab"}}, {"wckey=lab"}, set()),
        ({"sbatch": {"job-name": "mine", "mail_user": "me", "C": "amd"}}, {"job-name=mine", "mail-user=me"}, set()),
        ({"sbatch": {"C": "amd", "hold": True, "comment": None}}, {"constraint=amd", "hold"}, {"comment", "C"}),
        ({"sbatch": {"requeue": False}}, {"no-requeue"}, {"requeue"}),
        ({"sbatch": {"no_requeue": True}}, {"no-requeue"}, {"requeue"}),
        ({"sbatch": {"no-req": True}}, {"no-requeue"}, {"requeue", "no-req"}),
        ({"sbatch": {"requ": False}}, {"no-requeue"}, {"requeue", "requ"}),
        ({"sbatch": {"job": "mine", "wck": "lab"}}, {"job-name=mine", "wckey=lab"}, {"job", "wck"}),
        ({"mem_gb": 1.5, "gpus": 2}, {"mem=1536MB", "gpus-per-node=2"}, set()),
        ({"mem_gb": 0}, {"mem=0MB"}, set()),
    ],
)
def test_the_script_has_each_option_of_sbatch_once(
    tmp_path: Path, command: Callable[[str, str], None], options: Any, flags: set[str], none_of: set[str]
) -> None:
    pytest.importorskip("submitit")
    for name, script in (("sbatch", "echo Submitted batch job 7"), ("srun", ""), ("squeue", "")):
        command(name, script)
    batch = Batch(tmp_path / "jobs" / "0001", "slurm", 1)
    assert slurm.SlurmQueue(cast(Slurm, options_of({"name": "slurm", **options}))).submit(batch, print) == ["7"]
    [written] = batch.log.glob("*_submission.sh")
    lines = [line for line in written.read_text().splitlines() if line.startswith("#SBATCH --")]
    given = [line.removeprefix("#SBATCH --") for line in lines]
    names = [flag.partition("=")[0] for flag in given]
    assert flags <= set(given)
    assert not none_of & set(names)
    assert len(set(names)) == len(names)


@pytest.mark.parametrize("how", ["as installed", "python -m"])
def test_a_job_imports_what_the_program_does_that_submits_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, how: str
) -> None:
    """A job is begun in the folder of the command. Where that is a checkout that was changed after ablate had been
    installed, it would import another ablate, and refuse, whenever the command is given."""
    (tmp_path / "ablate.py").touch()
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [*[str(tmp_path)] * (how == "python -m"), *sys.path])
    queue = object.__new__(slurm.SlurmQueue)
    queue.options = cast(Slurm, options_of({"name": "slurm", **launchers()["slurm"], "setup": ["export X=1"]}))
    lines = [*queue._parameters()["setup"], f"{shlex.quote(sys.executable)} -m ablate --version"]
    done = subprocess.run(["bash", "-c", "\n".join(lines)], capture_output=True, text=True, timeout=100)
    assert done.returncode == 0, done
    assert done.stdout.startswith("ablate") == (how == "as installed")


@pytest.mark.parametrize(
    ("begun", "how", "wrote", "says"),
    [
        (
            True,
            "FAILED",
            True,
            "the cluster says FAILED; its log is in {log}; run the same command again to resume it",
        ),
        (
            True,
            "OUT_OF_MEMORY",
            False,
            "job 7_0 ended, and the cluster says OUT_OF_MEMORY; run the same command again to resume it",
        ),
        (
            False,
            "FAILED",
            True,
            "FAILED, before it had begun; its log is in {log}; run the same command again to submit it",
        ),
        (
            False,
            "FAILED",
            False,
            "before it had begun; it left no log in {log}: its node has to see this folder; run the same",
        ),
        (False, "CANCELLED", False, "says CANCELLED, before it had begun; run the same command again to submit it"),
        (False, "NODE_FAIL", False, "says NODE_FAIL, before it had begun; run the same command again to submit it"),
        (False, following.GONE, False, "is gone from the queue, before it had begun; run the same command again to"),
    ],
)
def test_a_log_is_named_where_there_is_one(tmp_path: Path, begun: bool, how: str, wrote: bool, says: str) -> None:
    """Of a job on a node that does not see the folder there is none, but what was submitted lies there."""
    batch = Batch(tmp_path / "jobs" / "0001", "slurm", 2, ["7_0", "7_1"])
    batch.log.mkdir(parents=True)
    for name in ("7_submission.sh", "7_1_0_log.out", *["7_0_0_log.out"] * wrote):
        (batch.log / name).write_text("a line")
    assert says.format(log=batch.log) in Followed(batch, 0, {}, state=State(beat=int(begun))).why(how)
