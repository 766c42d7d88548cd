"""Options of launchers: what is refused, and what to give instead. CPU, below 1 s."""

import math
from typing import Any

import pytest

from ablate.config.errors import ConfigError
from ablate.config.launchers import launchers
from ablate.sweeping.launching.options import options_of


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


@pytest.mark.parametrize("name", [name for name in launchers() if name != "local"])
def test_the_files_of_launchers_have_all_options(name: str) -> None:
    found = options_of({"name": name})
    assert found is not None
    assert found.name == name
    assert set(launchers()[name]) <= set(vars(found))
