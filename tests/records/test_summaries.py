"""Records read from columns against the same records parsed one by one: equal to the last bit, and few of them parsed.

Made-up records in files as `compact` writes them, and the committed sweeps. CPU, 1 s.
"""

import math
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from ablate.analysis import frames
from ablate.analysis.frames import runs_frame
from ablate.config.identity import short_hash
from ablate.config.schema import CONFIG_ROOT
from ablate.records import results, summaries, tables
from ablate.records.files import compact_json
from ablate.records.places import runs_path
from ablate.records.reading import RecordError
from ablate.records.summaries import NEVER_SHARED, RunSummary
from tests.report.made import config, record_of

SEEDS, SETTINGS = 6, 3

Edit = Callable[[dict[str, Any], int, int], None]
"""What changes a record, with the numbers of its setting and of its seed."""


def made(folder: Path, edit: Edit = lambda record, setting, seed: None) -> Path:
    """A runs.parquet of settings that differ in their learning rate."""
    records = []
    for setting in range(SETTINGS):
        for seed in range(SEEDS):
            record = record_of(config(lr=0.5 * (setting + 1)), seed, 2 + setting + seed / 7, 3.1, 10)
            record["timing"]["wall_s"] = 1.25 + seed
            edit(record, setting, seed)
            records.append(record)
    return write(folder, records)


def write(folder: Path, records: Sequence[dict[str, Any]]) -> Path:
    rows = [tables.Row(one["run_id"], compact_json(one), f"c{one['run_id']}", ("epoch",)) for one in records]
    folder.mkdir(exist_ok=True)
    tables.write_runs(folder, list(zip(records, rows, strict=True)))
    return folder


def said(found: Any) -> list[str]:
    """Records as texts, that tell 1 from 1.0 and NaN from None."""
    return [str(one) if isinstance(one, RecordError) else compact_json(dict(one)) for one in found]


def assert_same(folder: Path) -> None:
    assert said(results.summaries(folder)) == said(results.records(folder))


