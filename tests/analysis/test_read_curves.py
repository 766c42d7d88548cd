"""Curves read many at a time against each by itself, whole and damaged; how much they move at the end. CPU, 1 s."""

import math
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow.parquet as pq
import pytest

from ablate.analysis import curves
from ablate.analysis.curves import COLUMNS, StoredCurves, fitted_since_best, late_change, read_curves
from ablate.records import results, tables
from ablate.records.compaction import compact
from ablate.records.places import curve_path, curves_path
from tests.report.made import config, write_run

HEADER = "epoch,perplexity,val_perplexity"
WHOLE = f"{HEADER}\n1,22.86816,\n2,17.61247,17.75644\n3,1.234567e+12,\n"


def write(sweep: Path, texts: Mapping[str, str | bytes]) -> None:
    (sweep / "curves").mkdir(exist_ok=True)
    for run_id, text in texts.items():
        path = curve_path(sweep, run_id)
        path.write_bytes(text if isinstance(text, bytes) else text.encode())


def one_by_one(sweep: Path, run_ids: Sequence[str]) -> pd.DataFrame:
    frames = [pd.DataFrame(results.load_curve(sweep, run), dtype=float).assign(run_id=run) for run in run_ids]
    return pd.concat(frames, ignore_index=True).reindex(columns=list(COLUMNS))


def random_curve(seed: int) -> str:
    rng = np.random.default_rng(seed)
    rows = [
        f"{epoch},{value:.7g},{'' if epoch % 3 else f'{value * 2:.7g}'}"
        for epoch, value in enumerate(np.exp(rng.normal(1, 2, rng.integers(1, 40))), 1)
    ]
    return "\n".join([HEADER, *rows]) + "\n"


@pytest.mark.parametrize("together", [1, 4, 500])
def test_as_one_by_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, together: int) -> None:
    monkeypatch.setattr(curves, "TOGETHER", together)
    run_ids = [f"{k:012x}" for k in range(30)]
    write(tmp_path, {run: random_curve(k) for k, run in enumerate(run_ids)})
    pd.testing.assert_frame_equal(read_curves(tmp_path, run_ids), one_by_one(tmp_path, run_ids), check_exact=True)


@pytest.mark.parametrize(
    "damaged",
    [
        "",
        HEADER,
        f"{HEADER}\n1,2",
        f"{HEADER}\n1,2,3\n2,1",
        f"{HEADER}\n1,2,3\n2,4\n3,4,5,6\n",
        f"{HEADER}\n1,two,3\n",
        f"{HEADER}\n\n1,2,3\n",
        b"\xff\xfe\x00,,\n",
        "a,b\n1,2\n",
        '{"not": "a curve"}\n',
        None,
    ],
)
def test_a_damaged_curve_is_left_out(tmp_path: Path, damaged: str | bytes | None) -> None:
    whole = [f"{k:012x}" for k in range(9)]
    write(tmp_path, dict.fromkeys(whole, WHOLE))
    if damaged is not None:
        write(tmp_path, {"damaged": damaged})
    frame = read_curves(tmp_path, [*whole[:4], "damaged", *whole[4:]])
    pd.testing.assert_frame_equal(frame, one_by_one(tmp_path, whole), check_exact=True)


@pytest.mark.parametrize(
    "odd",
    [
        WHOLE.replace("\n", "\r\n"),
        WHOLE.rstrip("\n"),
        "epoch,perplexity\n1,3.5\n2,3\n",
        "epoch,val_perplexity,perplexity\n1,3.5,4\n",
        f"{HEADER}\n1,nan,\n2,inf,1\n",
    ],
)
def test_an_odd_curve_is_read_by_itself(tmp_path: Path, odd: str) -> None:
    run_ids = ["a", "b", "odd", "c"]
    write(tmp_path, dict.fromkeys(run_ids, WHOLE) | {"odd": odd})
    frame = read_curves(tmp_path, run_ids)
    assert set(frame["run_id"]) == set(run_ids)
    pd.testing.assert_frame_equal(frame, one_by_one(tmp_path, run_ids), check_exact=True)


def test_no_curves(tmp_path: Path) -> None:
    for run_ids in ([], ["missing"]):
        frame = read_curves(tmp_path, run_ids)
        assert frame.empty
        assert list(frame.columns) == list(COLUMNS)


# --- the end of a curve -------------------------------------------------------------------------------------


def curve(run_id: str, perplexity: Sequence[float]) -> pd.DataFrame:
    return pd.DataFrame({"run_id": run_id, "epoch": range(1, len(perplexity) + 1), "perplexity": perplexity})


def test_late_change_by_hand() -> None:
    """Of 30 epochs the last two, of geometric mean 4, after two of geometric mean 5; of 3 the last after one."""
    long = curve("long", [100.0] * 26 + [2.5, 10, 8, 2])
    short = curve("short", [9, 8, 10])
    change = late_change(pd.concat([long, short, curve("single", [3])], ignore_index=True))
    assert dict(change) == pytest.approx({"long": -0.2, "short": 0.25})


def test_late_change_in_any_order() -> None:
    rng = np.random.default_rng(0)
    frames = [curve(str(k), np.exp(rng.normal(size=int(n)))) for k, n in enumerate(rng.integers(2, 90, 12))]
    table = pd.concat(frames, ignore_index=True)
    expected = {}
    for run, own in table.groupby("run_id"):
        logs, width = np.log(own["perplexity"].to_numpy()), max(1, math.ceil(0.05 * len(own)))
        expected[run] = math.expm1(logs[-width:].mean() - logs[-2 * width : -width].mean())
    assert dict(late_change(table)) == pytest.approx(expected)
    assert dict(late_change(table.sample(frac=1, random_state=0))) == pytest.approx(expected)


