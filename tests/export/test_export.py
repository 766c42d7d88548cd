"""What is exported, read back by the library that it is for; a library that is missing is one line with its command.

MLflow and Weights & Biases write to local folders only; the network is closed. CPU, 30 s with all libraries.
"""

import os
import shutil
import sqlite3
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

import ablate
from ablate.analysis.frames import curves_frame, runs_frame
from ablate.config.errors import UserError
from ablate.export import FORMATS, export
from ablate.export.exported import Exported
from ablate.export.tabular import to_xlsx
from ablate.export.trackers import _file_name, to_tensorboard
from tests.report.made import config, write_run, write_timing


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory, text_path: Path) -> Path:
    """A sweep of two models, two seeds each."""
    return ablate.sweep(
        model=["gru", "rnn"],
        seeds=2,
        data={"name": "text_file", "path": text_path, "cleaning": "letters"},
        num_hiddens=2,
        num_steps=5,
        batch_size=4,
        max_tokens=400,
        val_tokens=100,
        epochs=3,
        results_dir=tmp_path_factory.mktemp("export") / "results",
        name="two",
        progress=False,
    ).folders[0]


READ: dict[str, Callable[[Path, str], pd.DataFrame]] = {
    "csv": lambda place, name: pd.read_csv(place / f"{name}.csv"),
    "parquet": lambda place, name: pd.read_parquet(place / f"{name}.parquet"),
    "xlsx": lambda place, name: pd.read_excel(place, sheet_name=name),
}


@pytest.mark.full
@pytest.mark.parametrize("to", ["csv", "parquet", "xlsx"])
def test_tables_hold_the_frames(folder: Path, tmp_path: Path, to: str) -> None:
    if to == "xlsx":
        pytest.importorskip("openpyxl")
    place = export([folder], to, tmp_path / ("out.xlsx" if to == "xlsx" else "out"))
    runs, _ = runs_frame(folder)
    stored = READ[to](place, "runs")
    assert stored["run_id"].tolist() == runs["run_id"].tolist()
    assert stored["val_perplexity"].tolist() == pytest.approx(runs["val_perplexity"].tolist())
    assert set(stored["sweep"]) == {"two"}
    assert len(READ[to](place, "settings")) == 2
    curves = READ[to](place, "curves")
    assert curves["perplexity"].tolist() == pytest.approx(curves_frame(folder, runs)["perplexity"].tolist())


def test_folders_of_one_name_stay_apart(folder: Path, tmp_path: Path) -> None:
    """Else a run of both would have each of its epochs twice."""
    other = tmp_path / folder.name
    shutil.copytree(folder, other)
    frames = Exported.read([folder, other], 0.95)
    assert set(frames.runs["sweep"]) == set(frames.curves["sweep"]) == {"two", "two-2"}
    runs = list(frames.each())
    assert all([epoch for epoch, _ in run.epochs()] == [1, 2, 3] for run in runs)


def test_a_long_name_of_a_run_is_one_of_a_folder(folder: Path) -> None:
    run = next(Exported.read([folder], 0.95).each())
    name = _file_name(replace(run, name="a knob=" + "\N{GREEK SMALL LETTER ALPHA}" * 300))
    assert len(name.encode()) < 255
    assert name.endswith(run.row["run_id"])


def test_settings_have_their_speed(tmp_path: Path) -> None:
    """That of whichever of the sweeps measured it."""
    for name, hidden, speed in (("a", 8, 2e6), ("b", 16, 1e6), ("c", 32, None)):
        own = config(num_hiddens=hidden)
        write_run(tmp_path / name, own, 0, 2.0)
        if speed:
            write_timing(tmp_path / name, own, speed)
    settings = Exported.read([tmp_path / name for name in "abc"], 0.95).settings
    assert settings["num_hiddens"].tolist() == [8, 16, 32]
    assert settings["tokens_per_s"].fillna(0).tolist() == pytest.approx([2e6, 1e6, 0], rel=0.01)


def test_rates_that_agree_in_six_digits_are_runs_of_two_names(tmp_path: Path) -> None:
    for lr in (0.1234567, 0.1234568):
        write_run(tmp_path / "two", config(lr=lr), 0, 2.0)
    names = [run.name for run in Exported.read([tmp_path / "two"], 0.95).each()]
    assert names == ["rnn lr=0.1234567 seed=0", "rnn lr=0.1234568 seed=0"]


@pytest.mark.parametrize("to", ["csv", "parquet"])
@pytest.mark.parametrize("manifest", [True, False])
def test_an_export_replaces_no_record(folder: Path, tmp_path: Path, to: str, manifest: bool) -> None:
    """`--out` may be the folder of an earlier export, and not that of a sweep."""
    sweep = tmp_path / "sweep"
    shutil.copytree(folder, sweep)
    if not manifest:
        (sweep / "sweep.json").unlink()
    before = {path.name: path.read_bytes() for path in sweep.iterdir() if path.is_file()}
    with pytest.raises(UserError, match="is a sweep with files of its own; give another folder with --out"):
        export([folder], to, sweep)
    assert {path.name: path.read_bytes() for path in sweep.iterdir() if path.is_file()} == before
    for _ in range(2):
        assert len(READ[to](export([folder], to, tmp_path / "out"), "runs")) == 4


