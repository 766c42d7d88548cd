"""Tables: numbers recomputed from the runs in plain pandas, and names that try to be markup. CPU, 2 s."""

import json
import re
import shutil
import subprocess
from dataclasses import replace
from functools import cache
from pathlib import Path

import pandas as pd
import pytest
from scipy import stats

from ablate.config.schema import PUBLISHED_DIR
from ablate.report.answer import answer
from ablate.report.blocks import Attempts, Column, Sheet
from ablate.report.contents import sheets, wanted
from ablate.report.latex import TEXT_HEIGHT, TEXT_WIDTH, latex
from ablate.report.latex import escaped as latex_escaped
from ablate.report.markdown import escaped as markdown_escaped
from ablate.report.markdown import markdown
from ablate.report.material import Material, gather
from ablate.report.numbers import ends_text, interval_text, number, p_text, ratio_text, whole
from ablate.report.sheets import MOST_ROWS
from tests.report.made import config, write_run, write_sweep


def material(sweep: Path) -> Material:
    return gather(sweep, Attempts(lambda line: pytest.fail(line)))


@pytest.fixture(scope="module")
def compared(tmp_path_factory: pytest.TempPathFactory) -> Material:
    settings = [config("gru", num_hiddens=hidden) for hidden in (32, 48)]
    return material(write_sweep(tmp_path_factory.mktemp("sheets") / "compared", settings, seeds=8))


def test_the_published_value_comes_first_and_the_ratio_beside_ours(compared: Material) -> None:
    sheet = sheets(compared)["settings"]()
    headings = [column.heading for column in sheet.columns]
    table = pd.DataFrame(sheet.rows, columns=[f"{n}:{text}" for n, text in enumerate(headings)])
    assert list(table["1:num_hiddens"]) == ["32", "32", "48"]  # nobody published 48
    assert sheet.foreign == {0}
    assert headings[2] == "whose"
    assert table["2:whose"].tolist() == ["published", "here", "here"]
    assert "table17" in " ".join(sheet.notes)
    mean = compared.runs.groupby("num_hiddens")["perplexity"].agg(stats.gmean)
    assert headings.index("tail perplexity") < headings.index("perplexity")  # what is compared, then what is published
    perplexity, ratio = (headings.index(name) for name in ("perplexity", "ratio"))
    assert sheet.rows[0][perplexity] == "3.7"
    assert float(sheet.rows[1][perplexity].split()[0]) == pytest.approx(mean[32], rel=1e-2)
    assert float(sheet.rows[1][ratio]) == pytest.approx(mean[32] / 3.7, abs=6e-4)
    assert sheet.rows[2][ratio] == "–"
    assert sheet.rows[0][headings.index("tokens/s")] == "83.0k"
    own = sheet.data[sheet.data["whose"] == "here"].set_index("num_hiddens")
    assert own.loc[32, "perplexity"] == pytest.approx(mean[32])
    medians = [1.002 + 0.01 * launch for launch in (-2, -1, 0, 1, 2)]  # of made-up processes
    speed = 2e7 / (3 * 32 + 60) * stats.gmean(medians)
    assert own.loc[32, "tokens_per_s_over_published"] == pytest.approx(speed / 82965.5)
    assert own.loc[32, "differs"] == "8 seeds instead of 20"


@pytest.mark.parametrize(
    ("declared", "extended"), [([[8, "t"]], False), ([[4, "t"], [8, "u"]], True), ([[20, "t"]], True)]
)
def test_comparisons_of_an_extended_sweep_say_that_their_tests_do_not_allow_for_it(
    compared: Material, tmp_path: Path, declared: list[list[object]], extended: bool
) -> None:
    folder = tmp_path / "extended"
    shutil.copytree(compared.folder, folder)
    manifest = json.loads((folder / "sweep.json").read_text(encoding="utf-8"))
    design = [{"declared": declared, "settings": list(compared.settings["setting_id"])}]
    (folder / "sweep.json").write_text(json.dumps(manifest | {"design": design}), encoding="utf-8")
    notes = " ".join(sheets(material(folder))["comparisons"]().notes)
    assert ("Verdicts on claims" in notes) == extended
    assert ("4 to 8" in notes) == (len(declared) > 1)


