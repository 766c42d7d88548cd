"""Records as a frame: one row per run, damaged and foreign files named and skipped, rows in their order. CPU, 2 s."""

import itertools
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from ablate.analysis import rows
from ablate.analysis.frames import KNOBS, curves_frame, factors, in_order, is_full_grid, runs_frame, swept_knobs
from ablate.config.identity import PROTOCOL
from ablate.config.schema import CONFIG_ROOT, Config
from ablate.data.corpora import Corpus
from ablate.records import results
from ablate.records.places import record_path
from ablate.training.loop import train
from tests.report.made import config, write_run


def frame(*rows: dict[str, object]) -> pd.DataFrame:
    """A frame with all knobs, the same in every row but for what is given."""
    common = dict.fromkeys(KNOBS, "same") | {"model": "rnn", "num_hiddens": 8, "lr": 1.0, "seed": 0}
    return pd.DataFrame([common | row for row in rows])


@pytest.fixture
def stored(tmp_path: Path, small: Callable[..., Config], corpus: Corpus) -> Path:
    """A sweep of three runs."""
    for overrides in (["model=gru", "seed=1"], ["model=gru"], ["model=rnn"]):
        results.save(tmp_path, train(small(*overrides, "engine=torch_nn", "clip=null"), corpus))
    return tmp_path


@pytest.mark.full
def test_a_row_per_run(stored: Path, corpus: Corpus) -> None:
    runs, problems = runs_frame(stored)
    assert problems == []
    assert list(zip(runs["model"], runs["seed"], strict=True)) == [("rnn", 0), ("gru", 0), ("gru", 1)]
    for row in runs.to_dict("records"):
        record = json.loads(record_path(stored, row["run_id"]).read_text())
        for name in ("perplexity", "tail_perplexity", "val_perplexity"):
            assert row[name] == record["metrics"][name]
        assert row["num_hiddens"] == 8
        assert pd.isna(row["clip"])
        assert row["parameters"] == record["counts"]["parameters"]
        assert row["corpus_sha256"] == corpus.sha256
        assert (row["corpus"], row["unit"], row["status"]) == ("made-up.txt", "char", "ok")


@pytest.mark.full
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


@pytest.mark.full
def test_of_another_version_the_remedy_is_what_the_sweep_would_do(stored: Path) -> None:
    """A sweep trains an earlier version's run again and refuses to touch a later one's."""
    earlier, later, _ = sorted((stored / "runs").glob("*.json"))
    for path, change in ((earlier, -1), (later, 1)):
        record = json.loads(path.read_text())
        path.write_text(json.dumps(record | {"protocol": PROTOCOL + change}))
    runs, problems = runs_frame(stored)
    assert len(runs) == 1
    said = {problem.partition(":")[0]: problem for problem in problems}
    assert "trains it again" in said[earlier.stem]
    assert "upgrade" in said[later.stem]
    assert "trains it again" not in said[later.stem]


def test_no_records_are_an_empty_frame(tmp_path: Path) -> None:
    runs, problems = runs_frame(tmp_path)
    assert runs.empty
    assert problems == []
    assert curves_frame(tmp_path, runs).empty


def test_of_a_setting_whose_first_record_is_broken_the_others_have_its_knobs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for width, seed in itertools.product((8, 16), (0, 1)):
        write_run(tmp_path, config(num_hiddens=width), seed, 2.0)
    first = next(one["run_id"] for one in results.records(tmp_path) if isinstance(one, dict))
    whole = rows.measured_values

    def broken(record: dict[str, Any], *given: Any) -> dict[str, Any]:
        return whole(record | {"timing": {}} if record["run_id"] == first else record, *given)

    expected, _ = runs_frame(tmp_path)
    monkeypatch.setattr(rows, "measured_values", broken)
    runs, problems = runs_frame(tmp_path)
    assert first in problems[0]
    pd.testing.assert_frame_equal(runs, expected[expected["run_id"] != first].reset_index(drop=True))


@pytest.mark.full
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
        ([{"formulation": "torch", "init": "torch"}, {"formulation": "textbook", "init": "normal"}], ["formulation"]),
        (
            [{"formulation": i, "init": n} for i in ("torch", "textbook") for n in ("torch", "normal")],
            ["formulation", "init"],
        ),
        ([{"clip": None}, {"clip": 1.0}], ["clip"]),
        # what merely varies together is not left out
        ([{"model": "rnn", "lr": 2.0}, {"model": "gru", "lr": 0.5}], ["model", "lr"]),
        ([{"num_hiddens": 8, "lr": 2.0}, {"num_hiddens": 16, "lr": 1.0}], ["num_hiddens", "lr"]),
        ([{"model": "rnn", "activation": "relu"}, {"model": "lstm", "activation": "tanh"}], ["model", "activation"]),
        ([{"model": "rnn", "activation": "tanh"}, {"model": "lstm", "activation": "tanh"}], ["model"]),
        ([{"model": "rnn", "activation": "tanh"}, {"model": "minlstm", "activation": "identity"}], ["model"]),
        # a cell without a candidate has no activation
        ([{"model": "rnn", "activation": "tanh"}, {"model": "mine", "activation": None}], ["model"]),
        # an optimizer brings its own learning rate, but not one that was typed
        ([{"optimizer": "sgd", "lr": 1.0}, {"optimizer": "adam", "lr": 0.005}], ["optimizer"]),
        ([{"optimizer": "sgd", "lr": 2.0}, {"optimizer": "adam", "lr": 0.01}], ["optimizer", "lr"]),
        (
            [{"formulation": "torch", "init": "xavier"}, {"formulation": "textbook", "init": "orthogonal"}],
            ["formulation", "init"],
        ),
        ([{"layers": 1, "dropout": 0.0}, {"layers": 2, "dropout": 0.5}], ["layers"]),
        ([{"layers": n, "dropout": d} for n, d in ((1, 0.0), (2, 0.1), (3, 0.5))], ["layers", "dropout"]),
        # the longest time to remember is that of a sequence, unless somebody gives another
        (
            [
                {"forget_bias": b, "num_steps": n, "t_max": n if b == "chrono" else None}
                for b in (1.0, "chrono")
                for n in (20, 50)
            ],
            ["forget_bias", "num_steps"],
        ),
        ([{"forget_bias": "chrono", "num_steps": n, "t_max": 3 * n} for n in (20, 50)], ["t_max", "num_steps"]),
        # a tied embedding is as wide as the layers
        (
            [{"tied": t, "num_hiddens": n, "embedding": n if t else None} for t in (False, True) for n in (8, 16)],
            ["tied", "num_hiddens"],
        ),
        # a task brings its data, and its defaults
        (
            [
                {"task": "language_model", "corpus": "plan", "num_hiddens": 256, "lr": 1.0},
                {"task": "memory", "corpus": "copy", "num_hiddens": 64, "lr": 0.01},
            ],
            ["task"],
        ),
        (
            [
                {"task": "language_model", "corpus": "plan", "num_hiddens": 8},
                {"task": "memory", "corpus": "copy", "num_hiddens": 16},
            ],
            ["task", "num_hiddens"],
        ),
    ],
)
def test_swept_knobs(rows: list[dict[str, object]], swept: list[str]) -> None:
    assert swept_knobs(frame(*rows)) == swept


