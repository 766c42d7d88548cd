"""The whole report of made-up sweeps: its files, its page read as a browser would, and what goes wrong. CPU, 30 s."""

import json
import re
import shlex
from collections import Counter
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from ablate.cli.report import main
from ablate.config.terminal import CONTROLS
from ablate.report import drawn, write_report
from ablate.report.blocks import Attempts
from ablate.report.cautions import warnings
from ablate.report.html import INVISIBLE
from ablate.report.material import gather
from ablate.report.provenance import MACHINES, _tally
from tests.report.made import config, write_manifest, write_run, write_sweep

VOID = {"meta", "img", "br", "wbr", "link", "input", "hr"}


class Document(HTMLParser):
    """A page's tags with their attributes, its text, and the text below each id."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.text = ""
        self.below: dict[str, str] = {}
        self.rows: list[list[str]] = []
        self.open: list[tuple[str, str]] = []
        self.feed(text)
        self.close()
        assert not self.open, f"never closed: {self.open}"

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        if tag == "tr":
            self.rows.append([])
        elif tag in ("td", "th"):
            self.rows[-1].append("")
        if tag not in VOID:
            self.open.append((tag, dict(attrs).get("id") or ""))

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop()[0] == tag

    def handle_data(self, data: str) -> None:
        if any(tag == "style" for tag, _ in self.open):
            return
        data = data.replace("\N{NO-BREAK SPACE}", " ")
        self.text += data
        for tag, name in self.open:
            if name:
                self.below[name] = self.below.get(name, "") + data
            if tag in ("td", "th"):
                self.rows[-1][-1] += data

    @property
    def ids(self) -> list[str]:
        return [str(attrs["id"]) for _, attrs in self.tags if "id" in attrs]


@pytest.fixture
def few_figures(monkeypatch: pytest.MonkeyPatch) -> None:
    """Only those that show the results: for tests that look at something else."""
    kept = ("search_history", "by_value", "curves")
    wanted = drawn.wanted
    monkeypatch.setattr(drawn, "wanted", lambda m: {k: v for k, v in wanted(m).items() if k in kept})


def page(folder: Path) -> Document:
    return Document((folder / "report.html").read_text(encoding="utf-8"))


@pytest.mark.full
def test_every_file_is_there(full: Path) -> None:
    tables = {"settings", "spread", "comparisons", "comparisons_val_perplexity", "effects", "variance", "importance"}
    tables |= {"tuned", "verdicts", "time_to_quality", "budgets"}
    assert {path.name for path in (full / "tables").iterdir()} == {
        f"{t}.{e}" for t in tables for e in ("csv", "md", "tex")
    }
    figures = {"by_value", "curves", "pareto", "heatmap", "verdicts", "effects", "variance", "importance"}
    assert {path.name for path in (full / "figures").iterdir()} == {
        f"{f}.{e}" for f in figures for e in ("png", "svg", "pdf")
    }
    assert (full / "figure.png").read_bytes() == (full / "figures" / "by_value.png").read_bytes()
    assert len(pd.read_csv(full / "runs.csv")) == 48
    assert len(pd.read_csv(full / "settings.csv")) == 8


@pytest.mark.full
@pytest.mark.usefixtures("few_figures")
def test_what_an_earlier_report_left_is_deleted(tmp_path: Path) -> None:
    """Tables and figures only, and only in their folders: what a person put beside them stays."""
    sweep = write_sweep(tmp_path / "again", [config("gru", num_hiddens=h) for h in (8, 16)], seeds=2, epochs=4)
    stale = [sweep / "figures" / f"heatmap.{ending}" for ending in ("png", "svg", "pdf")]
    stale += [sweep / "tables" / f"tuned.{ending}" for ending in ("csv", "md", "tex")]
    foreign = [sweep / "figures" / "notes.txt", sweep / "tables" / "paper.docx", sweep / "poster.png"]
    foreign += [sweep / "tables" / "older" / "tuned.csv"]
    for path in [*stale, *foreign]:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("x")
    (sweep / "report.html").write_text("of a report that kept no list of its files")
    write_report(sweep)
    assert not [path.name for path in stale if path.exists()]
    assert all(path.read_text() == "x" for path in foreign)
    assert {"curves.png", "curves.svg", "curves.pdf"} <= {path.name for path in (sweep / "figures").iterdir()}
    assert (sweep / "tables" / "settings.csv").is_file()


@pytest.mark.full
@pytest.mark.usefixtures("few_figures")
def test_of_settings_that_differ_in_how_long_they_were_trained_the_courses_are_the_main_figure(tmp_path: Path) -> None:
    short = write_sweep(tmp_path / "lengths", [config(lr=1.0, epochs=4), config(lr=0.1, epochs=8)], seeds=2, epochs=4)
    write_report(short)
    assert (short / "figure.png").read_bytes() == (short / "figures" / "curves.png").read_bytes()
    below = page(short).below
    assert "against lr + epochs" not in below["answer"]
    assert "against lr + epochs" in below["results"]


@pytest.mark.full
@pytest.mark.usefixtures("few_figures")
def test_settings_with_one_seed_are_not_tuned_and_it_is_said(tmp_path: Path) -> None:
    sweep = write_sweep(tmp_path / "uneven", [config("gru", lr=lr) for lr in (0.5, 1.0)], seeds=4, epochs=4)
    for lr in (0.5, 1.0):
        write_run(sweep, config("rnn", lr=lr), 0, 3.0)
    write_report(sweep)
    told = (sweep / "tables" / "tuned.md").read_text(encoding="utf-8")
    assert "| gru |" in told
    assert "| rnn |" not in told
    assert "Left out: settings with too few seeds" in told


@pytest.mark.full
def test_the_sections_come_in_the_order_of_a_readers_questions(full: Path) -> None:
    order = ["answer", "claims", "results", "curves", "explore", "comparisons", "spread", "trade-off"]
    order += ["what-matters", "time-to-quality", "budgets", "texts", "warnings", "protocol", "provenance", "commands"]
    assert [name for name in page(full).ids if name != "top"] == order


@pytest.mark.full
def test_a_section_without_content_is_left_out(tmp_path: Path) -> None:
    """One setting, one seed, no timing, no text, nothing published."""
    write_run(tmp_path / "one", config("gru", num_hiddens=48), 0, 2.0, text={})
    write_report(tmp_path / "one")
    document = page(tmp_path / "one")
    assert not {"comparisons", "trade-off", "what-matters", "texts", "path"} & set(document.ids)
    assert {"answer", "results", "protocol", "provenance", "commands"} <= set(document.ids)
    assert "Training perplexity after 500 epochs: 2" in document.below["answer"]


@pytest.mark.full
def test_the_page_needs_nothing_else(full: Path) -> None:
    text = (full / "report.html").read_text(encoding="utf-8")
    document = Document(text)
    assert not {"link", "iframe", "object", "base"} & {tag for tag, _ in document.tags}
    for _, attributes in document.tags:
        for name in ("src", "href", "srcset", "data", "action", "background"):
            target = attributes.get(name)
            assert target is None or target.startswith(("#", "data:image/"))
    style = text.split("<style>")[1].split("</style>")[0]
    assert "url(" not in style
    assert "@import" not in style
    figures = [str(attributes["src"]) for tag, attributes in document.tags if tag == "img"]
    assert len(figures) == 8
    assert all(figure.startswith(("data:image/svg+xml;base64,", "data:image/png;base64,")) for figure in figures)


@pytest.mark.full
def test_anchors_lead_somewhere(full: Path) -> None:
    document = page(full)
    assert max(Counter(document.ids).values()) == 1
    targets = {str(attributes["href"])[1:] for tag, attributes in document.tags if tag == "a"}
    assert targets <= set(document.ids)
    assert set(document.ids) - targets == set()


@pytest.mark.full
def test_every_image_says_what_it_shows(full: Path) -> None:
    assert all(attributes.get("alt") for tag, attributes in page(full).tags if tag == "img")


@pytest.mark.full
def test_the_numbers_are_those_of_the_runs(full: Path) -> None:
    runs = pd.read_csv(full / "runs.csv")
    document = page(full)
    means = runs.groupby(["model", "num_hiddens", "lr"])["tail_perplexity"].agg(lambda own: stats.gmean(own.dropna()))
    own = [row for row in document.rows if row[3:4] == ["here"]]
    assert len(own) == len(means) == 8
    for model, hidden, lr, _, n, perplexity, *_ in own:
        finished = runs[(runs["model"] == model) & (runs["num_hiddens"] == int(hidden)) & (runs["lr"] == float(lr))]
        assert int(n) == (finished["status"] == "ok").sum()
        assert float(perplexity.split()[0]) == pytest.approx(means[model, int(hidden), float(lr)], rel=5e-3)
    model, hidden, lr = means.idxmin()
    best = rf"Lowest tail perplexity: {model}, num_hiddens={hidden}, lr={re.escape(f'{lr:g}')} "
    assert re.search(best, document.below["answer"])
    diverged = (runs["status"] == "diverged").sum()
    assert diverged > 0
    assert f"{diverged} of 48 runs diverged" in document.below["answer"]


@pytest.mark.full
def test_the_claims_are_counted_and_told_apart_without_colour(full: Path) -> None:
    verdicts = pd.read_csv(full / "tables" / "verdicts.csv")
    document = page(full)
    symbols = {"confirmed": "✓", "refuted": "✗", "undecided": "?", "not testable": "–"}
    for verdict, n in verdicts["verdict"].value_counts().items():
        told = re.findall(rf"{re.escape(symbols[str(verdict)])}\s+{verdict}\b", document.below["claims"])
        assert len(told) == n
    tested = (verdicts["verdict"] != "not testable").sum()
    assert f"Of {tested} claim" in document.below["answer"]
    for statement in verdicts["statement"]:
        assert statement in document.below["claims"]


@pytest.mark.full
def test_protocol_and_provenance(full: Path) -> None:
    document = page(full)
    assert "6 seeds instead of 20" in document.below["protocol"]
    assert "table17" in document.below["protocol"] or "table18_19" in document.below["protocol"]
    rows = {row[0]: row[1:] for row in document.rows if row}
    assert rows["epochs"] == ["500", "500", "500", ""]  # here, published, default, a remark
    assert rows["seeds"] == ["6", "20", "6", "not as published"]
    assert [rows["lr"][0], rows["lr"][-1]] == ["0.5, 1", "varied"]
    for fact in (
        "48 in 8 settings",
        "3b4cba3f9e4913b3551a759f60198bf6",
        "A Processor, 2 cores",
        "2.13.0+cpu",
        "267a96fc5442",
    ):
        assert fact in document.below["provenance"]
    assert "python -m ablate -m sweeps=made-up" in document.below["commands"]
    assert "python -m ablate report results/full" in document.below["commands"]
    assert re.search(r"lstm \(0123456789ab\): .*MemoryError: too large", document.below["warnings"])
    assert "Which is better?" in document.text


HOSTILE = '<script>alert(1)</script> & "x" </title><img src=x onerror=alert(2)>'


@pytest.mark.full
@pytest.mark.usefixtures("few_figures")
def test_names_are_never_markup(tmp_path: Path) -> None:
    sweep = tmp_path / "hostile"
    for hidden in (8, 16):
        write_run(
            sweep, config("gru", num_hiddens=hidden), 0, 2.0, sha256="f" * 64, corpus=HOSTILE, text={HOSTILE: HOSTILE}
        )
    write_manifest(sweep, title=HOSTILE, question=HOSTILE, commands=[HOSTILE])
    write_report(sweep)
    document = page(sweep)
    assert [attributes for tag, attributes in document.tags if tag == "script"] == [{"type": "application/json"}, {}]
    assert all(str(attributes["src"]).startswith("data:") for tag, attributes in document.tags if tag == "img")
    for name in ("texts", "protocol", "provenance", "commands"):
        assert "<script>alert(1)</script>" in document.below[name]


@pytest.mark.full
@pytest.mark.usefixtures("few_figures")
def test_chinese_titles(tmp_path: Path) -> None:
    sweep = write_sweep(
        tmp_path / "中文", [config("gru", num_hiddens=h) for h in (8, 16)], seeds=2, epochs=4, timed=False
    )
    assert main([str(sweep), "--title", "循环神经网络"]) == 0
    text = (sweep / "report.html").read_bytes().decode()
    assert '<meta charset="utf-8">' in text
    assert "<title>循环神经网络</title>" in text
    tex = (sweep / "tables" / "settings.tex").read_bytes().decode()
    assert "循环神经网络" in tex
    assert "xelatex" in tex.splitlines()[0]
    assert "--title '循环神经网络'" in page(sweep).below["commands"]


@pytest.mark.full
@pytest.mark.usefixtures("few_figures")
def test_regenerate_can_be_pasted(tmp_path: Path) -> None:
    sweep = write_sweep(tmp_path / 'it\'s "a" b', [config("gru", num_hiddens=8)], seeds=2, epochs=4, timed=False)
    assert main([str(sweep), "--title=-x y"]) == 0
    [line] = [line for line in page(sweep).below["commands"].splitlines() if "ablate report" in line]
    words = shlex.split(line[line.index("python") :])
    assert words[:4] == ["python", "-m", "ablate", "report"]
    assert (tmp_path / words[4]).name == sweep.name
    assert words[5:] == ["--title=-x y"]


@pytest.mark.full
@pytest.mark.usefixtures("few_figures")
def test_damaged_records_are_named(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    sweep = write_sweep(tmp_path / "damaged", [config("gru", num_hiddens=8)], seeds=3, epochs=4, timed=False)
    damaged, *_ = sorted((sweep / "runs").glob("*.json"))
    damaged.write_text("{")
    (sweep / "curves" / f"{sorted((sweep / 'runs').glob('*.json'))[1].stem}.csv").write_text("nonsense")
    write_report(sweep)
    assert damaged.name in capsys.readouterr().err
    assert damaged.name in page(sweep).below["warnings"]


@pytest.mark.full
def test_what_fails_does_not_cost_the_rest(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def strange(*_: object, **__: object) -> None:
        raise ValueError("a strange number")

    from ablate.report import findings, plots

    kept = ("by_value", "curves")
    wanted = drawn.wanted
    monkeypatch.setattr(drawn, "wanted", lambda m: {k: v for k, v in wanted(m).items() if k in kept})
    monkeypatch.setattr(plots, "by_value", strange)
    monkeypatch.setattr(findings, "variance_sheet", strange)
    sweep = write_sweep(tmp_path / "strange", [config("gru", num_hiddens=h) for h in (8, 16)], seeds=2, epochs=4)
    write_report(sweep)
    shown = capsys.readouterr()
    document = page(sweep)
    for what in ("the figure by_value", "the table variance"):
        line = f"{what} could not be made: {Path(__file__).name}:{strange.__code__.co_firstlineno + 1}: ValueError"
        assert line in shown.err
        assert line in document.below["warnings"]
    assert not (sweep / "figures" / "by_value.png").exists()
    assert (sweep / "figure.png").read_bytes() == (sweep / "figures" / "curves.png").read_bytes()
    assert (sweep / "tables" / "comparisons.csv").is_file()
    assert "gru" in shown.out


@pytest.fixture
def two(tmp_path: Path) -> list[Path]:
    return [
        write_sweep(tmp_path / name, [config(name, num_hiddens=h) for h in (8, 16)], seeds=2, epochs=4, timed=False)
        for name in ("gru", "rnn")
    ]


@pytest.mark.full
@pytest.mark.usefixtures("few_figures")
def test_several_sweeps_on_one_page(two: list[Path], tmp_path: Path) -> None:
    assert main([*map(str, two), "--title", "Both"]) == 0
    document = page(tmp_path / "report")
    assert max(Counter(document.ids).values()) == 1
    targets = {str(attributes["href"])[1:] for tag, attributes in document.tags if tag == "a"}
    assert targets <= set(document.ids)
    assert "Both" in document.text
    for sweep in two:
        assert (sweep / "report.html").is_file()
        assert sweep.name in document.below["overview"]
    assert [tag for tag, _ in document.tags if tag == "h1"] == ["h1"]


@pytest.mark.usefixtures("few_figures")
def test_a_sweep_that_is_named_twice_is_one(
    two: list[Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main([str(two[0]), f"{two[0]}/"]) == 0
    assert not (tmp_path / "report").exists()
    assert capsys.readouterr().err.count("report: ") == 1


@pytest.mark.usefixtures("few_figures")
def test_a_page_on_several_says_of_how_many_it_is_and_is_not_made_of_one(
    two: list[Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    common = tmp_path / "report" / "report.html"
    assert main([str(two[0]), str(tmp_path / "nowhere")]) == 2
    assert not common.exists()
    assert "report on" not in capsys.readouterr().err
    assert main([*map(str, two), str(tmp_path / "nowhere")]) == 2
    assert common.exists()
    assert "report on 2 of 3: " in capsys.readouterr().err


@pytest.mark.full
@pytest.mark.usefixtures("few_figures")
def test_a_page_on_several_is_made_again_where_something_has_changed(
    two: list[Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from ablate.report import drawn

    common, words = tmp_path / "report" / "report.html", [*map(str, two), "--title", "Both"]
    draws: list[str] = []
    drawing = drawn.drawing
    monkeypatch.setattr(drawn, "drawing", lambda m, to: (draws.append(m.folder.name), drawing(m, to))[1])
    assert main(words) == 0
    first, made = common.read_bytes(), common.stat().st_mtime_ns
    assert main(words) == 0
    assert (draws, common.stat().st_mtime_ns) == (["gru", "rnn"], made)
    common.unlink()
    assert main(words) == 0
    assert (draws, common.read_bytes()) == (["gru", "rnn"], first), "of the figures that there are"
    write_run(two[1], config("rnn", num_hiddens=8), 7, 2.5)
    assert main(words) == 0
    assert draws == ["gru", "rnn", "rnn"]
    assert common.read_bytes() != first


def test_a_report_is_made_again_where_a_file_of_ones_own_has_changed(
    two: list[Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from ablate.report.fingerprint import fingerprint

    monkeypatch.chdir(tmp_path)
    manifest = json.loads((two[0] / "sweep.json").read_text())
    (two[0] / "sweep.json").write_text(json.dumps(manifest | {"plugins": {"mine.py": "0"}}))
    found = [fingerprint(two[0], 0.95, None)]
    for name, text in (
        ("mine.py", "import beside_mine"),
        ("beside_mine.py", "x = 1"),
        ("beside_mine.py", "x = 2"),
        (f"{two[0].name}/published.csv", "model,perplexity\n"),
        ("sweeps/claims/mine.yaml", "[]"),
        ("sweeps/mine.published.csv", "model\n"),
    ):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(text)
        found.append(fingerprint(two[0], 0.95, None))
    assert len(set(found)) == len(found)


@pytest.mark.full
@pytest.mark.usefixtures("few_figures")
def test_what_is_no_sweep_is_named_and_the_others_are_reported(
    two: list[Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main([*map(str, two), str(tmp_path / "nowhere"), "--out", str(tmp_path / "out")]) == 2
    assert "nowhere holds no sweep" in capsys.readouterr().err
    assert page(tmp_path / "out").ids
    assert (two[0] / "report.html").is_file()


@pytest.mark.parametrize("level", ["1", "0", "95", "abc", "0.4"])
def test_a_level_that_is_none(level: str, two: list[Path], capsys: pytest.CaptureFixture[str]) -> None:
    assert main([str(two[0]), "--level", level]) == 2
    assert len(capsys.readouterr().err.splitlines()) == 1


@pytest.mark.full
@pytest.mark.usefixtures("few_figures")
def test_another_level_moves_every_interval(two: list[Path], capsys: pytest.CaptureFixture[str]) -> None:
    assert main([str(two[0]), "--level", "0.5"]) == 0
    settings, runs = pd.read_csv(two[0] / "settings.csv"), pd.read_csv(two[0] / "runs.csv")
    sem = np.log(runs["perplexity"]).groupby(runs["setting_id"]).sem()[settings["setting_id"]].to_numpy()
    half = sem * stats.t.ppf(0.75, 1)  # two seeds
    assert np.log(settings["perplexity_high"] / settings["perplexity"]).to_numpy() == pytest.approx(half)
    assert "50 % interval" in capsys.readouterr().out
    assert "50 % interval" in page(two[0]).below["results"]
    assert "--level 0.5" in page(two[0]).below["commands"]


@pytest.mark.full
def test_the_reason_for_a_missing_timing_stands_on_the_page(tmp_path: Path) -> None:
    """Of one thread or of more: one timing without a number, one with an interval that is too wide, none at all."""
    settings = [config("gru", num_hiddens=h) for h in (8, 16)]
    sweep = write_sweep(tmp_path / "timed", settings, seeds=1, epochs=3)
    first, second = sorted((sweep / "speed").glob("*.json"))
    reasons = (
        "only 1 of 9 samples are clean; for example another program took 40 % of a core",
        "the interval is wider than ± 1%",
    )
    for path, why, nothing in ((first, reasons[0], True), (second, reasons[1], False)):
        timing = json.loads(path.read_text())
        timing["summary"]["train"] |= {"why": why} | (
            {"tokens_per_s": None, "low": None, "high": None} if nothing else {}
        )
        timing |= {"threads": 2, "protocol": {"precision": 0.01, "level": 0.95}}
        path.unlink()
        path.with_name(path.name.replace("-1.json", "-2.json")).write_text(json.dumps(timing))
    said = warnings(gather(sweep, Attempts(pytest.fail)))
    for why in reasons:
        assert sum(why in line for line in said) == 1, said
    untimed = write_sweep(
        tmp_path / "untimed", settings, seeds=1, epochs=3, timed=False, commands=["python -m ablate -m speed=true"]
    )
    assert any("speed=true" in line for line in warnings(gather(untimed, Attempts(pytest.fail))))


def test_of_a_gpu_the_page_says_what_decides_its_numbers() -> None:
    runs = pd.DataFrame([{"gpu_memory_bytes": 2**37, "gpu_capability": "9.0", "driver": "580.65", "cuda": "13.0"}])
    assert _tally(runs, MACHINES["GPU"]) == "128 GiB, compute capability 9.0, driver 580.65, CUDA 13.0"
    assert _tally(pd.DataFrame([{"cpu": "A Processor"}]), MACHINES["GPU"]) == ""


def test_a_page_shows_control_characters_as_typed_but_for_tabs_and_line_ends() -> None:
    every = "".join(map(chr, range(0x3000)))
    assert set(CONTROLS.findall(every)) - set(INVISIBLE.findall(every)) == {"\t", "\n"}
    assert set(INVISIBLE.findall(every)) < set(CONTROLS.findall(every))
