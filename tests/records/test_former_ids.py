"""Runs stored under an id of an older version: found, reused and shown as the runs that they are today. CPU, 3 s."""

import json
from collections.abc import Callable, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import pytest

from ablate.analysis.frames import curves_frame, runs_frame
from ablate.config.composing import fallback_data
from ablate.config.former_ids import former_identities, identity_today
from ablate.config.identity import former_run_ids, former_setting_ids, run_id, run_identity, setting_id, short_hash
from ablate.config.schema import Config
from ablate.data.corpora import Corpus
from ablate.records import compaction, results, tables, timings
from ablate.records import record as record_module
from ablate.records.compaction import compact
from ablate.records.exclusion import excluded_runs, include
from ablate.records.files import write_json
from ablate.records.neighbours import reuse
from ablate.records.places import failure_path, timing_path
from ablate.records.reading import RecordError
from ablate.records.record import Record
from ablate.sweeping.plan import make_plan, write_failure
from ablate.training.loop import train

Configs = Callable[..., Config]
FORMER_WORDS = {"torch": "api", "textbook": "scratch"}


def as_stored_before(record: Record, bias_vectors: int | None = None) -> Record:
    """The record as version 0.1 wrote it."""
    config = dict(record.config)
    config["impl"] = FORMER_WORDS[config.pop("formulation")]
    identity = record.identity | {"impl": config["impl"]}
    if bias_vectors is not None:
        config["bias_vectors"] = identity["bias_vectors"] = bias_vectors
    setting = {name: value for name, value in identity.items() if name != "seed"}
    return replace(
        record, config=config, identity=identity, run_id=short_hash(identity), setting_id=short_hash(setting)
    )


def files(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


@pytest.fixture(scope="module")
def trained(small: Configs, corpus: Corpus) -> Record:
    return train(small("model=gru", "epochs=3", "seeds=1"), corpus)


@pytest.mark.full
@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("model=gru formulation=torch", "model=gru formulation=textbook init=torch reset=after bias_vectors=2"),
        ("model=rnn formulation=textbook", "model=rnn formulation=torch init=normal bias_vectors=1"),
        ("model=mingru", "model=mingru bias_vectors=1"),
        ("model=minlstm bias_vectors=1", "model=minlstm bias_vectors=2"),
    ],
)
def test_two_ways_to_say_one_run_are_one_run(small: Configs, one: str, other: str) -> None:
    assert run_id(small(*one.split()), "x") == run_id(small(*other.split()), "x")
    assert setting_id(small(*one.split()), "x") == setting_id(small(*other.split()), "x")


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("model=gru", "model=gru bias_vectors=1"),
        ("model=mgu", "model=mgu bias_vectors=1"),
        ("model=mingru", "model=mingru formulation=textbook"),  # init differs
    ],
)
def test_what_decides_an_outcome_still_tells_runs_apart(small: Configs, one: str, other: str) -> None:
    assert run_id(small(*one.split()), "x") != run_id(small(*other.split()), "x")


@pytest.mark.parametrize("overrides", ["model=gru", "model=lstm formulation=textbook", "model=mingru", "model=minlstm"])
def test_former_identities_are_those_that_become_todays(small: Configs, overrides: str) -> None:
    config = small(*overrides.split())
    today = run_identity(config, "x")
    assert identity_today(today) == today
    former = former_identities(today)
    assert all(identity_today(one) == today for one in former)
    assert former_run_ids(config, "x") == tuple(map(short_hash, former))
    own = {"impl": FORMER_WORDS[config.formulation], "bias_vectors": config.bias_vectors}
    assert short_hash(today | own) in former_run_ids(config, "x")


def test_a_run_under_a_former_id_is_finished_reused_and_read_under_todays(
    tmp_path: Path, small: Configs, trained: Record
) -> None:
    config = small("model=gru", "epochs=3", "seeds=1")
    before = as_stored_before(trained)
    folder = tmp_path / "old"
    results.save(folder, before)
    stored = files(folder)
    [setting] = make_plan([config], folder, fallback_data()).settings
    assert setting.missing == []
    [setting] = make_plan([config], tmp_path / "new", fallback_data()).settings
    assert [run.reused_from for run in setting.runs] == [folder]
    frame, problems = runs_frame(folder)
    assert (problems, frame["run_id"].tolist()) == ([], [trained.run_id])
    assert frame["setting_id"].tolist() == [trained.setting_id]
    assert frame["formulation"].tolist() == ["torch"]
    assert len(curves_frame(folder, frame)) == 3
    assert results.load_curve(folder, trained.run_id)["epoch"] == [1.0, 2.0, 3.0]
    assert results.read(folder, trained.run_id)["identity"] == trained.identity
    reuse(
        tmp_path / "new",
        folder,
        trained.run_id,
        asdict(config),
        former=former_run_ids(config, trained.corpus["sha256"]),
    )
    assert results.finished(tmp_path / "new", trained.run_id)
    assert files(folder) == stored, "a folder that is only read stays as it is"


def test_two_old_records_of_one_run_count_once(tmp_path: Path, small: Configs, corpus: Corpus) -> None:
    record = train(small("model=mingru", "epochs=2"), corpus)
    for count in (1, 2):
        results.save(tmp_path, as_stored_before(record, count))
    frame, problems = runs_frame(tmp_path)
    assert frame["run_id"].tolist() == [record.run_id]
    [line] = problems
    assert "id of today" in line
    results.save(tmp_path, record)
    frame, problems = runs_frame(tmp_path)
    assert len(frame) == len(problems) == 1


