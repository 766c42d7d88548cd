"""Baselines of a sweep's texts: computed once from a text that is at hand, kept, and shown. CPU, 3 s."""

import json
import shutil
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow.parquet as pq
import pytest

from ablate.analysis.aggregate import aggregate
from ablate.analysis.baselines import baselines_frame
from ablate.analysis.frames import runs_frame
from ablate.config.composing import compose as composed
from ablate.config.resolved import resolve
from ablate.data.baselines import baselines
from ablate.data.corpora import load
from ablate.records.baselines import FILE, stored
from ablate.records.compaction import compact
from ablate.records.results import save
from ablate.report import write_report
from ablate.sweeping.baselines import add_baselines, texts
from ablate.training.loop import train


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory, text_path: Path) -> Path:
    """A folder with a text and a sweep: two models trained on it, and a third on more of it."""
    folder = tmp_path_factory.mktemp("trained")
    text = shutil.copy(text_path, folder / "own.txt")
    small = ["num_hiddens=4", "num_steps=4", "batch_size=2", "epochs=2", "prefixes=[]", "val_tokens=100"]
    for own in (["max_tokens=400"], ["max_tokens=400", "model=gru"], ["max_tokens=800", "model.bidirectional=true"]):
        config = resolve(composed(["data=text_file", f"data.path={text}", *small, *own]))
        save(folder / "sweep", train(config, load(config.data, 900)))
    compact(folder / "sweep")
    return folder


@pytest.fixture
def text(trained: Path, text_path: Path) -> Path:
    """The text that was trained on, which a test may change."""
    return shutil.copy(text_path, trained / "own.txt")


@pytest.fixture
def sweep(trained: Path, text: Path, tmp_path: Path) -> Path:
    return shutil.copytree(trained / "sweep", tmp_path / "sweep")


def test_metadata_that_is_no_text_costs_nothing(sweep: Path) -> None:
    """What pandas keeps beside a table is not read."""
    path = sweep / "runs.parquet"
    pq.write_table(pq.read_table(path).replace_schema_metadata({b"pandas": b"\xff"}), path)
    assert len(list(texts(sweep))) == 2


def test_each_text_has_its_own(sweep: Path, text: Path) -> None:
    add_baselines(sweep)
    runs, _ = runs_frame(sweep)
    found = baselines_frame(sweep, aggregate(runs))
    corpus = load(resolve(composed(["data=text_file", f"data.path={text}"])).data)
    for training in (400, 800):
        own = found[found["max_tokens"] == training].set_index("baseline")
        expected = {one.name: one for one in baselines(corpus, training, 100)}
        assert own["val_perplexity"].to_dict() == {name: one.val_perplexity for name, one in expected.items()}
        assert own["bits_per_character"].to_dict() == {name: one.bits_per_character for name, one in expected.items()}


def test_they_are_computed_once_and_survive_their_text(sweep: Path, text: Path) -> None:
    add_baselines(sweep)
    before = (sweep / FILE).read_bytes()
    text.unlink()
    add_baselines(sweep)
    assert (sweep / FILE).read_bytes() == before


@pytest.mark.parametrize("change", ["gone", "another"])
def test_a_text_that_is_not_the_one_trained_on_has_none(sweep: Path, text: Path, change: str) -> None:
    text.unlink() if change == "gone" else text.write_text("another text " * 200, encoding="utf-8")
    add_baselines(sweep)
    assert not (sweep / FILE).exists()


def test_those_of_another_version_are_made_again(sweep: Path) -> None:
    add_baselines(sweep)
    stored = json.loads((sweep / FILE).read_text(encoding="utf-8"))
    right = stored["texts"]
    (sweep / FILE).write_text(json.dumps({"version": 0, "texts": [right[0] | {"baselines": []}]}), encoding="utf-8")
    add_baselines(sweep)
    assert json.loads((sweep / FILE).read_text(encoding="utf-8")) == stored


@pytest.mark.parametrize("damaged", ["", "[]", "{}", '{"version": 1}', '{"version": 1, "texts": [{}]}'])
def test_a_damaged_file_is_made_again(sweep: Path, damaged: str) -> None:
    (sweep / FILE).write_text(damaged, encoding="utf-8")
    add_baselines(sweep)
    assert len(json.loads((sweep / FILE).read_text(encoding="utf-8"))["texts"]) == 2


@pytest.mark.parametrize(
    ("place", "value"),
    [
        (["baselines"], 4.1),
        (["baselines", 0], 4.1),
        (["baselines", 0], {}),
        (["baselines", 0, "name"], 4.1),
        (["baselines", 0, "val_perplexity"], "4.1"),
        (["baselines", 0, "val_perplexity"], None),
        (["baselines", 0, "test_perplexity"], []),
        (["unit"], None),
        (["train_tokens"], "400"),
    ],
)
def test_a_damaged_text_is_made_again(sweep: Path, place: list[Any], value: Any) -> None:
    add_baselines(sweep)
    whole = stored(sweep)
    kept = json.loads((sweep / FILE).read_text(encoding="utf-8"))
    at = kept["texts"][1]
    for name in place[:-1]:
        at = at[name]
    at[place[-1]] = value
    (sweep / FILE).write_text(json.dumps(kept), encoding="utf-8")
    assert stored(sweep) == whole[:1]
    add_baselines(sweep)
    assert stored(sweep) == whole


def test_what_is_no_sweep_is_left_alone(tmp_path: Path) -> None:
    add_baselines(tmp_path)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.full
def test_the_page_lays_them_beside_the_best_networks_that_read_forwards(sweep: Path) -> None:
    add_baselines(sweep)
    write_report(sweep, quiet=True)
    table = pd.read_csv(sweep / "tables" / "baselines.csv")
    assert set(table["max_tokens"]) == {400}  # on the longer one only what sees the future was trained
    runs, _ = runs_frame(sweep)
    causal = runs[runs["max_tokens"] == 400]
    networks = table[table["what"] != "no network"]
    assert networks["val_perplexity"].tolist() == pytest.approx(
        [causal["val_perplexity"].min(), causal["best_val_perplexity"].min()]
    )
    assert {"uniform", "unigram", "5-gram, Kneser–Ney", "gzip"} <= set(table["predicted_by"])
    assert "5-gram, Kneser–Ney" in (sweep / "report.html").read_text(encoding="utf-8")
