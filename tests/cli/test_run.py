"""The command line from end to end: what a run leaves, what --help says, and one line for every mistake.

The first part starts programs of its own; the mistakes are made in this process. CPU, 15 s.
"""

import csv
import io
import json
import math
import re
import shutil
import subprocess
import sys
from collections.abc import Callable
from importlib.metadata import version
from pathlib import Path
from typing import Any

import pytest
import torch

from ablate.config.schema import CONFIG_ROOT
from ablate.records.compaction import unpack

CLI = Callable[..., Any]


def rows(path: Path) -> list[dict[str, str]]:
    return list(csv.DictReader(io.StringIO(path.read_text(encoding="utf-8"))))


# --- a sweep from end to end ----------------------------------------------------------------------------


@pytest.mark.full
def test_a_sweep_from_the_command_to_the_figure(
    cli: CLI, small_arguments: list[str], program_environment: dict[str, str], tmp_path: Path
) -> None:
    usual = [argument for argument in small_arguments if not argument.startswith(("num_hiddens", "seeds"))]
    command = ["-m", *usual, "model=rnn,gru", "num_hiddens=4,8", "seeds=2", "name=first"]
    done = cli(*command)
    assert done.status == 0, done.err
    folder = tmp_path / "results" / "first"
    assert "8 runs trained" in done.err

    # the table: a line per setting, models in their order, n, mean ± half the interval
    assert re.findall(r"^(rnn|gru) +(\d+) +(\d+) +[\d.]+ (?:± [\d.]+|\([\d.]+–[\d.]+\)) ", done.out, re.M) == [
        ("rnn", "4", "2"),
        ("rnn", "8", "2"),
        ("gru", "4", "2"),
        ("gru", "8", "2"),
    ]
    assert "made-up.txt" in done.out  # the corpus

    # a record and a curve per run
    assert unpack(folder) == 8
    stored = {path.stem: json.loads(path.read_text()) for path in (folder / "runs").glob("*.json")}
    assert len(stored) == 8
    assert {path.stem for path in (folder / "curves").glob("*.csv")} == stored.keys()
    for record in stored.values():
        assert_complete(record)
        assert len(rows(folder / "curves" / f"{record['run_id']}.csv")) == 3

    # the frames
    runs, settings = rows(folder / "runs.csv"), rows(folder / "settings.csv")
    assert {row["run_id"] for row in runs} == stored.keys()
    assert len(settings) == len({record["setting_id"] for record in stored.values()}) == 4
    for row in runs:
        assert float(row["perplexity"]) == pytest.approx(stored[row["run_id"]]["metrics"]["perplexity"])
    assert_png(folder / "figure.png")
    manifest = json.loads((folder / "sweep.json").read_text())
    assert manifest["commands"] == ["python -m ablate " + " ".join(command)]
    assert not [
        path
        for path in folder.rglob("*")
        if path.name.startswith(".") and path.name not in (".lock", ".engines.lock", ".report.json")
    ]

    # the same again from the records alone, elsewhere
    copy = tmp_path / "copy"
    (copy / "runs").mkdir(parents=True)
    shutil.copytree(folder / "runs", copy / "runs", dirs_exist_ok=True)
    shutil.copytree(folder / "curves", copy / "curves")
    report = subprocess.run(
        [sys.executable, "-c", REPORT, str(copy)],
        cwd=tmp_path,
        env=program_environment,
        capture_output=True,
        text=True,
    )
    assert report.returncode == 0, report.stderr
    for name in ("runs.csv", "settings.csv"):
        assert (copy / name).read_bytes() == (folder / name).read_bytes()
    assert_png(copy / "figure.png")
    assert report.stdout.replace("copy", "first").split() == done.out.split()


REPORT = """
import sys
from ablate.cli.report import main
status = main()
for module in ("torch", "hydra"):
    assert module not in sys.modules, f"the report loads {module}"
raise SystemExit(status)
"""
"""`ablate report`, and a look at what it has loaded."""


