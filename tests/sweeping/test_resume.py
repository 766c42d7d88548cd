"""Sweeps that go on: only what is missing runs, also after kill -9, Ctrl-C, more seeds, or in another sweep.

Starts programs of its own, kills them for real, and compares with a sweep that nobody disturbed. CPU, 20 s.
"""

import errno
import hashlib
import json
import os
import signal
import subprocess
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from ablate.config.errors import ConfigError, StorageError, UserError, counted
from ablate.config.schema import Config
from ablate.records import results
from ablate.records.compaction import compact, unpack
from ablate.records.locks import exclusive
from ablate.records.manifest import load_manifest
from ablate.records.places import curve_path, record_path
from ablate.sweeping import launch
from ablate.training.checkpoints import path_of, reached

Configs = Callable[..., Config]
PATIENCE_S = 600.0
"""For a program of its own: what takes longer hangs, however busy the machine is."""
ENGINE = "engine=torch_nn"  # one run per program, the same bits each time


def records(folder: Path) -> dict[str, dict[str, Any]]:
    return {path.stem: json.loads(path.read_text()) for path in (folder / "runs").glob("*.json")}


def times(folder: Path) -> dict[str, int]:
    """When each file of a finished run was written."""
    kept = [path for name in ("runs", "curves") for path in (folder / name).glob("*") if path.suffix != ".tmp"]
    return {f"{path.parent.name}/{path.name}": path.stat().st_mtime_ns for path in kept}


def outcomes(folder: Path) -> dict[str, tuple[Any, ...]]:
    """All that decides whether two sweeps came out the same, by run."""
    return {
        run: (r["status"], r["metrics"], r["text"], r["counts"], curve_path(folder, run).read_text())
        for run, r in records(folder).items()
    }


def wait_until(process: "subprocess.Popen[str]", condition: Callable[[], Any], patience_s: float = PATIENCE_S) -> None:
    end = time.monotonic() + patience_s
    while not condition():
        assert process.poll() is None, process.communicate()
        assert time.monotonic() < end, f"nothing came of it within {patience_s:g} s"
        time.sleep(0.01)


# --- in one process -------------------------------------------------------------------------------------


def test_the_same_sweep_again_trains_nothing(small: Configs, sweep: Callable[..., Any]) -> None:
    settings = [small("model=gru"), small("model=lstm", "seeds=2")]
    first = sweep(settings)
    assert (first.trained, first.already, first.reused) == (3, 0, 0)
    before = times(first.folder)
    again = sweep(settings)
    assert (again.trained, again.already, again.reused) == (0, 3, 0)
    assert times(again.folder) == before


@pytest.mark.full
def test_what_a_finished_run_left_is_deleted(small: Configs, sweep: Callable[..., Any]) -> None:
    """As of a program that was killed after it had written the record; that of a run which is none of these stays."""
    folder = sweep([small("seeds=2")]).folder
    left, other = [path_of(folder, run) for run in records(folder)], path_of(folder, "0123456789ab")
    other.parent.mkdir(exist_ok=True)
    for path in (*left, other):
        path.write_bytes(b"left")
    assert sweep([small("seeds=2")]).already == 2
    assert [*other.parent.iterdir()] == [other]


@pytest.mark.parametrize("other", [2, 3])
def test_what_another_command_has_trained_since_it_was_planned_is_not_trained_again(
    small: Configs, sweep: Callable[..., Any], monkeypatch: pytest.MonkeyPatch, other: int
) -> None:
    """Two commands begin at once; the second one has the folder when the first one is done."""
    held = launch.exclusive

    def after_the_other(folder: Path) -> Any:
        monkeypatch.setattr(launch, "exclusive", held)
        compact(sweep([small("model=gru", f"seeds={other}")]).folder)
        return held(folder)

    monkeypatch.setattr(launch, "exclusive", after_the_other)
    second = sweep([small("model=gru", "seeds=3")])
    assert (second.trained, second.already) == (3 - other, other)
    [design] = load_manifest(second.folder)["design"]
    assert [seeds for seeds, _ in design["declared"]] == sorted({other, 3}), "the first one may have been looked at"


