"""The one command: its subcommands, their help, former spellings, mistakes, JSON. CPU, 10 s."""

import json
import re
import shutil
import subprocess
import sys
from collections.abc import Callable
from importlib.metadata import version
from pathlib import Path
from typing import Any

import pytest

from ablate.cli import main
from ablate.cli.commands import MODULES, commands
from ablate.config.choice_files import summaries
from ablate.config.errors import ConfigError
from ablate.config.knobs import GROUPS, knobs
from ablate.config.registry import Knob
from ablate.records.compaction import unpack

CLI = Callable[..., Any]

LISTED = (
    "run",
    "plan",
    "search",
    "path",
    "report",
    "claims",
    "settle",
    "export",
    "bench",
    "status",
    "compact",
    "merge",
    "exclude",
    "completion",
)


# --- help -----------------------------------------------------------------------------------------------


def test_every_module_of_a_command_is_listed_once() -> None:
    assert tuple(commands()) == LISTED
    assert [command.name for command in commands().values()] == list(MODULES)


@pytest.mark.parametrize("typed", [[], ["--help"], ["-h"], ["-m"], ["help"]])
def test_bare_and_help_list_the_commands_and_train_nothing(main: CLI, typed: list[str], tmp_path: Path) -> None:
    done = main(*typed)
    assert (done.status, done.err) == (0, "")
    for command in commands().values():
        assert re.search(rf"^  {command.name} +{re.escape(command.summary)}$", done.out, re.MULTILINE)
    assert not (tmp_path / "results").exists()


@pytest.mark.parametrize("name", LISTED)
def test_every_command_has_help(main: CLI, name: str) -> None:
    shown = main(name, "--help")
    assert (shown.status, shown.err) == (0, "")
    assert shown.out.startswith(f"usage: ablate {name}") or shown.out.startswith(f"usage: ablate [{name}]")
    assert main("help", name).out == main(name, "-h").out == shown.out
    assert max(map(len, commands()[name].summary.splitlines())) < 80


def test_help_of_run_has_every_knob_and_of_search_every_option(main: CLI) -> None:
    shown = main("run", "--help").out
    for name in knobs():
        if "." not in name and name not in GROUPS:
            assert f"  {name}=" in shown
    for preset in summaries("sweeps"):
        assert f"  {preset} " in shown
    for name in ("n_trials=60", "objective=val_perplexity", "sampler=tpe", "storage=null"):
        assert f"  {name} " in main("search", "--help").out


@pytest.mark.full
def test_help_starts_without_torch_hydra_and_configuration(program_environment: dict[str, str]) -> None:
    code = "import sys\nfrom ablate.cli import main\nmain({})\nprint(*sys.modules, file=sys.stderr)"
    for words, unwanted in (
        ([], ("torch", "hydra", "omegaconf", "rich", "pandas", "numpy")),
        (["run", "--help"], ("torch", "pandas", "numpy")),
        (["plan", "--help"], ("torch", "hydra", "omegaconf", "pandas", "numpy")),
        (["completion", "words", "--", "model=gr"], ("torch", "hydra", "pandas", "numpy")),
    ):
        done = subprocess.run(
            [sys.executable, "-c", code.format(words)], capture_output=True, text=True, env=program_environment
        )
        assert done.stdout
        assert not set(done.stderr.split()) & set(unwanted), words