def assert_complete(record: dict[str, Any]) -> None:
    """A record says what was asked, what came out, of which text, by which code, on which machine."""
    assert record["status"] == "ok"
    assert set(record["metrics"]) >= {"perplexity", "tail_perplexity", "val_perplexity"}
    assert all(math.isfinite(value) for value in record["metrics"].values())
    assert set(record["text"]) == {"time traveller", "traveller"}
    assert record["config"]["num_hiddens"] == record["identity"]["num_hiddens"]
    assert record["config"]["init"] == "torch"  # resolved
    assert re.fullmatch("[0-9a-f]{64}", record["corpus"]["sha256"])
    assert record["corpus"]["name"] == "made-up.txt"
    environment = record["environment"]
    assert environment["python"] == sys.version.split()[0]
    assert environment["torch"] == torch.__version__
    assert environment["ablate"] == version("ablate-rnn")
    assert environment["cpu"]
    assert environment["cores"]
    if (CONFIG_ROOT / ".git").exists():
        head = subprocess.run(["git", "-C", CONFIG_ROOT, "rev-parse", "HEAD"], capture_output=True, text=True)
        assert environment["git_commit"] == head.stdout.strip()
        assert isinstance(environment["git_dirty"], bool)
    assert record["timing"]["threads"] >= 1
    assert record["timing"]["device"] == "cpu"
    assert record["timing"]["wall_s"] >= 0
    assert record["engine"] in ("torch_nn", "eager", "cohort")
    assert record["reused_from"] is None
    assert record["divergence"] is None


def assert_png(path: Path) -> None:
    """A whole PNG of some size, with something on it."""
    from matplotlib.image import imread

    pixels = imread(path)
    assert path.read_bytes()[:8] == b"\x89PNG\r\n\x1a\n"
    assert min(pixels.shape[:2]) > 300
    assert pixels.std() > 0.01


