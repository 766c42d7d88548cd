"""Who may import whom, read from the source; and what starts without torch. CPU, 4 s."""

import ast
import re
import subprocess
import sys
from pathlib import Path

import pytest

from ablate.config.schema import PACKAGE_DIR

MAY_IMPORT = {
    "__init__": "api cells config data experiments networks optimizers records report tasks",
    "__main__": "",
    "config": "",
    "stats": "",
    "cells": "config",
    "optimizers": "config",
    "records": "config",
    "analysis": "config records stats",
    "data": "config records",
    "networks": "cells config",
    "claims": "analysis config records stats",
    "engines": "cells config networks optimizers records",
    "export": "analysis config records",
    "tasks": "config data networks",
    "experiments": "config data tasks",
    "report": "analysis claims config records stats",
    "testing": "cells config data engines networks optimizers tasks training",
    "training": "config data engines networks records tasks",
    "timing": "config data engines networks records report stats tasks training",
    "sweeping": "analysis cells claims config data engines networks records report stats tasks timing training",
    "api": "analysis claims config data experiments export networks records report sweeping tasks",
    "searching": "analysis config engines records stats sweeping tasks timing training",
    "plugins": "config searching sweeping",
    "cli": "analysis claims config experiments export plugins records report searching sweeping timing",
    "bench": "cli",
    "path": "cli",
    "plan": "cli",
}
"""Part of the package → the other parts that it may import, from what everything rests on to the command line."""


def parts() -> list[str]:
    """The parts that there are: modules and folders directly below ablate/."""
    found = {path.stem for path in PACKAGE_DIR.glob("*.py")}
    return sorted(found | {path.name for path in PACKAGE_DIR.iterdir() if any(path.rglob("*.py"))})


def imported_parts(source: Path) -> set[str]:
    """The parts of ablate that a file imports, anywhere in it."""
    out = set()
    for node in ast.walk(ast.parse(source.read_text(encoding="utf-8"))):
        if isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{source}: relative import"
            names = [f"{node.module}.{alias.name}" for alias in node.names]
            modules = names if node.module == "ablate" else [str(node.module)]
        elif isinstance(node, ast.Import):
            modules = [alias.name for alias in node.names]
        else:
            continue
        out |= {module.split(".")[1] for module in modules if module.startswith("ablate.")}
        out |= {"plugins" for module in modules if module.startswith("hydra_plugins")}
    return out


def sources(part: str) -> list[Path]:
    folder = PACKAGE_DIR / part
    return sorted(folder.rglob("*.py")) if folder.is_dir() else [PACKAGE_DIR / f"{part}.py"]


@pytest.mark.parametrize("part", parts())
def test_a_part_imports_only_what_it_rests_on(part: str) -> None:
    assert part in MAY_IMPORT, f"ablate/{part} is new: say in MAY_IMPORT (tests/test_imports.py) what it rests on"
    allowed = set(MAY_IMPORT[part].split()) | {part}
    for source in sources(part):
        imported = imported_parts(source)
        if part in ("searching", "sweeping"):
            imported.discard("plugins")  # under TYPE_CHECKING only, see below
        if source.name == "__main__.py":
            imported.discard("cli")  # the old name of a subcommand
        assert imported <= allowed, f"{source.relative_to(PACKAGE_DIR)} imports {sorted(imported - allowed)}"


def test_the_table_has_no_cycle() -> None:
    open_parts = {part: set(rests_on.split()) for part, rests_on in MAY_IMPORT.items()}
    while open_parts:
        ready = {part for part, rests_on in open_parts.items() if not rests_on & open_parts.keys()}
        assert ready, f"a cycle among {sorted(open_parts)}"
        open_parts = {part: rests_on for part, rests_on in open_parts.items() if part not in ready}


def test_the_documents_show_this_table() -> None:
    """docs/architecture.md has it, from bottom to top; ablate/__init__.py lists its rooms in the same order."""
    text = (PACKAGE_DIR.parent / "docs" / "architecture.md").read_text(encoding="utf-8")
    lines = text.partition("    room ")[2].partition("\n\n")[0].splitlines()[1:]
    shown = {line.split()[0]: set(line.replace("–", "").split()[1:]) for line in lines}
    single = {path.stem for path in PACKAGE_DIR.glob("*.py")}
    assert shown == {part: set(rests_on.split()) for part, rests_on in MAY_IMPORT.items() if part not in single}
    rooms = list(shown)
    assert all(rests_on <= set(rooms[:place]) for place, rests_on in enumerate(shown.values()))
    told = (ast.get_docstring(ast.parse((PACKAGE_DIR / "__init__.py").read_text(encoding="utf-8"))) or "").split("\n\n")
    assert [line.split()[0] for line in told[2].splitlines()] == rooms


