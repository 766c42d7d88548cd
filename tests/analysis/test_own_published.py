"""Published values of a person's own, from a CSV: against values typed here; and what is wrong in one. CPU, 2 s."""

import math
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from ablate.analysis.aggregate import aggregate
from ablate.analysis.frames import runs_frame
from ablate.analysis.own_published import match_own, own_file, read_own
from ablate.analysis.published import match
from ablate.config.errors import DataError
from ablate.report.blocks import Attempts
from ablate.report.contents import sheets
from ablate.report.material import gather
from ablate.report.protocol import deviations
from tests.report.made import config, write_manifest, write_run


def written(path: Path, *lines: str) -> Path:
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return path


@pytest.fixture
def sweep(tmp_path: Path) -> Path:
    for hidden in (16, 32):
        for seed in range(3):
            setting = config("gru", num_hiddens=hidden, lr=0.5)
            write_run(tmp_path, setting, seed, 5.0 + hidden / 16 + 0.1 * seed, sha256="0" * 64)
    write_manifest(tmp_path)
    return tmp_path


def test_a_row_speaks_of_the_settings_that_have_its_knobs(sweep: Path) -> None:
    settings = aggregate(runs_frame(sweep)[0])
    rows = read_own(
        written(
            sweep / "published.csv",
            "model,num_hiddens,lr,perplexity,source,repeats",
            "gru,16,.5,6,Doe 2020,3",
            "gru,,,9,Roe 2021,",
            "lstm,16,0.5,4,Doe 2020,3",
        )
    )
    found = match_own(settings, rows).set_index("setting_id")
    by_hidden = settings.set_index("num_hiddens")["setting_id"]
    assert found.loc[by_hidden[16], ["published_perplexity", "source", "repeats"]].tolist() == [6.0, "Doe 2020", 3]
    assert found.loc[by_hidden[32], ["published_perplexity", "source", "repeats"]].tolist() == [9.0, "Roe 2021", 1]


def test_it_is_row_0_of_the_table(sweep: Path) -> None:
    written(sweep / "published.csv", "num_hiddens,perplexity,accuracy,source", "32,7,0.5,Doe 2020")
    m = gather(sweep, Attempts(print))
    sheet = sheets(m)["settings"]()
    headings = [column.heading for column in sheet.columns]
    rows = [dict(zip(headings, row, strict=False)) for row in sheet.rows]
    assert [row["whose"] for row in rows] == ["here", "published", "here"]
    assert rows[1]["perplexity"] == "7"
    mean = math.exp(sum(math.log(7 + 0.1 * seed) for seed in range(3)) / 3)
    assert f"{mean / 7:.3f}" in rows[2].values()
    said = " ".join(deviations(m))
    assert "Doe 2020" in said
    assert "means without a spread" not in said  # which is said of the course's
    assert not m.settings["repeats_course"].any()


def test_beside_a_preset_of_ones_own(tmp_path: Path) -> None:
    preset = written(tmp_path / "mine.yaml", "lr: 1")
    assert own_file(tmp_path, preset) is None
    beside = written(tmp_path / "mine.published.csv", "perplexity", "3")
    assert own_file(tmp_path, preset) == beside
    inside = written(tmp_path / "published.csv", "perplexity", "3")
    assert own_file(tmp_path, preset) == inside


def test_ones_own_stand_in_the_place_of_the_courses(sweep: Path) -> None:
    settings = aggregate(runs_frame(sweep)[0])
    own = read_own(written(sweep / "published.csv", "num_hiddens,val_perplexity", "16,8"))
    known = match(settings, own)
    assert known["published_val_perplexity"].tolist() == [8.0]
    assert known["of_course"].tolist() == [False]
    assert match(settings).empty


@pytest.mark.parametrize(
    ("lines", "said"),
    [
        (["model,num_hidens,perplexity", "gru,16,5"], "line 1: 'num_hidens'.*num_hiddens"),
        (["model,perplexity,perplexity", "gru,16,5"], "line 1: there are two"),
        (["model,num_hiddens", "gru,16"], "line 1: no column is a metric"),
        (["model,perplexity", "gru,5", "lstm,low"], "line 3: perplexity is 'low'"),
        (["model,perplexity,repeats", "gru,5,0"], "line 2: repeats is '0'"),
        (["model,perplexity,repeats", "gru,5,1e300"], "line 2: repeats is '1e300'"),
        (["model,perplexity", "gru,5,7"], "line 2: .*fields"),
        (["model,perplexity", "gru"], "line 2: .*fields"),
        (["model,perplexity", '"gru,5'], "CSV"),
        ([""], "line 1: no column"),
    ],
)
def test_what_is_wrong_is_one_line_with_its_number(lines: list[str], said: str, tmp_path: Path) -> None:
    path = written(tmp_path / "published.csv", *lines)
    with pytest.raises(DataError, match=said) as error:
        read_own(path)
    assert str(path) in str(error.value)
    assert "\n" not in str(error.value)


def test_a_mistake_in_it_costs_no_report(sweep: Path) -> None:
    written(sweep / "published.csv", "nonsense", "1")
    attempt = Attempts(lambda line: None)
    m = gather(sweep, attempt)
    assert len(m.settings) == 2
    assert any("'nonsense'" in line for line in attempt.failed)


def test_knobs_by_their_former_names_and_values(tmp_path: Path) -> None:
    rows = read_own(written(tmp_path / "published.csv", "impl,perplexity", "api,5"))
    setting: dict[str, Any] = {"setting_id": "a", "formulation": "torch"}
    assert match_own(pd.DataFrame([setting]), rows)["published_perplexity"].tolist() == [5.0]