@pytest.mark.full
def test_report_names_damaged_records_and_goes_on(
    main: CLI, small_arguments: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    from ablate.report import write_report

    assert main(*small_arguments, "name=first", "seeds=3").status == 0
    folder = tmp_path / "results" / "first"
    unpack(folder)
    cut, foreign, *_ = sorted((folder / "runs").glob("*.json"))
    cut.write_text(cut.read_text()[:50])
    foreign.write_text('{"a": 1}')
    write_report(folder)
    shown = capsys.readouterr()
    assert str(cut) in shown.err
    assert str(foreign) in shown.err
    assert len(rows(folder / "runs.csv")) == 1


@pytest.mark.parametrize("folder", ["nowhere", ".", "empty"])
def test_report_of_what_is_no_sweep(folder: str, tmp_path: Path) -> None:
    from ablate.config.errors import UserError
    from ablate.report import write_report

    (tmp_path / "empty" / "runs").mkdir(parents=True)
    with pytest.raises(UserError) as caught:
        write_report(tmp_path / folder)
    assert len(str(caught.value).splitlines()) == 1


# --- what is only shown ---------------------------------------------------------------------------------


def test_help(main: CLI, tmp_path: Path) -> None:
    for flag in ("--help", "-h"):
        done = main("run", flag)
        assert done.status == 0
        assert "num_hiddens" in done.out
        assert "gru-no-update-as-published" in done.out
        assert done.err == ""
    assert not (tmp_path / "results").exists()


def test_version(main: CLI) -> None:
    done = main("--version")
    assert (done.status, done.out.split()) == (0, ["ablate-rnn", version("ablate-rnn")])


def test_cfg_shows_the_configuration_and_trains_nothing(main: CLI, tmp_path: Path) -> None:
    done = main("--cfg", "job", "model=gru", "num_hiddens=77")
    assert done.status == 0
    assert "num_hiddens: 77" in done.out
    assert "cell: gru" in done.out
    assert not (tmp_path / "results").exists()


# --- presets --------------------------------------------------------------------------------------------


def settings_of(folder: Path) -> set[tuple[str, int]]:
    return {(row["model"], int(row["num_hiddens"])) for row in rows(folder / "settings.csv")}


@pytest.mark.full
def test_a_preset_of_ones_own_and_the_command_line_wins(main: CLI, small_arguments: list[str], tmp_path: Path) -> None:
    (tmp_path / "sweeps").mkdir()
    (tmp_path / "sweeps" / "mine.yaml").write_text(
        "# @package _global_\n# Mine\nname: mine\nhydra: {sweeper: {params: {model: 'rnn,gru', num_hiddens: '4,6'}}}\n"
    )
    arguments = [argument for argument in small_arguments if not argument.startswith("num_hiddens")]
    assert main("-m", "sweeps=mine", *arguments).status == 0
    assert settings_of(tmp_path / "results" / "mine") == {("rnn", 4), ("rnn", 6), ("gru", 4), ("gru", 6)}
    assert main("-m", "sweeps=mine", *arguments, "num_hiddens=3", "name=replaced").status == 0
    assert settings_of(tmp_path / "results" / "replaced") == {("rnn", 3), ("gru", 3)}


@pytest.mark.full
def test_several_values_sweep_without_m(main: CLI, small_arguments: list[str], tmp_path: Path) -> None:
    assert main(*small_arguments, "model=rnn,gru", "name=two").status == 0
    assert settings_of(tmp_path / "results" / "two") == {("rnn", 8), ("gru", 8)}


# --- mistakes -------------------------------------------------------------------------------------------

MISTAKES = [
    ("model=gruu", "model is 'gruu'; choose"),
    ("model=gruu", "did you mean gru?"),
    ("sweeps=smok", "did you mean smoke?"),
    ("data=timemachine", "did you mean time_machine?"),
    ("optimizer=adan", "did you mean adam?"),
    ("num_hidden=32", "there is no knob 'num_hidden'; did you mean num_hiddens?"),
    ("num_hidden=32,64", "there is no knob 'num_hidden'; did you mean num_hiddens?"),
    ("data.token=word", "there is no knob 'data.token'; did you mean data.tokens?"),
    ("num_hiddens=many", "num_hiddens is 'many'; it must be a whole number"),
    ("num_hiddens=32,many", "num_hiddens is 'many'; it must be a whole number"),
    ("num_hiddens=2.5", "num_hiddens is '2.5'; it must be a whole number"),
    ("lr=fast", "lr is 'fast'; it must be a number"),
    ("fresh=maybe", "fresh is 'maybe'; it must be true or false"),
    ("epochs=null", "epochs is 'null'"),
    ("num_hiddens=0", "num_hiddens is 0; it must be 1 or more"),
    ("num_hiddens=32,-1", "num_hiddens is -1; it must be 1 or more"),
    ("batch_size=0", "batch_size is 0; it must be 1 or more"),
    ("epochs=-5", "epochs is -5; it must be 1 or more"),
    ("seeds=0", "seeds is 0; it must be 1 or more"),
    ("lr=-1", "lr is -1.0; it must be above 0"),
    ("sampling=ordered", "sampling is 'ordered'; choose sequential, random or sequential-reset"),
    ("num_steps=5000", "num_steps=5000 needs"),
    ("batch_size=5000", "batch_size=5000 sequences"),
    ("max_tokens=null val_tokens=1000000", "val_tokens=1000000 are held out"),
    ("data.path=nowhere.txt", "data.path is 'nowhere.txt': No such file or directory"),
    ("data.path=empty.txt", "empty.txt has no characters"),
    ("data.path=binary.txt", "'binary.txt' is a binary file"),
    ("data.path=latin.txt", "iconv -f LATIN1 -t UTF-8 latin.txt > latin-utf8.txt"),
    ("data.path=.", "Is a directory"),
    ("data.path=null", "give data.path=FILE"),
    ("results_dir=a-file", "is a file, not a folder"),
    ("model=gru-no-reset engine=torch_nn", "engine=torch_nn cannot compute model=gru-no-reset"),
    ("model=gru reset=before engine=torch_nn", "reset=after"),
    ("model=mgu engine=torch_nn", "torch.nn has no model.cell=mgu"),
    ("model.bidirectional=true", "choose sampling=random or sampling=sequential-reset"),
    ("task.maked=0.2", "did you mean task.masked?"),
    (
        "task=memory",
        "but task is memory; choose data=copy, adding, first-token, skip or reset, or task=language_model or",
    ),
    ("device=gpu", "device is 'gpu'; choose cpu, cuda"),
    ("device=cuda:", "device is 'cuda:'; choose cpu, cuda, cuda:0"),
    ("device=cuda:0,cuda:1", "give one; device=cuda takes all GPUs"),
    ("cuda_graphs=2", "cuda_graphs is 2; it must be true or false"),
    ("name=a,b", "name has several values"),
    ("name=a/b", "it names a folder"),
    (f"name={'字' * 80}", "240 bytes"),
    ("num_hiddens=[1", "cannot read 'num_hiddens=[1'"),
    ("num_hiddens", "cannot read 'num_hiddens'"),
    ("--modell=gru", "there is no option --modell (ablate run --help lists them)"),
    ("--multi", "there is no option --multi"),
    ("--config-dirs=x", "there is no option --config-dirs; did you mean --config-dir?"),
    ("data=time_machine data.urls=[]", "or name its folder in ABLATE_DATA_DIR, or use data=python_docs"),
    ("task=translation data=fra_eng data.urls=[]", "or use data=number_pairs"),
    ('prefixes=["???"]', "prefixes has the value ???, which stands for a missing one; give another"),
    ("lr=???", "lr has the value ???"),
    ("data=???", "data has no value; choose adding, auto, "),
    ("prefixes=[Zürich]", "prefixes has 'Zürich', but made-up.txt has no '"),
    ('prefixes=["the', """cannot read prefixes=["the"""),
    ("prefixes=x", """'prefixes=["x"]'"""),
    ("lr=1,,2", "cannot read 'lr=1,,2'; write knob=value"),
    ("lr=1 lr=2", "lr is given twice: 1 and 2; for both write lr=1,2"),
    (
        "model=rnn model=gru,lstm model=mgu",
        "given 3 times: rnn and gru,lstm and mgu; for all write model=rnn,gru,lstm,",
    ),
    ("lr=10 lr=5,10,20", "for both write lr=10,5,20"),
    ("lr=1 ~lr", "~lr: a knob cannot be taken away; give it a value"),
    ("name=a name=b", "name is given twice: a and b; give it once"),
    ("data=number_pairs data=null", "data is 'null'"),  # a group cannot be null
    ("lr=1 lr=", "give it once"),
    ('prefixes=["the!"]', "prefixes has 'the!', but made-up.txt has no '!'; give prefixes of ' "),
    ("prefixes=[xyzzy] data.tokens=word", "made-up.txt has no 'xyzzy'; give prefixes of its "),
    ('prefixes=["Zoo"] data.cleaning=keep', "made-up.txt has no 'Z'"),
    ("hydra.sweeper.blocks=3", "hydra.sweeper.blocks is 3"),
    ("hydra.sweeper.blocks=[null]", "hydra.sweeper.blocks is null"),
    ("hydra.sweeper.params=3", "hydra.sweeper.params is 3"),
    ("hydra/sweeper=optuna hydra.sweeper.params=[lr]", "hydra.sweeper.params is lr"),
    ('task=fill_in prefixes=["the!"]', "made-up.txt has no '!'"),
    pytest.param(
        "device=cuda",
        "torch finds no CUDA GPU here; choose device=cpu or device=auto",
        marks=pytest.mark.skipif(torch.cuda.is_available(), reason="needs a machine without a GPU"),
    ),
    ("model=gru,lstm precision=tf32 device=cpu", "precision=tf32 cannot be computed here: only GPUs of NVIDIA"),
]


@pytest.mark.full
@pytest.mark.parametrize(("arguments", "says"), MISTAKES)
def test_a_mistake_gets_one_line_and_writes_nothing(
    main: CLI, small_arguments: list[str], tmp_path: Path, arguments: str, says: str
) -> None:
    (tmp_path / "empty.txt").write_bytes(b"")
    (tmp_path / "binary.txt").write_bytes(b"\x89PNG\0\0")
    (tmp_path / "latin.txt").write_bytes("Grüße".encode("latin-1"))
    (tmp_path / "a-file").write_text("a file in the place of the folder")
    before = sorted(tmp_path.rglob("*"))
    own = {argument.partition("=")[0] for argument in arguments.split()}
    own |= {"data.path", "data.cleaning"} if "data" in own else set()
    usual = [argument for argument in small_arguments if argument.partition("=")[0] not in own]
    done = main(*usual, *arguments.split())
    assert done.status == 2
    assert says in done.err
    assert len(done.err.splitlines()) == 1, done.err
    assert "Traceback" not in done.err
    assert done.out == ""
    assert sorted(tmp_path.rglob("*")) == before


@pytest.mark.full
def test_a_mistake_in_a_program_of_its_own(cli: CLI, tmp_path: Path) -> None:
    done = cli("-m", "model=gru,lstn", "num_hiddens=32")
    assert done.status == 2
    assert done.out == ""
    (line,) = done.err.splitlines()
    value, choices, near = line.split("; ")
    assert "model is 'lstn'" in value
    assert {"gru", "gru-no-reset", "lstm", "mgu", "mingru", "minlstm", "rnn"} <= set(re.findall(r"[\w-]+", choices))
    assert near.endswith("mean lstm?")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["no-data"]


@pytest.mark.full
@pytest.mark.parametrize("name", ["My Course (2026)", "Zoë's [x]", "a=b{c},d"])
def test_any_folder_may_be_worked_in(main: CLI, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    """A folder's own presets are found, whatever its name; options may stand anywhere."""
    own = tmp_path / name
    (own / "sweeps").mkdir(parents=True)
    (own / "sweeps" / "mine.yaml").write_text("# @package _global_\nnum_hiddens: 5\n")
    monkeypatch.chdir(own)
    done = main("sweeps=mine", "--cfg", "job", "seeds=1")
    assert done.status == 0, done.err
    assert "num_hiddens: 5" in done.out
    assert "seeds: 1" in done.out
    assert list(own.iterdir()) == [own / "sweeps"]
