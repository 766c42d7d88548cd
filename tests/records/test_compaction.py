"""One file per run against one file per sweep: the same records, curves and timings, whatever stops or damages them.

Made-up records; every step of a compaction is cut off once. CPU, 5 s.
"""

import json
import math
import os
import shutil
import struct
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from ablate.analysis.frames import curves_frame, runs_frame
from ablate.analysis.throughput import speed_frame
from ablate.cli.compact import main
from ablate.cli.merge import main as merge
from ablate.config.errors import UserError
from ablate.records import compaction, results, tables
from ablate.records import timings as stored_timings
from ablate.records.compaction import compact, unpack
from ablate.records.jobs import Batch
from ablate.records.places import curve_path, record_path
from ablate.records.reading import RecordError
from ablate.records.record import SCHEMA, NewerRecord
from tests.report.made import config, write_manifest, write_run, write_timing

RUNS = 4


class Killed(BaseException):
    """As kill -9 would: nothing after it is done."""


def made(folder: Path, runs: int = RUNS) -> Path:
    for seed in range(runs):
        write_run(folder, config(num_hiddens=8), seed, 2.0 + seed / 3, 3.1, [9.123456, 4.1 / 3, 2.5 + seed])
    write_run(folder, config("gru", num_hiddens=8, **{"optimizer.lr": 0.1}), 0, None, curve=[8.0, math.inf])
    write_timing(folder, config(num_hiddens=8), 1234.5)
    write_manifest(folder)
    return folder


def content(folder: Path) -> dict[str, Any]:
    """All that is stored of a sweep, by run, to the last bit."""
    found: dict[str, Any] = {}
    for record in results.records(folder):
        assert not isinstance(record, RecordError), record
        curve = results.load_curve(folder, record["run_id"])
        assert record["run_id"] not in found
        found[record["run_id"]] = json.dumps(record), {name: bits(values) for name, values in curve.items()}
    found["timings"] = sorted(json.dumps(timing) for timing in stored_timings.timings(folder))
    return found


def bits(values: list[float | None]) -> list[bytes | None]:
    return [None if value is None else struct.pack("d", value) for value in values]


def files(folder: Path) -> set[str]:
    return {str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file() and path.suffix != ".tmp"}


PACKED = {"runs.parquet", "curves.parquet", "speed.parquet", "sweep.json"}


def test_all_is_there_afterwards_to_the_last_bit(tmp_path: Path) -> None:
    before = content(made(tmp_path))
    frames = runs_frame(tmp_path), speed_frame(tmp_path)
    curves = curves_frame(tmp_path, frames[0][0])
    done = compact(tmp_path)
    assert (done.runs, done.timings, done.left) == (RUNS + 1, 1, ())
    assert files(tmp_path) == PACKED
    assert content(tmp_path) == before
    pd.testing.assert_frame_equal(runs_frame(tmp_path)[0], frames[0][0], check_exact=True)
    pd.testing.assert_frame_equal(speed_frame(tmp_path), frames[1], check_exact=True)
    pd.testing.assert_frame_equal(curves_frame(tmp_path, frames[0][0]), curves, check_exact=True)
    assert compact(tmp_path) == compaction.Compacted()
    assert unpack(tmp_path) == RUNS + 1
    assert content(tmp_path) == before
    assert not PACKED & {"runs.parquet"} & files(tmp_path)


ODD: dict[str, Any] = {
    "a number of many digits": {"perplexity": 0.1 + 0.2, "val_perplexity": 5e-324},
    "a large whole number": {"perplexity": 2**53 + 1},
    "none": {"perplexity": None},
    "NaN and infinity, as other programs write them": {"perplexity": math.inf, "tail_perplexity": -0.0},
}


@pytest.mark.parametrize("metrics", ODD.values(), ids=ODD)
def test_odd_values_come_back(tmp_path: Path, metrics: dict[str, Any]) -> None:
    run = write_run(tmp_path, config(num_hiddens=8), 0, 2.0)
    path = record_path(tmp_path, run)
    record = json.loads(path.read_text())
    record["metrics"] |= metrics
    record["of a later version"] = {"nested": [1, 2.0, None, "é\u2028", {"x": []}]}
    path.write_text(json.dumps(record))
    curve = "epoch,perplexity,accuracy\n1,,nan\n2,0.30000000000000004,inf\n3,-0,1e-320\n"
    curve_path(tmp_path, run).write_text(curve)
    before = content(tmp_path)
    compact(tmp_path)
    assert content(tmp_path) == before
    assert json.loads(before[run][0])["of a later version"] == record["of a later version"]
    unpack(tmp_path)
    assert content(tmp_path) == before


