"""Files of figures: their formats, their letters, and what of matplotlib they leave as it was. CPU, 5 s."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from matplotlib.colors import to_rgba
from matplotlib.figure import Figure
from matplotlib.image import imread
from read_figures import drawn, texts

from ablate.report import plots
from ablate.report.plots import style
from ablate.report.plots.lines import palette


@pytest.mark.full
def test_files(tmp_path: Path) -> None:
    figure = drawn.__wrapped__("one_seed", title="costs $5 or 5 $")
    paths = plots.save(figure, tmp_path / "new", "by_value")
    assert [path.name for path in paths] == ["by_value.png", "by_value.svg", "by_value.pdf"]
    png, svg, pdf = (path.read_bytes() for path in paths)
    pixels = imread(paths[0])
    assert pixels[0, 0].tolist() == [1, 1, 1, 1]  # white, not transparent
    assert pixels.shape[1] >= 160 * 6.3
    assert pixels.std() > 0.01
    assert b"<svg" in svg
    assert b"<text" not in svg  # paths: it looks alike without our fonts
    assert b"/FontFile2" in pdf
    assert b"/Type3" not in pdf
    again = plots.save(drawn.__wrapped__("one_seed", title="costs $5 or 5 $"), tmp_path, "again")
    assert [path.read_bytes() for path in again] == [png, svg, pdf]
    assert not figure.axes


@pytest.mark.full
def test_the_last_digits_of_a_layout_are_in_no_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """They differ from drawing to drawing; by 1e-15 of the figure here, up in one and down in another."""
    files = []
    for number, shift in enumerate((0.0, 1e-15, -1e-15)):
        figure, panels = style.panels(1, 2)
        for panel in panels:
            panel.plot([1, 2], [2, 3], "o-")
        style.finish(figure, "A title")
        engine = figure.get_layout_engine()
        assert engine is not None
        execute = engine.execute

        def laid_out(figure: Figure, execute: Callable[[Figure], Any] = execute, shift: float = shift) -> None:
            execute(figure)
            for panel in figure.axes:
                panel.set_position([part + shift for part in panel.get_position().bounds])

        monkeypatch.setattr(engine, "execute", laid_out)
        files.append([path.read_bytes() for path in plots.save(figure, tmp_path / str(number), "any")])
    assert files[0] == files[1] == files[2]


@pytest.mark.full
@pytest.mark.parametrize(
    "title",
    [
        *(
            "नमस्ते",
            "مرحبا بالعالم",
            "rocket 🚀",
            "👩‍👩‍👧 ‮ format",
            "private \ue000 use",
            "line\nbreak",
            "\x00\x07",
            "$x^2$ {",
        ),
        *("<script>&amp;", "back\\slash % _ #", "한국어", "e\u0301", "w" * 300),
    ],
    ids=ascii,
)
def test_a_title_in_any_letters_is_drawn_without_a_warning(title: str, tmp_path: Path) -> None:
    figure = drawn.__wrapped__("one_seed", title=title)
    assert all(path.stat().st_size for path in plots.save(figure, tmp_path, "any"))


@pytest.mark.parametrize("title", ["नमस्ते", "rocket 🚀", "private \ue000 use"], ids=ascii)
def test_letters_that_no_font_has_are_named(title: str, monkeypatch: pytest.MonkeyPatch) -> None:
    for further in ("_cjk_fonts", "_installed"):
        monkeypatch.setattr(f"ablate.report.plots.fonts.{further}", tuple)
    message = plots.missing_glyphs("plain", title)
    assert all(character in message for character in title if ord(character) > 0x2FF)
    assert plots.missing_glyphs("plain é σ ×") == ""


@pytest.mark.full
def test_chinese_without_a_font_is_named_once_and_warns_nowhere(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("ablate.report.plots.fonts._cjk_fonts", tuple)
    monkeypatch.setattr("ablate.report.plots.fonts._installed", tuple)
    assert plots.missing_glyphs("Überlänge × 5 – σ") == ""
    message = plots.missing_glyphs("循环神经网络: RNN")
    assert all(character in message for character in "循环神经网络")
    assert "RNN" not in message
    assert "\n" not in message
    figure = drawn.__wrapped__("chinese", title="循环神经网络")
    assert all(path.stat().st_size for path in plots.save(figure, tmp_path, "chinese"))


def test_a_chinese_font_joins_in_only_where_it_is_needed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("ablate.report.plots.fonts._cjk_fonts", lambda: ("Noto Sans CJK SC",))
    monkeypatch.setattr("ablate.report.plots.fonts._installed", tuple)
    from ablate.report.plots.fonts import families

    assert families("plain — Ω") == ["DejaVu Sans"]
    assert families("plain", "循环") == ["DejaVu Sans", "Noto Sans CJK SC"]


def test_the_reader_s_own_settings_of_matplotlib_stay_as_they_are() -> None:
    import matplotlib as mpl

    with mpl.rc_context({"font.size": 31, "axes.facecolor": "black"}):
        figure = drawn.__wrapped__("one_seed")
        assert mpl.rcParams["font.size"] == 31
    assert to_rgba(figure.axes[0].get_facecolor()) == (1, 1, 1, 1)
    assert max(text.get_fontsize() for text in texts(figure)) == 9


def test_the_colours_of_every_report_are_those_of_seaborn() -> None:
    import seaborn

    assert palette(n=13) == tuple(tuple(colour) for colour in seaborn.color_palette("colorblind", 13))
