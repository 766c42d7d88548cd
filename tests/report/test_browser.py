"""The page in a real browser, headless: nothing wider than the screen, light, dark, on paper, and its script. 30 s.

Needs Chromium (apt-get install chromium), and what reads print pdftotext (poppler-utils); skipped where there is none.
"""

import html
import json
import math
import os
import re
import shutil
import subprocess
import zlib
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from scipy.stats import t as student

from ablate.analysis.aggregate import aggregate
from ablate.config.schema import CONFIG_ROOT
from ablate.report.blocks import Attempts, unheard
from ablate.report.html import TEMPLATES
from ablate.report.material import gather
from ablate.report.tables import bounded, mean_text, plus_minus

BROWSERS = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
BROWSER = next((path for name in BROWSERS if (path := shutil.which(name))), None)
PDFTOTEXT = shutil.which("pdftotext")
pytestmark = pytest.mark.skipif(BROWSER is None, reason=f"needs one of {', '.join(BROWSERS)}")

MEASURE = """
<script>
const body = document.scrollingElement;
const boxes = [...document.querySelectorAll("body *")].filter((e) => !e.closest(".scroll, .card, pre, .skip"));
const seen = (e) => getComputedStyle(e);
const result = {
  screen: document.documentElement.clientWidth,
  page: body.scrollWidth,
  beyond: boxes.filter((e) => e.getBoundingClientRect().right > document.documentElement.clientWidth + 0.5)
               .map((e) => e.tagName + "." + e.className),
  paper: seen(document.body).backgroundColor,
  ink: seen(document.body).color,
  figures: [...document.images].map((i) => [i.naturalWidth, i.clientWidth, seen(i.parentElement).backgroundColor]),
  tables: [...document.querySelectorAll(".scroll")].map((e) => [e.clientWidth, e.scrollWidth, seen(e).overflowX]),
  smallest: Math.min(...[...document.querySelectorAll("p, li, td, th, dd, figcaption, pre")]
                     .map((e) => parseFloat(seen(e).fontSize))),
  navigation: document.querySelector("nav").getBoundingClientRect().right,
  text: document.querySelector("main p").getBoundingClientRect().left,
  widest: Math.max(...[...document.querySelectorAll("main p:not(.note)")]
                   .map((e) => e.clientWidth / parseFloat(seen(e).fontSize))),
};
document.title = JSON.stringify(result);
</script>
"""


@pytest.fixture(scope="session")
def report(full: Path) -> Path:
    """A page with a long name, wide tables, figures and claims."""
    return full / "report.html"


def browse(*arguments: str, folder: Path) -> str:
    """Run the browser to its end and return what it printed."""
    assert BROWSER
    options = ["--headless", "--no-sandbox", "--disable-gpu", "--hide-scrollbars", "--disable-dev-shm-usage"]
    environment = {"HOME": str(folder), "PATH": os.environ["PATH"]}
    command = [BROWSER, *options, f"--user-data-dir={folder / 'profile'}", *arguments]
    return subprocess.run(command, capture_output=True, text=True, timeout=90, check=True, env=environment).stdout


def title_of(body: str, content: str, folder: Path) -> Any:
    """The title, as JSON, that a page gets; its `body` has places for a content and for the script of our pages."""
    page = folder / "page.html"
    script = (TEMPLATES / "page.js").read_text(encoding="utf-8")
    page.write_text(f'<!DOCTYPE html><meta charset="utf-8">{body % (content, script)}', encoding="utf-8")
    dom = browse("--virtual-time-budget=2000", "--dump-dom", page.as_uri(), folder=folder)
    title = re.search(r"<title>(.*?)</title>", dom, re.DOTALL)
    assert title, dom
    return json.loads(html.unescape(title[1]))


def measured(report: Path, folder: Path, width: int, dark: bool = False, script: str = MEASURE) -> dict[str, Any]:
    """What a script finds in a copy of the page, at a screen of this width.

    No window of the browser is narrower than 500 pixels: the page is measured inside a frame of the width.
    """
    text = report.read_text(encoding="utf-8")
    policy = re.compile(r'<meta http-equiv="Content-Security-Policy"[^>]*>')
    assert policy.search(text)
    copy = folder / "copy.html"
    tell = script.replace("document.title = JSON.stringify(result)", "parent.postMessage(JSON.stringify(result), '*')")
    copy.write_text(policy.sub("", text).replace("</body>", f"{tell}</body>"), encoding="utf-8")
    frame = folder / "frame.html"
    frame.write_text(
        f'<!DOCTYPE html><meta name="color-scheme" content="light dark"><pre id="found"></pre><script>'
        f"onmessage = (message) => {{ found.textContent = message.data; }};</script>"
        f'<iframe src="copy.html" style="border: 0; width: {width}px; height: 900px"></iframe>',
        encoding="utf-8",
    )
    scheme = ["--blink-settings=preferredColorScheme=0"] if dark else ["--blink-settings=preferredColorScheme=1"]
    dom = browse(*scheme, "--virtual-time-budget=5000", "--dump-dom", frame.as_uri(), folder=folder)
    found = re.search(r'<pre id="found">(\{.*?\})</pre>', dom, re.DOTALL)
    assert found, dom[-2000:]
    out: dict[str, Any] = json.loads(found[1].replace("&amp;", "&").replace("&lt;", "<").replace("&gt;", ">"))
    return out


