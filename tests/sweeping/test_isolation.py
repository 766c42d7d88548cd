"""What goes wrong in one setting is recorded and does not touch the others; what can go right nowhere is refused.

CPU, 6 s.
"""

import errno
import json
import math
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from ablate.cli.run import MOST_NAMED, conclude, concluded
from ablate.config.errors import OS_ERRORS, CombinationError, counted
from ablate.config.schema import Config
from ablate.records import results
from ablate.records.compaction import unpack
from ablate.records.files import write_text
from ablate.records.reading import RecordError
from ablate.records.record import Record
from ablate.sweeping import baselines, programs
from ablate.sweeping.summary import Summary
from ablate.training.checkpoints import path_of

Configs = Callable[..., Config]


def failures(folder: Path) -> list[dict[str, Any]]:
    return [json.loads(path.read_text()) for path in sorted((folder / "failures").glob("*.json"))]


def finished(folder: Path) -> list[str]:
    """The models of the whole records, in whichever form they are stored; a damaged one is an error."""
    found = list(results.records(folder))
    assert not [record for record in found if isinstance(record, RecordError)]
    assert all(results.load_curve(folder, record["run_id"]) for record in found if isinstance(record, dict))
    return sorted(record["config"]["model"]["name"] for record in found if isinstance(record, dict))


@pytest.mark.full
def test_an_impossible_setting_among_possible_ones(
    small: Configs, sweep: Callable[..., Any], capsys: pytest.CaptureFixture[str]
) -> None:
    settings = [small(f"model={name}", "engine=torch_nn", "seeds=2") for name in ("gru-no-reset", "gru", "lstm")]
    summary = sweep(settings)
    assert summary.exit_status == 1
    assert summary.trained == 4
    assert finished(summary.folder) == ["gru", "gru", "lstm", "lstm"]
    [failure] = failures(summary.folder)
    assert failure["config"]["model"]["name"] == "gru-no-reset"
    assert failure["error"].startswith("engine=torch_nn cannot compute model=gru-no-reset")
    assert "CombinationError" in failure["traceback"]
    assert summary.failures == [("gru-no-reset", failure["error"])]
    shown = [line for line in capsys.readouterr().err.splitlines() if "failed" in line]
    assert len(shown) == 1
    assert "gru-no-reset" in shown[0]


@pytest.mark.full
def test_a_setting_too_long_for_its_text_among_others(small: Configs, sweep: Callable[..., Any]) -> None:
    summary = sweep([small("num_steps=5"), small("num_steps=399"), small("num_steps=6")])
    assert (summary.trained, summary.exit_status) == (2, 1)
    [(name, why)] = summary.failures
    assert name == "rnn num_steps=399"
    assert "training tokens" in why


@pytest.mark.usefixtures("errors_are_ours")
@pytest.mark.full
@pytest.mark.parametrize(
    ("error", "said"),
    [
        (RuntimeError("a bug\nwith two lines"), "a bug"),
        (MemoryError(), "out of memory"),
        (AssertionError("no"), "no"),
        (ZeroDivisionError(), "ZeroDivisionError, without a message"),
    ],
)
def test_a_crash_in_one_setting(
    small: Configs, sweep: Callable[..., Any], monkeypatch: pytest.MonkeyPatch, error: Exception, said: str
) -> None:
    train = programs.train_together

    def crashes_for_gru(configs: Any, *arguments: Any, **options: Any) -> Any:
        if configs[0].model.name == "gru":
            raise error
        return train(configs, *arguments, **options)

    monkeypatch.setattr(programs, "train_together", crashes_for_gru)
    settings = [small(f"model={name}", "seeds=2") for name in ("rnn", "gru", "lstm")]
    summary = sweep(settings)
    assert (summary.exit_status, summary.trained) == (1, 4)
    assert finished(summary.folder) == ["lstm", "lstm", "rnn", "rnn"]
    [failure] = failures(summary.folder)
    assert failure["config"]["model"]["name"] == "gru"
    assert failure["error"] == said
    assert "crashes_for_gru" in failure["traceback"]
    assert summary.failures == [("gru", said)]

    monkeypatch.undo()  # the bug is mended: the same command tries the setting again
    again = sweep(settings)
    assert (again.exit_status, again.trained, again.already) == (0, 2, 4)
    assert failures(summary.folder) == []