def test_what_nobody_published_or_timed_takes_no_column(tmp_path: Path) -> None:
    sheet = sheets(material(write_sweep(tmp_path / "plain", [config("gru", num_hiddens=48)], timed=False)))[
        "settings"
    ]()
    measured = ["tail perplexity", "perplexity", "held-out"]
    assert [column.heading for column in sheet.columns] == ["model", "n", *measured, "diverged"]
    assert sheet.foreign == set()


@pytest.mark.full
def test_a_published_0_has_no_ratio(tmp_path: Path) -> None:
    sweep = write_sweep(tmp_path / "zero", [config("gru", num_hiddens=48)], seeds=2)
    (sweep / "published.csv").write_text("model,val_perplexity,source\ngru,0,somebody\n")
    sheet = sheets(material(sweep))["settings"]()
    heading = [column.heading for column in sheet.columns].index("held-out")
    assert [row[heading + 1] for row in sheet.rows] == ["", "–"]


def test_updates_of_runs_that_a_rule_ended_are_a_whole_number(tmp_path: Path) -> None:
    sweep = write_sweep(tmp_path / "ended", [config("gru", num_hiddens=48)], seeds=3)
    for seed, path in enumerate(sorted((sweep / "runs").iterdir())):
        record = json.loads(path.read_text())
        record["counts"]["epochs_done"] = 10 + (seed == 0)
        path.write_text(json.dumps(record | {"ended": {"rule": "until"}}))
    sheet = sheets(material(sweep))["spread"]()
    assert {row[-1] for row in sheet.rows} == {"83"}  # 8 an epoch, of 11, 10 and 10


def test_long_tables_are_cut_and_say_so(tmp_path: Path) -> None:
    settings = [config(model, num_hiddens=hidden) for model in ("rnn", "gru") for hidden in range(2, 2 + MOST_ROWS)]
    made = sheets(material(write_sweep(tmp_path / "long", settings, seeds=2, epochs=3, timed=False)))
    settings, comparisons = made["settings"](), made["comparisons"]()
    assert len(settings.rows) == MOST_ROWS
    assert settings.left_out == len(settings.data) - MOST_ROWS > 0
    assert len(comparisons.rows) == MOST_ROWS
    assert comparisons.left_out == len(comparisons.data) - MOST_ROWS > 0
    p = [column.heading for column in comparisons.columns].index("p")
    smallest = comparisons.data["p"].sort_values().head(MOST_ROWS)
    assert sorted(row[p] for row in comparisons.rows) == [p_text(value) for value in smallest]
    assert (comparisons.data["p_holm"] >= comparisons.data["p"]).all()
    for text in (markdown(comparisons), latex(comparisons, "long")):
        assert f"In comparisons.csv: {comparisons.left_out} more rows" in text
    text = latex(comparisons, "long")
    assert text.count(r"\toprule") == text.count(r"\label") == 2  # what does not fit on a page goes on in another table


@pytest.mark.full
def test_effects_of_single_knobs_need_a_full_grid(tmp_path: Path) -> None:
    """An rnn of 32 and 64 units, a gru of 32 alone: what the gru gains cannot be told from what the width does.

    A setting that is there, though all its runs diverged, is no gap.
    """
    full = [config(model, num_hiddens=hidden) for model in ("rnn", "gru") for hidden in (32, 64)]
    sweep = write_sweep(tmp_path / "blocks", full[:3], seeds=3, epochs=3, timed=False)
    averaged = {"effects", "variance", "importance"}
    blocks = material(sweep)
    assert not blocks.full_grid
    assert not averaged & {*sheets(blocks), *wanted(blocks)}
    said = [line for line in answer(blocks) if "full grid" in line]
    assert len(said) == 1
    assert "see the comparisons" in said[0]
    assert not any("of the variance" in line for line in answer(blocks))
    for seed in range(3):
        write_run(sweep, full[3], seed, None)
    whole = material(sweep)
    assert averaged <= {*sheets(whole)} & {*wanted(whole)}
    assert not any("full grid" in line for line in answer(whole))


HOSTILE = r"a|b_c &<i>%$#{x}~^\ [y] `z` *w*"


def hostile() -> Sheet:
    columns = [Column(HOSTILE), Column("n", number=True), Column("why", long=True)]
    rows = [[HOSTILE, "1", "two\nlines"], ["[first", "2 ± 1", "循环神经网络"]]
    return Sheet("hostile", HOSTILE, columns, rows, pd.DataFrame(), [HOSTILE], {1})