@pytest.mark.parametrize("header", ["epoch,perplexity", "epoch,perplexity,val_perplexity,accuracy"])
def test_columns_that_other_runs_have_not_and_curves_without_epochs(tmp_path: Path, header: str) -> None:
    made(tmp_path)
    run = write_run(tmp_path, config(num_hiddens=16), 0, 2.0)
    curve_path(tmp_path, run).write_text(header + "\n")
    before = content(tmp_path)
    compact(tmp_path)
    assert content(tmp_path) == before
    assert list(before[run][1]) == header.split(",")


def test_curves_of_which_none_has_an_epoch(tmp_path: Path) -> None:
    """As where every run diverged in its first epoch."""
    for seed in range(2):
        run = write_run(tmp_path, config(num_hiddens=8), seed, None, curve=[8.0, math.inf])
        curve_path(tmp_path, run).write_text("epoch,perplexity\n")
    before = content(tmp_path)
    assert compact(tmp_path).runs == 2
    assert content(tmp_path) == before
    assert compact(tmp_path).runs == 0
    unpack(tmp_path)
    assert content(tmp_path) == before


def test_pandas_reads_it_in_one_line(tmp_path: Path) -> None:
    made(tmp_path)
    compact(tmp_path)
    runs = pd.read_parquet(tmp_path / "runs.parquet")
    assert {"run_id", "setting_id", "seed", "status", "model", "model.cell", "num_hiddens", "lr"} <= set(runs)
    assert sorted(runs["perplexity"].dropna()) == [2.0 + seed / 3 for seed in range(RUNS)]
    curves = pd.read_parquet(tmp_path / "curves.parquet")
    assert curves.groupby("run_id", observed=True)["epoch"].count().max() == 3
    assert pd.read_parquet(tmp_path / "speed.parquet")["train.tokens_per_s"].tolist() == [1234.5]


# --- stopped, at every step ---------------------------------------------------------------------------------


def cut_off(patch: pytest.MonkeyPatch, after: int) -> list[str]:
    """Let the disk take so many changes, then none."""
    done: list[str] = []

    def counted(plain: Callable[..., Any]) -> Callable[..., Any]:
        def change(*arguments: Any, **options: Any) -> Any:
            if len(done) >= after:
                raise Killed
            done.append(str(arguments[-1]))
            return plain(*arguments, **options)

        return change

    for name in ("replace", "unlink", "rmdir"):
        patch.setattr(os, name, counted(getattr(os, name)))
    return done


def steps(start: Callable[[Path], object], tmp_path: Path) -> Iterator[Path]:
    """A folder for each number of changes after which a compaction is cut off; the last one is not."""
    for after in range(100):
        folder = tmp_path / str(after)
        start(folder)
        ended = False
        with pytest.MonkeyPatch.context() as patch, suppress(Killed):
            cut_off(patch, after)
            compact(folder)
            ended = True
        yield folder
        if ended:
            return
    raise AssertionError("a compaction does not end")


def begun_before(folder: Path) -> None:
    """A folder that was compacted, and got a new run, an old one trained again, and another timing."""
    made(folder)
    compact(folder)
    write_run(folder, config(num_hiddens=8), RUNS, 7.0, curve=[3.0, 2.0])
    write_run(folder, config(num_hiddens=8), 0, 5.5, curve=[7.0, 6.0, 5.5])
    write_timing(folder, config(num_hiddens=8), 99.0)


@pytest.mark.full
@pytest.mark.parametrize("start", [begun_before, pytest.param(made, marks=pytest.mark.full)])
def test_cut_off_at_any_step_all_is_there_and_it_goes_on(tmp_path: Path, start: Callable[[Path], object]) -> None:
    start(tmp_path / "plain")
    before = content(tmp_path / "plain")
    assert len(before) > RUNS
    compact(tmp_path / "plain")
    assert content(tmp_path / "plain") == before
    whole = {name: (tmp_path / "plain" / name).read_bytes() for name in files(tmp_path / "plain")}
    cuts = 0
    for folder in steps(start, tmp_path):
        cuts += 1
        assert content(folder) == before, folder
        compact(folder)
        assert content(folder) == before, folder
        assert {name: (folder / name).read_bytes() for name in files(folder)} == whole, folder
    assert cuts > 2 * 3