@pytest.fixture(autouse=True)
def of_any_size(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(summaries, "FEWEST", 0)


@pytest.fixture
def parsed(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """What is parsed as JSON by `summaries`, one entry a text."""
    texts: list[str] = []
    parse = summaries.from_json

    def counting(text: str, path: Path) -> dict[str, Any]:
        texts.append(text)
        return parse(text, path)

    monkeypatch.setattr(summaries, "from_json", counting)
    return texts


def parsed_runs(parsed: Sequence[str]) -> int:
    return len(set(parsed))


def test_one_run_of_each_setting_is_parsed(tmp_path: Path, parsed: list[str]) -> None:
    folder = made(tmp_path)
    frame, problems = runs_frame(folder)
    assert parsed_runs(parsed) == SETTINGS
    assert (len(frame), problems) == (SETTINGS * SEEDS, [])
    assert sorted(frame["wall_s"].unique()) == [1.25 + seed for seed in range(SEEDS)]
    assert_same(folder)


def test_of_few_runs_each_is_parsed(tmp_path: Path, parsed: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(summaries, "FEWEST", SETTINGS * SEEDS + 1)
    assert_same(made(tmp_path))
    assert parsed_runs(parsed) == SETTINGS * SEEDS


@pytest.mark.parametrize(("knob", "asked"), [("engine", "auto"), ("device", "auto"), ("threads", 2)])
def test_what_was_asked_for_and_not_what_computed_it_is_read_from_each(
    tmp_path: Path, knob: str, asked: str | int
) -> None:
    """A sweep that was interrupted, and went on with another number of threads: its runs are alike in every column."""

    def edit(record: dict[str, Any], setting: int, seed: int) -> None:
        record["config"] |= {"engine": "cohort", "device": "cpu", "cuda_graphs": True, "threads": 1}
        record["config"] |= {knob: asked} if seed > 1 else {}

    folder = made(tmp_path, edit)
    assert sum(one["config"][knob] == asked for one in results.summaries(folder)) >= SETTINGS * (SEEDS - 2)
    assert any(isinstance(one, RunSummary) for one in results.summaries(folder))
    assert_same(folder)


def test_a_part_that_no_column_has_is_parsed_when_it_is_asked_for(tmp_path: Path, parsed: list[str]) -> None:
    def edit(record: dict[str, Any], setting: int, seed: int) -> None:
        record["text"] = {"time": f"time {setting} {seed}"}

    found = [one for one in results.summaries(made(tmp_path, edit)) if isinstance(one, RunSummary)]
    before = parsed_runs(parsed)
    assert len(found) == SETTINGS * (SEEDS - 1)
    assert found[0]["text"] != found[1]["text"]
    assert parsed_runs(parsed) == before + 2


def machine(record: dict[str, Any], setting: int, seed: int) -> None:
    record["environment"] |= {"cpu": f"Processor {seed % 2}", "torch": "2.13.0" if seed else "2.12.0"}


def cores(record: dict[str, Any], setting: int, seed: int) -> None:
    record["environment"]["cores"] = 2 + seed


def diverged(record: dict[str, Any], setting: int, seed: int) -> None:
    if seed % 2:
        record |= {"status": "diverged", "divergence": {"epoch": seed, "last_finite_loss": 0.5 * seed}}
        record["metrics"] = dict.fromkeys(record["metrics"])
        record["counts"]["epochs_done"] = seed


def half_measured(record: dict[str, Any], setting: int, seed: int) -> None:
    record["metrics"]["val_perplexity"] = None if seed % 3 else 4.5
    if seed == 2:
        record["metrics"]["perplexity"] = math.nan
    if seed == 3:
        del record["metrics"]["best_perplexity"]


def kinds_of_numbers(record: dict[str, Any], setting: int, seed: int) -> None:
    record["metrics"]["perplexity"] = 2 if setting == 0 else 2.0 + seed
    record["counts"]["epochs_done"] = 10 if setting else 10.0


def nested(record: dict[str, Any], setting: int, seed: int) -> None:
    record["timing"] |= {"calibration_ms": {"native": 1.5 + seed // 2, "eager": None}, "cuda_graphs": bool(seed % 2)}


def called_alike(record: dict[str, Any], setting: int, seed: int) -> None:
    """What is measured under the name of a knob has no column of its own."""
    record["metrics"]["lr"] = 0.25 * seed
    record["timing"]["clip"] = seed


def other_config(record: dict[str, Any], setting: int, seed: int) -> None:
    record["config"]["epochs"] = 500 + seed
    record["protocol"] = 1 + seed % 2


def tokens(record: dict[str, Any], setting: int, seed: int) -> None:
    record["counts"]["train_tokens"] = 10_000 - seed
    with_ids(record, setting, seed)


def with_ids(record: dict[str, Any], setting: int, seed: int) -> None:
    record["identity"] = {"lr": setting, "max_tokens": 10_000, "seed": seed}
    record["run_id"] = short_hash(record["identity"])
    record["setting_id"] = short_hash({"lr": setting, "max_tokens": 10_000})


def former_ids(record: dict[str, Any], setting: int, seed: int) -> None:
    with_ids(record, setting, seed)
    record["identity"]["impl"] = "api"
    record["run_id"] = short_hash(record["identity"])
    record["setting_id"] = short_hash({"lr": setting, "max_tokens": 10_000, "impl": "api"})


def forged_ids(record: dict[str, Any], setting: int, seed: int) -> None:
    former_ids(record, setting, seed)
    if seed % 2:
        record["run_id"] = f"{setting}{seed}" * 6


EDITS = (
    *(machine, cores, diverged, half_measured, kinds_of_numbers, nested, called_alike, other_config),
    *(tokens, with_ids, former_ids, forged_ids),
)


@pytest.mark.parametrize("edit", EDITS)
def test_whatever_differs_is_read_as_it_is_written(tmp_path: Path, edit: Edit) -> None:
    assert_same(made(tmp_path, edit))


def test_runs_under_former_ids_are_read_from_columns_too(tmp_path: Path, parsed: list[str]) -> None:
    folder = made(tmp_path, former_ids)
    ids = {one["run_id"] for one in results.summaries(folder) if isinstance(one, Mapping)}
    assert parsed_runs(parsed) == SETTINGS
    identities = ({"lr": n, "max_tokens": 10_000, "seed": s} for n in range(SETTINGS) for s in range(SEEDS))
    assert ids == {short_hash(identity) for identity in identities}


@pytest.mark.parametrize(
    "edited",
    [
        lambda column: pa.compute.add(column, 1.0),
        lambda column: pa.array([str(value) for value in column.to_pylist()]),
        None,
    ],
    ids=["other numbers", "texts", "no column"],
)
def test_columns_that_do_not_say_what_the_records_say_are_not_believed(tmp_path: Path, edited: Any) -> None:
    folder = made(tmp_path)
    expected = said(results.records(folder))
    table = pq.read_table(runs_path(folder))
    place = table.column_names.index("perplexity")
    table = (
        table.remove_column(place)
        if edited is None
        else table.set_column(place, "perplexity", edited(table.column(place).combine_chunks()))
    )
    pq.write_table(table, runs_path(folder))
    assert said(results.summaries(folder)) == expected


def test_a_run_that_is_a_file_of_its_own_counts(tmp_path: Path) -> None:
    folder = made(tmp_path)
    record = next(dict(one) for one in results.records(folder) if isinstance(one, Mapping))
    record["metrics"]["perplexity"] = 9.75
    (folder / "runs").mkdir()
    (folder / "runs" / f"{record['run_id']}.json").write_text(compact_json(record))
    assert_same(folder)
    assert next(iter(results.summaries(folder)))["metrics"]["perplexity"] == 9.75  # type: ignore[index]


def test_a_damaged_record_is_named_where_it_is_read(tmp_path: Path) -> None:
    folder = made(tmp_path)
    table = pq.read_table(runs_path(folder))
    texts = table.column("record").to_pylist()
    place = table.column_names.index("record")
    pq.write_table(table.set_column(place, "record", pa.array(["{", *texts[1:]])), runs_path(folder))
    found = list(results.summaries(folder))
    assert isinstance(found[0], RecordError)
    assert said(found) == said(results.records(folder))


COMMITTED = [path.parent.name for path in sorted((CONFIG_ROOT / "results").glob("*/runs.parquet"))]


@pytest.mark.full
@pytest.mark.parametrize("name", COMMITTED)
def test_the_committed_sweeps_are_read_the_same(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = CONFIG_ROOT / "results" / name
    assert_same(folder)
    found = runs_frame(folder)
    monkeypatch.setattr(frames, "summaries", results.records)
    expected = runs_frame(folder)
    pd.testing.assert_frame_equal(found[0], expected[0], check_exact=True)
    assert found[1] == expected[1]


def test_what_no_column_has_is_never_taken_from_another_run(tmp_path: Path) -> None:
    def edit(record: dict[str, Any], setting: int, seed: int) -> None:
        for part in NEVER_SHARED:
            record[part] = {f"{part} of {seed}": [float(seed)]} if part == "code" else {"a": f"{part} {seed}"}

    assert_same(made(tmp_path, edit))


def test_rows_that_cannot_be_meant_are_not_parsed(tmp_path: Path, parsed: list[str]) -> None:
    models = ("rnn", "gru", "lstm")
    folder = write(tmp_path, [record_of(config(model=model), seed, 2.5, 3, 10) for model in models for seed in (0, 1)])
    found = [one["config"]["model"]["name"] for one in results.summaries(folder, {"model": {"gru", "mgu"}})]
    assert found == ["gru", "gru"]
    assert len(parsed) <= 2
    assert not list(results.summaries(folder, {"model": set()}))
    assert len(list(results.summaries(folder))) == 6


def test_rows_that_do_not_say_what_they_are_may_be_meant(tmp_path: Path) -> None:
    folder = write(tmp_path, [record_of(config(model="rnn"), seed, 2.5, 3, 10) for seed in (0, 1)])
    table = pq.read_table(runs_path(folder))
    at = table.column_names.index("model")
    pq.write_table(table.set_column(at, "model", pa.array([None, "rnn"])), runs_path(folder))
    assert len(list(results.summaries(folder, {"model": {"gru"}}))) == 1
    pq.write_table(table.drop_columns(["model"]), runs_path(folder))
    assert len(list(results.summaries(folder, {"model": {"gru"}}))) == 2
