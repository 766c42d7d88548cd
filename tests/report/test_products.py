"""Which files a report writes, deletes and leaves alone: made-up sweeps in scratch folders. CPU, 20 s."""

import errno
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from ablate import report
from ablate.cli.report import main
from ablate.config.errors import StorageError, UserError
from ablate.records import files
from ablate.records.compaction import compact
from ablate.report import PAGE, fingerprint, refresh_report, write_report
from ablate.report.blocks import Attempts
from ablate.report.products import EARLIER, MANIFEST, products
from tests.report.made import config, write_manifest, write_run, write_sweep


def publish(folder: Path, **files: str) -> list[str]:
    """A report of these files (`tables__a` for tables/a)."""
    with products(folder) as made:
        for name, text in files.items():
            made.write(name.replace("__", "/") + ".csv", text)
        return made.publish()


def everything(folder: Path) -> dict[str, str]:
    return {
        path.relative_to(folder).as_posix(): path.read_text(encoding="utf-8")
        for path in folder.rglob("*")
        if path.is_file() and path.name != MANIFEST
    }


def test_only_what_a_report_wrote_is_deleted(tmp_path: Path) -> None:
    (tmp_path / "tables").mkdir()
    (tmp_path / "tables" / "mine.csv").write_text("mine")
    assert publish(tmp_path, tables__settings="1", tables__tuned="2") == []
    assert publish(tmp_path, tables__settings="3") == []
    assert everything(tmp_path) == {"tables/mine.csv": "mine", "tables/settings.csv": "3"}


def test_a_file_that_somebody_changed_or_put_there_is_kept_and_named(tmp_path: Path) -> None:
    publish(tmp_path, tables__settings="1", tables__tuned="2")
    (tmp_path / "tables" / "settings.csv").write_text("edited")
    (tmp_path / "tables" / "tuned.csv").write_text("edited, too")
    (tmp_path / "tables" / "effects.csv").write_text("put there")
    for _ in range(2):
        assert publish(tmp_path, tables__settings="3", tables__effects="4") == [
            "tables/effects.csv",
            "tables/settings.csv",
        ]
    kept = {"tables/settings.csv": "edited", "tables/tuned.csv": "edited, too", "tables/effects.csv": "put there"}
    assert everything(tmp_path) == kept
    (tmp_path / "tables" / "settings.csv").unlink()
    assert publish(tmp_path, tables__settings="5", tables__effects="4") == ["tables/effects.csv"]
    assert everything(tmp_path)["tables/settings.csv"] == "5"


@pytest.mark.parametrize("page", [True, False])
def test_in_a_folder_older_than_the_list_nothing_is_lost(tmp_path: Path, page: bool) -> None:
    """Nobody can tell there whether a report or its reader wrote a file: it makes room, and is kept."""
    (tmp_path / "tables").mkdir()
    for name in ("tables/tuned.md", "tables/notes.md", "tables/settings.csv", "runs.csv", "mine.csv"):
        (tmp_path / name).write_text(f"old {name}")
    if page:
        (tmp_path / PAGE).write_text("an old page")
    before = everything(tmp_path)
    kept = publish(tmp_path, tables__settings="new", runs="new")
    assert kept == ([] if page else ["tables/settings.csv"])
    after = everything(tmp_path)
    assert set(before.values()) <= set(after.values())
    assert after["runs.csv"] == "new"
    assert after[f"{EARLIER}/runs.csv"] == "old runs.csv"
    assert after["tables/notes.md"] == "old tables/notes.md"
    assert publish(tmp_path, tables__settings="newer", runs="newer") == kept
    assert set(before.values()) <= set(everything(tmp_path).values())


