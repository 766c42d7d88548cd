"""Sweeps by a real SLURM of one node that keeps accounts. Needs what test_slurm.py does, and slurmdbd and MariaDB. CPU,
2 min.
"""

import os
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from local_slurm import Slurm, until
from test_slurm import LONG, ON_SLURM, SHORT, Run, outcomes, process_of, run, states, training

from ablate.records.jobs import batches

pytestmark = pytest.mark.slow

__all__ = ["run"]

LAB = "hydra.launcher.account=lab"
LONGER = (*LONG[:-1], "epochs=4000")


def ended(slurm: Slurm, job: str) -> str:
    """What the accounts say of a job."""
    return slurm.ask("sacct", "-n", "-X", "-P", "-j", job, "-o", "State").strip()


def test_the_records_are_those_of_this_machine(accounted_slurm: Slurm, run: Run) -> None:
    assert run(*SHORT, name="here") == 0
    assert run(*SHORT, *ON_SLURM, LAB, "fresh=true") == 0
    assert outcomes(Path("results/a")) == outcomes(Path("results/here"))
    assert len(outcomes(Path("results/a"))) == 4
    assert not Path("results/a/jobs").exists()
    until(lambda: ended(accounted_slurm, "1").splitlines() == ["COMPLETED"] * 2)


def test_a_killed_job_fails_its_settings_and_no_others(accounted_slurm: Slurm, run: Run) -> None:
    folder = Path("results/a")
    assert run(*LONGER, *ON_SLURM, LAB, "--detach") == 0
    until(lambda: training(folder))
    [job, *_] = training(folder)
    os.kill(process_of(job), signal.SIGKILL)
    until(lambda: ended(accounted_slurm, job) == "FAILED")
    assert not states(folder)[int(job.rpartition("_")[2])].ended
    assert run(*LONGER, *ON_SLURM, LAB) == 0  # collects one, and submits the other again
    assert len(outcomes(folder)) == 4


def test_an_account_that_is_not_known_is_one_line(
    accounted_slurm: Slurm, run: Callable[..., Any], capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(*SHORT, *ON_SLURM, "hydra.launcher.account=nobody") == 2
    assert "ccount" in capsys.readouterr().err
    assert not Path("results").exists()


def test_a_wckey_is_that_of_the_account_unless_one_is_given(
    accounted_slurm: Slurm, run: Callable[..., Any], capsys: pytest.CaptureFixture[str]
) -> None:
    """submitit would give one of its own, which this cluster does not know."""
    assert run(*SHORT, *ON_SLURM, LAB, "hydra.launcher.sbatch.wckey=nobodys") == 2
    assert "give another hydra.launcher.sbatch.wckey" in capsys.readouterr().err
    assert run(*SHORT, *ON_SLURM, LAB, "--detach") == 0
    [job, *_] = batches(Path("results/a"))[0].ids or ()
    assert "WCKey=*known" in accounted_slurm.ask("scontrol", "show", "job", job)