def test_a_run_that_is_trained_again_takes_the_place_of_the_old_one(tmp_path: Path) -> None:
    begun_before(tmp_path)
    values = {record["seed"]: record["metrics"]["perplexity"] for record in results.records(tmp_path)}
    compact(tmp_path)
    again = {record["seed"]: record["metrics"]["perplexity"] for record in results.records(tmp_path)}
    assert again == values
    curves = pd.read_parquet(tmp_path / "curves.parquet")
    assert 9.123456 not in curves.loc[curves["run_id"] == by_seed(tmp_path)[0], "perplexity"].tolist()


def by_seed(folder: Path) -> dict[int, str]:
    found = [record for record in results.records(folder) if not isinstance(record, RecordError)]
    return {r["seed"]: r["run_id"] for r in found if r["config"]["model"]["name"] == "rnn"}


def test_what_changes_meanwhile_is_not_deleted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A run is trained again, and another one added, between the reading and the deleting."""
    made(tmp_path)
    plain = tables.write_runs

    def meanwhile(*arguments: Any) -> None:
        plain(*arguments)
        write_run(tmp_path, config(num_hiddens=8), 0, 77.0)
        write_run(tmp_path, config(num_hiddens=8), 50, 78.0)

    monkeypatch.setattr(tables, "write_runs", meanwhile)
    compact(tmp_path)
    values = {record["metrics"]["perplexity"] for record in results.records(tmp_path)}
    assert {77.0, 78.0} <= values
    assert 2.0 not in values


def test_two_at_once_lose_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without a lock: another program has compacted the folder, with one run more, since it was read."""
    made(tmp_path)
    once: list[int] = []
    check = compaction._unchanged
    monkeypatch.setattr(compaction, "_unchanged", lambda *a: (meanwhile(once, tmp_path), check(*a)))
    with pytest.raises(UserError, match="another program"):
        compact(tmp_path)
    assert 66.0 in {record["metrics"]["perplexity"] for record in results.records(tmp_path)}


def meanwhile(once: list[int], folder: Path) -> None:
    if not once:
        once.append(1)
        write_run(folder, config(num_hiddens=8), 60, 66.0)
        compact(folder)


def train_again(folder: Path) -> None:
    """Each run once more, as `results.save` does it: the curve, then the record."""
    made(folder / "again" / "x")
    for name in ("curves", "runs"):
        (folder / name).mkdir(exist_ok=True)
        for path in (folder / "again" / "x" / name).iterdir():
            path.rename(folder / name / path.name)


@pytest.mark.full
def test_readers_see_every_run_at_every_moment(tmp_path: Path) -> None:
    made(tmp_path)
    expected = set(content(tmp_path))
    stop: list[int] = []

    def read() -> int:
        times = 0
        while not stop:
            ids = {record["run_id"] for record in results.records(tmp_path) if not isinstance(record, RecordError)}
            assert ids == expected - {"timings"}
            for run_id in ids:
                assert results.load_curve(tmp_path, run_id)["epoch"]
            times += 1
        return times

    with ThreadPoolExecutor(1) as pool:
        reader = pool.submit(read)
        for _ in range(10):
            compact(tmp_path)
            train_again(tmp_path)
        stop.append(1)
        assert reader.result() > 0


# --- copied, edited, damaged --------------------------------------------------------------------------------


