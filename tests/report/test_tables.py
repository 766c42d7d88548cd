"""Numbers as people read them. CPU, under 1 s."""

import io
import math
from pathlib import Path

import pytest
from rich.console import Console
from rich.table import Table
from rich.text import Text

from ablate.analysis.aggregate import aggregate
from ablate.analysis.frames import runs_frame
from ablate.config.metrics import METRICS, Metric
from ablate.config.registry import scoped
from ablate.report.numbers import listed
from ablate.report.tables import (
    PLAIN,
    bounded,
    laid_out,
    means_note,
    measured_columns,
    plus_minus,
    setting_texts,
    value_text,
)
from tests.report.made import config, write_sweep


@pytest.mark.parametrize(
    ("mean", "reach", "text"),
    [
        (3.2149, 0.04, "3.215 ± 0.040"),
        (3.21, 0.4, "3.21 ± 0.40"),
        (123.4, 40.0, "123 ± 40"),
        (15.23, 2.7, "15.2 ± 2.7"),
        (1.0321, math.nan, "1.032"),  # one seed: no interval
        (math.nan, math.nan, "–"),
        (2.0, 0.0, "2.00 ± 0.00"),
        (1.00012, 0.00001, "1.0001 ± 0.0000"),
        (5.9e-7, 2e-8, "5.9e-07 (5.7e-07–6.1e-07)"),  # not 0.0000 ± 0.0000
        (-5e12, 1e11, "-5e+12 (-5.1e+12–-4.9e+12)"),
        (0.0003, 0.4, "0.00 ± 0.40"),
    ],
)
def test_plus_minus_has_the_digits_that_the_interval_supports(mean: float, reach: float, text: str) -> None:
    assert plus_minus(mean, mean - reach, mean + reach) == text


@pytest.mark.parametrize(
    ("top", "text"),
    [
        (1.0, "0.970 (0.940–1.000)"),
        (100.0, "97.0 (94.0–100.0)"),
        (0.05, "0.0485 (0.0470–0.0500)"),
        (2000, "1940 (1880–2000)"),
    ],
)
def test_values_up_to_a_largest_one_have_the_decimals_that_tell_them_apart(top: float, text: str) -> None:
    assert bounded(0.97 * top, 0.94 * top, top, top) == text


@pytest.mark.parametrize(("epochs", "text"), [(60.0, "60"), (61.33, "61.33"), (10_000.0, "10000"), (12_345.5, "12346")])
def test_how_long_runs_were_trained(epochs: float, text: str) -> None:
    assert setting_texts({"epochs_trained": epochs, "bidirectional": False}, ["epochs_trained"]) == [text]


@pytest.mark.parametrize(
    ("mean", "low", "high", "text"),
    [
        (5.1, 3.92, 6.64, "5.1 (3.9–6.6)"),
        (10.0, 9.88, 10.121, "10.00 ± 0.12"),
        (10.0, 9.6, 10.417, "10.00 (9.60–10.42)"),
        (100.0, 50.0, 200.0, "100 (50–200)"),
        (2.0, 1e-9, 4e9, "2 (1e-09–4e+09)"),
        (3.15e30, 3.03e30, 3.28e30, "3.15e+30 (3.03e+30–3.28e+30)"),
        (1.7e75, 0.0, math.inf, "1.7e+75 (0–∞)"),
        (-3.0, -3.4, -2.5, "-3.00 (-3.40–-2.50)"),
    ],
)
def test_an_interval_that_reaches_farther_to_one_side_shows_its_ends(
    mean: float, low: float, high: float, text: str
) -> None:
    assert plus_minus(mean, low, high) == text


@pytest.mark.parametrize(
    ("value", "text"),
    [(None, "null"), (math.nan, "null"), (1.0, "1"), (0.005, "0.005"), (256, "256"), ("gru", "gru")],
)
def test_values_as_typed(value: object, text: str) -> None:
    assert value_text(value) == text


@pytest.mark.parametrize("rows", [0, 1, 7])
def test_a_table_of_many_rows_is_laid_out_as_rich_does(rows: int) -> None:
    table = Table(title="a sweep", **PLAIN)
    for name, justify in (("model", "left"), ("num_hiddens", "right"), ("diverged", "right"), ("corpus", "left")):
        table.add_column(name, justify=justify)  # type: ignore[arg-type]
    for row in range(rows):
        table.add_row("gru", str(10**row), Text("3", "red") if row % 2 else "0", "模型" if row % 3 else "[/b]")
    consoles = [Console(file=io.StringIO(), width=200, markup=False) for _ in range(2)]
    consoles[0].print(table)
    consoles[1].print(laid_out(table), highlight=False, soft_wrap=True)
    by_rich, ours = (console.file.getvalue() for console in consoles)  # type: ignore[attr-defined]
    assert ours == by_rich


def test_a_metric_of_ones_own_stands_in_the_table_on_the_terminal(tmp_path: Path) -> None:
    sweep = write_sweep(tmp_path / "own", [config("gru")], seeds=2)
    with scoped():
        METRICS.add(Metric("gain", "gain", "higher", shown=True, of=lambda record: 1.0))
        columns = measured_columns(aggregate(runs_frame(sweep)[0], 0.95))
    assert list(columns) == ["tail_perplexity", "gain", "perplexity", "val_perplexity"]
    assert columns["gain"] == "gain"


@pytest.mark.parametrize(
    ("shown", "said"),
    [
        (["perplexity"], "geometric mean ± half its 95 % interval (t, on logarithms), or (its ends)"),
        (["accuracy"], "arithmetic mean and its 95 % interval (t)"),
        (
            ["accuracy", "perplexity"],
            "geometric mean ± half its 95 % interval (t, on logarithms), or (its ends), of accuracy the arithmetic "
            "mean (t interval)",
        ),
    ],
)
def test_a_table_says_which_mean_it_shows(shown: list[str], said: str) -> None:
    assert means_note(shown, 0.95) == said


def test_names_with_commas_are_told_apart() -> None:
    assert listed(["rnn", "lstm", "gru"]) == "rnn, lstm and gru"
    assert listed(["rnn, lr=1", "gru, lr=1", "gru, lr=2"]) == "rnn, lr=1 and gru, lr=1 and gru, lr=2"
    assert (listed(["rnn, lr=1"]), listed([])) == ("rnn, lr=1", "")