def brightness(colour: str) -> float:
    """0 (black) to 1 (white), of `rgb(r, g, b)`."""
    red, green, blue = (int(part) / 255 for part in re.findall(r"\d+", colour)[:3])
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue


@pytest.mark.full
@pytest.mark.parametrize("width", [360, 1280])
def test_nothing_is_wider_than_the_screen(width: int, report: Path, tmp_path: Path) -> None:
    found = measured(report, tmp_path, width)
    assert found["screen"] == width
    assert found["page"] <= width
    assert found["beyond"] == []
    for inside, content, overflow in found["tables"]:
        assert inside <= width
        assert content <= inside or overflow == "auto"
    if width == 360:
        assert any(content > inside for inside, content, _ in found["tables"])  # else this tests nothing
    assert found["smallest"] >= 12
    assert all(natural > 100 and shown > 100 for natural, shown, _ in found["figures"])
    assert found["widest"] <= 50  # lines of no more than about 80 letters
    if width == 1280:
        assert found["navigation"] <= found["text"]  # the contents stand beside the text


@pytest.mark.full
def test_light_and_dark(report: Path, tmp_path: Path) -> None:
    for dark in (False, True):
        found = measured(report, tmp_path, 1280, dark)
        paper, ink = brightness(found["paper"]), brightness(found["ink"])
        assert (paper < 0.2 and ink > 0.8) if dark else (paper > 0.9 and ink < 0.2)
        assert {card for *_, card in found["figures"]} == {"rgb(255, 255, 255)"}


@pytest.mark.full
def test_on_paper(report: Path, tmp_path: Path) -> None:
    path = tmp_path / "report.pdf"
    browse(f"--print-to-pdf={path}", "--no-pdf-header-footer", report.as_uri(), folder=tmp_path)
    pdf = path.read_bytes()
    assert pdf.startswith(b"%PDF")
    assert 1 < len(re.findall(rb"/Type\s*/Page\b", pdf)) < 30
    assert len(re.findall(rb"/FontFile", pdf)) > 0
    streams = [_inflated(part) for part in re.findall(rb"stream\r?\n(.*?)endstream", pdf, re.DOTALL)]
    assert sum(len(re.findall(rb"T[jJ]\b", stream)) for stream in streams) > 300  # text, not pictures of it


@pytest.mark.full
@pytest.mark.skipif(PDFTOTEXT is None, reason="needs pdftotext (apt-get install poppler-utils)")
def test_no_row_of_a_table_is_lost_on_paper(report: Path, tmp_path: Path) -> None:
    """Every word of every table is printed, none beyond the margins; the page folds nothing away but the explorer."""
    text = report.read_text(encoding="utf-8")
    assert "<details" not in text
    text = re.sub(r'<section id="explore".*?</section>', "", text, flags=re.DOTALL)
    rows = re.findall(r"<tr\b.*?</tr>", text, re.DOTALL)
    assert len(rows) > 50
    path = tmp_path / "report.pdf"
    browse(f"--print-to-pdf={path}", "--no-pdf-header-footer", report.as_uri(), folder=tmp_path)
    sheets, found = _words_of(path)
    assert 3 <= len(sheets) <= 20
    assert all(words > 0 for words in sheets)
    assert _missing(" ".join(rows), found) == set()
    captions = re.findall(r"<(?:h2|h3|caption|figcaption)\b.*?</(?:h2|h3|caption|figcaption)>", text, re.DOTALL)
    assert _missing(" ".join(captions), found) == set()


def _words_of(pdf: Path) -> tuple[list[int], Counter[str]]:
    """How many words each page has, and how often each word is printed; none lies outside its page."""
    assert PDFTOTEXT
    told = subprocess.run([PDFTOTEXT, "-bbox", pdf, "-"], capture_output=True, text=True, check=True, timeout=60).stdout
    sheets = []
    found: Counter[str] = Counter()
    for sheet in told.split("<page ")[1:]:
        width = re.match(r'width="([\d.]+)"', sheet)
        assert width
        words = re.findall(r'<word xMin="(-?[\d.]+)" yMin="[^"]*" xMax="(-?[\d.]+)" yMax="[^"]*">(.*?)</word>', sheet)
        beyond = [word for left, right, word in words if float(left) < 0 or float(right) > float(width[1])]
        assert beyond == []
        sheets.append(len(words))
        found.update(html.unescape(word) for *_, word in words)
    return sheets, found


