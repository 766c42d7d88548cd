"""The plugin in Hydra: found, launching jobs of programs other than ablate, and Hydra's own suites where they apply.

Hydra has suites for launchers, for sweepers that launch in batches, and of small programs; of the second the product
of all values in their order is expected, which a search does not make: its assertions are repeated here for the
batches of a search. CPU, 15 s.
"""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hydra import version
from hydra.core.plugins import Plugins
from hydra.plugins.sweeper import Sweeper
from hydra.test_utils.launcher_common_tests import IntegrationTestSuite
from omegaconf import OmegaConf

from ablate.config.composing import BASE

# As a program without version_base, of which Hydra warns.
pytestmark = pytest.mark.filterwarnings("ignore:Future Hydra versions will no longer change working directory")


@pytest.fixture(autouse=True)
def _as_hydra_expects(hydra_restore_singletons: None) -> None:
    """Hydra's suites name no version_base; other tests in this process have set 1.3."""
    if BASE:
        version.VersionBase.instance().setbase(version.Version("1.1"))


def searched(runner: Any, folder: Path, *overrides: str, task: Callable[[Any], Any] | None = None) -> Any:
    return runner(
        calling_file=None,
        calling_module="hydra.test_utils.a_module",
        task_function=task,
        config_path="configs",
        config_name="compose.yaml",
        overrides=["hydra/launcher=basic", "hydra/sweeper=ablate_optuna", *overrides],
        temp_dir=folder,
    )


def test_hydra_finds_it() -> None:
    assert "OptunaSweeper" in {plugin.__name__ for plugin in Plugins.instance().discover(Sweeper)}


@pytest.mark.full
def test_it_launches_jobs_in_batches_with_directories_of_their_own(hydra_sweep_runner: Any, tmpdir: Path) -> None:
    """What Hydra's BatchedSweeperTestSuite asserts, but for the order of the jobs."""
    typed = ["group1=file1,file2", "bar=100,200,300"]
    with searched(
        *(hydra_sweep_runner, tmpdir, *typed),
        *("hydra.sweeper.sampler=grid", "hydra.sweeper.n_trials=6", "hydra.sweeper.parallel=2"),
        task=lambda config: float(config.foo + config.bar),
    ) as sweep:
        saved = OmegaConf.load(Path(sweep.temp_dir) / "multirun.yaml")
        assert saved.hydra.overrides.task == typed
        assert [len(batch) for batch in sweep.returns] == [2, 2, 2]
        jobs = [job for batch in sweep.returns for job in batch]
        assert sorted(tuple(job.overrides) for job in jobs) == [
            (f"group1=file{group}", f"bar={bar}") for group in (1, 2) for bar in (100, 200, 300)
        ]
        for job in jobs:
            group, bar = job.overrides[0][-1], int(job.overrides[1].partition("=")[2])
            assert job.cfg == {"foo": 10 * int(group), "bar": bar}
            assert job.return_value == job.cfg.foo + job.cfg.bar
        assert [job.hydra_cfg.hydra.job.num for job in jobs] == list(range(6))
        assert len({job.hydra_cfg.hydra.runtime.output_dir for job in jobs}) == 6
        best = OmegaConf.load(Path(sweep.temp_dir) / "optimization_results.yaml")
        assert best == {"name": "optuna", "best_params": {"group1": "file1", "bar": 100}, "best_value": 110.0}


@pytest.mark.full
def test_fixed_values_and_the_preset_go_into_every_job(hydra_sweep_runner: Any, tmpdir: Path) -> None:
    preset = "+hydra.sweeper.params={foo: 'interval(0, 1)', bar: '1,2'}"
    with searched(
        *(hydra_sweep_runner, tmpdir, preset, "bar=7", "hydra.sweeper.n_trials=3", "hydra.sweeper.sampler=random"),
        task=lambda config: config.foo,
    ) as sweep:
        configs = [job.cfg for batch in sweep.returns for job in batch]
        assert len(configs) == 3
        assert all(config.bar == 7 and 0 <= config.foo <= 1 for config in configs)


@pytest.mark.full
def test_a_maximum_and_several_objectives(hydra_sweep_runner: Any, tmpdir: Path) -> None:
    with searched(
        *(hydra_sweep_runner, tmpdir / "one", "foo=range(0,5)", "hydra.sweeper.direction=maximize"),
        *("hydra.sweeper.n_trials=5", "hydra.sweeper.sampler=grid"),
        task=lambda config: config.foo,
    ) as sweep:
        assert OmegaConf.load(Path(sweep.temp_dir) / "optimization_results.yaml").best_params == {"foo": 4}
    with searched(
        *(hydra_sweep_runner, tmpdir / "two", "foo=range(0,5)", "hydra.sweeper.direction=[minimize,maximize]"),
        *("hydra.sweeper.n_trials=5", "hydra.sweeper.sampler=grid"),
        task=lambda config: (abs(config.foo - 2), config.foo),
    ) as sweep:
        solutions = OmegaConf.load(Path(sweep.temp_dir) / "optimization_results.yaml").solutions
        assert sorted(one.best_params.foo for one in solutions) == [2, 3, 4]


@pytest.mark.full
def test_jobs_that_fail_or_return_no_number_do_not_end_the_search(hydra_sweep_runner: Any, tmpdir: Path) -> None:
    def task(config: Any) -> Any:
        if config.foo == 1:
            raise ValueError("a bug")
        return "words" if config.foo == 2 else float("nan") if config.foo == 3 else config.foo

    with searched(
        *(hydra_sweep_runner, tmpdir, "foo=range(0,6)", "hydra.sweeper.n_trials=6", "hydra.sweeper.sampler=grid"),
        task=task,
    ) as sweep:
        assert sum(len(batch) for batch in sweep.returns) == 6
        best = OmegaConf.load(Path(sweep.temp_dir) / "optimization_results.yaml")
        assert best.best_params == {"foo": 0}


def test_one_configuration_is_one_job(hydra_sweep_runner: Any, tmpdir: Path) -> None:
    with searched(hydra_sweep_runner, tmpdir, "foo=1") as sweep:
        [[job]] = sweep.returns
        assert job.cfg == {"foo": 1, "bar": 100}


@pytest.mark.full
@pytest.mark.parametrize(
    ("task_launcher_cfg", "extra_flags"),
    [({}, ["-m", "hydra/sweeper=ablate_optuna", "hydra/launcher=basic"])],
)
class TestPrograms(IntegrationTestSuite):
    """Hydra's suite of programs of their own, which sweep nothing."""
