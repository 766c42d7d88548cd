"""The launcher under Hydra's own conformance suites, and the sweeper against the product that it should make.

Hydra's suites expect its BasicSweeper's multirun.yaml, which our sweeper does not write: they run our launcher under
Hydra's sweeper; what is particular to our sweeper is tested here. The integration suite starts small programs.
CPU, 15 s.
"""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from hydra import version
from hydra.test_utils.launcher_common_tests import BatchedSweeperTestSuite, IntegrationTestSuite, LauncherTestSuite
from omegaconf import OmegaConf

from ablate.config.composing import BASE, register_schema
from ablate.config.schema import CONFIG_ROOT
from ablate.records.manifest import load_manifest
from ablate.sweeping.naming import NAME_LIMIT, Asked, folder_name

# As a program without version_base, of which Hydra warns.
pytestmark = [
    pytest.mark.full,
    pytest.mark.filterwarnings("ignore:Future Hydra versions will no longer change working directory"),
]


@pytest.fixture(autouse=True)
def _as_hydra_expects(hydra_restore_singletons: None) -> Iterator[None]:
    """Hydra's suites name no version_base and register a resolver; other tests in this process have set 1.3."""
    if BASE:
        version.VersionBase.instance().setbase(version.Version("1.1"))
    yield
    if OmegaConf.has_resolver("my_custom_resolver"):
        OmegaConf.clear_resolver("my_custom_resolver")


@pytest.mark.parametrize(("launcher_name", "overrides"), [("ablate", [])])
class TestLauncher(LauncherTestSuite):
    """Hydra's suite for launchers."""


@pytest.mark.parametrize(("launcher_name", "overrides"), [("ablate", ["hydra.sweeper.max_batch_size=2"])])
class TestLauncherInBatches(BatchedSweeperTestSuite):
    """Hydra's suite for sweepers that launch in batches."""


@pytest.mark.parametrize(
    ("task_launcher_cfg", "extra_flags"), [({}, ["-m", "hydra/launcher=ablate", "hydra/sweeper=ablate"])]
)
class TestPrograms(IntegrationTestSuite):
    """Hydra's suite of programs of their own, with our launcher and our sweeper."""


def swept(runner: Any, tmpdir: Path, *overrides: str, task: Any = None) -> Any:
    return runner(
        calling_file=None,
        calling_module="hydra.test_utils.a_module",
        task_function=task,
        config_path="configs",
        config_name="compose.yaml",
        overrides=["hydra/launcher=ablate", "hydra/sweeper=ablate", *overrides],
        temp_dir=tmpdir,
    )


