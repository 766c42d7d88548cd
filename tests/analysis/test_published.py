"""Settings laid beside published values: against rows read by hand from results/published/*.csv. CPU, 1 s."""

import csv
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from ablate.analysis.aggregate import aggregate
from ablate.analysis.frames import runs_frame
from ablate.analysis.published import MATCHED, match, published
from ablate.config.schema import PUBLISHED_DIR
from tests.report.made import config, write_run


def settings(sweep: Path, *configs: dict[str, Any], seeds: int = 20, **run: Any) -> pd.DataFrame:
    """Aggregated settings of made-up runs, in the order in which reports have them."""
    for knobs in configs:
        for seed in range(seeds):
            write_run(sweep, config(**knobs), seed, 2.0, **run)
    return aggregate(runs_frame(sweep)[0])


def told(matched: pd.DataFrame, frame: pd.DataFrame, *columns: str) -> list[tuple[Any, ...]]:
    return list(frame.merge(matched, on="setting_id")[list(columns)].itertuples(index=False, name=None))


def test_every_published_row_is_there() -> None:
    rows = [
        row
        for path in PUBLISHED_DIR.glob("*.csv")
        if path.name != "translation.csv"
        for row in csv.DictReader(path.read_text(encoding="utf-8").splitlines())
    ]
    frame = published()
    assert len(frame) == len(rows) > 60
    assert sorted(frame["perplexity"]) == sorted(float(row["perplexity"]) for row in rows)
    assert (PUBLISHED_DIR / "README.md").is_file()
    assert set(frame.loc[frame["source"] == "table12", "repeats"]) == {20}
    assert set(frame.loc[frame["source"] == "figure28", "repeats"]) == {1}


def test_an_exact_match_differs_in_nothing(tmp_path: Path) -> None:
    frame = settings(tmp_path, *({"model": "lstm", "layers": layers} for layers in (1, 2, 5)))
    expected = [(1, 4.2, 99672.4), (2, 2.09, 55921.8), (5, 17.5, 23579.3)]  # table20_lstm_layers.csv
    matched = match(frame)
    assert list(matched.columns) == ["setting_id", *MATCHED]
    assert told(matched, frame, "layers", "published_perplexity", "published_tokens_per_s") == expected
    assert set(matched["source"]) == {"table20"}
    assert set(matched["differs"]) == {""}


def test_differing_seeds_are_said(tmp_path: Path) -> None:
    frame = settings(tmp_path, {"model": "gru"}, seeds=5)
    [row] = match(frame).to_dict("records")
    assert (row["published_perplexity"], row["published_epochs"]) == (3.7, 500)
    assert row["differs"] == "5 seeds instead of 20"


def test_of_two_publications_the_one_of_as_many_epochs(tmp_path: Path) -> None:
    """lr 0.01 was published after 500 epochs (table15) and after 1500 (figure28)."""
    for epochs, source, perplexity in ((500, "table15", 13.3), (1500, "figure28", 9.1)):
        frame = settings(tmp_path / str(epochs), {"num_hiddens": 512, "lr": 0.01, "epochs": epochs})
        [row] = match(frame).to_dict("records")
        assert (row["source"], row["published_perplexity"]) == (source, perplexity)


def test_what_the_sweep_varies_must_agree(tmp_path: Path) -> None:
    frame = settings(tmp_path, *({"num_hiddens": 64, "epochs": epochs} for epochs in (100, 500)), seeds=1)
    assert told(match(frame), frame, "epochs", "published_perplexity") == [(500, 3.69)]


def test_one_publication_for_a_whole_sweep(tmp_path: Path) -> None:
    """rnn api 512 stands in six tables; beside its siblings the tables must be theirs."""
    by_hiddens = settings(tmp_path / "a", *({"num_hiddens": hidden} for hidden in (256, 512)))
    assert set(match(by_hiddens)["source"]) == {"table12"}
    by_model = settings(tmp_path / "b", *({"model": m, "num_hiddens": h} for m in ("rnn", "gru") for h in (32, 512)))
    assert set(match(by_model)["source"]) == {"table18_19"}
    by_batch = settings(tmp_path / "c", *({"num_hiddens": 512, "batch_size": size} for size in (16, 32)))
    assert set(match(by_batch)["source"]) == {"table14"}


def test_random_sampling_was_published_for_the_state_reset_in_order(tmp_path: Path) -> None:
    knobs = {"num_hiddens": 512, "formulation": "textbook"}
    frame = settings(tmp_path, *(knobs | {"sampling": name} for name in ("sequential", "random", "sequential-reset")))
    found = told(match(frame), frame, "sampling", "published_perplexity", "differs")
    by_sampling = {sampling: (perplexity, differs) for sampling, perplexity, differs in found}
    assert by_sampling["sequential"] == (1.26, "")
    assert by_sampling["sequential-reset"] == (1.43, "")
    assert "random" not in by_sampling  # shuffled: nobody published that


def test_gates_as_published_are_not_the_true_ablations(tmp_path: Path) -> None:
    names = ("gru", "gru-no-update", "gru-no-update-as-published", "gru-no-reset", "gru-no-reset-as-published")
    frame = settings(
        tmp_path, *({"model": name, "num_hiddens": 256, "formulation": "textbook"} for name in names), seeds=1
    )
    found = told(match(frame), frame, "model", "published_perplexity")
    assert dict(found) == {"gru": 1.0, "gru-no-update-as-published": 10.0, "gru-no-reset-as-published": 1.0}


@pytest.mark.parametrize(
    "knobs",
    [
        {"num_hiddens": 48},
        {"epochs": 200},
        {"max_tokens": 20000},
        {"clip": None},
        {"num_steps": 17},
        {"batch_size": 33},
        {"sampling": "random"},
        {"lr": 0.7},
        {"init": "normal"},
        {"model.activation": "relu"},
        {"optimizer.name": "adam", "lr": 1.0},
        {"optimizer.weight_decay": 0.1},
        {"model": "lstm", "layers": 2, "dropout": 0.3},
        {"model": "gru", "reset": "before"},
    ],
    ids=str,
)
def test_another_setting_has_no_published_value(knobs: dict[str, Any], tmp_path: Path) -> None:
    matched = match(settings(tmp_path, knobs, seeds=1))
    assert matched.empty
    assert list(matched.columns) == ["setting_id", *MATCHED]


def test_another_text_has_no_published_value(tmp_path: Path) -> None:
    assert match(settings(tmp_path, {}, seeds=1, sha256="0" * 64, corpus="python_docs")).empty


def test_no_settings() -> None:
    assert match(pd.DataFrame()).empty