def test_accuracy_is_read_where_a_task_has_it(tmp_path: Path) -> None:
    """And nothing that is no metric."""
    (tmp_path / "curves").mkdir()
    with_it = "epoch,perplexity,val_perplexity,accuracy,another\n1,9,8,0.5,\n2,4,,,0.1\n"
    (tmp_path / "curves" / "a.csv").write_text(with_it)
    (tmp_path / "curves" / "b.csv").write_text("epoch,perplexity,val_perplexity\n1,7,\n")
    frame = read_curves(tmp_path, ["a", "b"])
    assert list(frame) == ["run_id", "epoch", "perplexity", "val_perplexity", "accuracy"]
    assert frame["accuracy"].tolist()[0] == 0.5
    assert frame["accuracy"].isna().tolist() == [False, True, True]
    assert list(read_curves(tmp_path, ["b"])) == ["run_id", "epoch", "perplexity", "val_perplexity"]


def test_whether_training_fell_after_the_best_held_out_epoch() -> None:
    """Over 20 epochs, the last of which is the last 5 %."""
    epochs = list(range(1, 21))
    at_5 = [abs(epoch - 5.0) for epoch in epochs]
    made = {
        "fell": ([4.0] * 10 + [2.0] * 10, at_5),
        "rose": ([4.0] * 10 + [9.0] * 10, at_5),
        "still best": ([4.0] * 10 + [2.0] * 10, [30.0 - epoch for epoch in epochs]),
        "not measured": ([4.0] * 10 + [2.0] * 10, [math.nan] * 20),
    }
    parts = [
        pd.DataFrame({"run_id": run, "epoch": epochs, "perplexity": training, "val_perplexity": held_out})
        for run, (training, held_out) in made.items()
    ]
    curves = pd.concat(parts, ignore_index=True)
    assert fitted_since_best(curves, made).to_dict() == {"fell": True, "rose": False}
    assert fitted_since_best(curves, ["rose", "not measured"]).to_dict() == {"rose": False}
    assert fitted_since_best(curves, []).empty


@pytest.mark.full
@pytest.mark.parametrize("rows_of_a_group", [1, 7, 1000])
@pytest.mark.parametrize("portion", [1, 50, 10_000])
def test_curves_that_are_read_a_part_at_a_time_say_the_same(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, rows_of_a_group: int, portion: int
) -> None:
    """In one file, where a curve can lie in several groups of rows, beside files of single runs."""
    rng = np.random.default_rng(0)
    lengths = [1, 3, 40, 7, 20, 2]
    for seed, epochs in enumerate(lengths):
        write_run(tmp_path, config(num_hiddens=8), seed, 2.0, curve=list(1 + rng.random(epochs)))
    run_ids = [record["run_id"] for record in results.records(tmp_path) if isinstance(record, dict)]
    loose = {run_id: results.load_curve(tmp_path, run_id) for run_id in run_ids}
    compact(tmp_path)
    path = curves_path(tmp_path)
    pq.write_table(pq.read_table(path), path, row_group_size=rows_of_a_group, write_page_checksum=True)
    run_ids.append(write_run(tmp_path, config(num_hiddens=16), 0, 2.0, curve=[3.0, 2.0, 1.0]))
    assert {run_id: results.load_curve(tmp_path, run_id) for run_id in run_ids[:-1]} == loose
    run_ids.reverse()
    whole = read_curves(tmp_path, run_ids)
    assert list(dict.fromkeys(whole["run_id"])) == run_ids
    assert len(whole) == sum(lengths) + 3
    monkeypatch.setattr(StoredCurves, "PORTION", portion)
    stored = StoredCurves(tmp_path, run_ids)
    elsewhere = StoredCurves(tmp_path, [*run_ids[2:6], "of no run"]).course  # read by another process, before
    for one in (stored, StoredCurves(tmp_path, run_ids, elsewhere)):
        pd.testing.assert_series_equal(
            late_change(one).sort_index(), late_change(whole).sort_index(), check_names=False
        )
        for some in (run_ids, run_ids[1:4], []):
            fitted = fitted_since_best(whole, some)
            assert fitted.keys().isin(some).all()
            assert fitted_since_best(one, some).to_dict() == fitted.to_dict()
    few = StoredCurves(tmp_path, run_ids[:3], stored.course)  # of which the others were excluded since
    assert set(late_change(few).index) <= set(run_ids[:3])
    pd.testing.assert_frame_equal(
        stored.of(run_ids[2:4]), whole[whole["run_id"].isin(run_ids[2:4])].reset_index(drop=True)
    )


def test_of_a_large_file_no_more_than_a_group_of_rows_is_read_for_one_curve(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for seed in range(6):
        write_run(tmp_path, config(num_hiddens=8), seed, 2.0, curve=[3.0, 2.0])
    compact(tmp_path)
    path = curves_path(tmp_path)
    pq.write_table(pq.read_table(path), path, row_group_size=2, write_page_checksum=True)
    found, read = tables.curves_of(tmp_path), list[int]()
    assert found is not None
    group = found._group
    monkeypatch.setattr(found, "_group", lambda number: read.append(number) or group(number))
    packed = tables.runs_of(tmp_path)
    assert packed is not None
    found.curve(packed.rows[3])
    assert len(read) == 1
