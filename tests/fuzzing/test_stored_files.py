"""What a sweep's folder holds, broken file by file: all readers, and each command, give a line or a right result. CPU.

Records, curves, timings, manifest, exclusions, failures, baselines, the list of a report's files; and the same as
Parquet files: torn, of other types, with huge values, with pickled metadata.
"""

import json
import pickle
import shutil
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import strategies as st

from ablate.analysis.aggregate import aggregate
from ablate.analysis.frames import curves_frame, runs_frame
from ablate.analysis.samples import speed_samples
from ablate.records import baselines, results
from ablate.records.design import Designs
from ablate.records.exclusion import exclusions
from ablate.records.failures import failures
from ablate.records.manifest import load_manifest
from ablate.records.planned import missing
from ablate.records.reading import RecordError
from ablate.records.timings import all_packed
from tests.fuzzing.conftest import Place
from tests.fuzzing.exploring import examples, explore, one_line, refused_or
from tests.fuzzing.hostile import NUMBERS, TEXTS, edited, encoded, put_in_place, relined, texts, torn, values
from tests.report.made import config, write_sweep

pytestmark = pytest.mark.filterwarnings("ignore")  # of numbers beyond all measure

COMMANDS: tuple[tuple[str, ...], ...] = (
    *(("status", "SWEEP"),) * 3,
    ("status", "SWEEP", "--json"),
    *(("claims", "SWEEP"),) * 2,
    ("claims", "SWEEP", "gru < rnn"),
    *(("compact", "SWEEP"),) * 2,
    ("compact", "SWEEP", "--undo"),
    ("export", "SWEEP", "--to", "csv"),
    ("merge", "SWEEP", "OTHER", "--into", "results/merged"),
    ("merge", "OTHER", "--into", "SWEEP"),
    ("exclude", "SWEEP", "num_hiddens=32", "--because", "x"),
    ("exclude", "SWEEP", "--list"),
)
"""But for reports, each of which takes seconds: they have a test of their own."""


