"""Seconds and memory of what is done with many records: loading, means, a claim, a report; from 10⁴ to 10⁶ runs.

    python docs/benchmarks/many_records.py --runs 10000,20000,100000 --epochs 500
    python docs/benchmarks/many_records.py --runs 1000000 --epochs 2 --into /tmp/records --keep

The records are generated from those of a committed sweep: a full grid of both models, num_hiddens, lr, clip
and layers, 20 seeds a setting, each with the identity that the package gives it, packed as `ablate compact` packs
them. Every value of a knob has an effect of its own on perplexity, every run and every epoch noise; curves are those
of the sweep, drawn out or cut to the epochs that are asked for. Nothing is trained.

Each step is a process of its own, of which are printed: seconds by the clock, seconds of processor with the processes
that it starts, and its peak memory in MiB (the largest of its processes).
"""

import argparse
import json
import math
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import product
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
SOURCE = ROOT / "results" / "table18_19_model_by_num_hiddens"
MODELS = ("gru", "lstm")
SEEDS = 20
AT_ONCE = 5_000_000
"""Rows of curves that are made and written at once."""
SPREAD = 0.02
"""Standard deviation of the logarithm of perplexity over seeds; of an epoch a quarter of it."""
OWN = ("run_id", "seed", "config", "identity", "metrics")
"""Parts of a record that each run has of its own."""
CLAIM = ("gru < lstm", "--most")


def main() -> None:
    options = arguments()
    folder = options.into or Path(tempfile.mkdtemp(prefix="many-records-"))
    print("runs       epochs  step        seconds  processor s  peak MiB")
    for runs in options.runs:
        sweep = folder / f"runs{runs}x{options.epochs}"
        if not (sweep / "runs.parquet").is_file():
            show(
                runs,
                options.epochs,
                "make",
                [sys.executable, __file__, "--make", sweep, *map(str, (runs, options.epochs))],
            )
        ablate = [sys.executable, "-m", "ablate"]
        show(runs, options.epochs, "load", [sys.executable, __file__, "--load", sweep])
        show(runs, options.epochs, "load, means", [sys.executable, __file__, "--means", sweep])
        show(runs, options.epochs, "claim", [*ablate, "claims", sweep, *CLAIM])
        for path in (sweep / ".report.json", sweep / "report.html"):  # what is current is not made again
            path.unlink(missing_ok=True)
        show(runs, options.epochs, "report", [*ablate, "report", sweep])
        if not options.keep:
            shutil.rmtree(sweep)


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=lambda text: [*map(int, text.split(","))], default=[10_000, 100_000])
    parser.add_argument("--epochs", type=int, default=500)
    parser.add_argument("--into", type=Path, help="where the sweeps are made, or are from before")
    parser.add_argument("--keep", action="store_true", help="leave them there")
    steps = parser.add_mutually_exclusive_group()
    steps.add_argument("--make", nargs=3, metavar=("FOLDER", "RUNS", "EPOCHS"), help=argparse.SUPPRESS)
    steps.add_argument("--load", type=Path, help=argparse.SUPPRESS)
    steps.add_argument("--means", type=Path, help=argparse.SUPPRESS)
    return parser.parse_args()


def show(runs: int, epochs: int, step: str, command: Sequence[Any]) -> None:
    began = time.perf_counter()
    child = subprocess.Popen(
        list(map(str, command)), stdout=subprocess.DEVNULL, env=os.environ | {"PYTHONPATH": str(ROOT)}
    )
    _, status, used = os.wait4(child.pid, 0)
    child.returncode = os.waitstatus_to_exitcode(status)
    clock = time.perf_counter() - began
    if child.returncode:
        raise SystemExit(f"{step} of {runs} runs ended with {child.returncode}")
    processor = used.ru_utime + used.ru_stime
    print(f"{runs:<9}  {epochs:>6}  {step:<11} {clock:8.1f} {processor:12.1f} {used.ru_maxrss / 1024:9.0f}", flush=True)


# --- the records --------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Made:
    """What the runs of a setting have in common."""

    number: int  # of the run that it is made from
    setting_id: str
    identities: Mapping[str, Any]  # without a seed
    shift: float  # of the logarithm of perplexity
    metrics: Mapping[str, Any]
    columns: Mapping[str, Any]  # of runs.parquet
    config: str  # JSON, as the following
    identity: str
    record: str  # without what each run has of its own


