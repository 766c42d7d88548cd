"""What the page gives its script of the runs, and what it lets run. CPU, 1 s; the script itself: test_browser."""

import base64
import json
import math
import re
from hashlib import sha256
from pathlib import Path

import numpy as np
import pytest
from scipy import stats

from ablate.report import explorer as exploring
from ablate.report.blocks import Attempts, Explorer, unheard
from ablate.report.explorer import explorer
from ablate.report.html import TEMPLATES, shown
from ablate.report.material import Material, gather
from ablate.report.sheets import SettingsSheet
from tests.report.made import config, write_sweep


@pytest.fixture(scope="module")
def m(full: Path) -> Material:
    return gather(full, Attempts(unheard))


@pytest.mark.full
def test_values_stand_by_setting_and_seed(m: Material) -> None:
    data = explorer(m).data
    names = [heading["heading"] for heading in data["metrics"]]
    assert names[:2] == ["tail perplexity", "perplexity"]
    for at, setting in enumerate(m.settings["setting_id"]):
        runs = m.runs[m.runs["setting_id"] == setting].set_index("seed")
        for place, seed in enumerate(data["seeds"]):
            value = data["values"][0][at][place]
            if runs.loc[seed, "status"] == "ok":
                assert value == pytest.approx(runs.loc[seed, "tail_perplexity"], rel=1e-5)
                assert place not in data["diverged"][at]
            else:
                assert value is None
                assert place in data["diverged"][at]
    assert any(data["diverged"])  # else half of this tests nothing


@pytest.mark.full
def test_settings_are_those_of_the_table(m: Material) -> None:
    shown = [row for row in SettingsSheet(m).sheet().rows if "published" not in row]
    texts = explorer(m).data["settings"]
    assert [row[: len(texts[0])] for row in shown] == texts


@pytest.mark.full
def test_quantiles_are_those_of_t(m: Material) -> None:
    data = explorer(m).data
    assert len(data["quantiles"]) == len(data["seeds"]) + 1
    for n in range(2, len(data["quantiles"])):
        assert data["quantiles"][n] == pytest.approx(stats.t.ppf(0.975, n - 1))


@pytest.mark.full
def test_many_settings_are_cut_and_it_is_said(m: Material, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(exploring, "MOST_SETTINGS", 3)
    data = explorer(m).data
    assert len(data["settings"]) == 3
    assert {len(values) for values in data["values"]} == {3}
    assert f"first 3 of {len(m.settings)} settings" in data["note"]


@pytest.mark.full
def test_many_values_leave_the_foremost_measure(m: Material, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(exploring, "MOST_VALUES", len(m.runs))
    assert [one["heading"] for one in explorer(m).data["metrics"]] == ["tail perplexity"]
    monkeypatch.setattr(exploring, "MOST_VALUES", 1)
    assert len(explorer(m).data["settings"]) == 1


def test_nothing_in_the_data_ends_their_element() -> None:
    odd = Explorer({"note": "a\x9a\u202eb"}).json
    assert json.loads(odd) == {"note": r"a\x9a\u202eb"}
    assert shown(odd) == odd
    said = Explorer({"note": "</script><script>alert(1)</script>", "value": 1.5}).json
    assert "<" not in said
    assert json.loads(said) == {"note": "</script><script>alert(1)</script>", "value": 1.5}


def test_values_that_are_no_numbers_are_no_json() -> None:
    with pytest.raises(ValueError, match="JSON"):
        _ = Explorer({"value": math.nan}).json


@pytest.mark.full
def test_the_page_allows_its_own_script_alone(full: Path) -> None:
    page = (full / "report.html").read_text(encoding="utf-8")
    [policy] = re.findall(r'Content-Security-Policy" content="([^"]*)"', page)
    script = (TEMPLATES / "page.js").read_text(encoding="utf-8")
    digest = base64.b64encode(sha256(script.encode()).digest()).decode()
    assert f"script-src 'sha256-{digest}'" in policy
    assert "default-src 'none'" in policy
    scripts = re.findall(r"<script([^>]*)>(.*?)</script>", page, re.DOTALL)
    assert [kind for kind, _ in scripts] == [' type="application/json"', ""]
    assert scripts[1][1] == script


def test_one_run_has_nothing_to_explore(tmp_path: Path) -> None:
    sweep = write_sweep(tmp_path / "one", [config("gru")], seeds=1, epochs=3, timed=False)
    assert not exploring.EXPLORE.applies(gather(sweep, Attempts(unheard)))


@pytest.mark.full
def test_numbers_are_rounded_to_more_digits_than_are_shown(m: Material) -> None:
    values = np.array([v for table in explorer(m).data["values"] for row in table for v in row if v is not None])
    assert all(len(f"{value:.10g}".replace(".", "").strip("0")) <= exploring.DIGITS for value in values)