@pytest.mark.full
@pytest.mark.parametrize("name", ["runs.parquet", "curves.parquet", "speed.parquet"])
@pytest.mark.parametrize("damage", ["cut", "empty", "text", "bit"])
def test_a_damaged_file_is_one_line_and_is_kept(tmp_path: Path, name: str, damage: str) -> None:
    made(tmp_path)
    compact(tmp_path)
    path = tmp_path / name
    whole = path.read_bytes()
    broken = {"cut": whole[: len(whole) // 2], "empty": b"", "text": b"not a table"}.get(damage)
    if broken is None:
        middle = whole.index(b"\x28\xb5\x2f\xfd") + 20  # in the first compressed page
        broken = whole[:middle] + bytes([whole[middle] ^ 4]) + whole[middle + 1 :]
    path.write_bytes(broken)
    new = write_run(tmp_path, config(num_hiddens=8), 9, 5.0)
    write_timing(tmp_path, config(num_hiddens=16), 5.0)
    frame, problems = runs_frame(tmp_path)
    assert new in set(frame["run_id"])
    assert len(frame) == (1 if name == "runs.parquet" else RUNS + 2)
    assert [str(path) in line for line in problems] == [True] * (name == "runs.parquet")
    if name != "speed.parquet":
        assert not results.finished(tmp_path, "0" * 12)
        assert results.finished(tmp_path, new)
        with pytest.raises(UserError) as caught:
            compact(tmp_path)
        assert str(path) in str(caught.value)
        assert len(str(caught.value).splitlines()) == 1
        assert results.finished(tmp_path, new)
    assert path.read_bytes() == broken
    path.write_bytes(whole)
    compact(tmp_path)
    assert len(runs_frame(tmp_path)[0]) == RUNS + 2


def test_a_copy_of_anothers_file_counts_no_run_without_its_curve(tmp_path: Path) -> None:
    made(tmp_path / "a")
    write_run(tmp_path / "b", config(num_hiddens=64), 0, 2.0)
    compact(tmp_path / "a")
    compact(tmp_path / "b")
    shutil.copy(tmp_path / "a" / "curves.parquet", tmp_path / "b")
    [record] = results.records(tmp_path / "b")
    assert not results.finished(tmp_path / "b", record["run_id"])
    assert len(curves_frame(tmp_path / "b", runs_frame(tmp_path / "b")[0])) == 0
    with pytest.raises(RecordError):
        results.load_curve(tmp_path / "b", record["run_id"])


def edited(path: Path, change: Callable[[pd.DataFrame], pd.DataFrame]) -> None:
    change(pd.read_parquet(path)).to_parquet(path)


def test_what_was_edited_by_hand(tmp_path: Path) -> None:
    """Columns for people say nothing to us; a run that was renamed, and an edited curve, are named."""
    made(tmp_path)
    compact(tmp_path)
    before = content(tmp_path)
    path = tmp_path / "runs.parquet"
    edited(path, lambda frame: frame.assign(perplexity=1.0))
    assert content(tmp_path) == before
    run = by_seed(tmp_path)[1]
    edited(path, lambda frame: frame[frame["run_id"] != run])
    assert content(tmp_path) == {name: value for name, value in before.items() if name != run}
    first = by_seed(tmp_path)[0]
    edited(path, lambda frame: frame.assign(run_id=frame["run_id"].replace(first, "f" * 12)))
    [problem] = [record for record in results.records(tmp_path) if isinstance(record, RecordError)]
    assert first in str(problem)
    other = by_seed(tmp_path)[2]
    edited(tmp_path / "curves.parquet", lambda frame: frame.assign(perplexity=frame["perplexity"] + 1))
    with pytest.raises(RecordError, match="edited"):
        results.load_curve(tmp_path, other)
    edited(path, lambda frame: frame.drop(columns="record"))
    [problem] = results.records(tmp_path)
    assert "record" in str(problem)


def beside_what_was_moved_away(sweep: Path) -> dict[str, Any]:
    """One run in a folder whose runs.parquet is `away`; what that held."""
    made(sweep)
    compact(sweep)
    before = content(sweep)
    (sweep / "runs.parquet").rename(sweep / "away")
    write_run(sweep, config(num_hiddens=128), 0, 4.0)
    return before


def test_the_curves_of_a_file_that_was_moved_away_wait_for_it(tmp_path: Path) -> None:
    before = beside_what_was_moved_away(tmp_path)
    compact(tmp_path)
    (tmp_path / "away").rename(tmp_path / "runs.parquet")
    assert content(tmp_path) == before


def test_undone_they_still_wait_for_it(tmp_path: Path) -> None:
    before = beside_what_was_moved_away(tmp_path)
    assert unpack(tmp_path) == 0
    (tmp_path / "away").rename(tmp_path / "runs.parquet")
    after = content(tmp_path)
    assert {name: after[name] for name in before} == before


@pytest.mark.full
def test_undone_and_cut_off_at_any_step_all_is_there_and_it_goes_on(tmp_path: Path) -> None:
    before = content(made(tmp_path / "plain"))
    compact(tmp_path / "plain")
    ended, after = False, 0
    while not ended:
        folder = tmp_path / str(after)
        shutil.copytree(tmp_path / "plain", folder)
        with pytest.MonkeyPatch.context() as patch, suppress(Killed):
            cut_off(patch, after)
            unpack(folder)
            ended = True
        assert content(folder) == before, folder
        unpack(folder)
        assert content(folder) == before, folder
        assert not {path for path in files(folder) if path.endswith(".parquet")}, folder
        after += 1
    assert after > 2 * RUNS


@pytest.mark.parametrize("part", ["record", "curve"])
def test_a_damaged_file_of_a_run_that_is_packed_costs_nothing_when_that_is_undone(tmp_path: Path, part: str) -> None:
    sweep, loose = made(tmp_path / "a"), tmp_path / "loose"
    run = by_seed(sweep)[0]
    before = content(sweep)
    shutil.copytree(sweep, loose)
    compact(sweep)
    for place in (record_path, curve_path):
        place(sweep, run).parent.mkdir(exist_ok=True)
        shutil.copy(place(loose, run), place(sweep, run))
    (record_path if part == "record" else curve_path)(sweep, run).write_text("epoch,perplexity\n1,x\n")
    unpack(sweep)
    assert content(sweep) == before


@pytest.mark.parametrize("command", ["compact", "merge"])
def test_nothing_is_packed_beside_jobs_of_a_cluster(
    tmp_path: Path, command: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """One that is begun again would not find the files of its runs, and train them a second time."""
    folders = [made(tmp_path / name) for name in ("a", "b")]
    Batch(folders[0] / "jobs" / "0001", "slurm", 1, ["7"]).write()
    before = files(folders[0])
    if command == "compact":
        assert main([str(folders[0])]) == 2
    else:
        assert merge([str(folders[1]), "--into", str(folders[0])]) == 2
    assert "1 job of a cluster (7)" in capsys.readouterr().err
    assert files(folders[0]) == before


def test_what_is_no_whole_record_stays_as_it_is(tmp_path: Path) -> None:
    made(tmp_path)
    ids = by_seed(tmp_path)
    record_path(tmp_path, ids[0]).write_text("damaged")
    path = record_path(tmp_path, ids[1])
    path.write_text(json.dumps(json.loads(path.read_text()) | {"schema": SCHEMA + 1}))
    curve_path(tmp_path, ids[2]).unlink()
    (tmp_path / "runs" / "copy.json").write_text(record_path(tmp_path, ids[3]).read_text())
    done = compact(tmp_path)
    assert (done.runs, len(done.left)) == (2, 4)
    assert {f"runs/{name}.json" for name in (ids[0], ids[1], ids[2], "copy")} <= files(tmp_path)
    with pytest.raises(NewerRecord):
        results.refuse_newer(tmp_path, ids[1])


def test_the_command(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    made(tmp_path / "a")
    assert main([str(tmp_path / "a")]) == 0
    assert f"{RUNS + 1} runs" in capsys.readouterr().err
    assert main(["--undo", str(tmp_path / "a")]) == 0
    assert len(list((tmp_path / "a" / "runs").iterdir())) == RUNS + 1
    assert main([str(tmp_path / "nowhere")]) == 2


ELSEWHERE = ("../../outside", "/tmp/outside", "..", "a/b", "a\0b", "a" * 300, "", "a\\b")


@pytest.mark.parametrize("name", ELSEWHERE)
def test_an_id_that_leads_elsewhere_is_no_run(tmp_path: Path, name: str) -> None:
    """Neither a report nor --undo goes where a row of runs.parquet says, nor where one of speed.parquet does."""
    sweep = made(tmp_path / "results" / "made", runs=1)
    compact(sweep)
    packed = tables.runs_of(sweep)
    assert packed is not None
    rows = [(json.loads(row.record), row) for row in packed.rows]
    record, row = rows[0]
    hostile = record | {"run_id": name}
    tables.write_runs(
        sweep, [(hostile, tables.Row(name, json.dumps(hostile), row.curve, row.curve_columns)), *rows[1:]]
    )
    before = set(tmp_path.rglob("*"))
    assert [type(one) for one in results.records(sweep)].count(RecordError) == 1
    with pytest.raises(UserError, match=r"no id of a run|not a whole record"):
        unpack(sweep)
    assert set(tmp_path.rglob("*")) == before


@pytest.mark.parametrize("name", ELSEWHERE)
@pytest.mark.parametrize("part", ["setting_id", "machine"])
def test_a_timing_that_leads_elsewhere_is_none(tmp_path: Path, name: str, part: str) -> None:
    sweep = made(tmp_path / "results" / "made", runs=1)
    compact(sweep)
    [timing] = stored_timings.packed_timings(sweep)
    tables.write_timings(sweep, [timing | {part: name}])
    before = set(tmp_path.rglob("*"))
    assert list(stored_timings.timings(sweep)) == []
    with pytest.raises(UserError, match="not a timing"):
        unpack(sweep)
    assert set(tmp_path.rglob("*")) == before, "nothing was deleted, nothing written"
