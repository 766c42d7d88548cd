"""The plan of a sweep by jobs is the jobs that are submitted. CPU, 1 s."""

import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import pytest

from ablate.cli import main
from ablate.sweeping.planning.jobs import PlannedJobs

KNOBS = ("model=rnn,gru", "seeds=4", "engine=cohort")
ON_SLURM = (
    "hydra/launcher=slurm",
    "hydra.launcher.cpus=1",
    "hydra.launcher.runs_per_job=3",
    "hydra.launcher.at_once=3",
)


@pytest.mark.full
def test_the_jobs_of_a_plan(
    small_arguments: Sequence[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Eight runs of two groups, three a job: two jobs a group, the second of a single run."""
    monkeypatch.chdir(tmp_path)
    own = [word for word in small_arguments if not word.startswith(("model=", "seeds="))]
    assert main(["plan", "--json", *own, *KNOBS, *ON_SLURM]) == 0
    jobs = json.loads(capsys.readouterr().out)["sweeps"][0]["jobs"]
    assert (jobs["launcher"], jobs["jobs"], jobs["at_once"], jobs["limit_s"]) == ("slurm", 4, 3, 3600)
    first, second, third, fourth = sorted(jobs["seconds"])
    assert third / 3 in (pytest.approx(first), pytest.approx(second))
    assert jobs["core_hours"] == pytest.approx(sum(jobs["seconds"]) / 3600)
    assert jobs["wall_s"] >= fourth
    assert main(["plan", *own, *KNOBS, *ON_SLURM]) == 0
    assert "4 jobs" in capsys.readouterr().out
    assert main(["plan", "--json", *own, *KNOBS]) == 0
    assert json.loads(capsys.readouterr().out)["sweeps"][0]["jobs"] is None
    assert main(["plan", *own, *KNOBS, *ON_SLURM, "speed=true"]) == 2  # as ablate run
    assert "exclusive=true" in capsys.readouterr().err
    assert not Path("results").exists()


def test_what_a_plan_says_of_jobs() -> None:
    """Four jobs of 1 h, two at a time, on 4 cores each."""
    jobs = PlannedJobs("slurm", 4, 2, 4, 0, [8] * 4, [3600.0] * 4, 7200.0)
    assert (jobs.wall_s, jobs.core_hours, jobs.gpu_hours) == (7200, 16, 0)
    assert len(jobs.lines()) == 2
    assert "time_min" in replace(jobs, limit_s=1800.0).lines()[-1]
    assert "4 GPU hours" in " ".join(replace(jobs, gpus=1).lines())
