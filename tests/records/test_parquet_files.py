"""Parquet files of which few bytes stand for more than the memory: refused in a line, by their own footer."""

import math
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from ablate.records import parquet_files
from ablate.records.compaction import compact
from ablate.records.parquet_files import TableError, opened, read
from ablate.records.places import runs_path
from tests.report.made import config, write_sweep


@pytest.fixture
def small_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(parquet_files, "memory_bytes", lambda: 2.0**20)


@pytest.mark.parametrize(
    "column", [pa.array(["x" * 2**21]), pa.array([1.5] * 2**18)], ids=["one long text", "many equal numbers"]
)
def test_what_takes_more_than_there_is(tmp_path: Path, small_memory: None, column: pa.Array) -> None:
    path = tmp_path / "bomb.parquet"
    pq.write_table(pa.table({"it": column}), path, compression="zstd")
    assert path.stat().st_size < 2**12
    with pytest.raises(TableError, match=r"bomb\.parquet: takes 0\.0 GiB of memory, of which this machine has 0\.0$"):
        read(path, ["it"])


def test_only_what_is_read_counts(tmp_path: Path, small_memory: None) -> None:
    """As the names of runs, beside records that are read in parts."""
    path = tmp_path / "large.parquet"
    pq.write_table(pa.table({"run_id": ["a"], "record": ["x" * 2**21]}), path, compression="zstd")
    assert read(path, ["run_id"]).column("run_id").to_pylist() == ["a"]
    with pytest.raises(TableError, match="takes"):
        read(path, ["run_id", "record"])


@pytest.mark.parametrize("pages", [-1, 0])
def test_a_system_that_does_not_tell_its_memory(monkeypatch: pytest.MonkeyPatch, pages: int) -> None:
    monkeypatch.setattr(parquet_files.os, "sysconf", lambda name: pages if name == "SC_PHYS_PAGES" else 4096)
    assert parquet_files.memory_bytes() == math.inf


def test_groups_of_rows_that_are_read_one_by_one(tmp_path: Path, small_memory: None) -> None:
    path = tmp_path / "large.parquet"
    pq.write_table(pa.table({"it": [float(n) for n in range(2**18)]}), path, row_group_size=2**16)
    with opened(path, in_parts=True) as file:
        assert file.read_row_group(3).num_rows == 2**16
    with pytest.raises(TableError, match="takes"), opened(path):
        pass


def test_a_command_names_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, main: Any) -> None:
    sweep = tmp_path / "results" / "made-up"
    write_sweep(sweep, [config("rnn")], seeds=2, epochs=3)
    compact(sweep)
    table = pq.read_table(runs_path(sweep))
    place = table.column_names.index("record")
    table = table.set_column(place, "record", pa.array(["x" * 2**22, table.column("record")[1].as_py()]))
    pq.write_table(table, runs_path(sweep), compression="zstd")
    monkeypatch.setattr(parquet_files, "memory_bytes", lambda: 2.0**20)
    told = main("claims", str(sweep))
    assert told.status == 2
    assert told.err.count("\n") == 1
    assert "runs.parquet: takes 0.0 GiB of memory" in told.err