def test_markdown_keeps_its_settings() -> None:
    lines = markdown(hostile()).splitlines()
    rows = [line for line in lines if line.startswith("|")]
    assert len(rows) == 4
    for row in rows:
        assert len(re.findall(r"(?<!\\)\|", row)) == 4  # three cells
        assert "<i>" not in row
    assert rows[1] == "| :--- | ---: | :--- |"
    assert markdown_escaped("num_hiddens") == "num_hiddens"
    assert markdown_escaped("~a~") == r"\~a\~"  # else GitHub strikes it through
    assert markdown_escaped("$a$ and # - 1") == r"\$a\$ and # - 1"
    assert [markdown_escaped(text) for text in ("# a", "- a", "-1.5")] == [r"\# a", r"\- a", "-1.5"]


@pytest.mark.parametrize(
    ("text", "written"),
    [
        ("a--b", "a-{}-b"),
        ("---", "-{}-{}-"),
        ("a–b", "a--b"),
        ("?`", r"?\textasciigrave{}"),
        ("a-b", "a-b"),
        ("-1.5", "$-$1.5"),
        ("(-.5–2e-07)", "($-$.5--2e-07)"),
    ],
)
def test_latex_sees_no_ligature_that_means_another_character(text: str, written: str) -> None:
    assert latex_escaped(text) == written


def test_latex_has_no_bare_special_character() -> None:
    text = latex(hostile(), "a_b%c")
    caption = re.search(r"\\caption\{(.*)\}", text)
    assert caption
    for part in (caption[1], *text.split(r"\midrule")[1].split(r"\bottomrule")[0].splitlines()):
        part = part.removesuffix(r"\\")
        plain = re.sub(r"\\([&%$#_{}]|[a-zA-Z]+(\{\})?)", "", part.replace(" & ", ""))
        plain = re.sub(r"\$[<>|]\$|\$\$", "", plain)  # $\pm$ has become $$
        assert not re.search(r"[&%#_^\\]|\$", plain), plain
        assert plain.count("{") == plain.count("}")
    assert not re.search(r"^\[", text, re.MULTILINE)  # \\ would take it for an option
    assert "xelatex" in text.splitlines()[0]
    assert latex_escaped("5.2 ± 0.1") == r"5.2 $\pm$ 0.1"
    assert latex_escaped("*a") == "{*}a"  # \\* is a command of its own, which would swallow it at the start of a row
    assert latex_escaped("a\x0cb\x1b\x00c\u2028d") == "a b c d"  # of which TeX ends a paragraph, or refuses the file


def test_labels_differ_where_sweeps_do() -> None:
    names = ("a_b", "a-b", "a b", "a%b", "a.b", "循环", "神经", "中文 a", "a:b", "")
    sheet = hostile()
    labels = [re.findall(r"\\label\{(.*)\}", latex(sheet, "the same title", name)) for name in names]
    assert len({*map(tuple, labels)}) == len(names)
    for (label,) in labels:
        assert re.fullmatch(r"[A-Za-z0-9_.+:-]+", label)


WORDS = re.compile(r" |\\\\allowbreak |(?<=-)")
"""What TeX may break in a column of wrapped text."""


def printed_width(text: str) -> float:
    """Width of the widest table, by the metrics of Computer Modern, over that of the page's text.

    A column of wrapped text is as wide as it is set, or as its longest word.

    Type below 10 points is wider in proportion than the same letters made smaller: 3 % at 9 points to 14 % at 7.
    """
    font_manager = pytest.importorskip("matplotlib.font_manager")
    font = font_manager.get_font(font_manager.findfont("cmr10"))
    font.set_size(100, 72)

    def width(setting: str) -> float:
        plain = re.sub(r"\\(emph|raggedright) ?|[{}$]", "", setting).replace("--", "–")
        plain = re.sub(r"\\[a-z]+", "x", plain).replace("\\", "")
        return sum(font.load_char(ord(one) if ord(one) < 127 else ord("m")).linearHoriAdvance / 65536 for one in plain)

    widest = 0.0
    for table in text.split(r"\end{tabular}")[:-1]:
        kinds = re.findall(r"p\{([\d.]+)\\linewidth\}|([lr])", table.split(r"\begin{tabular}")[1].splitlines()[0])
        (size,) = re.findall(r"\\(small|footnotesize|scriptsize)", table)
        points = {"small": 9 * 1.028, "footnotesize": 8 * 1.0625, "scriptsize": 7 * 1.139}[size]
        body = table.split(r"\toprule")[1].split(r"\bottomrule")[0]
        rows = [row.removesuffix(r" \\").split(" & ") for row in body.splitlines() if row.endswith(r" \\")]
        line = TEXT_HEIGHT if "sidewaystable" in table else TEXT_WIDTH
        columns = []
        for k, (share, _) in enumerate(kinds):
            pieces = [piece for row in rows for piece in (WORDS.split(row[k]) if share else [row[k]])]
            widest_piece = max(map(width, pieces)) * points / 100
            columns.append(max(float(share) * line, widest_piece) if share else widest_piece)
        widest = max(widest, (sum(columns) + 7 * len(kinds)) / line)
    return widest