# --- which command --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("typed", "says"),
    [
        (["pln"], "there is no command 'pln'"),
        (["smoke"], "sweeps=smoke"),
        (["plan", "smoke"], "sweeps=smoke"),
        (["run", "preset=smoke"], "sweeps"),
        (["run", "experiment=smoke"], "sweeps=smoke"),
        (["plan", "gru"], "model=gru"),
        (["run", "data.tokens=2000"], "max_tokens="),
        (["report", "smoke"], "sweeps=smoke"),
        (["export", "smoke", "--to", "csv"], "sweeps=smoke"),
        (["search", "sweeps=smoke"], "ablate run sweeps=smoke"),
        (["pln"], "did you mean plan?"),
        (["repot", "results/x"], "did you mean report?"),
        (["Search"], "did you mean search?"),
        (["model=gru", "report", "results/x"], "report is a command, and a command comes first: ablate report"),
        (["report", "plugins=[mine.py]"], "run its command again with plugins=[mine.py]"),
        (["report", "plugins=[sub/mine.py]"], "run its command again with plugins=[sub/mine.py]"),
        (["report", "plugins=[./mine.py,sub/b.py]"], "run its command again with plugins=[./mine.py,sub/b.py]"),
        (["no-data"], "ablate report no-data"),
        (["num_hiddens"], "write num_hiddens=VALUE"),
        (["completion"], "choose bash, zsh or fish"),
        (["completion", "tcsh"], "choose bash, zsh or fish"),
        (["report"], "required: sweep; see ablate report --help"),
        (["claims", "x", "--level", "2"], "'2' is no level"),
        (["claims", "x", "gru <"], "cannot read the claim 'gru <'; write A < B"),
        (["export", "x", "--to", "excel"], "--to is 'excel'; choose csv, parquet"),
        (["plan", "--jsonn"], "there is no option --jsonn ("),
        (["report", "--open"], "there is no option --open (ablate report --help lists them)"),
        (["claims", "x", "--margn=1"], "there is no option --margn; did you mean --margin? ("),
        (["search", "n_trial=3"], "there is no knob 'n_trial'"),
        (["plan", "model=zzz"], "or rnn; one of your own is loaded by plugins=[FILE]"),
        (["status", "nowhere"], "nowhere holds no sweep"),
        (["report", "--\x1b[2J\nx"], r"there is no option --\x1b[2J\nx ("),
        (["claims", "x", "--level", "\x1b[2J\n"], r"is no level"),
        (["claims", "a\0b"], "holds the character NUL"),
        (["settle", "a\0b"], "holds the character NUL"),
        (["status", "\u202e\x85x"], r"\u202e\x85x holds no sweep"),
        (["plan", "schedule=1_000"], "schedule is '1_000'; choose constant"),
        (["plan", "schedule={a:1}"], "schedule is {a:1}; give the name of one"),
    ],
)
def test_what_is_typed_wrong_is_one_line(main: CLI, typed: list[str], says: str) -> None:
    done = main(*typed)
    assert (done.status, done.out) == (2, "")
    [line] = done.err.splitlines()
    assert line.startswith("ablate: ")
    assert says in line


@pytest.mark.full
def test_no_command_is_run(main: CLI) -> None:
    shown = main("run", "--cfg", "job", "num_hiddens=7")
    assert "num_hiddens: 7" in shown.out
    assert main("--cfg", "job", "num_hiddens=7").out == shown.out
    assert main("-m", "--cfg", "job", "-c", "job", "num_hiddens=7").out == shown.out


@pytest.mark.full
@pytest.mark.parametrize("name", ["plan", "path", "bench", "claims", "report"])
def test_former_modules_name_the_command(cli: CLI, main: CLI, name: str) -> None:
    done = cli("--help", module=f"ablate.{name}")
    assert done.status == 0
    assert done.out == main(name, "--help").out
    [line] = done.err.splitlines()
    assert f"python -m ablate {name}" in line


@pytest.mark.full
def test_the_program_of_the_distribution() -> None:
    import tomllib

    from ablate.config.schema import CONFIG_ROOT

    [(name, target)] = tomllib.loads((CONFIG_ROOT / "pyproject.toml").read_text())["project"]["scripts"].items()
    module, _, function = target.partition(":")
    code = f"import sys; sys.argv = ['{name}', '--version']; from {module} import {function} as go; go()"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert (done.returncode, done.stdout.split()) == (0, ["ablate-rnn", version("ablate-rnn")])


# --- notes ----------------------------------------------------------------------------------------------


@pytest.mark.full
@pytest.mark.parametrize(
    ("typed", "now"),
    [
        ("impl=api,scratch", "formulation=torch,textbook"),
        pytest.param("impl=scratch", "formulation=textbook", marks=pytest.mark.full),
        pytest.param("engine=api", "engine=torch_nn", marks=pytest.mark.full),
        pytest.param("engine=scratch", "engine=eager", marks=pytest.mark.full),
    ],
)
def test_a_former_name_is_noted_once(
    main: CLI, small_arguments: list[str], monkeypatch: pytest.MonkeyPatch, typed: str, now: str
) -> None:
    monkeypatch.setattr("ablate.cli.run.train", lambda arguments, command: 0)
    done = main(*small_arguments, typed, "sweeps=smoke,init")
    assert done.status == 0, done.err
    assert done.err.splitlines() == [f"note: {typed} is written {now} now"]
    assert main(*small_arguments, now).err == ""