def _missing(markup: str, found: Counter[str]) -> set[str]:
    """The words of the markup that are printed less often than they stand in it; a long one may be broken."""
    wanted = Counter(html.unescape(re.sub(r"<[^>]+>", " ", markup)).split())
    return {word for word in wanted - found if len(word) <= 20}


@pytest.mark.full
@pytest.mark.skipif(PDFTOTEXT is None, reason="needs pdftotext (apt-get install poppler-utils)")
def test_what_is_folded_on_the_site_is_printed(tmp_path: Path) -> None:
    style = (CONFIG_ROOT / "docs" / "site.css").read_text(encoding="utf-8")
    page, path = tmp_path / "page.html", tmp_path / "page.pdf"
    page.write_text(
        f'<!DOCTYPE html><style>{style}</style><div class="md-typeset">'
        "<details><summary>verdicts</summary><p>unfolded</p></details></div>",
        encoding="utf-8",
    )
    browse(f"--print-to-pdf={path}", "--no-pdf-header-footer", page.as_uri(), folder=tmp_path)
    assert _words_of(path) == ([2], Counter(["verdicts", "unfolded"]))


def _inflated(stream: bytes) -> bytes:
    try:
        return zlib.decompressobj().decompress(stream)
    except zlib.error:
        return b""


USE = """
<script>
const box = document.querySelector(".explorer");
const texts = (row) => [...row.cells].slice(0, -1).map((cell) => cell.textContent);
const rows = () => [...box.querySelectorAll("tbody tr")].map(texts);
const result = {
  shown: !box.closest("section").hidden,
  linked: !document.querySelector('nav a[href="#explore"]').parentElement.hidden,
  before: rows(),
  dots: box.querySelectorAll(".run").length,
};
const seeds = box.querySelectorAll("input");
seeds[0].click();
seeds[2].click();
result.without = rows();
result.said = box.querySelector(".note").textContent;
box.querySelector("fieldset button").click();
result.again = rows();
const choice = box.querySelector("select");
choice.value = "1";
choice.dispatchEvent(new Event("change"));
result.second = rows();
const heading = [...box.querySelectorAll("th button")].find((b) => b.textContent === "num_hiddens");
const sizes = () => rows().map((row) => row[1]);
heading.click();
result.upwards = sizes();
heading.click();
result.downwards = sizes();
heading.click();
result.original = sizes();
document.title = JSON.stringify(result);
</script>
"""


@pytest.mark.full
def test_leaving_out_seeds_recomputes_what_the_tables_say(report: Path, tmp_path: Path) -> None:
    found = measured(report, tmp_path, 1280, script=USE)
    m = gather(report.parent, Attempts(unheard))
    knobs = len(m.swept)

    def expected(settings: Any, metric: str) -> list[list[str]]:
        return [[str(one["n"]), mean_text(one, metric), str(one["diverged"])] for one in settings.to_dict("records")]

    def computed(rows: list[list[str]]) -> list[list[str]]:
        return [row[knobs:] for row in rows]

    assert found["shown"]
    assert found["linked"]
    assert computed(found["before"]) == expected(m.settings, "tail_perplexity")
    assert found["dots"] == int((m.runs["status"] == "ok").sum())
    seeds = np.unique(m.runs["seed"])
    fewer = aggregate(m.runs[~m.runs["seed"].isin(seeds[[0, 2]])])
    assert computed(found["without"]) == expected(fewer, "tail_perplexity")
    assert f"{len(seeds) - 2} of {len(seeds)} seeds" in found["said"]
    assert found["again"] == found["before"]
    assert computed(found["second"]) == expected(m.settings, "perplexity")
    assert found["upwards"] == sorted(found["original"], key=int)
    assert found["downwards"] == sorted(found["original"], key=int, reverse=True)
    assert found["original"] == [row[1] for row in found["before"]]


EXTREMES = """
<main><section hidden><div class="explorer"><script type="application/json">%s</script></div></section></main>
<script>%s</script>
<script>
const box = document.querySelector(".explorer");
document.title = JSON.stringify([
  [...box.querySelectorAll("tbody td:nth-child(2)")].map((cell) => cell.textContent),
  [...box.querySelectorAll("th text")].map((tick) => tick.textContent),
]);
</script>
"""