def test_a_folder_whose_name_is_no_utf_8(folder: Path, tmp_path: Path) -> None:
    """Its tables hold the name with a question mark for what no text can hold."""
    odd = tmp_path / os.fsdecode(b"caf\xe9")
    shutil.copytree(folder, odd)
    runs = pd.read_csv(export([odd], "csv", tmp_path / "out") / "runs.csv")
    assert set(runs["sweep"]) == {"caf?"}
    loaded = ablate.load(odd)
    assert set(loaded.frame()["sweep"]) == {str(tmp_path / "caf?")}
    assert set(loaded.curves()["run_id"]) == set(runs["run_id"])


@pytest.mark.full
def test_a_workbook_computes_nothing(folder: Path, tmp_path: Path) -> None:
    """Texts that begin as formulas, or hold what no workbook can, are texts in it."""
    openpyxl = pytest.importorskip("openpyxl")
    frames = Exported.read([folder], 0.95)
    names = ["=1+1", '=HYPERLINK("x")', "a\x00b", "plain"]
    runs = frames.runs.assign(corpus=names)
    to_xlsx(replace(frames, runs=runs), tmp_path / "out.xlsx")
    sheet = openpyxl.load_workbook(tmp_path / "out.xlsx")["runs"]
    [column] = [column for column in sheet.iter_cols() if column[0].value == "corpus"]
    assert [cell.value for cell in column[1:]] == [*names[:2], "a\N{REPLACEMENT CHARACTER}b", "plain"]
    assert {cell.data_type for cell in column} == {"s"}


def by_command(folder: Path, to: str, out: Path) -> Path:
    """In a process of its own: these libraries change the one that they run in, and warn of each other."""
    command = [sys.executable, "-m", "ablate", "export", str(folder), "--to", to, "--out", str(out)]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return out


@pytest.mark.full
def test_tensorboard(folder: Path, tmp_path: Path) -> None:
    accumulator = pytest.importorskip("tensorboard.backend.event_processing.event_accumulator")
    place = export([folder], "tensorboard", tmp_path / "out")
    logs = sorted(path for path in (place / "two").iterdir())
    assert len(logs) == 4
    events = accumulator.EventAccumulator(str(logs[0]))
    events.Reload()
    assert [event.step for event in events.Scalars("perplexity")] == [1, 2, 3]
    assert "final/val_perplexity" in events.Tags()["scalars"]
    assert told_to_tensorboard(logs[0])["status"] == "ok"


def told_to_tensorboard(log: Path) -> dict[str, Any]:
    """What the table of TensorBoard shows of a run beside its metrics."""
    accumulator = pytest.importorskip("tensorboard.backend.event_processing.event_accumulator")
    from tensorboard.plugins.hparams import plugin_data_pb2

    events = accumulator.EventAccumulator(str(log))
    events.Reload()
    content = events.SummaryMetadata("_hparams_/session_start_info").plugin_data.content
    hparams = plugin_data_pb2.HParamsPluginData.FromString(content).session_start_info.hparams
    return {name: getattr(value, value.WhichOneof("kind")) for name, value in hparams.items()}


def test_names_that_differ_in_what_no_folder_may_hold(folder: Path, tmp_path: Path) -> None:
    """`/` of a path is written as `-`, so that two texts may have one name."""
    pytest.importorskip("tensorboard")
    frames = Exported.read([folder], 0.95)
    paths = ["of/a", "of-a", "b", "c"]
    to_tensorboard(replace(frames, runs=frames.runs.assign(seed=0, **{"data.path": paths})), tmp_path / "out")
    assert len(list((tmp_path / "out" / "two").iterdir())) == len(paths)


def test_a_run_that_diverged_is_told_from_others_in_tensorboard(tmp_path: Path) -> None:
    pytest.importorskip("tensorboard")
    for seed, value in enumerate((2.0, None)):
        write_run(tmp_path / "two", config(num_hiddens=8), seed, value)
    place = export([tmp_path / "two"], "tensorboard", tmp_path / "out")
    logs = sorted((place / "two").iterdir())
    assert [told_to_tensorboard(log)["status"] for log in logs] == ["ok", "diverged"]