@pytest.fixture(scope="module")
def loose(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A sweep of files of single runs, with everything else that its folder can hold."""
    sweep = tmp_path_factory.mktemp("whole") / "made-up"
    settings = [config(model, num_hiddens=hidden) for model in ("rnn", "gru") for hidden in (32, 64)]
    planned = {"0123456789ab": "0-2,7"}
    more = {"plugins": {"mine.py": "0" * 64}, "knobs": {"model": ["rnn", "gru"]}, "planned": planned}
    write_sweep(sweep, settings, seeds=2, epochs=4, preset="lr_retuned", question="Which?", title="A title", **more)
    ids = sorted(path.stem for path in (sweep / "runs").iterdir())
    excluded = {"runs": ids[:1], "given": ids[:1], "because": "the disk was full", "at": "2026-01-01T00:00:00+00:00"}
    failure = {"setting_id": "0123456789ab", "error": "MemoryError: too large", "config": config("lstm")}
    record = json.loads((sweep / "runs" / f"{ids[0]}.json").read_text())
    text = {"corpus_sha256": record["corpus"]["sha256"], "unit": "char", "train_tokens": 10000, "val_tokens": 10000}
    found = {"name": "unigram", "val_perplexity": 17.0, "bits_per_character": 4.1}
    for name, value in {
        "excluded.json": {"excluded": [excluded]},
        "failures/0123456789ab.json": failure | {"traceback": "", "had": [0]},
        "baselines.json": {"version": 1, "texts": [text | {"baselines": [found]}]},
        ".report.json": {"files": {"settings.csv": ["0" * 64]}, "made_from": "x", "said": ["y"]},
    }.items():
        (sweep / name).parent.mkdir(exist_ok=True)
        (sweep / name).write_text(json.dumps(value))
    lines = ["model,num_hiddens,val_perplexity,source,repeats,note", "gru,32,8.5,somebody,3,", "rnn,64,9,,,"]
    (sweep / "published.csv").write_text("\n".join(lines) + "\n")
    return sweep


@pytest.fixture(scope="module")
def packed(loose: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The same as Parquet files."""
    from ablate.records.compaction import compact

    sweep = tmp_path_factory.mktemp("packed") / "made-up"
    shutil.copytree(loose, sweep)
    compact(sweep)
    return sweep


def runs(sweep: Path) -> set[str]:
    return {record["run_id"] for record in results.records(sweep) if not isinstance(record, RecordError)}


def read_everything(sweep: Path, accepted: int) -> None:
    """Whatever any command reads of a sweep's folder: read, or refused in a line.

    Frames are made of them only where so many records count: without the broken one they are always the same.
    """
    found = list(results.records(sweep))
    whole = [record for record in found if not isinstance(record, RecordError)]
    for error in (one for one in found if isinstance(one, RecordError)):
        one_line(error)
    refused_or(lambda: load_manifest(sweep))
    refused_or(lambda: exclusions(sweep))
    missing(sweep, whole)
    Designs.read(sweep, {record["setting_id"] for record in whole})
    assert all("\n" not in f"{one.name}{one.error}" and one.seeds for one in failures(sweep, whole))
    baselines.stored(sweep)
    speed_samples(sweep)
    refused_or(lambda: all_packed(sweep))
    if len(whole) >= accepted:
        runs, problems = runs_frame(sweep)
        assert not any("\n" in problem for problem in problems), problems
        curves_frame(sweep, runs)
        aggregate(runs)


def put(path: Path, content: bytes) -> None:
    """Another file in the place of this one: what is kept of a file is kept of its inode."""
    aside = path.with_suffix(".new")
    aside.write_bytes(content)
    aside.replace(path)


def tried(place: Place, whole: Path, command: tuple[str, ...], change: Callable[[Path], None]) -> None:
    """A command on a copy of a folder that was changed; no run that could be read is lost by it."""
    place.fresh()
    shutil.copytree(whole, place.sweep)
    change(place.sweep)
    before = runs(place.sweep)
    if "OTHER" in command:
        shutil.copytree(whole, place.sweep.with_name("other"))
    names = {"SWEEP": "results/made-up", "OTHER": "results/other"}
    place.run(*(names.get(word, word) for word in command))
    assert before <= runs(place.sweep), f"lost by {command}"


@st.composite
def changed_json(draw: st.DrawFn, content: bytes) -> bytes:
    """A JSON file with another value, or with other bytes."""
    if draw(st.integers(0, 4)) == 0:
        return draw(torn(content))
    return json.dumps(draw(edited(json.loads(content)))).encode("utf-8", "replace")


# --- files of single runs -----------------------------------------------------------------------------------------


NAMED = ("sweep.json", "excluded.json", "baselines.json", ".report.json")


@st.composite
def broken_json(draw: st.DrawFn, whole: Path) -> tuple[str, bytes]:
    """The name of a file of JSON, and what is to be written into it."""
    names = [*NAMED, *(f"{folder}/{path.name}" for folder, path in _loose_files(whole))]
    name = draw(st.sampled_from(names))
    return name, draw(changed_json((whole / name).read_bytes()))


def _loose_files(whole: Path) -> list[tuple[str, Path]]:
    """A few of each folder."""
    most = {"runs": 3, "speed": 2, "failures": 1}
    return [(folder, path) for folder, few in most.items() for path in sorted((whole / folder).iterdir())[:few]]


@st.composite
def broken_curve(draw: st.DrawFn, whole: Path) -> tuple[str, bytes]:
    path = sorted((whole / "curves").iterdir())[0]
    content = path.read_bytes()
    lines = st.sampled_from(["1,2,3", "1,nan,inf", "1,2", ",,", "1e999,-1,0", '"1","2"', "1_0,2,3", "a,b,c"])
    return f"curves/{path.name}", draw(st.one_of(torn(content), encoded(relined(content.decode(), lines))))


def read_broken(place: Place, whole: Path, broken: st.SearchStrategy[tuple[str, bytes]], count: int) -> None:
    """Every reader, on a copy of a sweep in which one file is broken at a time."""
    sweep = place.fresh() / "results" / "made-up"
    shutil.copytree(whole, sweep)

    def check(given: tuple[str, bytes]) -> None:
        name, content = given
        put(sweep / name, content)
        try:
            read_everything(sweep, 8)
        finally:
            put(sweep / name, (whole / name).read_bytes())
        assert not Path("unpickled").exists()

    explore(broken, check, count)


@examples(10, 3000)
def test_files_of_single_runs_are_read(place: Place, loose: Path, count: int) -> None:
    read_broken(place, loose, st.one_of(*[broken_json(loose)] * 4, broken_curve(loose)), count)


@examples(3, 500)
def test_commands_on_files_of_single_runs(place: Place, loose: Path, count: int) -> None:
    def check(given: tuple[tuple[str, bytes], tuple[str, ...]]) -> None:
        (name, content), command = given
        tried(place, loose, command, lambda sweep: (sweep / name).write_bytes(content) and None)

    broken = st.one_of(*[broken_json(loose)] * 4, broken_curve(loose))
    explore(st.tuples(broken, st.sampled_from(COMMANDS)), check, count)


@examples(5, 3000)
def test_published_values(place: Place, loose: Path, count: int) -> None:
    from ablate.analysis.own_published import read_own

    content = (loose / "published.csv").read_bytes()
    lines = st.sampled_from(
        ["gru,32,1e308,s,1e300,n", "gru,,,,,", "=1+1,32,8,@x,2,-3", "gru,32,-1,a,0,b", '"a\nb",1,2']
    )
    broken = st.one_of(torn(content), encoded(relined(content.decode(), lines)))

    def check(given: bytes) -> None:
        path = place.fresh() / "published.csv"
        path.write_bytes(given)
        refused_or(lambda: read_own(path))

    explore(broken, check, count)


NAMES = (
    "runs",
    "curves",
    "speed",
    "failures",
    "sweep.json",
    "excluded.json",
    "tables",
    "figures",
    "report.html",
    ".lock",
)


@examples(3, 200)
def test_other_things_in_the_place_of_files(place: Place, loose: Path, count: int) -> None:
    """Folders, links to elsewhere and in circles, pipes, and names that no run has."""
    kinds = ("folder", "link out", "circle", "pipe", "gone", "empty", "no rights")

    def check(given: tuple[str, str, tuple[str, ...]]) -> None:

        name, kind, command = given

        def change(sweep: Path) -> None:
            path = sweep / name if "/" in name or name in NAMES else sweep / "runs" / f"{name}.json"
            outside = sweep.parent.parent / "outside"
            outside.mkdir(exist_ok=True)
            (outside / "kept.txt").write_text("kept")
            if kind == "empty":
                path = sweep / "runs" / "0123456789ab.json"
            put_in_place(path, kind, outside)

        place.fresh()
        shutil.copytree(loose, place.sweep)
        change(place.sweep)
        names = {"SWEEP": "results/made-up", "OTHER": "results/other"}
        if "OTHER" in command:
            shutil.copytree(loose, place.sweep.with_name("other"))
        place.run(*(names.get(word, word) for word in command))
        assert sorted(path.name for path in (place.here / "outside").iterdir()) == ["kept.txt"]

    some = [f"{folder}/{next(iter(sorted((loose / folder).iterdir()))).name}" for folder in ("runs", "curves", "speed")]
    explore(
        st.tuples(st.sampled_from([*NAMES, *some]), st.sampled_from(kinds), st.sampled_from(COMMANDS)), check, count
    )


# --- Parquet files ------------------------------------------------------------------------------------------------


class Bomb:
    """Runs a command where it is unpickled."""

    def __reduce__(self) -> tuple[Any, ...]:
        return (open, ("unpickled", "w"))


BOMB = pickle.dumps(Bomb())


@st.composite
def changed_table(draw: st.DrawFn, table: pa.Table) -> pa.Table:
    """A table with columns and cells of other types and values, fewer and more columns, other metadata."""
    for _ in range(draw(st.integers(1, 2))):
        names = table.column_names
        if not names:
            return table
        place = draw(st.integers(0, len(names) - 1))
        kind = draw(st.sampled_from(("cell", "cell", "type", "drop", "twice", "rename", "cut", "metadata", "constant")))
        if kind == "cell" and table.num_rows:
            column = table.column(place).to_pylist()
            column[draw(st.integers(0, len(column) - 1))] = draw(st.one_of(st.sampled_from(NUMBERS), texts(), values()))
            table = table.set_column(place, names[place], _array(column))
        elif kind == "type":
            made = {
                "numbers": [1.5] * table.num_rows,
                "lists": [[1]] * table.num_rows,
                "tables": [{"a": 1}] * table.num_rows,
                "bytes": [b"\x80x"] * table.num_rows,
                "nothing": [None] * table.num_rows,
                "truth": [True] * table.num_rows,
            }
            table = table.set_column(place, names[place], _array(made[draw(st.sampled_from(sorted(made)))]))
        elif kind == "drop":
            table = table.remove_column(place)
        elif kind == "twice":
            table = table.append_column(names[place], table.column(place))
        elif kind == "rename":
            table = table.rename_columns([*names[:place], draw(st.sampled_from(TEXTS)), *names[place + 1 :]])
        elif kind == "cut":
            table = table.slice(draw(st.integers(0, table.num_rows)), draw(st.integers(0, table.num_rows)))
        elif kind == "metadata":
            said = draw(st.sampled_from((b"{", b'{"columns": 1, "index_columns": [{}]}', BOMB, b"\xff")))
            table = table.replace_schema_metadata({b"pandas": said, b"ARROW:extension:metadata": BOMB})
        elif kind == "constant" and table.num_rows:
            table = table.set_column(place, names[place], _array([draw(values())] * table.num_rows))
    return table


def _array(column: list[Any]) -> pa.Array:
    try:
        return pa.array(column)
    except (pa.ArrowException, OverflowError, UnicodeError):
        return pa.array([None if one is None else repr(one).encode("ascii", "replace").decode() for one in column])


TABLES = ("runs.parquet", "curves.parquet", "speed.parquet")


@st.composite
def broken_parquet(draw: st.DrawFn, whole: Path, names: Sequence[str] = TABLES) -> tuple[str, bytes]:
    """The name of a Parquet file, and what is to be written into it: other bytes, columns, cells, or rows' records."""
    name = draw(st.sampled_from(names))
    kind = draw(st.sampled_from(("bytes", "table", "table", "record", "record")))
    if kind == "bytes":
        return name, draw(torn((whole / name).read_bytes()))
    table = pq.read_table(whole / name)
    if kind == "record" and name in STORED_IN:
        table = draw(changed_record(table, STORED_IN[name]))
    else:
        table = draw(changed_table(table))
    out = pa.BufferOutputStream()
    try:
        pq.write_table(table, out)
    except pa.ArrowException:  # what Parquet cannot hold, such as a table without a column in a cell
        return name, draw(torn((whole / name).read_bytes()))
    return name, out.getvalue().to_pybytes()


STORED_IN = {"runs.parquet": "record", "speed.parquet": "timing"}
"""Parquet file → its column of JSON."""


@st.composite
def changed_record(draw: st.DrawFn, table: pa.Table, column: str) -> pa.Table:
    """A table of which a row says something else, as that its id leads elsewhere."""
    rows = table.column(column).to_pylist()
    row = draw(st.integers(0, len(rows) - 1))
    value = draw(edited(json.loads(rows[row])))
    if draw(st.booleans()) and isinstance(value, dict):
        value |= {draw(st.sampled_from(("run_id", "setting_id", "machine"))): draw(st.sampled_from(TEXTS))}
    rows[row] = json.dumps(value).encode("utf-8", "replace").decode()
    table = table.set_column(table.column_names.index(column), column, pa.array(rows))
    if column == "record" and isinstance(value, dict) and isinstance(value.get("run_id"), str):
        ids = table.column("run_id").to_pylist()
        ids[row] = value["run_id"].encode("utf-8", "replace").decode()
        table = table.set_column(table.column_names.index("run_id"), "run_id", pa.array(ids))
    return table


@examples(6, 3000)
def test_parquet_files_are_read(place: Place, packed: Path, count: int) -> None:
    read_broken(place, packed, broken_parquet(packed), count)


@examples(2, 500)
def test_commands_on_parquet_files(place: Place, packed: Path, count: int) -> None:
    def check(given: tuple[tuple[str, bytes], tuple[str, ...]]) -> None:
        (name, content), command = given
        tried(place, packed, command, lambda sweep: (sweep / name).write_bytes(content) and None)
        assert not list(place.here.rglob("unpickled"))

    explore(st.tuples(broken_parquet(packed), st.sampled_from(COMMANDS)), check, count)


@examples(1, 60)
def test_reports_of_broken_folders(place: Place, loose: Path, packed: Path, count: int) -> None:
    broken = st.one_of(
        st.tuples(st.just(loose), st.one_of(broken_json(loose), broken_curve(loose))),
        st.tuples(st.just(packed), broken_parquet(packed)),
    )

    def check(given: tuple[Path, tuple[str, bytes]]) -> None:
        whole, (name, content) = given
        tried(place, whole, ("report", "SWEEP"), lambda sweep: (sweep / name).write_bytes(content) and None)

    explore(broken, check, count)
