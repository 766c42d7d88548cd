"""Tables of time to quality, of ranks after a part of the training, and over several data sets. CPU, 3 s.

Made-up sweeps with known numbers: when these tables are there, and what they say.
"""

from pathlib import Path

import pytest

import ablate
from ablate.cli.report import main
from ablate.records.qualities import FILE, keep_qualities, qualities
from ablate.report.blocks import Attempts
from ablate.report.contents import sheets, wanted
from ablate.report.material import Material, gather
from ablate.report.plots import save
from tests.report.made import config, write_manifest, write_run, write_sweep

SETTINGS = [config(model, num_hiddens=hidden) for model in ("rnn", "gru") for hidden in (32, 128)]
NEW = {"time_to_quality", "budgets", "across", "across_pairs"}

pytestmark = pytest.mark.full


def gathered(sweep: Path) -> Material:
    return gather(sweep, Attempts(lambda line: pytest.fail(line)))


@pytest.fixture(scope="module")
def timed(tmp_path_factory: pytest.TempPathFactory) -> Material:
    """Four settings on one text, all timed; the gru of 128 units is the best and the slowest."""
    return gathered(write_sweep(tmp_path_factory.mktemp("timed"), SETTINGS))


@pytest.fixture(scope="module")
def several(tmp_path_factory: pytest.TempPathFactory) -> Material:
    """Three models on four texts; the gru is the best on each, the lstm on none."""
    folder = tmp_path_factory.mktemp("several")
    for text in range(4):
        for model, level in (("rnn", 3.0), ("lstm", 2.0), ("gru", 1.5)):
            for seed in range(5):
                value = 10**text * (level + 0.01 * seed)
                write_run(folder, config(model), seed, 1 + value, sha256=f"{text}" * 64, corpus=f"text {text}")
    write_manifest(folder)
    return gathered(folder)


def test_tables_are_there_only_where_their_data_are(timed: Material, several: Material, tmp_path: Path) -> None:
    few = gathered(write_sweep(tmp_path, SETTINGS[:2], timed=False))
    assert NEW & {*sheets(timed)} == {"time_to_quality", "budgets"}
    assert NEW & {*sheets(several)} == {"across", "across_pairs"}
    assert not NEW & {*sheets(few)}


def test_time_to_quality_takes_what_half_of_the_settings_reach(timed: Material) -> None:
    sheet = sheets(timed)["time_to_quality"]()
    data = sheet.data
    assert len(data) == 4
    assert data["seconds"].dropna().is_monotonic_increasing
    assert data["seconds"].notna().sum() == 2
    median = timed.settings["best_val_perplexity"].median()
    assert data["value"].eq(data["value"].iloc[0]).all()
    assert median <= data["value"].iloc[0] <= 1.01 * median
    for row in data[data["reached"] > 0].to_dict("records"):
        assert row["seconds"] == pytest.approx(row["epochs"] * 8960 / row["tokens_per_s"])
    assert "speed lane" in sheet.notes[0]


def test_what_a_person_asks_for_is_kept_with_the_sweep(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("ablate.report.write_reports", lambda *args, **more: 0)
    sweep = write_sweep(tmp_path / "made", SETTINGS[:2], seeds=2, epochs=5)
    assert main([str(sweep), "--until", "perplexity<9", "--until", "val_perplexity<11"]) == 0
    assert qualities(sweep) == ["perplexity<9", "val_perplexity<11"]
    sheet = sheets(gathered(sweep))["time_to_quality"]()
    assert sheet.data["metric"].unique().tolist() == ["perplexity", "val_perplexity"]
    assert main([str(sweep), "--until", "usual"]) == 0
    assert qualities(sweep) == []
    capsys.readouterr()
    assert main([str(sweep), "--until", "accuracy<1"]) == 2
    assert "accuracy>1" in capsys.readouterr().err
    assert main([str(tmp_path), "--until", "perplexity<9"]) == 0  # which is no sweep
    assert not (tmp_path / FILE).exists()


def test_damaged_qualities_are_none(tmp_path: Path) -> None:
    keep_qualities(tmp_path, ["perplexity<9"])
    assert qualities(tmp_path) == ["perplexity<9"]
    (tmp_path / FILE).write_text("{")
    assert qualities(tmp_path) == []


def test_ranks_after_a_part_of_the_epochs(timed: Material) -> None:
    data = sheets(timed)["budgets"]().data
    assert data["of"].eq(40).all()
    assert data["epochs"].tolist() == [2, 4, 8, 16, 24, 32]
    assert data["spearman"].iloc[-1] == 1  # settings that far apart
    assert (data["regret"] >= 1).all()


def test_over_data_sets_the_best_ranks_first(several: Material) -> None:
    sheet = sheets(several)["across"]()
    assert [row[0] for row in sheet.rows] == ["model=gru", "model=lstm", "model=rnn"]
    assert sheet.data["mean_rank"].tolist() == [1, 2, 3]
    assert sheet.data["best_on"].tolist() == [4, 0, 0]
    pairs = sheets(several)["across_pairs"]().data
    assert (pairs["improvement"] == 1).all()
    assert (pairs["p"] == 0.125).all()


def test_the_figures_of_data_sets(several: Material, tmp_path: Path) -> None:
    figures = wanted(several)
    for name in ("critical_difference", "profile"):
        caption, make = figures[name]
        assert caption
        assert all(path.stat().st_size > 1000 for path in save(make(), tmp_path, name))


def test_python_has_the_same(timed: Material, several: Material) -> None:
    one, many = ablate.load(timed.folder), ablate.load(several.folder)
    table = one.time_to("perplexity<9")
    assert len(table) == 4
    assert (table["seconds"] > 0).any()
    assert one.budget_correlation("perplexity", epochs=[20])["of"].tolist() == [40]
    assert one.budget_correlation().equals(timed.budgets)
    assert many.across().settings["mean_rank"].tolist() == [1, 2, 3]
    with pytest.raises(ablate.UserError, match="data sets"):
        one.across()
    with pytest.raises(ablate.UserError, match="speed=True"):
        many.time_to("perplexity<9")
