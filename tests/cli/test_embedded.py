"""`ablate.cli.main` inside other programs: what is global of the process is as it was, whatever the command and thread.

Trains a few runs of milliseconds in processes of their own, where nothing has been set by other tests. CPU, 15 s.
"""

import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

STATE = """
import json, logging, os, signal, sys, threading
import matplotlib, torch
from hydra.core.config_store import ConfigStore
from hydra.core.global_hydra import GlobalHydra
from hydra.core.hydra_config import HydraConfig
from hydra.core.plugins import Plugins
from hydra.version import VersionBase

def state():
    Plugins.instance()
    tiny = torch.full((64,), 1e-39)
    root = logging.getLogger()
    return {
        "argv": list(sys.argv),
        "environment": dict(os.environ),
        "folder": os.getcwd(),
        "handlers": {s.name: str(signal.getsignal(s)) for s in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)},
        "backend": matplotlib.rcParams._get("backend") if hasattr(matplotlib.rcParams, "_get") else None,
        "rc": {k: str(v) for k, v in dict.items(matplotlib.rcParams)},
        "threads": torch.get_num_threads(),
        "denormals": bool((tiny * 0.5 > 0).all()),
        "default dtype": str(torch.get_default_dtype()),
        "seed": torch.initial_seed(),
        "deterministic": torch.are_deterministic_algorithms_enabled(),
        "hydra": id(GlobalHydra.instance().hydra),
        "hydra is on": GlobalHydra.instance().is_initialized(),
        "hydra config": str(HydraConfig.instance().cfg),
        "hydra base": str(VersionBase.instance().getbase()),
        "stored": sorted(ConfigStore.instance().repo),
        "logging": [root.level, len(root.handlers)],
        "streams": [id(sys.stdout), id(sys.stderr)],
        "others": sorted(t.name for t in threading.enumerate()),
    }
"""

COMMANDS = """
from ablate.cli import main
if not FIGURES:
    from contextlib import nullcontext
    import ablate.report.drawn
    ablate.report.drawn.drawing = lambda material, to: nullcontext(dict)
SMALL = ["data=text_file", "data.path=text.txt", "data.cleaning=letters", "num_steps=5", "batch_size=4",
         "max_tokens=300", "val_tokens=100", "epochs=2", "seeds=1", "prefixes=[]", "num_hiddens=4", "name=a"]
def all_commands():
    return [
        main([*SMALL, "model=rnn,gru", "engine=cohort"]),
        main(["plan", *SMALL, "--json"]),
        main(["report", "results/a", "--json"]),
        main(["claims", "results/a"]),
        main(["search", *SMALL[:-1], "name=b", "lr=choice(0.5,1)", "n_trials=2", "race=null"]),
        main(["--cfg", "job"]),
        main(["--info", "config"]),
        main(["lr=wrong"]),
        main(["pln"]),
    ]
"""

RUNS = {
    "in the main thread": "found = all_commands()",
    "in another thread": """
found = []
thread = threading.Thread(target=lambda: found.extend(all_commands()))
thread.start()
thread.join()
""",
    "in a program with a Hydra of its own": """
from hydra import compose, initialize_config_dir
from hydra import version
its_own = {"version_base": "1.2"} if version.__version__.startswith("1.3.") else {}  # 1.4 has one behaviour
with initialize_config_dir(os.getcwd(), **its_own):
    before = state()
    found = all_commands()
    after = state()
    assert compose("own").a == 1
""",
}