def make(sweep: Path, runs: int, epochs: int) -> None:
    """A packed sweep of about so many runs."""
    import numpy as np
    import pyarrow.parquet as pq

    from ablate.config.identity import short_hash
    from ablate.records.files import write_json
    from ablate.records.places import curves_path, manifest_path, runs_path
    from ablate.records.results import load_curve, summaries
    from ablate.records.tables import table_of

    templates: list[dict[str, Any]] = [
        next(dict(one) for one in summaries(SOURCE) if one["config"]["model"]["name"] == model and finite(one))
        for model in MODELS
    ]
    for name in ("environment", "timing"):  # as of one machine
        templates[1][name] = templates[0][name]
    shapes = [drawn_out(load_curve(SOURCE, one["run_id"]), epochs) for one in templates]
    settings = list(made(templates, runs // SEEDS, epochs))
    ids = sorted(
        (short_hash(one.identities | {"seed": seed}), place, seed)
        for place, one in enumerate(settings)
        for seed in range(SEEDS)
    )
    assert len({run_id for run_id, *_ in ids}) == len(ids), "a knob that decides nothing"
    sweep.mkdir(parents=True, exist_ok=True)
    rng = np.random.default_rng(0)
    writers: list[pq.ParquetWriter] = []
    at_once = max(1, min(50_000, AT_ONCE // epochs))
    for start in range(0, len(ids), at_once):
        rows, curves = [], []
        for run_id, place, seed in ids[start : start + at_once]:
            row, curve = run(settings[place], shapes[settings[place].number], run_id, seed, rng)
            rows.append(row)
            curves.append((run_id, row["curve"], curve))
        tables = [table_of(rows), curve_table(curves)]
        if not writers:
            options = {"compression": "zstd", "compression_level": 1, "write_page_checksum": True}
            paths = [runs_path(sweep), curves_path(sweep)]
            writers = [
                pq.ParquetWriter(path, table.schema, **options) for path, table in zip(paths, tables, strict=True)
            ]
        for writer, table in zip(writers, tables, strict=True):
            writer.write_table(table.select(writer.schema.names).cast(writer.schema))  # whichever model was first
    for writer in writers:
        writer.close()
    planned = {one.setting_id: f"0-{SEEDS - 1}" for one in settings}
    declared = [{"declared": [[SEEDS, templates[0]["timing"]["started"]]], "settings": list(planned)}]
    write_json(
        manifest_path(sweep), {"commands": [], "auto_corpus": None, "knobs": {}, "planned": planned, "design": declared}
    )


def finite(record: Mapping[str, Any]) -> bool:
    return record["status"] == "ok" and record["config"]["num_hiddens"] == 32


def made(templates: Sequence[Mapping[str, Any]], settings: int, epochs: int) -> Iterator[Made]:
    """The settings of a full grid of this number."""
    import numpy as np

    from ablate.config.composing import from_dict
    from ablate.config.identity import run_identity, setting_of
    from ablate.config.schema import to_dict
    from ablate.records.files import compact_json
    from ablate.records.flat import flat

    sizes = levels(settings // len(templates))
    grid = {
        "num_hiddens": [16 * (1 + one) for one in range(sizes[0])],
        "lr": [round(2.0 * 0.9**one, 6) for one in range(sizes[1])],
        "clip": [round(0.1 * 1.25**one, 6) for one in range(sizes[2])],
        "layers": [1 + one for one in range(sizes[3])],
    }
    effects = [np.random.default_rng(7 + at).normal(0, 0.05, size) for at, size in enumerate(sizes)]
    for number, template in enumerate(templates):
        sha256, base = template["corpus"]["sha256"], from_dict(template["config"])
        for places in product(*map(range, sizes)):
            knobs = {name: values[place] for (name, values), place in zip(grid.items(), places, strict=True)}
            config = base.but(**knobs, epochs=epochs)
            identity = {name: value for name, value in run_identity(config, sha256).items() if name != "seed"}
            told = {name: value for name, value in to_dict(config).items() if name != "seed"}
            of_setting = {"setting_id": setting_of(identity), "counts": template["counts"] | {"epochs_done": epochs}}
            record = {name: value for name, value in (template | of_setting).items() if name not in OWN}
            yield Made(
                number,
                setting_of(identity),
                identity,
                float(sum(effect[place] for effect, place in zip(effects, places, strict=True))),
                template["metrics"],
                flat(template | of_setting | {"config": told | {"seed": 0}}),
                *map(compact_json, (told, identity, record)),
            )


def levels(combinations: int) -> list[int]:
    """How many values each of four knobs has, so that there are this many combinations; the numbers nearly equal."""
    sizes, rest, factors = [1, 1, 1, 1], combinations, list[int]()
    while rest > 1:
        factors.append(next(one for one in range(2, rest + 1) if rest % one == 0))
        rest //= factors[-1]
    for factor in reversed(factors):
        sizes[sizes.index(min(sizes))] *= factor
    return sizes


def drawn_out(curve: Mapping[str, Sequence[float | None]], epochs: int) -> dict[str, Any]:
    """The measures of a curve by epoch, over another number of epochs."""
    import numpy as np

    columns = {name: np.array(values, float) for name, values in curve.items() if name != "epoch"}
    return {
        name: np.interp(np.linspace(0, 1, epochs), np.linspace(0, 1, len(values)), values)
        for name, values in columns.items()
    }


def run(
    setting: Made, shape: Mapping[str, Any], run_id: str, seed: int, rng: Any
) -> tuple[dict[str, Any], dict[str, list[Any]]]:
    """The row of a run, as `ablate.records.tables.write_runs` has it, and its curve."""
    import numpy as np

    from ablate.records.files import compact_json
    from ablate.records.tables import curve_name

    factor = math.exp(setting.shift + rng.normal(0, SPREAD))
    epochs = len(next(iter(shape.values())))
    curve: dict[str, list[Any]] = {"epoch": [float(epoch) for epoch in range(1, 1 + epochs)]}
    for name, values in shape.items():
        curve[name] = np.round(values * factor * np.exp(rng.normal(0, SPREAD / 4, epochs)), 4).tolist()
    metrics = {
        name: value * factor if value is not None and "perplexity" in name else value
        for name, value in setting.metrics.items()
    }
    config, identity = (f'{text[:-1]},"seed":{seed}}}' for text in (setting.config, setting.identity))
    own = f'"run_id":"{run_id}","seed":{seed},"config":{config},"identity":{identity},"metrics":{compact_json(metrics)}'
    name = curve_name(run_id, curve)
    of_curve = {"curve": name, "curve_columns": json.dumps([*curve]), "record": f"{setting.record[:-1]},{own}}}"}
    return setting.columns | metrics | {"run_id": run_id, "seed": seed} | of_curve, curve


def curve_table(curves: Sequence[tuple[str, str, Mapping[str, Sequence[Any]]]]) -> Any:
    """As `ablate.records.tables.write_curves` has it."""
    import numpy as np
    import pyarrow as pa

    epochs = len(curves[0][2]["epoch"])
    codes = np.repeat(np.arange(len(curves), dtype=np.int32), epochs)
    columns = {
        name: pa.DictionaryArray.from_arrays(codes, pa.array([one[place] for one in curves], pa.string()))
        for place, name in enumerate(("run_id", "curve"))
    }
    for name in curves[0][2]:
        columns[name] = pa.array(np.concatenate([one[2][name] for one in curves]), pa.float64())
    return pa.table(columns)


# --- the steps ----------------------------------------------------------------------------------------------------


def load(sweep: Path) -> Any:
    from ablate.analysis.frames import runs_frame

    runs, problems = runs_frame(sweep)
    assert not problems, problems[:3]
    return runs


def means(sweep: Path) -> None:
    from ablate.analysis.aggregate import aggregate

    aggregate(load(sweep), 0.95)


if __name__ == "__main__":
    given = arguments()
    if given.make:
        make(Path(given.make[0]), *map(int, given.make[1:]))
    elif given.load:
        load(given.load)
    elif given.means:
        means(given.means)
    else:
        main()