def test_no_table_is_wider_than_the_text(compared: Material) -> None:
    for name, make in sheets(compared).items():
        assert 0.1 < printed_width(latex(make(), "compared")) <= 1, name


def test_a_wide_table_says_once_what_all_rows_share_and_then_lies_on_its_side() -> None:
    columns = [Column("setting"), *(Column(f"a column {k}", True) for k in range(10)), Column("n", True)]
    few = Sheet("wide", "Wide", columns[-7:], [[f"{k} 12345"] * 6 + ["17"] for k in range(3)], pd.DataFrame())
    text = latex(few, "t")
    assert "sidewaystable" not in text
    wide = Sheet("wide", "Wide", columns, [[f"{k} ± 12345678"] * 11 + ["17"] for k in range(3)], pd.DataFrame())
    text = latex(wide, "t")
    assert r"\begin{sidewaystable}" in text
    assert "In all rows: n 17." in text
    assert printed_width(text) <= 1
    first = text.splitlines()[0]
    assert all(package in first for package in ("booktabs", "adjustbox", "rotating"))


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (1.03, "1.030"),
        (9999.0, "9999"),
        (9999.7, "10,000"),
        (12345.6, "12,346"),
        (8.5412e32, "8.541e+32"),
        (float("nan"), "–"),
    ],
)
def test_a_number_stays_short(value: float, text: str) -> None:
    """The perplexity of a network that has all but diverged has dozens of digits."""
    assert number(value) == text


@pytest.mark.full
def test_no_table_of_the_committed_sweeps_is_wider_than_the_text() -> None:
    tables = 0
    for sweep in sorted((PUBLISHED_DIR.parent).iterdir()):
        if (sweep / "runs.parquet").is_file():
            for name, make in sheets(gather(sweep, Attempts(lambda line: None))).items():
                assert printed_width(latex(make(), sweep.name)) <= 1, f"{sweep.name} {name}"
                tables += 1
    assert tables > 50


def test_what_has_no_spaces_is_wrapped_at_its_signs() -> None:
    columns = [Column("claim", long=True), *(Column(f"a column {k}", True) for k in range(8))]
    rows = [["model.activation=tanh,relu/a_name_without_spaces of 1,000,000 tokens " * 4, *["0.12 ± 0.34"] * 8]]
    text = latex(Sheet("wide", "Wide", columns, rows, pd.DataFrame()), "t")
    assert r"model.activation=\allowbreak tanh,\allowbreak relu/\allowbreak a\_\allowbreak name" in text
    assert "1,000,000" in text
    assert printed_width(text) <= 1


def test_a_long_table_goes_on_before_its_page_is_full() -> None:
    """Wrapped text counts by its lines: forty rows of five lines are four pages and more."""
    columns = [Column("claim", long=True), Column("n", True)]
    rows = [[" ".join(["statement"] * 50), str(k)] for k in range(40)]
    text = latex(Sheet("verdicts", "Verdicts", columns, rows, pd.DataFrame()), "t")
    parts = text.split(r"\begin{table}")[1:]
    lines = [part.count("raggedright") * 5 for part in parts]
    assert sum(part.count("raggedright") for part in parts) == len(rows)
    assert max(lines) * 11 < TEXT_HEIGHT
    assert len(set(re.findall(r"\\label\{(.*)\}", text))) == len(parts)