@pytest.mark.full
@pytest.mark.parametrize("where", RUNS)
def test_nothing_of_the_process_is_changed(where: str, tmp_path: Path, program_environment: dict[str, str]) -> None:
    (tmp_path / "text.txt").write_text("the cell keeps a state and forgets what it has read quickly " * 10)
    (tmp_path / "own.yaml").write_text("a: 1\n")
    figures = where == "in the main thread"  # they take seconds
    code = f"FIGURES = {figures}\n{STATE}\n{COMMANDS}\ntorch.set_num_threads(3)\nbefore = state()\n{RUNS[where]}\n"
    code += "" if "after" in RUNS[where] else "after = state()\n"
    code += "print('\\n' + json.dumps({'before': before, 'after': after, 'found': found}))"
    done = subprocess.run(
        [sys.executable, "-c", code, "an argument"],
        cwd=tmp_path,
        env=program_environment | {"MPLBACKEND": "svg", "HYDRA_FULL_ERROR": "0"},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    told = json.loads(done.stdout.splitlines()[-1])
    assert told["found"] == [0, 0, 0, 0, 0, 0, 0, 2, 2], done.stderr
    for what, before in told["before"].items():
        assert told["after"][what] == before, what


# --- programs of others that use Hydra ------------------------------------------------------------------

FOREIGN = """
import hydra
@hydra.main(version_base="1.3", config_path=".", config_name="own")
def app(config):
    print("value", config.a)
    return float(config.a)
app()
"""

OPTUNA_OF_OTHERS = """
from dataclasses import dataclass
from hydra.core.config_store import ConfigStore
from hydra.plugins.sweeper import Sweeper
@dataclass
class Conf:
    _target_: str = "hydra_plugins.zz_other.Other"
class Other(Sweeper):
    def setup(self, **_): pass
    def sweep(self, arguments): print("the sweeper of others", *arguments)
ConfigStore.instance().store(group="hydra/sweeper", name="optuna", node=Conf)
"""


@pytest.fixture
def foreign(tmp_path: Path, program_environment: dict[str, str]):  # type: ignore[no-untyped-def]
    """Run a Hydra program of somebody's; with `optuna_of_others`, another plugin has that name."""

    def run(*words: str, config: str = "a: 1\n", optuna_of_others: bool = False, program: str = "app.py"):  # type: ignore[no-untyped-def]
        (tmp_path / "app.py").write_text(FOREIGN)
        (tmp_path / "own.yaml").write_text(config)
        environment = dict(program_environment)
        if optuna_of_others:
            (tmp_path / "plugins" / "hydra_plugins").mkdir(parents=True)
            (tmp_path / "plugins" / "hydra_plugins" / "zz_other.py").write_text(OPTUNA_OF_OTHERS)
            environment["PYTHONPATH"] = str(tmp_path / "plugins")
        command = [sys.executable, *(["-m", "ablate"] if program == "ablate" else [program]), *words]
        return subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True)

    return run


OPTUNA = "defaults: [_self_, {override hydra/sweeper: optuna}]\na: 1\n"


@pytest.mark.full
def test_a_program_of_others_is_as_without_ablate(foreign) -> None:  # type: ignore[no-untyped-def]
    assert foreign().stdout.split() == ["value", "1"]
    swept = foreign("-m", "a=3,4")
    assert [line for line in swept.stdout.splitlines() if line.startswith("value")] == ["value 3", "value 4"]
    shown = foreign("--cfg", "hydra", "-p", "hydra").stdout
    assert "BasicSweeper" in shown
    assert "BasicLauncher" in shown
    assert "ablate" not in foreign("--cfg", "job").stdout


@pytest.mark.full
def test_optuna_is_not_ours_in_a_program_of_others(foreign) -> None:  # type: ignore[no-untyped-def]
    """Without that plugin Hydra says that there is none; ours has a name of its own."""
    missing = foreign("-m", config=OPTUNA)
    assert missing.returncode != 0
    assert "Could not find 'hydra/sweeper/optuna'" in missing.stderr + missing.stdout
    options = ("hydra.sweeper.n_trials=2", "hydra.sweeper.direction=minimize")
    ours = foreign("-m", "hydra/sweeper=ablate_optuna", "a=choice(1,2)", *options)
    assert ours.returncode == 0, ours.stderr
    assert ours.stdout.count("value ") >= 2


@pytest.mark.full
def test_beside_somebody_elses_optuna_each_has_its_own(foreign, tmp_path: Path) -> None:  # type: ignore[no-untyped-def]
    theirs = foreign("-m", "a=3", config=OPTUNA, optuna_of_others=True)
    assert theirs.stdout.split("\n")[0] == "the sweeper of others a=3", theirs.stderr
    shutil.rmtree(tmp_path / "plugins")
    shown = foreign("--cfg", "hydra", "hydra/sweeper=optuna", optuna_of_others=True, program="ablate")
    assert shown.returncode == 0, shown.stderr
    assert "hydra_plugins.ablate_hydra.optuna_sweeper.OptunaSweeper" in shown.stdout
