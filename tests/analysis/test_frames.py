"""Records as a frame: one row per run, damaged and foreign files named and skipped, rows in their order. CPU, 2 s."""

import json
from collections.abc import Callable
from pathlib import Path

import pandas as pd
import pytest

from ablate import results
from ablate.analysis.frames import KNOBS, curves_frame, in_order, is_full_grid, runs_frame, swept_knobs
from ablate.config import Config
from ablate.data.corpora import Corpus
from ablate.training import train


def frame(*rows: dict[str, object]) -> pd.DataFrame:
    """A frame with all knobs, the same in every row but for what is given."""
    common = dict.fromkeys(KNOBS, "same") | {"model": "rnn", "num_hiddens": 8, "lr": 1.0, "seed": 0}
    return pd.DataFrame([common | row for row in rows])


@pytest.fixture
def stored(tmp_path: Path, small: Callable[..., Config], corpus: Corpus) -> Path:
    """A sweep of three runs."""
    for overrides in (["model=gru", "seed=1"], ["model=gru"], ["model=rnn"]):
        results.save(tmp_path, train(small(*overrides, "engine=api", "clip=null"), corpus))
    return tmp_path


def test_a_row_per_run(stored: Path, corpus: Corpus) -> None:
    runs, problems = runs_frame(stored)
    assert problems == []
    assert list(zip(runs["model"], runs["seed"], strict=True)) == [("rnn", 0), ("gru", 0), ("gru", 1)]
    for row in runs.to_dict("records"):
        record = json.loads(results.record_path(stored, row["run_id"]).read_text())
        for name in ("perplexity", "tail_perplexity", "val_perplexity"):
            assert row[name] == record["metrics"][name]
        assert row["num_hiddens"] == 8
        assert pd.isna(row["clip"])
        assert row["parameters"] == record["counts"]["parameters"]
        assert row["corpus_sha256"] == corpus.sha256
        assert (row["corpus"], row["unit"], row["status"]) == ("made-up.txt", "char", "ok")


def test_damaged_and_foreign_files_are_named_and_skipped(stored: Path) -> None:
    first, second, _ = sorted((stored / "runs").glob("*.json"))
    kept = json.loads(second.read_text())
    first.write_text("{")
    (stored / "runs" / "foreign.json").write_text('{"a": 1}')
    del kept["corpus"]
    second.write_text(json.dumps(kept))
    runs, problems = runs_frame(stored)
    assert len(runs) == 1
    assert len(problems) == 3
    for named in (str(first), "foreign.json", kept["run_id"]):
        assert sum(named in problem for problem in problems) == 1


def test_no_records_are_an_empty_frame(tmp_path: Path) -> None:
    runs, problems = runs_frame(tmp_path)
    assert runs.empty
    assert problems == []
    assert curves_frame(tmp_path, runs).empty


def test_curves(stored: Path) -> None:
    runs, _ = runs_frame(stored)
    curves = curves_frame(stored, runs)
    assert len(curves) == 9
    for run_id, curve in curves.groupby("run_id"):
        assert list(curve["epoch"]) == [1, 2, 3]
        last = runs.set_index("run_id").loc[run_id, "perplexity"]
        assert curve["perplexity"].iloc[-1] == pytest.approx(last, rel=1e-6)


def test_order_is_model_then_knobs_then_seed() -> None:
    names = ["mine", "gru-no-update", "lstm", "gru", "rnn", "gru-no-reset"]
    shuffled = frame(
        *(
            {"model": name, "num_hiddens": hidden, "seed": seed}
            for name in names
            for hidden in (16, 8)
            for seed in (1, 0)
        )
    )
    ordered = in_order(shuffled)
    assert list(ordered["model"].unique()) == ["rnn", "lstm", "gru", "gru-no-reset", "gru-no-update", "mine"]
    gru = ordered[ordered["model"] == "gru"]
    assert list(zip(gru["num_hiddens"], gru["seed"], strict=True)) == [(8, 0), (8, 1), (16, 0), (16, 1)]
    assert list(ordered.index) == list(range(24))


@pytest.mark.parametrize(
    ("rows", "swept"),
    [
        ([{}, {"seed": 1}], []),
        ([{"num_hiddens": 8}, {"num_hiddens": 16}], ["num_hiddens"]),
        ([{"model": m, "num_hiddens": h} for m in ("rnn", "gru") for h in (8, 16)], ["model", "num_hiddens"]),
        # what only follows from another knob is left out: gru has a reset place, rnn has none
        ([{"model": "rnn", "reset": None}, {"model": "gru", "reset": "after"}], ["model"]),
        ([{"impl": "api", "init": "torch"}, {"impl": "scratch", "init": "normal"}], ["impl"]),
        ([{"impl": i, "init": n} for i in ("api", "scratch") for n in ("torch", "normal")], ["impl", "init"]),
        ([{"clip": None}, {"clip": 1.0}], ["clip"]),
    ],
)
def test_swept_knobs(rows: list[dict[str, object]], swept: list[str]) -> None:
    assert swept_knobs(frame(*rows)) == swept


@pytest.mark.parametrize(
    ("rows", "full"),
    [
        ([{"model": model, "lr": lr} for model in ("rnn", "gru") for lr in (0.5, None)], True),
        ([{"model": "rnn", "lr": 0.5}, {"model": "rnn", "lr": 1.0}, {"model": "gru", "lr": 1.0}], False),
        ([{"model": "rnn", "lr": 0.5}, {"model": "gru", "lr": 1.0}], True),  # lr follows from the model
        (
            [{"model": m, "layers": n, "num_hiddens": w} for m, n, w in [("rnn", 1, 9), ("rnn", 2, 7), ("gru", 1, 4)]],
            False,
        ),
        ([{"seed": 0}, {"seed": 1}], True),
    ],
)
def test_a_full_grid_has_every_combination(rows: list[dict[str, object]], full: bool) -> None:
    runs = frame(*rows)
    assert is_full_grid(runs, swept_knobs(runs)) == full


def test_a_width_that_was_set_to_match_is_no_side_of_the_grid() -> None:
    sizes = {("rnn", 1): 32, ("rnn", 2): 23, ("gru", 1): 18, ("gru", 2): 12}
    runs = frame(*({"model": m, "layers": n, "num_hiddens": w, "match": "params"} for (m, n), w in sizes.items()))
    assert swept_knobs(runs) == ["model", "layers"]
    assert is_full_grid(runs, swept_knobs(runs))
    assert not is_full_grid(runs[1:], swept_knobs(runs[1:]))