def test_seeds_that_were_finished_before_a_crash_are_kept(
    small: Configs, sweep: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    train = programs.train_together

    def crashes_for_seed_1(configs: Any, *arguments: Any, **options: Any) -> Any:
        if configs[0].seed == 1:
            raise RuntimeError("seed 1")
        return train(configs, *arguments, **options)

    monkeypatch.setattr(programs, "train_together", crashes_for_seed_1)
    summary = sweep([small("seeds=3", "engine=torch_nn")])  # one run per program
    assert summary.exit_status == 1
    assert 0 in {json.loads(path.read_text())["seed"] for path in (summary.folder / "runs").glob("*.json")}
    assert len(failures(summary.folder)) == 1


def test_where_no_setting_is_possible_nothing_is_written(
    small: Configs, sweep: Callable[..., Any], tmp_path: Path
) -> None:
    with pytest.raises(CombinationError, match="engine=torch_nn cannot compute model=gru-no-reset"):
        sweep([small("model=gru-no-reset", "engine=torch_nn"), small("model=gru-no-update", "engine=torch_nn")])
    assert not (tmp_path / "results").exists()


@pytest.mark.full
def test_all_settings_impossible_on_the_command_line(
    main: Callable[..., Any], small_arguments: list[str], tmp_path: Path
) -> None:
    done = main("-m", *small_arguments, "model=gru-no-reset,gru-no-update", "engine=torch_nn")
    assert done.status == 2
    assert len(done.err.splitlines()) == 1
    assert not (tmp_path / "results").exists()


@pytest.mark.full
@pytest.mark.parametrize(
    "arguments",
    [
        ["model=gru,gru-no-reset", "engine=torch_nn"],
        ["model=gru", "model.bidirectional=true,false", "sampling=sequential"],
    ],
)
def test_some_settings_impossible_on_the_command_line(
    main: Callable[..., Any], small_arguments: list[str], tmp_path: Path, arguments: list[str]
) -> None:
    done = main("-m", *small_arguments, *arguments, "name=some")
    assert done.status == 1
    assert "Traceback" not in done.err
    assert "Error" not in done.err
    summary = done.err[done.err.index("1 run trained") :]
    assert "failed: gru" in summary
    assert "failures" in summary
    assert "gru" in done.out
    [failure] = failures(tmp_path / "results" / "some")
    assert done.err.count(failure["error"]) == 1  # the reason when it happens; the name again at the end
    assert failure["error"] not in summary


def test_many_failures_are_not_all_named_at_the_end(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    conclude(Summary(tmp_path, failures=[(f"gru num_hiddens={k}", "no") for k in range(MOST_NAMED + 3)]))
    [line] = [line for line in capsys.readouterr().err.splitlines() if line.startswith("failed:")]
    assert "num_hiddens=0;" in line
    assert f"num_hiddens={MOST_NAMED}" not in line
    assert line.endswith("3 more")


# --- the disk ---------------------------------------------------------------------------------------------


@pytest.fixture
def disk(monkeypatch: pytest.MonkeyPatch) -> Callable[[int, int | None], None]:
    """`disk(number, files)`: from that many files on every write fails with this error, until `disk(0, None)`."""
    flush, left = os.fsync, [math.inf, 0]

    def fsync(descriptor: int) -> None:
        left[0] -= 1
        if left[0] < 0:
            raise OSError(left[1], os.strerror(int(left[1])))
        flush(descriptor)

    def fails(number: int, files: int | None) -> None:
        left[:] = [math.inf if files is None else files, number]

    monkeypatch.setattr(os, "fsync", fsync)
    return fails


@pytest.mark.full
@pytest.mark.parametrize(
    ("number", "files"), [(errno.ENOSPC, 5), (errno.ENOSPC, 6), (errno.EDQUOT, 9), (errno.EROFS, 6), (errno.EIO, 5)]
)
def test_a_disk_that_fails_in_the_middle_is_no_fault_of_a_setting(
    main: Callable[..., Any],
    small_arguments: list[str],
    tmp_path: Path,
    disk: Callable[[int, int | None], None],
    number: int,
    files: int,
) -> None:
    """The manifest is one file, a run two: its curve, then its record."""
    command = [*small_arguments, "model=rnn,gru", "seeds=4", "engine=torch_nn", "threads=1", "name=full"]
    disk(number, files)
    stopped = main(*command)
    disk(0, None)
    folder = tmp_path / "results" / "full"
    kept = len(finished(folder))
    assert kept == (files - 1) // 2
    assert stopped.status == 1
    what, remedy = OS_ERRORS[number]
    assert len([line for line in stopped.err.splitlines() if what in line]) == 1
    for part in (what, remedy, str(Path("results", "full", "runs" if files % 2 == 0 else "curves")), f"{kept} runs"):
        assert part in stopped.err
    assert "failed" not in stopped.err
    assert "Traceback" not in stopped.err + stopped.out
    assert failures(folder) == []
    assert not list(folder.rglob("*.tmp"))
    resumed = main(*command)
    assert resumed.status == 0
    assert f"{counted(8 - kept, 'run')} trained" in resumed.err
    assert len(finished(folder)) == 8


@pytest.mark.full
def test_a_disk_that_was_full_from_the_beginning(
    main: Callable[..., Any], small_arguments: list[str], tmp_path: Path, disk: Callable[[int, int | None], None]
) -> None:
    disk(errno.ENOSPC, 0)
    outcome = main(*small_arguments, "name=full")
    assert outcome.status == 2
    assert "full" in outcome.err
    assert not list(tmp_path.rglob("*.json"))


@pytest.mark.full
def test_a_disk_that_is_full_for_the_report(
    main: Callable[..., Any], small_arguments: list[str], disk: Callable[[int, int | None], None]
) -> None:
    disk(errno.ENOSPC, 4)
    outcome = main(*small_arguments, "engine=torch_nn", "name=full")
    assert outcome.status == 1
    assert "1 run trained" in outcome.err
    assert "python -m ablate report results/full" in outcome.err


def test_too_little_memory_for_the_report_is_one_line(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """What counts is stored by then; the command that draws it is said."""

    def fail(folder: Path) -> None:
        raise MemoryError

    monkeypatch.setattr(baselines, "add_baselines", fail)
    assert concluded(tmp_path, pack=False, wanted=True) == 1
    said = " ".join(capsys.readouterr().err.split())
    assert "the report is not whole: too little memory; free some" in said
    assert "ablate report" in said


@pytest.mark.full
@pytest.mark.parametrize("what", ["moved", "deleted", "a file"])
def test_what_is_said_of_a_folder_that_disappears(
    main: Callable[..., Any],
    small_arguments: list[str],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    what: str,
) -> None:
    """After two of four runs: the summary counts what is on disk at the end."""
    folder, saved, saving = tmp_path / "results" / "gone", [], results.save

    def save(sweep: Path, record: Record) -> None:
        if len(saved) == 2:
            folder.rename(tmp_path / "elsewhere") if what != "deleted" else shutil.rmtree(folder)
            if what == "a file":
                folder.write_text("")
        saved.append(record)
        saving(sweep, record)

    monkeypatch.setattr(results, "save", save)
    outcome = main(*small_arguments, "seeds=4", "engine=torch_nn", "threads=1", "name=gone")
    assert outcome.status == 1
    assert "Traceback" not in outcome.err
    assert "failed" not in outcome.err
    assert "lost: 2" in outcome.err
    if what == "moved":
        assert len(finished(tmp_path / "elsewhere")) == 2
        assert len(finished(folder)) == 2


@pytest.mark.full
def test_a_damaged_checkpoint_is_said_once_and_trained_from_the_beginning(
    main: Callable[..., Any], small_arguments: list[str], tmp_path: Path
) -> None:
    command = [*small_arguments, "seeds=3", "engine=torch_nn", "threads=1", "name=damaged"]
    assert main(*command).status == 0
    folder = tmp_path / "results" / "damaged"
    unpack(folder)
    for path in (folder / "runs").glob("*.json"):
        write_text(path_of(folder, path.stem), "not a checkpoint")
        path.unlink()
    outcome = main(*command)
    assert outcome.status == 0
    assert len(finished(folder)) == 3
    [line] = [line for line in outcome.err.splitlines() if "checkpoint" in line]
    assert "2 others" in line
    assert not (folder / "checkpoints").exists()