DOORS = {
    "config/composing.py",  # the config of a record
    "config/identity.py",  # whether a knob that is given has an effect
    "claims/protocol.py",
    "searching/run.py",
    "sweeping/plan.py",
    "testing/cells.py",
    "testing/tasks.py",
    "timing/engines.py",
    "timing/gpu/work.py",
    "training/agreement.py",  # the networks that a device is tried with
    "training/golden.py",  # a config of each family
    "training/probes.py",  # tiny ones
    "training/loop.py",  # one run in Python
}
"""Where a config is resolved; what is behind them takes resolved ones, as their types say."""


def test_configs_are_resolved_at_the_doors_alone() -> None:
    found = {
        str(source.relative_to(PACKAGE_DIR))
        for source in PACKAGE_DIR.rglob("*.py")
        for node in ast.walk(ast.parse(source.read_text(encoding="utf-8")))
        if isinstance(node, ast.ImportFrom) and node.module == "ablate.config.resolved"
        if "resolve" in [alias.name for alias in node.names]
    }
    assert found == DOORS


def loaded(statement: str) -> set[str]:
    """The modules that a fresh Python has loaded after a statement."""
    done = subprocess.run(
        [sys.executable, "-c", f"{statement}; import sys; print(*sys.modules)"],
        capture_output=True,
        text=True,
        check=True,
    )
    return set(done.stdout.split())


@pytest.mark.full
@pytest.mark.parametrize(
    "modules",
    [
        "ablate.config.schema, ablate.config.composing, ablate.cli.help, ablate.records.results, "
        "ablate.config.metrics, ablate.config.errors, ablate.cli.run, ablate.sweeping.launching.worker",
        "ablate.claims, ablate.claims.table, ablate.cli.claims",
        "ablate.tasks.facts, ablate.tasks.shipped, ablate.data.sets, ablate.report.sections",
        "ablate.analysis.frames, ablate.analysis.aggregate, ablate.report, ablate.report.plots, ablate.report.tables",
    ],
)
def test_no_torch(modules: str) -> None:
    assert "torch" not in loaded(f"import {modules}")


def test_finding_the_plugins_loads_neither_torch_nor_the_sweeps() -> None:
    """Hydra imports every plugin in every program that uses Hydra."""
    found = loaded("from hydra.core.plugins import Plugins; Plugins.instance()")
    assert "hydra_plugins.ablate_hydra.launcher" in found
    heavy = ("torch", "optuna", "ablate.sweeping", "ablate.searching")
    assert not {module for module in found if module.startswith(heavy)}


POSIX_ONLY = {"fcntl", "grp", "pwd", "resource", "termios", "tty"}
POSIX_ONLY_NAMES = {
    "sysconf",
    "getuid",
    "geteuid",
    "fork",
    "sched_getaffinity",
    "SIGHUP",
    "SIGKILL",
    "SIGALRM",
    "mkfifo",
}


def needs_posix(body: list[ast.stmt]) -> set[str]:
    """What a module cannot be imported without, of what Windows lacks; what is guarded by a try or an if is not."""
    needed: set[str] = set()
    for node in body:
        if isinstance(node, ast.ClassDef):
            needed |= needs_posix(node.body)
        elif isinstance(node, ast.Import):
            needed |= {alias.name for alias in node.names} & POSIX_ONLY
        elif isinstance(node, ast.ImportFrom):
            needed |= {str(node.module)} & POSIX_ONLY
        elif isinstance(node, ast.Assign | ast.AnnAssign | ast.Expr) and node.value:
            guarded = any(isinstance(part, ast.IfExp | ast.Lambda) for part in ast.walk(node.value))
            names = {part.attr for part in ast.walk(node.value) if isinstance(part, ast.Attribute)}
            needed |= set() if guarded else names & POSIX_ONLY_NAMES
    return needed