def test_only_what_is_missing_runs(small: Configs, sweep: Callable[..., Any]) -> None:
    settings = [small("model=gru", "seeds=3", ENGINE)]
    folder = sweep(settings).folder
    whole, before = outcomes(folder), times(folder)
    gone, cut, *kept = sorted(whole)
    record_path(folder, gone).unlink()
    path = record_path(folder, cut)
    path.write_text(path.read_text()[:100])
    again = sweep(settings)
    assert (again.trained, again.already) == (2, 1)
    assert outcomes(folder) == whole
    for run in kept:
        assert times(folder)[f"runs/{run}.json"] == before[f"runs/{run}.json"]


@pytest.mark.full
def test_raising_seeds_adds_runs_to_the_setting(small: Configs, sweep: Callable[..., Any]) -> None:
    first = sweep([small("model=gru", "seeds=2", ENGINE)])
    before = times(first.folder)
    more = sweep([small("model=gru", "seeds=5", ENGINE)])
    assert (more.trained, more.already) == (3, 2)
    assert sorted(record["seed"] for record in records(more.folder).values()) == [0, 1, 2, 3, 4]
    assert len({record["setting_id"] for record in records(more.folder).values()}) == 1
    assert before.items() <= times(more.folder).items()


@pytest.mark.full
def test_another_sweep_with_the_same_runs_copies_them(small: Configs, sweep: Callable[..., Any]) -> None:
    first = sweep([small("model=gru", "seeds=2", ENGINE)], "first")
    second = sweep([small("model=gru", "seeds=3", "engine=eager"), small("model=rnn")], "second")
    assert (second.trained, second.reused, second.already) == (2, 2, 0)
    marked = {run for run, record in records(second.folder).items() if record["reused_from"] == "first"}
    assert marked == records(first.folder).keys()
    assert sum(record["reused_from"] is None for record in records(second.folder).values()) == 2
    assert {run: outcome for run, outcome in outcomes(second.folder).items() if run in marked} == outcomes(first.folder)
    again = sweep([small("model=gru", "seeds=3"), small("model=rnn")], "second")
    assert (again.trained, again.reused, again.already) == (0, 0, 4)


@pytest.mark.full
def test_fresh_trains_again_what_is_there_and_what_others_have(small: Configs, sweep: Callable[..., Any]) -> None:
    first = sweep([small("model=gru", ENGINE)], "first")
    before, whole = times(first.folder), outcomes(first.folder)
    again = sweep([small("model=gru", ENGINE, "fresh=true")], "first")
    other = sweep([small("model=gru", ENGINE, "fresh=true")], "other")
    assert (again.trained, again.already, again.reused) == (1, 0, 0)
    assert (other.trained, other.already, other.reused) == (1, 0, 0)
    assert not before.items() & times(again.folder).items()
    assert outcomes(again.folder) == outcomes(other.folder) == whole


def test_the_same_setting_twice_is_one_setting_with_the_most_seeds(small: Configs, sweep: Callable[..., Any]) -> None:
    summary = sweep([small("model=gru", "seeds=1"), small("model=gru", "seeds=3"), small("model=gru", "lr=1.0")])
    assert summary.trained == 3
    assert len(records(summary.folder)) == 3


@pytest.mark.full
def test_the_text_counts_and_not_its_name(small: Configs, sweep: Callable[..., Any], text_path: Path) -> None:
    sweep([small("model=gru")], "first")
    copy = text_path.with_name("copy.txt")
    copy.write_bytes(text_path.read_bytes())
    assert sweep([small("model=gru", f"data.path={copy}")], "second").reused == 1
    copy.write_text(text_path.read_text() + "One more line.\n")
    assert sweep([small("model=gru", f"data.path={copy}")], "third").trained == 1


def test_one_sweep_has_one_name(small: Configs, sweep: Callable[..., Any], tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="name has several values"):
        sweep([small("name=a"), small("name=b")])
    assert not (tmp_path / "results").exists()
    assert sweep([small("name=a")], "not this").folder.name == "a"


def test_a_folder_in_use_is_refused(small: Configs, sweep: Callable[..., Any], tmp_path: Path) -> None:
    with exclusive(tmp_path / "results" / "made-up"), pytest.raises(UserError) as caught:
        sweep([small("model=gru")])
    assert "is in use by another ablate" in str(caught.value)
    assert "name=NAME" in str(caught.value)
    assert list((tmp_path / "results" / "made-up" / "runs").glob("*")) == []
    assert sweep([small("model=gru")]).trained == 1  # and is free again afterwards


