"""How long the report of a large sweep takes, and how much memory: a sweep made up, in its Parquet files, is reported.

    python -m tests.report.many_runs FOLDER --settings 1000 --seeds 20 --epochs 500

makes FOLDER, where it is not there yet, and reports it: seconds by the clock and of the processor, and memory at its
peak, of this process and of the largest of those that draw. No test: times depend on the machine.
"""

import argparse
import itertools
import resource
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from ablate.records import tables
from ablate.records.files import compact_json
from ablate.records.places import curves_path
from ablate.report import write_report
from tests.report.made import config, record_of, write_manifest

GRID: dict[str, list[Any]] = {
    "model": ["rnn", "gru"],
    "num_hiddens": [16, 32, 64, 128, 256],
    "lr": [round(0.1 * step, 1) for step in range(1, 21)],
    "clip": [0.25, 0.5, 1.0, 2.0, 4.0],
    "layers": [1, 2, 3],
    "batch_size": [16, 32, 64],
}


def settings(count: int) -> Iterator[dict[str, Any]]:
    """The first settings of a grid."""
    for values in itertools.islice(itertools.product(*GRID.values()), count):
        yield config(**dict(zip(GRID, values, strict=True)))


def make(folder: Path, count: int, seeds: int, epochs: int) -> None:
    """A sweep as `compact` leaves it: every perplexity falls from 28 to its last, with noise."""
    write_manifest(folder)
    draws = np.random.default_rng(0)
    records = []
    for setting in settings(count):
        level = 4 + 4 * draws.random()
        for seed in range(seeds):
            last = float(level * np.exp(0.05 * draws.standard_normal()))
            record = record_of(setting, seed, last, 1.3 * last, epochs)
            row = tables.Row(record["run_id"], compact_json(record), f"c{record['run_id']}", COLUMNS)
            records.append((record, row))
    records.sort(key=lambda one: one[1].run_id)
    tables.write_runs(folder, records)
    falling = np.exp(-np.arange(1, epochs + 1) / (epochs / 5))
    writer = None
    for part in (records[start : start + TOGETHER] for start in range(0, len(records), TOGETHER)):
        lasts = np.array([record["metrics"]["perplexity"] for record, _ in part])[:, None]
        curves = lasts * (1 + 5 * falling) * np.exp(0.01 * draws.standard_normal((len(part), epochs)))
        codes = np.repeat(np.arange(len(part), dtype=np.int32), epochs)
        names = {"run_id": [row.run_id for _, row in part], "curve": [row.curve for _, row in part]}
        columns = {name: pa.DictionaryArray.from_arrays(codes, pa.array(texts)) for name, texts in names.items()}
        columns |= {"epoch": pa.array(np.tile(np.arange(1.0, epochs + 1), len(part)))}
        columns |= {"perplexity": pa.array(curves.ravel()), "val_perplexity": pa.array(1.3 * curves.ravel())}
        table = pa.table(columns)
        writer = writer or pq.ParquetWriter(
            curves_path(folder), table.schema, compression="zstd", write_page_checksum=True
        )
        writer.write_table(table)
    if writer is not None:
        writer.close()


COLUMNS = ("epoch", "perplexity", "val_perplexity")
TOGETHER = 2000
"""Runs whose curves are in one row group."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    for name, default in (("settings", 1000), ("seeds", 20), ("epochs", 500)):
        parser.add_argument(f"--{name}", type=int, default=default)
    given = parser.parse_args()
    if not given.folder.exists():
        make(given.folder, given.settings, given.seeds, given.epochs)
        print("made; once more for the report, in a process of its own")
        return
    began = time.perf_counter()
    write_report(given.folder, quiet=True)
    wall = time.perf_counter() - began
    for who, used in (("here", resource.RUSAGE_SELF), ("drawing", resource.RUSAGE_CHILDREN)):
        facts = resource.getrusage(used)
        print(f"{who}: {facts.ru_utime + facts.ru_stime:.1f} s CPU, {facts.ru_maxrss / 2**20:.2f} GiB")
    print(f"{wall:.1f} s by the clock")


if __name__ == "__main__":
    main()