@pytest.mark.parametrize(
    ("rows", "found", "full"),
    [
        ([{"model": model, "lr": lr} for model in ("rnn", "gru") for lr in (0.5, None)], [("model",), ("lr",)], True),
        (
            [{"model": "rnn", "lr": 0.5}, {"model": "rnn", "lr": 1.0}, {"model": "gru", "lr": 1.0}],
            [("model",), ("lr",)],
            False,
        ),
        ([{"model": "rnn", "lr": 0.5}, {"model": "gru", "lr": 1.0}], [("model", "lr")], True),
        # two of three settings share a learning rate: it is decided by the model
        ([{"model": m, "lr": lr} for m, lr in (("rnn", 2), ("gru", 2), ("lstm", 1))], [("model", "lr")], True),
        # two of three settings share a model: it is decided by the learning rate
        ([{"model": m, "lr": lr} for m, lr in (("rnn", 2), ("rnn", 1), ("gru", 3))], [("lr", "model")], True),
        (
            [{"model": m, "lr": lr, "clip": c} for m, lr, c in (("rnn", 2, 1), ("gru", 1, 3), ("lstm", 3, 2))],
            [("model", "lr", "clip")],
            True,
        ),
        (
            [{"model": m, "lr": lr, "layers": n} for m, lr in (("rnn", 2), ("gru", 1)) for n in (1, 2)],
            [("model", "lr"), ("layers",)],
            True,
        ),
        # a rate for each pair of model and width: none of the three can be told from the others
        (
            [
                {"model": m, "num_hiddens": h, "lr": lr}
                for (m, h), lr in zip([("rnn", 8), ("rnn", 16), ("gru", 8), ("gru", 16)], (1, 2, 3, 3), strict=True)
            ],
            [("model", "num_hiddens", "lr")],
            True,
        ),
        ([{"seed": 0}, {"seed": 1}], [], True),
    ],
)
def test_factors_and_whether_they_form_a_full_grid(
    rows: list[dict[str, object]], found: list[tuple[str, ...]], full: bool
) -> None:
    runs = frame(*rows)
    assert factors(runs) == found
    assert is_full_grid(runs, factors(runs)) == full


def test_a_width_that_was_set_to_match_is_no_side_of_the_grid() -> None:
    sizes = {("rnn", 1): 32, ("rnn", 2): 23, ("gru", 1): 18, ("gru", 2): 12}
    runs = frame(*({"model": m, "layers": n, "num_hiddens": w, "match": "params"} for (m, n), w in sizes.items()))
    assert swept_knobs(runs) == ["model", "layers"]
    assert is_full_grid(runs, factors(runs))
    assert not is_full_grid(runs[1:], factors(runs[1:]))


@pytest.mark.full
def test_every_committed_record_can_be_read() -> None:
    """All sweeps of results/, in a checkout: no line about a record that could not be read, and a row for each file."""
    sweeps = sorted(path.parent for path in (CONFIG_ROOT / "results").glob("*/runs.parquet"))
    if not sweeps:
        pytest.skip("outside a checkout")
    for sweep in sweeps:
        frame, problems = runs_frame(sweep)
        assert problems == [], sweep.name
        assert len(frame) == len(pd.read_parquet(sweep / "runs.parquet")), sweep.name


def test_what_the_runs_of_a_setting_share_is_made_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for width, seed in itertools.product((8, 16), range(5)):
        write_run(tmp_path, config(num_hiddens=width), seed, 2.0)
    made: list[Any] = []
    values = rows.knob_values
    monkeypatch.setattr(rows, "knob_values", lambda *of: made.append(of) or values(*of))
    runs, _ = runs_frame(tmp_path)
    assert len(made) == 2
    assert sorted(runs["num_hiddens"]) == [8] * 5 + [16] * 5


def test_numbers_and_texts_of_a_knob_have_an_order() -> None:
    """Texts behind numbers, and where neither is last."""
    shuffled = frame(*({"forget_bias": value} for value in ("chrono", 2.0, None, 1.0)))
    assert in_order(shuffled)["forget_bias"].tolist()[:3] == [1.0, 2.0, "chrono"]