def test_equal_files_are_not_touched(tmp_path: Path) -> None:
    publish(tmp_path, tables__settings="1")
    before = {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*") if path.is_file()}
    publish(tmp_path, tables__settings="1")
    assert {path: path.stat().st_mtime_ns for path in before} == before


def test_a_report_that_is_stopped_leaves_the_one_before(tmp_path: Path) -> None:
    publish(tmp_path, tables__settings="1")
    before = everything(tmp_path)

    def stopped() -> None:
        with products(tmp_path) as made:
            made.write("tables/settings.csv", "2")
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        stopped()
    assert everything(tmp_path) == before


def test_a_stop_while_files_are_put_in_place_leaves_none_without_an_owner(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    publish(tmp_path, tables__a="1", tables__b="1", tables__old="1")
    replace, done = files.os.replace, list[str]()

    def stops(source: Path, target: Path) -> None:
        if Path(target) == tmp_path / "tables" / "b.csv":
            raise OSError(28, "No space left on device")
        done.append(Path(target).name)
        replace(source, target)

    with monkeypatch.context() as patched:
        patched.setattr(files.os, "replace", stops)
        with pytest.raises(OSError, match="disk is full"):
            publish(tmp_path, tables__a="2", tables__b="2")
    assert "a.csv" in done
    assert publish(tmp_path, tables__a="3", tables__b="3") == []
    assert everything(tmp_path) == {"tables/a.csv": "3", "tables/b.csv": "3"}


def test_a_list_that_points_elsewhere_deletes_nothing_there(tmp_path: Path) -> None:
    (tmp_path / "sweep").mkdir()
    (tmp_path / "other.csv").write_text("mine")
    (tmp_path / "sweep" / MANIFEST).write_text(
        json.dumps({"files": {"../other.csv": [], str(tmp_path / "other.csv"): []}})
    )
    publish(tmp_path / "sweep", tables__settings="1")
    assert (tmp_path / "other.csv").read_text() == "mine"


@pytest.mark.full
def test_a_page_about_several_sweeps_takes_no_sweeps_place(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for name in ("x", "report"):
        write_sweep(tmp_path / name, [config(num_hiddens=8, epochs=3)], seeds=2, epochs=3, timed=False)
    both = [str(tmp_path / "x"), str(tmp_path / "report")]
    assert main(both) == 2
    assert "--out" in capsys.readouterr().err
    assert not (tmp_path / "report" / PAGE).exists()
    assert main([*both, "--out", str(tmp_path / "x")]) == 2
    assert main([*both, "--out", str(tmp_path / "all")]) == 0
    assert {path.name for path in tmp_path.iterdir()} == {"x", "report", "all"}
    (tmp_path / "x" / "figures" / "mine.png").write_bytes(b"mine")
    files = [path for path in tmp_path.rglob("*") if path.is_file()]
    before = {path: path.stat().st_mtime_ns for path in files}
    assert main([*both, "--out", str(tmp_path / "all")]) == 0
    assert {path: path.stat().st_mtime_ns for path in files} == before


@pytest.mark.full
def test_a_report_is_drawn_only_when_something_has_changed(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    sweep = write_sweep(tmp_path / "x", [config(num_hiddens=8, epochs=3)], seeds=2, epochs=3, timed=False)
    drawn: list[Path] = []
    plain = report.write_report
    monkeypatch.setattr(report, "write_report", lambda folder, *more: drawn.append(folder) or plain(folder, *more))

    def again(*options: str) -> bool:
        before = len(drawn)
        assert main([str(sweep), *options]) == 0
        assert capsys.readouterr().out, "the table is printed all the same"
        return len(drawn) > before

    def touch_page() -> None:
        (sweep / PAGE).unlink()

    def edit_record() -> None:
        write_run(sweep, config(num_hiddens=8, epochs=3), 7, 2.5)

    assert again()
    assert not again()
    assert again("--level", "0.9")
    assert not again("--level", "0.9")
    assert again()
    for change in (touch_page, edit_record):
        change()
        assert again(), change
        assert not again()
    compact(sweep)
    assert again()
    fingerprint.code.cache_clear()
    monkeypatch.setattr(fingerprint, "_version", lambda name: "another")
    assert again()
    assert not again()
    fingerprint.code.cache_clear()


@pytest.mark.full
def test_what_the_records_cannot_give_is_said_again_and_nothing_drawn_again(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of one seed no learning rate can be tuned: a fact about the records, no reason to try again."""
    for model, lr in (("rnn", 0.5), ("rnn", 1.0), ("gru", 0.5), ("gru", 1.0)):
        write_run(tmp_path, config(model, lr=lr), 0, 2.0 + lr)
    write_manifest(tmp_path)
    refresh_report(tmp_path)
    line = "the tuned learning rates could not be made"
    assert line in capsys.readouterr().err
    monkeypatch.setattr("ablate.report.write_report", lambda *_: pytest.fail("drawn again"))
    refresh_report(tmp_path)
    said = capsys.readouterr().err
    assert said.count(line) == 1
    assert "nothing has changed" in said


def test_what_fails_unforeseen_is_tried_again() -> None:
    attempt = Attempts(lambda _: None)
    attempt("one", lambda: raising(UserError("too few seeds")))
    assert not attempt.unforeseen
    attempt("another", lambda: raising(ValueError("odd")))
    assert attempt.unforeseen
    assert len(attempt.failed) == 2


def raising(error: Exception) -> None:
    raise error


def test_a_name_that_no_file_can_have_costs_no_report(tmp_path: Path) -> None:
    """In the list of a report's files, and as a preset in the manifest, of a folder from somebody else."""
    for seed in range(2):
        write_run(tmp_path, config("rnn"), seed, 2.0)
    long = "x" * 500
    write_manifest(tmp_path, preset=long)
    (tmp_path / MANIFEST).write_text(json.dumps({"files": {f"{long}.csv": [], f"tables/{long}.tex": ["0"]}}))
    write_report(tmp_path, quiet=True)
    assert (tmp_path / "report.html").is_file()
    assert long not in (tmp_path / MANIFEST).read_text()


def test_what_a_linked_folder_holds_is_left_alone(tmp_path: Path) -> None:
    """A folder of results that somebody has packed may hold a link that leads anywhere."""
    sweep, elsewhere = tmp_path / "sweep", tmp_path / "elsewhere"
    sweep.mkdir()
    elsewhere.mkdir()
    (elsewhere / "settings.csv").write_text("theirs")
    (sweep / "tables").symlink_to(elsewhere)
    (sweep / MANIFEST).write_text(json.dumps({"files": {"tables/settings.csv": []}}))
    assert publish(sweep, tables__settings="1", tables__tuned="2", runs="3") == [
        "tables/settings.csv",
        "tables/tuned.csv",
    ]
    assert everything(elsewhere) == {"settings.csv": "theirs"}
    assert (sweep / "runs.csv").read_text() == "3"


@pytest.mark.parametrize(
    "name", ["runs/0123456789ab.json", "runs.parquet", "../sweep.json", "/etc/passwd", "sweep.json"]
)
def test_a_list_that_names_what_no_report_writes(tmp_path: Path, name: str) -> None:
    (tmp_path / "runs").mkdir()
    for own in ("runs/0123456789ab.json", "runs.parquet", "sweep.json"):
        (tmp_path / own).write_text("kept")
    (tmp_path / MANIFEST).write_text(json.dumps({"files": {name: []}}))
    publish(tmp_path, settings="1")
    assert everything(tmp_path) == {
        "runs/0123456789ab.json": "kept",
        "runs.parquet": "kept",
        "sweep.json": "kept",
        "settings.csv": "1",
    }


def test_a_list_that_is_no_text(tmp_path: Path) -> None:
    (tmp_path / MANIFEST).write_bytes(b"\xff\xfe")
    publish(tmp_path, tables__settings="1")
    assert everything(tmp_path) == {"tables/settings.csv": "1"}


def test_a_folder_that_cannot_be_written_to_any_more_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What was made aside stays then. It was a RecursionError."""

    def refused(*_: object, **__: object) -> None:
        raise PermissionError(errno.EACCES, "Permission denied", "aside")

    def make() -> None:
        with products(tmp_path) as made:
            made.write("a.csv", "a")
            monkeypatch.setattr(os, "unlink", refused)
            monkeypatch.setattr(os, "open", refused)
            made.write("b.csv", "b")

    with pytest.raises(StorageError):
        make()
    monkeypatch.undo()
    assert [path.name for path in tmp_path.glob(".report-*/*")] == ["a.csv"]


LOADED = """
import sys
from pathlib import Path
from ablate.report import load_all
from ablate.report.answer import answer
from ablate.report.blocks import Attempts, unheard
from ablate.report.contents import sheets, wanted
from ablate.report.material import gather
load_all()
material = gather(Path(sys.argv[1]), Attempts(unheard))
made = [answer(material), *(make() for make in sheets(material).values()), wanted(material)]
print(*{name.split(".")[1] for name in sys.modules if name.startswith("ablate.")})
"""
"""Makes all of a report but for its files, and says which parts of the package that took."""


@pytest.mark.full
def test_what_a_report_is_made_from_includes_whatever_part_of_the_package_it_takes(full: Path) -> None:
    found = subprocess.run([sys.executable, "-c", LOADED, full], capture_output=True, text=True, check=True).stdout
    assert {"analysis", "report"} <= set(found.split())
    assert set(found.split()) <= set(fingerprint.PARTS)