def test_what_is_done_twice_is_done_once(tmp_path: Path, trained: Record, sweep: Callable[..., object]) -> None:
    """Trained again, the run is under its id of today, and nowhere else."""
    results.save(tmp_path, as_stored_before(trained))
    results.save(tmp_path, trained)
    for one in former_run_ids_of(trained):
        results.discard(tmp_path, one)
    assert files(tmp_path).keys() == {f"runs/{trained.run_id}.json", f"curves/{trained.run_id}.csv"}


@pytest.mark.parametrize("packed_together", [False, True])
def test_what_is_trained_again_counts_when_all_is_packed_too(
    tmp_path: Path, small: Configs, corpus: Corpus, packed_together: bool
) -> None:
    """Whichever of the two ids comes first; also in a file in which an earlier version has put both."""
    records = [train(one, corpus) for one in (small("model=gru", "epochs=1", f"seed={seed}") for seed in range(4))]
    befores = [as_stored_before(record) for record in records]
    assert {before.run_id < record.run_id for before, record in zip(befores, records, strict=True)} == {True, False}
    for record in befores:
        results.save(tmp_path, replace(record, metrics=record.metrics | {"perplexity": 1000.0}))
    write_packed(tmp_path)
    for record in records:
        results.save(tmp_path, record)
    if packed_together:
        with pytest.MonkeyPatch.context() as patched:
            patched.setattr(compaction, "_older", lambda *_: set())
            compact(tmp_path)
    compact(tmp_path)
    frame, problems = runs_frame(tmp_path)
    assert (problems, sorted(frame["run_id"])) == ([], sorted(record.run_id for record in records))
    assert frame["perplexity"].max() < 1000.0
    packed = tables.runs_of(tmp_path)
    assert packed is not None
    assert len(packed.run_ids) == (8 if packed_together else 4)
    if not packed_together:
        assert not {*tables.curves_of(tmp_path).owner.values()} & {before.run_id for before in befores}


def test_what_was_excluded_under_a_former_id_stays_excluded(tmp_path: Path, small: Configs, corpus: Corpus) -> None:
    """In whichever form the run is stored by now; and it can be included again."""
    records = [train(one, corpus) for one in (small("model=gru", "epochs=1", f"seed={seed}") for seed in range(3))]
    for record in map(as_stored_before, records):
        results.save(tmp_path, record)
    stored = as_stored_before(records[1]).run_id
    write_json(
        tmp_path / "excluded.json", {"excluded": [{"runs": [stored], "given": ["seed=1"], "because": "x", "at": "y"}]}
    )
    for form in ("as files", "packed", "packed, under todays"):
        if form == "packed":
            write_packed(tmp_path)
        elif form == "packed, under todays":
            results.save(tmp_path, records[1])
            compact(tmp_path)
        assert sorted(runs_frame(tmp_path)[0]["seed"]) == [0, 2], form
        assert excluded_runs(tmp_path) == {records[1].run_id}
    assert include(tmp_path, ["seed=1"]) == [records[1].run_id]
    assert len(runs_frame(tmp_path)[0]) == 3


def write_packed(folder: Path) -> None:
    """As the version packed it that gave those ids."""
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(record_module, "identity_today", dict)
        compact(folder)


def former_run_ids_of(record: Record) -> Sequence[str]:
    return [short_hash(one) for one in former_identities(record.identity)]


def test_timings_and_failures_are_those_of_todays_setting(tmp_path: Path, small: Configs, trained: Record) -> None:
    before = as_stored_before(trained)
    results.save(tmp_path, before)
    path = timing_path(tmp_path, before.setting_id, 1, "abc")
    path.parent.mkdir()
    path.write_text(json.dumps({"setting_id": before.setting_id, "threads": 1, "machine": "abc", "config": {}}))
    [timing] = timings.timings(tmp_path)
    assert timing["setting_id"] == trained.setting_id
    config = small("model=gru", "epochs=3")
    former = former_setting_ids(config, trained.corpus["sha256"])
    assert timings.read_timing(tmp_path, trained.setting_id, 1, "abc", former)["setting_id"] == trained.setting_id
    with pytest.raises(RecordError):
        timings.read_timing(tmp_path, trained.setting_id, 1, "abc")
    [setting] = make_plan([config], tmp_path / "x", fallback_data()).settings
    assert before.setting_id in setting.former_ids
    write_failure(tmp_path, replace(setting, setting_id=before.setting_id), ValueError("no"))
    assert failure_path(tmp_path, before.setting_id).is_file()


def test_a_record_whose_id_is_not_made_from_its_identity_keeps_it(tmp_path: Path, trained: Record) -> None:
    results.save(tmp_path, replace(as_stored_before(trained), run_id="0" * 12))
    assert runs_frame(tmp_path)[0]["run_id"].tolist() == ["0" * 12]


def test_what_an_older_version_left_goes_once_the_run_is_trained_again(
    tmp_path: Path, small: Configs, sweep: Callable[..., Any]
) -> None:
    first = sweep([small("model=gru", "epochs=2", "seeds=1", "engine=torch_nn")], "x")
    [record] = [one for one in results.records(first.folder) if not isinstance(one, RecordError)]
    former = former_run_ids(small("model=gru", "epochs=2", "engine=torch_nn"), record["corpus"]["sha256"])
    for name, suffix in (("runs", ".json"), ("curves", ".csv"), ("checkpoints", ".pt")):
        (first.folder / name).mkdir(exist_ok=True)
        (first.folder / name / f"{former[0]}{suffix}").write_text("left by an older version")
    sweep([small("model=gru", "epochs=2", "seeds=1", "engine=torch_nn", "fresh=true")], "x")
    assert not list(first.folder.rglob(f"{former[0]}*"))