# --- several sweeps -------------------------------------------------------------------------------------


@pytest.mark.full
def test_a_stop_ends_all_sweeps_of_a_command(main: CLI, monkeypatch: pytest.MonkeyPatch) -> None:
    ran: list[str] = []

    def train(arguments: list[str], command: str) -> int:
        ran.append(command)
        return statuses.pop(0)

    monkeypatch.setattr("ablate.cli.run.train", train)
    statuses = [1, 0]
    assert main("sweeps=smoke,init", "seeds=2").status == 1
    assert ran == ["python -m ablate sweeps=smoke seeds=2", "python -m ablate sweeps=init seeds=2"]
    statuses = [130, 0]
    assert main("sweeps=smoke,init").status == 130
    assert statuses == [0]


# --- search ---------------------------------------------------------------------------------------------


def test_search_is_run_with_the_sweeper_of_searches(main: CLI, monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[list[str]] = []
    monkeypatch.setattr("ablate.cli.run.train", lambda arguments, command: seen.append(list(arguments)) or 0)
    assert main("search", "lr=choice(1,2)", "n_trials=3", "sampler=random", "seed=4").status == 0
    own = ["hydra.sweeper.n_trials=3", "hydra.sweeper.sampler=random", "seed=4", "hydra/sweeper=optuna"]
    assert seen == [["lr=choice(1,2)", *own]]


@pytest.mark.full
def test_a_search_from_the_command(main: CLI, small_arguments: list[str], tmp_path: Path) -> None:
    words = ["search", *small_arguments, "lr=choice(0.5,1)", "n_trials=2", "race=null", "name=found"]
    done = main(*words)
    assert done.status == 0, done.err
    assert "2 of 2 trials" in done.err
    found = json.loads((tmp_path / "results" / "found" / "search.json").read_text())
    assert found["space"]["lr"]["choices"] == [0.5, 1]
    assert "results/found: " in main("status").out
    assert "missing" not in main("status").out  # of a search nobody knows beforehand which runs there will be
    assert main("plan", *words[1:]).status == 2


# --- JSON -----------------------------------------------------------------------------------------------


@pytest.fixture
def trained(main: CLI, small_arguments: list[str], tmp_path: Path) -> Path:
    words = [word for word in small_arguments if not word.startswith(("seeds", "num_hiddens"))]
    done = main(*words, "model=rnn,gru", "num_hiddens:lr=4:1,8:0.5", "seeds=2", "name=first")
    assert done.status == 0, done.err
    return tmp_path / "results" / "first"


@pytest.mark.full
def test_plan_as_json(main: CLI, small_arguments: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    from ablate.sweeping.planning import estimate

    monkeypatch.setattr(estimate, "PROBE_S", 0.02)
    done = main("plan", *small_arguments, "model=rnn,gru", "dropout=0.3", "seeds=3", "--json")
    assert done.status == 0, done.err
    [sweep] = json.loads(done.out)["sweeps"]
    assert set(sweep) == {
        *(
            "folder",
            "preset",
            "question",
            "settings",
            "groups",
            "devices",
            "runs",
            "done",
            "reused",
            "to_train",
            "seconds",
            "jobs",
        ),
        *("side_by_side", "memory_bytes", "free_bytes", "timings", "timings_s", "seeds", "detectable", "notes"),
        "warnings",
    }
    assert (sweep["runs"], sweep["done"], sweep["to_train"], sweep["seeds"]) == (6, 0, 6, 3)
    assert sweep["jobs"] is None
    assert [setting["knobs"] for setting in sweep["settings"]] == [{"model": "rnn"}, {"model": "gru"}]
    assert [setting["group"] for setting in sweep["settings"]] == [1, 2]
    assert {setting["updates"] for setting in sweep["settings"]} == {57}
    assert sum(sum(group["programs"]) for group in sweep["groups"]) == 6
    assert sweep["seconds"] > 0
    assert any("dropout" in warning for warning in sweep["warnings"])
    [detectable] = sweep["detectable"]
    assert (detectable["metric"], detectable["log"], detectable["sd"]) == ("tail_perplexity", True, None)


@pytest.mark.full
def test_report_and_status_as_json(main: CLI, trained: Path) -> None:
    done = main("report", str(trained), "--json")
    assert done.status == 0, done.err
    content = json.loads(done.out)
    [report] = content["reports"]
    assert content["page"] is None
    assert report["page"] == str(trained / "report.html")
    assert [(s["model"], s["num_hiddens"], s["lr"], s["n"]) for s in report["settings"]] == [
        (model, width, lr, 2) for model in ("rnn", "gru") for width, lr in ((4, 1.0), (8, 0.5))
    ]
    assert isinstance(report["claims"], list)
    copied = shutil.copytree(trained, trained.parent.parent / "elsewhere" / "copied")
    several = json.loads(main("report", str(trained), str(copied), "--json", "--out", "both").out)
    assert (len(several["reports"]), several["page"]) == (2, "both/report.html")
    done = main("report", str(trained), "nowhere", "--json")
    assert (done.status, json.loads(done.out)["page"]) == (2, None)
    [status] = json.loads(main("status", "--json").out)["sweeps"]
    assert (status["folder"], status["settings"], status["runs"]) == ("results/first", 4, 8)
    assert (status["failed"], status["in_use"], status["diverged"]) == ([], False, 0)
    assert "results/first: 4 settings, 8 runs\n" in main("status").out


@pytest.mark.full
def test_status_says_what_is_missing_of_what_was_asked_for(main: CLI, trained: Path) -> None:
    """Counted from what the commands asked for, so also where a whole setting has no record."""
    unpack(trained)
    records = sorted((trained / "runs").glob("*.json"))
    whole = json.loads(records[0].read_text())["setting_id"]
    gone = [path for path in records if json.loads(path.read_text())["setting_id"] == whole]
    other = next(path for path in records if path not in gone)
    for path in (*gone, other):
        path.unlink()
    [status] = json.loads(main("status", "--json").out)["sweeps"]
    assert (status["settings"], status["runs"], status["missing"]) == (3, 5, 3)
    assert "results/first: 3 settings, 5 runs, 3 missing\n" in main("status").out
    manifest = json.loads((trained / "sweep.json").read_text())
    del manifest["planned"]  # as an older version wrote it
    (trained / "sweep.json").write_text(json.dumps(manifest))
    [status] = json.loads(main("status", "--json").out)["sweeps"]
    assert status["missing"] is None
    assert "missing" not in main("status").out


@pytest.mark.full
def test_claims_as_json(main: CLI, trained: Path, tmp_path: Path) -> None:
    (tmp_path / "mine.yaml").write_text(
        "- {id: a, statement: So it is., order: {along: model, ascending: [gru, rnn]}}\n"
        "- {id: b, statement: So it is., order: {along: model, ascending: [lstm, rnn]}}\n"
    )
    done = main("claims", str(trained), "nowhere", "--claims", "mine.yaml", "--json")
    assert done.status == 2
    assert "nowhere" in done.err
    [sweep] = json.loads(done.out)["sweeps"]
    assert (sweep["folder"], sweep["sweep"], sweep["problems"]) == (str(trained), "first", [])
    first, second = sweep["claims"]
    assert first["verdict"] in ("confirmed", "refuted", "undecided")
    assert (second["id"], second["verdict"], second["p"], second["ratio"]) == ("b", "not testable", None, None)


@pytest.mark.full
@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["num_hiddens=1,000"], r"1 and 000; .*num_hiddens=1000"),
        (["learning_rate=0.1"], "did you mean lr"),
        (["model.gates.rest=1"], r"did you mean model\.gates\.reset"),
        (["sweeps=mine"], r"\./sweeps/mine\.yaml"),
        (["--epochs", "2"], "write epochs=2"),
        (["--num-hiddens=8"], "write num_hiddens=8"),
        (["data=my/book.txt"], r"data=text_file data\.path=my/book\.txt"),
        (["experiment=tran.py:train"], "experiment=tran.py:train: there is no such file"),
    ],
)
def test_what_is_nearly_right_is_answered_by_what_to_write(
    words: list[str], says: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["plan", *words]) == 2
    assert re.search(says, capsys.readouterr().err)


def test_a_knob_has_the_facts_that_there_are() -> None:
    with pytest.raises(ConfigError, match=r"'maximum'.*below"):
        Knob("a", float, 1.0, maximum=3)  # type: ignore[call-arg]