def test_a_title_without_spaces_may_be_broken_and_an_accent_stands_on_its_letter() -> None:
    text = latex(hostile(), "x" * 100 + " H\N{COMBINING TILDE} a\N{COMBINING ACUTE ACCENT}")
    assert "x" * 31 not in text.partition(r"\label")[0]
    assert r"\~{H} á" in text


@cache
def has_adjustbox() -> bool:
    if shutil.which("pdflatex") is None or shutil.which("kpsewhich") is None:
        return False
    return bool(subprocess.run(["kpsewhich", "adjustbox.sty"], capture_output=True).stdout.strip())


@pytest.mark.full
@pytest.mark.skipif(not has_adjustbox(), reason="needs pdflatex with adjustbox")
def test_tables_of_alike_names_compile_in_one_document(tmp_path: Path) -> None:
    """No label twice, nothing wider than the text or higher than the page: what LaTeX itself says."""
    names = [
        "a_b",
        "a-b",
        "a b",
        "ä_b",
        "A_b",
        "a.b",
        "a,b",
        "a%b",
        "{a}",
        "x" * 120,
        "-a",
        "a^b",
        "H\N{COMBINING TILDE}",
    ]
    for name in names:
        write_sweep(tmp_path / name, [config("gru", num_hiddens=hidden) for hidden in (8, 16)], seeds=4)
    varied = (
        {"num_hiddens": h, "lr": lr, "layers": k, "batch_size": b}
        for h in (8, 32)
        for lr in (0.1, 1)
        for k in (1, 2)
        for b in (8, 9)
    )
    write_sweep(tmp_path / "long", [config("gru", **knobs) for knobs in varied], seeds=3)
    body = [
        latex(make(), one.title, one.folder.name)
        for one in map(material, (tmp_path / name for name in [*names, "long"]))
        for make in sheets(one).values()
    ]
    lines = [
        r"\documentclass[a4paper]{article}\usepackage[T1]{fontenc}\usepackage{booktabs,adjustbox,rotating}",
        r"\usepackage[textwidth=16cm,textheight=24cm]{geometry}\begin{document}",
        *(f"{table}\\clearpage" for table in body),
        r"\end{document}",
    ]
    (tmp_path / "all.tex").write_text("\n".join(lines), encoding="utf-8")
    for _ in range(2):
        subprocess.run(["pdflatex", "-interaction=nonstopmode", "all.tex"], cwd=tmp_path, stdout=subprocess.DEVNULL)
    log = (tmp_path / "all.log").read_text(encoding="utf-8", errors="replace")
    assert not [line for line in log.splitlines() if re.search("^!|multiply|Overfull|Float too large", line)]


def test_latex_of_plain_text_needs_booktabs_and_adjustbox(compared: Material) -> None:
    sheet = sheets(compared)["settings"]()
    narrow = replace(sheet, columns=sheet.columns[:7], rows=[row[:7] for row in sheet.rows])
    first, *rest = latex(narrow, "compared").splitlines()
    assert first == r"% needs \usepackage{booktabs}, \usepackage{adjustbox}"
    assert rest[0] == r"\begin{table}"
    assert rest[-1] == r"\end{table}"
    assert any(line.startswith(r"\emph{gru} & \emph{32} & \emph{published} & \emph{20}") for line in rest)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (p_text(0.0004), "< 0.001"),
        (p_text(0.0123), "0.012"),
        (p_text(0.5), "0.50"),
        (p_text(float("nan")), "–"),
        (ratio_text(1.23456), "1.235"),
        (ratio_text(123.456), "123"),
        (ratio_text(0.0512), "0.051"),
        (ratio_text(4.4689e-40), "4.47e-40"),
        (ratio_text(float("inf")), "∞"),
        (interval_text(0.9, 1.1), "0.900 … 1.100"),
        (interval_text(0, float("inf")), "–"),
        (interval_text(float("nan"), 1.0), "–"),
        (ends_text(9.98, 10.047), "9.980 … 10.05"),  # of a mean of 10.01, not 9.980 … 10.0
        (ends_text(1220.4, 1e400), "1220 … ∞"),
        (ends_text(float("nan"), 1.0), "–"),
        (whole(82.7), "83"),
        (whole(1234567), "1,234,567"),
    ],
)
def test_numbers_as_people_read_them(text: str, expected: str) -> None:
    assert text == expected