@pytest.mark.full
def test_every_module_can_be_imported_on_windows() -> None:
    assert needs_posix(ast.parse("import fcntl").body) == {"fcntl"}
    assert needs_posix(ast.parse("TICKS = os.sysconf('SC_CLK_TCK')").body) == {"sysconf"}
    needed = {
        str(source.relative_to(PACKAGE_DIR)): needs_posix(ast.parse(source.read_text(encoding="utf-8")).body)
        for source in PACKAGE_DIR.rglob("*.py")
    }
    assert {name: what for name, what in needed.items() if what} == {}


@pytest.mark.full
@pytest.mark.parametrize("command", [[], ["plan"]])
def test_a_first_run_loads_neither_the_compiler_of_torch_nor_what_only_reports_need(
    tmp_path: Path, command: list[str]
) -> None:
    command = [*command, "model=lstm", "optimizer=adam", "num_hiddens=8", "max_tokens=2000", "val_tokens=100"]
    command += ["batch_size=4", "num_steps=5"]
    command += ["seeds=1", "epochs=1", "report=false", "data=python_docs", f"results_dir={tmp_path}", "name=first"]
    found = loaded(f"from ablate.cli.commands import main; assert main({command}) == 0")
    assert "torch" in found
    assert not found & {"torch._dynamo", "sympy", "scipy.stats", "seaborn", "matplotlib"}


@pytest.mark.full
@pytest.mark.parametrize("command", ["run", "plan", "search"])
@pytest.mark.parametrize("wrong", ["cpus=0", "sbatch.time=5", "cpu=1", "address=a"])
def test_a_wrong_option_of_a_launcher_is_told_before_torch_is_loaded(tmp_path: Path, command: str, wrong: str) -> None:
    words = [command, "lr=choice(1,2)", "hydra/launcher=slurm", f"hydra.launcher.{wrong}", f"results_dir={tmp_path}/a"]
    found = loaded(f"from ablate.cli.commands import main; assert main({words}) == 2")
    assert "hydra" in found
    assert "torch" not in found
    assert not list(tmp_path.iterdir())


@pytest.mark.full
@pytest.mark.parametrize("command", ["run", "plan"])
def test_a_speed_lane_in_shared_nodes_is_refused_before_torch_is_loaded(tmp_path: Path, command: str) -> None:
    words = [command, "lr=1,2", "hydra/launcher=slurm", "speed=true", f"results_dir={tmp_path}/a"]
    assert "torch" not in loaded(f"from ablate.cli.commands import main; assert main({words}) == 2")


@pytest.mark.full
def test_the_report_of_a_sweep_loads_no_statistics_that_only_other_reports_need(tmp_path: Path) -> None:
    made = "from tests.report.made import config, write_run"
    make = f"from pathlib import Path; {made}; from ablate.report import write_report"
    runs = "[write_run(sweep, config(lr=lr), 0, 5 + lr, 6 + lr) for lr in (1.0, 2.0)]"
    found = loaded(f"{make}; sweep = Path({str(tmp_path)!r}); {runs}; write_report(sweep, quiet=True)")
    assert "matplotlib" in found
    assert not found & {"torch", "scipy.stats", "seaborn", "sklearn", "optuna", "statsmodels"}


NAMED = re.compile(r"\b(?:ablate|tests|docs|conf)/[\w/]+\.(?:py|md|yaml|h)\b")
"""A file of this checkout, as comments, messages and documents name it."""


@pytest.mark.full
def test_files_that_are_named_are_there() -> None:
    root = PACKAGE_DIR.parent
    texts = [*PACKAGE_DIR.rglob("*.py"), *(root / "tests").rglob("*.py"), *(root / "docs").rglob("*.md")]
    named = {
        f"{text.relative_to(root)}: {name}"
        for text in [*texts, root / "README.md"]
        for name in NAMED.findall(text.read_text(encoding="utf-8"))
        if not (root / name).exists()
    }
    assert named == set()


NAMED_TEST = re.compile(r"\b(tests/[\w/]+\.py)::(test_\w+)")
"""A test, as documents name it."""


def test_tests_that_are_named_are_there() -> None:
    """docs/promises.md says of each promise which tests show it."""
    root = PACKAGE_DIR.parent
    named = {
        (file, test)
        for text in [*(root / "docs").rglob("*.md"), root / "README.md"]
        for file, test in NAMED_TEST.findall(text.read_text(encoding="utf-8"))
    }
    assert named
    defined = {file: (root / file).read_text(encoding="utf-8") for file, _ in named}
    assert {f"{file}::{test}" for file, test in named if f"def {test}(" not in defined[file]} == set()