@pytest.mark.full
def test_mlflow(folder: Path, tmp_path: Path) -> None:
    pytest.importorskip("mlflow.tracking")
    place = by_command(folder, "mlflow", tmp_path / "out")
    runs, _ = runs_frame(folder)
    with sqlite3.connect(place / "mlflow.db") as database:
        names = [name for (name,) in database.execute("select name from runs")]
        final = [value for (value,) in database.execute("select value from metrics where key = 'final_val_perplexity'")]
        steps = [step for (step,) in database.execute("select distinct step from metrics where key = 'perplexity'")]
        models = {value for (value,) in database.execute("select value from params where key = 'model'")}
    database.close()
    assert sorted(names) == ["gru seed=0", "gru seed=1", "rnn seed=0", "rnn seed=1"]
    assert sorted(final) == pytest.approx(sorted(runs["val_perplexity"]))
    assert sorted(steps) == [1, 2, 3]
    assert models == {"gru", "rnn"}


class FakeWandb:
    """The part of wandb's documented interface that is used: what it was told."""

    def __init__(self) -> None:
        self.runs: list[dict[str, Any]] = []

    Settings = dict

    def init(self, **options: Any) -> "FakeWandb.Run":
        self.runs.append(options | {"logged": []})
        return FakeWandb.Run(self.runs[-1])

    class Run:
        def __init__(self, told: dict[str, Any]) -> None:
            self.told = told
            self.summary = told["summary"] = dict[str, Any]()

        def log(self, values: dict[str, float], step: int) -> None:
            self.told["logged"].append((step, values))

        def finish(self) -> None:
            self.told["finished"] = True


def test_what_wandb_is_told(folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    fake = FakeWandb()
    monkeypatch.setitem(sys.modules, "wandb", fake)  # type: ignore[arg-type]
    export([folder], "wandb", tmp_path / "out")
    runs, _ = runs_frame(folder)
    assert [run["id"] for run in fake.runs] == runs["run_id"].tolist()
    first = fake.runs[0]
    assert first["mode"] == "offline"
    assert first["config"]["num_hiddens"] == 2
    assert [step for step, _ in first["logged"]] == [1, 2, 3]
    assert first["summary"]["val_perplexity"] == pytest.approx(runs["val_perplexity"][0])
    assert all(run["finished"] for run in fake.runs)


def test_a_run_of_two_sweeps_is_two_runs_of_wandb(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fake = FakeWandb()
    monkeypatch.setitem(sys.modules, "wandb", fake)  # type: ignore[arg-type]
    again = shutil.copytree(folder, tmp_path / "again")
    export([folder, again], "wandb", tmp_path / "out")
    ids = [run["id"] for run in fake.runs]
    assert len(set(ids)) == len(ids) == 2 * len(runs_frame(folder)[0])


@pytest.mark.full
def test_wandb_writes_offline_runs(folder: Path, tmp_path: Path) -> None:
    pytest.importorskip("wandb")
    place = by_command(folder, "wandb", tmp_path / "out")
    assert len(list((place / "wandb").glob("offline-run-*"))) == 4


@pytest.mark.parametrize(
    ("to", "module", "install"),
    [
        ("parquet", "pyarrow", "pyarrow"),
        ("xlsx", "openpyxl", "[xlsx]"),
        ("tensorboard", "tensorboard", "[tensorboard]"),
        ("mlflow", "mlflow", "[mlflow]"),
        ("wandb", "wandb", "[wandb]"),
    ],
)
def test_a_missing_library_is_one_line_with_its_command(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, to: str, module: str, install: str
) -> None:
    import importlib

    def missing(name: str, *rest: Any) -> Any:
        if name.partition(".")[0] == module:
            raise ImportError(name)
        return importlib.import_module(name, *rest)

    monkeypatch.setattr("ablate.export.exported.import_module", missing)
    with pytest.raises(UserError) as error:
        export([folder], to, tmp_path / "out.xlsx")
    said = str(error.value)
    assert "pip install" in said
    assert install in said
    assert "\n" not in said


def test_mistakes_are_one_line(folder: Path, tmp_path: Path, main: Callable[..., Any]) -> None:
    (tmp_path / "empty").mkdir()
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "file").write_text("theirs")
    cases = [
        ([folder], "cvs", None, "csv"),
        ([tmp_path / "empty"], "csv", None, "empty"),
        ([], "csv", None, "folder"),
        ([folder], "xlsx", tmp_path / "out.csv", "xlsx"),
        ([folder], "tensorboard", tmp_path / "full", "--out"),
    ]
    for sweeps, to, out, part in cases:
        with pytest.raises(UserError) as error:
            export(sweeps, to, out)
        assert part in str(error.value)
    assert (tmp_path / "full" / "file").read_text() == "theirs"
    done = main("export", str(folder), "--to", "cvs")
    assert done.status == 2
    assert all(name in done.err for name in FORMATS)
    done = main("export", str(folder), "--to", "csv", "--out", str(tmp_path / "csv"))
    assert (done.status, done.out) == (0, "")
    assert (tmp_path / "csv" / "runs.csv").is_file()