class TestSweeper:
    def test_it_makes_the_product_in_order_and_numbers_the_jobs(self, hydra_sweep_runner: Any, tmpdir: Path) -> None:
        with swept(
            hydra_sweep_runner, tmpdir, "hydra.sweeper.max_batch_size=2", "group1=file1,file2", "bar=100,200,300"
        ) as sweep:
            assert [len(batch) for batch in sweep.returns] == [2, 2, 2]
            jobs = [job for batch in sweep.returns for job in batch]
            assert [job.overrides for job in jobs] == [
                [f"group1=file{g}", f"bar={bar}"] for g in (1, 2) for bar in (100, 200, 300)
            ]
            assert [job.cfg for job in jobs] == [{"foo": 10 * g, "bar": bar} for g in (1, 2) for bar in (100, 200, 300)]
            assert [job.hydra_cfg.hydra.job.num for job in jobs] == list(range(6))
            assert [job.return_value for job in jobs] == [100] * 6

    def test_the_command_line_replaces_values_of_the_preset(self, hydra_sweep_runner: Any, tmpdir: Path) -> None:
        """Hydra's own sweeper would multiply 1,2 by 7."""
        preset = "+hydra.sweeper.params={foo: '1,2', bar: '3,4'}"
        with swept(hydra_sweep_runner, tmpdir, preset, "foo=7") as sweep:
            assert [job.cfg for job in sweep.returns[0]] == [{"foo": 7, "bar": 3}, {"foo": 7, "bar": 4}]
        with swept(hydra_sweep_runner, tmpdir, preset) as sweep:
            assert [(job.cfg.foo, job.cfg.bar) for job in sweep.returns[0]] == [(1, 3), (1, 4), (2, 3), (2, 4)]

    def test_blocks_are_a_union_of_products(self, hydra_sweep_runner: Any, tmpdir: Path) -> None:
        """Each block beside params, its own values before theirs; what is typed replaces both, a job comes once."""
        preset = ["+hydra.sweeper.params={foo: '1'}", "hydra.sweeper.blocks=[{}, {bar: '3,4'}, {foo: '2', bar: '5'}]"]
        with swept(hydra_sweep_runner, tmpdir, *preset) as sweep:
            assert [job.overrides for job in sweep.returns[0]] == [
                ["foo=1"],
                ["foo=1", "bar=3"],
                ["foo=1", "bar=4"],
                ["foo=2", "bar=5"],
            ]
            assert [job.hydra_cfg.hydra.job.num for job in sweep.returns[0]] == list(range(4))
        with swept(hydra_sweep_runner, tmpdir, *preset, "bar=6") as sweep:
            assert [job.cfg for job in sweep.returns[0]] == [{"foo": 1, "bar": 6}, {"foo": 2, "bar": 6}]
        with swept(hydra_sweep_runner, tmpdir, *preset, "hydra.sweeper.max_batch_size=3", "foo=7") as sweep:
            assert [len(batch) for batch in sweep.returns] == [3, 1]
            assert [job.cfg.foo for batch in sweep.returns for job in batch] == [7] * 4

    def test_a_task_with_run_sweep_gets_all_jobs_at_once(self, hydra_sweep_runner: Any, tmpdir: Path) -> None:
        register_schema()
        calls: list[tuple[list[int], Asked]] = []

        sweep = hydra_sweep_runner(
            calling_file=None,
            calling_module="ablate.cli.run",
            task_function=None,
            config_path=str(CONFIG_ROOT / "conf"),
            config_name="config",
            overrides=["num_hiddens=8,16", "lr=0.5", f"hydra.searchpath=[file://{CONFIG_ROOT}]"],
            temp_dir=tmpdir,
        )

        def run_sweep(configs: list[Any], asked: Asked) -> list[str]:
            calls.append(([config.num_hiddens for config in configs], asked))
            return [f"outcome {number}" for number in range(len(configs))]

        sweep.run_sweep = run_sweep  # the runner itself is the task that Hydra hands to the launcher
        with sweep:
            [(sizes, asked)] = calls
            assert sizes == [8, 16]
            assert asked == Asked("num_hiddens-8-16_lr-0.5", None, ("num_hiddens", "lr"))
            assert [job.return_value for job in sweep.returns[0]] == ["outcome 0", "outcome 1"]


# --- the name of a sweep --------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("typed", "preset", "name"),
    [
        ([], None, "baseline"),
        (["model=gru", "lr=0.5"], None, "model-gru_lr-0.5"),
        (["model=gru,lstm", "num_hiddens=32"], None, "model-gru-lstm_num_hiddens-32"),
        (["model=gru", "seeds=5"], None, "model-gru"),
        (["model=gru", "seed=3", "engine=eager", "threads=2", "fresh=true", "results_dir=/x"], None, "model-gru"),
        (["data=python_docs"], None, "data-python_docs"),
        (["clip=null"], None, "clip-null"),
        (["updates=4000", "title=Mine"], None, "updates-4000"),
        (["sweeps=smoke"], "smoke", "smoke"),
        (["sweeps=smoke", "lr=0.5"], "smoke", "smoke_lr-0.5"),
        (["data=text_file", "data.path=/a b/c.txt"], None, "data-text_file_data.path--a-b-c.txt-473982"),
    ],
)
def test_a_sweep_without_a_name_is_named_after_what_decides_its_outcome(
    typed: list[str], preset: str | None, name: str
) -> None:
    assert folder_name(typed, preset) == name


@pytest.mark.parametrize("letter", ["x", "字"])
def test_a_long_name_is_cut_by_bytes_and_stays_its_own(letter: str) -> None:
    one, other = (folder_name(["data=text_file", f"data.path=/{letter * 200}/{end}.txt"]) for end in ("one", "other"))
    assert len(one.encode()) <= NAME_LIMIT + 7
    assert one[:-6] == other[:-6]
    assert one != other


@pytest.mark.slow
def test_a_preset_names_its_folder_without_its_own_values(cli: Callable[..., Any], tmp_path: Path) -> None:
    """What a preset sweeps is not repeated in the name; what is typed beside it is."""
    typed = ("data=python_docs", "num_hiddens=4", "epochs=1", "seeds=1", "max_tokens=1200", "speed=false")
    done = cli("sweeps=smoke", *typed)
    assert done.status == 0, done.err
    [folder] = (tmp_path / "results").iterdir()
    assert folder.name == "smoke_data-python_docs_num_hiddens-4_epochs-1_max_tokens-1200"
    manifest = load_manifest(folder)
    assert manifest["commands"] == [" ".join(["python -m ablate sweeps=smoke", *typed])]
    assert (manifest["preset"], manifest["question"]) == ("smoke", "Does everything work here?")
