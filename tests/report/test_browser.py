"""The page in a real browser, headless: nothing wider than the screen, light, dark and on paper. 20 s.

Needs Chromium (apt-get install chromium); skipped where there is none.
"""

import json
import os
import re
import shutil
import subprocess
import zlib
from pathlib import Path
from typing import Any

import pytest

BROWSERS = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
BROWSER = next((path for name in BROWSERS if (path := shutil.which(name))), None)
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


def measured(report: Path, folder: Path, width: int, dark: bool = False) -> dict[str, Any]:
    """What a script finds in a copy of the page, at a screen of this width.

    No window of the browser is narrower than 500 pixels: the page is measured inside a frame of the width.
    """
    text = report.read_text(encoding="utf-8")
    policy = re.compile(r'<meta http-equiv="Content-Security-Policy"[^>]*>')
    assert policy.search(text)
    copy = folder / "copy.html"
    tell = MEASURE.replace("document.title = JSON.stringify(result)", "parent.postMessage(JSON.stringify(result), '*')")
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


def _inflated(stream: bytes) -> bytes:
    try:
        return zlib.decompressobj().decompress(stream)
    except zlib.error:
        return b""