@pytest.mark.full
@pytest.mark.parametrize(
    "values",
    [
        [[17.63, 17.5, 17.6], [4.3882e60, 1.8833e106, 3.3152e83]],
        [[9.1803e59, 5.7399e64, 1.1694e31], [2.5e9, 3.1e2, 4.4e17]],
        [[123456.0, None, None], [3e-7, None, None]],
        [[3.0, 3.1, 3.2], [4.0, 4.5, 900.0]],
        [[3.1e30, 3.2e30, 3.15e30], [2e9, 2.1e9, 2.05e9]],  # each with a power of ten, not with thirty digits
        [[3.0, 1e150, None], [4.0, 5.0, None]],  # whose interval ends beyond all numbers
        [[16.9573466, None, None], [16.9573466, None, None]],  # their mean, exp(log), differs in the last digit
    ],
)
def test_runs_that_lie_decades_apart(values: list[list[float | None]], tmp_path: Path) -> None:
    """The numbers are those of the tables, and the ticks of the axis a few that have room."""
    metric = {"heading": "perplexity", "title": "perplexity", "logs": True, "ends": [1, None], "decimals": None}
    quantiles = [0, 0, *student.ppf(0.975, [1, 2])]
    data = {
        "knobs": [], "settings": [[], []], "seeds": [0, 1, 2], "metrics": [metric], "values": [values],
        "diverged": [[], []], "quantiles": quantiles, "note": "",
    }  # fmt: skip
    means, ticks = title_of(EXTREMES, json.dumps(data), tmp_path)
    expected = []
    for own in values:
        logs = np.log([value for value in own if value is not None])
        half = quantiles[len(logs)] * logs.std(ddof=1) / np.sqrt(len(logs)) if len(logs) > 1 else np.nan
        with np.errstate(over="ignore"):
            mean, low, high = np.exp(logs.mean() + np.array([0, -half, half]))
        expected.append(plus_minus(mean, np.maximum(low, 1), high))  # no perplexity is below 1
    assert means == expected
    assert 2 <= len(ticks) <= 8
    assert len({float(tick) for tick in ticks}) == len(ticks)
    assert max(map(len, ticks)) <= 6


@pytest.mark.full
def test_halves_are_rounded_as_in_the_tables(tmp_path: Path) -> None:
    shares = [0.0625, 0.1875, 0.3125, 0.8125]
    metric = {"heading": "accuracy", "title": "accuracy", "logs": False, "ends": [0, 1], "decimals": 3}
    data = {
        "knobs": [], "settings": [[]] * 4, "seeds": [0], "metrics": [metric], "values": [[[one] for one in shares]],
        "diverged": [[]] * 4, "quantiles": [0, 0], "note": "",
    }  # fmt: skip
    means, _ = title_of(EXTREMES, json.dumps(data), tmp_path)
    assert means == [bounded(one, math.nan, math.nan, 1) for one in shares]


SORT = """
<main><table><thead><tr><th>time</th></tr></thead><tbody>%s</tbody></table></main>
<script>%s</script>
<script>
const button = document.querySelector("th button");
const cells = () => [...document.querySelectorAll("td")].map((cell) => cell.textContent);
button.click();
const upwards = cells();
button.click();
document.title = JSON.stringify([upwards, cells()]);
</script>
"""


@pytest.mark.full
@pytest.mark.parametrize(
    "cells",
    [
        ["0.9 ms", "0.527 s", "2 s", "1 min 5 s", "2 min", "1 h"],
        ["\N{MINUS SIGN}1.5", "0", "0.02 (0.01\N{EN DASH}0.05)", "1.3 ± 0.1", "1,200"],
        ["900", "229.5k ± 10.9", "2641.7k ± 20.2"],
        ["1.3e-21", "< 0.001", "0.02", "0.9"],
        ["4 MiB", "1.5 GiB"],
        ["gru", "lstm", "rnn"],
        ["model 2", "model 10"],
    ],
)
def test_sorted_by_what_a_cell_means(cells: list[str], tmp_path: Path) -> None:
    shuffled = ["\N{EN DASH}", *cells[1::2], *cells[::2]]
    rows = "".join(f"<tr><td>{cell}</td></tr>" for cell in shuffled)
    upwards, downwards = title_of(SORT, rows, tmp_path)
    assert upwards == [*cells, "\N{EN DASH}"]
    assert downwards == [*reversed(cells), "\N{EN DASH}"]


@pytest.mark.full
def test_the_script_runs_under_the_policy_of_the_page(report: Path, tmp_path: Path) -> None:
    dom = browse("--virtual-time-budget=5000", "--dump-dom", report.as_uri(), folder=tmp_path)
    assert 'class="run"' in dom
    hostile = tmp_path / "hostile.html"
    page = report.read_text(encoding="utf-8")
    hostile.write_text(page.replace("</main>", "<script>document.body.id = 'run'</script></main>"), encoding="utf-8")
    assert '<body id="run"' not in browse("--virtual-time-budget=5000", "--dump-dom", hostile.as_uri(), folder=tmp_path)
