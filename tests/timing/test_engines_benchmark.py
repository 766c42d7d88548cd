"""The command `python -m ablate.bench engines`: that it measures, writes, and refuses. CPU, 3 s."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from ablate.cli.bench import main
from ablate.stats import bootstrap_interval
from ablate.timing.engines import MINIMUM_ROUNDS, spread


@pytest.mark.full
def test_it_writes_a_row_per_model_size_and_number_of_replicas(tmp_path: Path) -> None:
    small = ["--hiddens", "4,8", "--models", "rnn,lstm", "--replicas", "1,2", "--seconds", "0"]
    assert main(["engines", *small, "--out", str(tmp_path)]) == 0
    table = pd.read_csv(tmp_path / "engines.csv")
    assert len(table) == 8
    assert (table["threads"] == 1).all()
    assert (table["baseline"] == "torch_nn").all()
    assert (table["ratio_low"] <= table["ratio"]).all()
    assert (table["ratio"] <= table["ratio_high"]).all()
    assert (tmp_path / "engines.png").stat().st_size > 1000


@pytest.mark.full
def test_a_cell_that_torch_nn_has_not_is_timed_against_the_readable_network(tmp_path: Path) -> None:
    shape = ["--hiddens", "4", "--replicas", "3", "--vocabularies", "50", "--batch-sizes", "2", "--steps", "5"]
    threads = ["--threads", "1,2", "--seconds", "0"]
    assert main(["engines", "--models", "mgu", *shape, *threads, "--out", str(tmp_path)]) == 0
    table = pd.read_csv(tmp_path / "engines.csv")
    assert list(table["threads"]) == [1, 2]
    assert set(table["baseline"]) == {"eager"}
    assert set(zip(table["vocabulary"], table["batch_size"], table["num_steps"], strict=True)) == {(50, 2, 5)}


@pytest.mark.full
def test_networks_of_real_numbers(tmp_path: Path) -> None:
    shape = ["--models", "rnn", "--hiddens", "4", "--replicas", "2", "--vocabularies", "3", "--features", "2"]
    assert (
        main(["engines", *shape, "--batch-sizes", "2", "--steps", "5", "--seconds", "0", "--out", str(tmp_path)]) == 0
    )
    [row] = pd.read_csv(tmp_path / "engines.csv").to_dict("records")
    assert (row["features"], row["vocabulary"], row["baseline"]) == (2, 3, "torch_nn")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["engines", "--models", "foo"], "foo"),
        (["engines", "--models", "rnn,foo", "--hiddens", "4", "--replicas", "1", "--seconds", "0"], "foo"),
        (["engines", "--hiddens", "0"], "'0' is not a whole number from 1 up"),
        (["engines", "--seconds", "nan"], "'nan' is not a number of seconds"),
        (["engines", "--nonsense"], "there is no option --nonsense (ablate bench engines"),
        ([], "required: what"),
    ],
)
def test_bad_arguments_are_one_line_and_status_2(
    arguments: list[str], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(arguments) == 2
    said = capsys.readouterr()
    assert message in said.err
    assert said.err.count("\n") == 1
    assert said.out == "", "nothing is measured before all is known"


def test_a_folder_that_cannot_be_made_is_one_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "file").touch()
    assert main(["engines", "--out", str(tmp_path / "file" / "below")]) == 2
    assert capsys.readouterr().err.count("\n") == 1


def test_quartiles() -> None:
    assert spread("t", [1.0, 2.0, 3.0]) == {"t": 2.0, "t_q25": 1.5, "t_q75": 2.5}


def test_so_few_rounds_as_there_may_be_have_an_interval() -> None:
    """Of the median ratio, of which one from three rounds would cover 76 % instead of 95 %: from six it covers 96 %."""
    rng = np.random.default_rng(0)
    inside = 0
    for _ in range(200):
        low, high = bootstrap_interval(rng.normal(size=MINIMUM_ROUNDS), np.median)
        inside += low <= 0 <= high
    assert inside >= 184  # fewer would be one in a hundred of 95 %