# --- data=auto ------------------------------------------------------------------------------------------

BOOK = ("It will be convenient to speak of him as the traveller. " * 200).encode()


@pytest.fixture
def auto(compose: Configs, small: Configs, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Configs:
    """Configs with data=auto whose book is made up and, at first, not at hand."""
    monkeypatch.setenv("ABLATE_DATA_DIR", str(tmp_path / "data"))
    book = ("data.file=book.txt", f"data.sha256={hashlib.sha256(BOOK).hexdigest()}", "data.urls=[]")
    tiny = ("num_hiddens=8", "num_steps=5", "batch_size=4", "max_tokens=400", "val_tokens=100", "epochs=2", "seeds=1")
    return lambda *overrides: compose("data=auto", *book, *tiny, *overrides)


def corpora(folder: Path) -> list[str]:
    return sorted(record["corpus"]["name"] for record in records(folder).values())


@pytest.mark.full
def test_a_sweep_stays_with_the_text_that_auto_first_meant(
    auto: Configs, sweep: Callable[..., Any], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = sweep([auto("model=gru")]).folder
    assert corpora(folder) == ["python_docs"]
    assert "python_docs instead of time_machine" in capsys.readouterr().err
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "book.txt").write_bytes(BOOK)
    assert sweep([auto("model=gru", "seeds=2"), auto("model=rnn")]).already == 1
    assert corpora(folder) == ["python_docs"] * 3
    assert corpora(sweep([auto("model=gru")], "another").folder) == ["time_machine"]


@pytest.mark.full
def test_auto_keeps_the_other_options_of_each_setting(auto: Configs, sweep: Callable[..., Any]) -> None:
    settings = [auto("data.tokens=char"), auto("data.tokens=word")]
    assert sweep(settings).trained == 2
    again = sweep(settings)
    assert (again.trained, again.already) == (0, 2)


def test_auto_beside_a_named_text(
    auto: Configs, small: Configs, sweep: Callable[..., Any], capsys: pytest.CaptureFixture[str]
) -> None:
    settings = [small("epochs=2"), auto()]
    assert corpora(sweep(settings).folder) == ["made-up.txt", "python_docs"]
    again = sweep(settings)
    assert (again.trained, again.already) == (0, 2)


# --- killed and stopped ---------------------------------------------------------------------------------


@pytest.mark.full
def test_kill_9_in_the_middle_loses_no_finished_run(
    start: Callable[..., "subprocess.Popen[str]"],
    cli: Callable[..., Any],
    program_environment: dict[str, str],
    small: Configs,
    sweep: Callable[..., Any],
    small_arguments: list[str],
    tmp_path: Path,
) -> None:
    program_environment["ABLATE_CHECKPOINT_S"] = "0.1"  # so that it is killed amid checkpoints, too
    knobs = ("num_hiddens=8", "epochs=30", "seeds=2", ENGINE)
    command = ["-m", *small_arguments, *knobs, "model=rnn,gru", "threads=1", "results_dir=killed", "name=made-up"]
    command.append("report=false")
    folder = tmp_path / "killed" / "made-up"
    process = start(*command)
    wait_until(process, lambda: len(list((folder / "runs").glob("*.json"))) >= 1)
    process.kill()
    process.communicate()
    assert process.returncode == -signal.SIGKILL
    kept = {run: record["timing"] for run, record in records(folder).items()}
    finished = {run for run in records(folder) if results.finished(folder, run)}
    halfway = {path.stem: reached(folder, path.stem)[0] for path in (folder / "checkpoints").glob("*.pt")}
    assert 1 <= len(finished) < 4

    done = cli(*command)
    assert done.status == 0, done.err
    assert f"{counted(4 - len(finished), 'run')} trained, {len(finished)} already complete" in done.err
    unpack(folder)
    for run in finished:
        assert records(folder)[run]["timing"] == kept[run]
    for run, epoch in halfway.items():
        if run not in finished:
            assert records(folder)[run]["timing"]["resumed_at_epoch"] == (epoch or None)
    assert list((folder / "checkpoints").glob("*")) == []
    undisturbed = sweep([small(*knobs, "model=rnn"), small(*knobs, "model=gru")])
    assert undisturbed.trained == 4
    assert outcomes(folder) == outcomes(undisturbed.folder)


@pytest.mark.full
@pytest.mark.parametrize("how", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_a_stopped_sweep_keeps_what_is_finished_and_says_how_to_go_on(
    start: Callable[..., "subprocess.Popen[str]"], small_arguments: list[str], tmp_path: Path, how: signal.Signals
) -> None:
    """The second setting would take an hour: that this test ends shows that it was stopped."""
    command = ["-m", *small_arguments, "epochs=3,1000000", ENGINE, "threads=1", "name=stopped"]
    process = start(*command)
    folder = tmp_path / "results" / "stopped"
    wait_until(process, lambda: list((folder / "runs").glob("*.json")))
    time.sleep(2)  # nothing says that the second has begun: no checkpoint is due
    os.kill(process.pid, how)
    out, err = process.communicate(timeout=PATIENCE_S)
    assert process.returncode == 130
    assert "every finished run is kept" in err
    assert "Traceback" not in out + err
    assert "Ctrl-C again skips it" in err
    [record] = records(folder).values()
    assert results.finished(folder, record["run_id"])
    assert record["counts"]["epochs_done"] == 3
    assert not (folder / "failures").exists()
    [checkpoint] = (folder / "checkpoints").iterdir()  # none was due for two minutes: the stop has saved it
    assert reached(folder, checkpoint.stem)[0] > 0
    assert (folder / "runs.csv").is_file()


@pytest.mark.full
def test_a_second_stop_skips_the_report(
    start: Callable[..., "subprocess.Popen[str]"], small_arguments: list[str], tmp_path: Path
) -> None:
    """Both go to the whole group of processes, as from a terminal: those that draw the figures hear it, too.

    A figure would take an hour: that this test ends shows that the report was stopped.
    """
    (tmp_path / "ablate_with_slow_figures.py").write_text(SLOW_FIGURES)
    command = [*small_arguments, "epochs=3,1000000", ENGINE, "threads=1", "name=stopped"]
    process = start("-m", *command, module="ablate_with_slow_figures")
    folder = tmp_path / "results" / "stopped"
    wait_until(process, lambda: list((folder / "runs").glob("*.json")))
    os.killpg(process.pid, signal.SIGINT)
    wait_until(process, lambda: (tmp_path / "drawing").exists())
    os.killpg(process.pid, signal.SIGINT)
    out, err = process.communicate(timeout=PATIENCE_S)
    assert process.returncode == 130
    assert f"python -m ablate report {Path('results', 'stopped')}" in err
    assert "Traceback" not in out + err
    assert "every finished run is kept" in err
    assert not (folder / "report.html").exists()
    assert not list(folder.glob(".report-*"))


SLOW_FIGURES = """
import time
from pathlib import Path

from ablate.cli.entry import run_program
from ablate.cli.run import main
from ablate.report import drawn


def slow(*_):
    Path("drawing").touch()
    time.sleep(3600)


drawn._figure = slow
run_program(main)
"""
"""`python -m ablate run`, which says when it draws a figure, and takes an hour for each."""


@pytest.mark.full
@pytest.mark.parametrize("stop", [KeyboardInterrupt, StorageError(errno.ENOSPC, "no space", "report.html")])
def test_a_report_that_is_stopped_is_said_and_leaves_the_sweep_whole(
    main: Callable[..., Any],
    small_arguments: list[str],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    stop: type[BaseException] | Exception,
) -> None:
    def stopped(*_: Any) -> Any:
        raise stop

    monkeypatch.setattr("ablate.report.drawn.drawing", stopped)
    outcome = main(*small_arguments, "name=stopped")
    folder = tmp_path / "results" / "stopped"
    assert outcome.status == (130 if stop is KeyboardInterrupt else 1)
    assert f"python -m ablate report {Path('results', 'stopped')}" in outcome.err
    assert "Traceback" not in outcome.err
    [record] = results.records(folder)
    assert isinstance(record, dict)
    assert results.load_curve(folder, record["run_id"])
    assert not (folder / "report.html").exists()
    assert not list(folder.glob(".report-*"))
