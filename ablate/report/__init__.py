"""Tables, figures and a page for people, from the records of a sweep alone; loads no torch.

gather what there is (material), say it in tables (sheets: CSV, Markdown, LaTeX), figures (plots), sentences
(answer, protocol) and sections (page), and set it as one HTML file (html).
"""

from collections.abc import Collection, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from ablate.errors import StorageError, UserError

if TYPE_CHECKING:
    from ablate.report.blocks import Attempts, Page
    from ablate.report.material import Material

PAGE = "report.html"
TABLE_FILES = (".csv", ".md", ".tex")
FIGURE_FILES = (".png", ".svg", ".pdf")


def write_report(sweep: Path, level: float = 0.95, title: str | None = None) -> "Page":
    """Write everything into the sweep's folder, print its table and its verdicts, and return its page.

    runs.csv and cells.csv, tables/ (CSV, Markdown, LaTeX), figures/ (PNG, SVG, PDF), figure.png, report.html;
    what an earlier report left in tables/ and figures/ and this one does not make is deleted.
    Damaged or foreign records are named and skipped; a table or figure that cannot be made is named, too, and the
    others are written. Raises UserError for a folder without records or one that cannot be written to.
    """
    from ablate.report.blocks import Attempts
    from ablate.report.material import gather

    attempt = Attempts(_complain)
    try:
        material = gather(sweep, attempt, level, title)
        page = _write(material, attempt)
    except OSError as error:
        raise StorageError.of(error) from error
    _show(material)
    _say(f"report: {sweep / PAGE}")
    return page


def write_reports(sweeps: Sequence[Path], out: Path | None, title: str | None = None, level: float = 0.95) -> int:
    """Each sweep's own report and, of several, one page about all of them; the exit status.

    The common page goes to `out`, by default the folder report/ beside the first sweep. A folder that cannot be
    reported is named and left out.
    """
    from ablate.files import write_text
    from ablate.report.html import render

    status, pages, done = 0, [], []
    for sweep in sweeps:
        try:
            pages.append(write_report(sweep, level, title if len(sweeps) == 1 else None))
            done.append(sweep)
        except UserError as error:
            _complain(f"ablate: {error}")
            status = 2
    if pages and (out or len(sweeps) > 1):
        path = (out or sweeps[0].parent / "report") / PAGE
        try:
            text = render(pages, title or f"{len(pages)} sweeps", foot(done))
            write_text(path, text)
        except StorageError as error:
            _complain(f"ablate: {error} (--out FOLDER)")
            return 2
        _say(f"report on all: {path}")
    return status


def _write(material: "Material", attempt: "Attempts") -> "Page":
    """Every file of a report."""
    from ablate.files import write_csv, write_text
    from ablate.report.figures import draw
    from ablate.report.findings import sheets
    from ablate.report.html import render
    from ablate.report.latex import latex
    from ablate.report.markdown import markdown
    from ablate.report.page import build

    folder = material.folder
    write_csv(folder / "runs.csv", material.runs)
    write_csv(folder / "cells.csv", material.cells)
    made = {}
    for name, make in sheets(material).items():
        sheet = attempt(f"the table {name}", make)
        if sheet is None:
            continue
        made[name] = sheet
        path = folder / "tables" / name
        write_csv(path.with_suffix(".csv"), sheet.data)
        write_text(path.with_suffix(".md"), markdown(sheet))
        write_text(path.with_suffix(".tex"), latex(sheet, material.title))
    figures = draw(material, attempt)
    page = build(material, made, figures, attempt)
    write_text(folder / PAGE, render([page], page.title, foot([folder])))
    _drop_others(folder / "tables", TABLE_FILES, made)
    _drop_others(folder / "figures", FIGURE_FILES, figures)
    return page


def _drop_others(folder: Path, endings: Sequence[str], made: Collection[str]) -> None:
    """Delete the tables or figures of an earlier report that this one did not make; files of other kinds stay."""
    for path in list(folder.glob("*")):
        if path.suffix in endings and path.stem not in made and path.is_file():
            path.unlink()


def foot(folders: Sequence[Path]) -> str:
    """The last line of a page."""
    tables = "tables/ (CSV, Markdown, LaTeX), figures/ (PNG, SVG, PDF), runs.csv and cells.csv"
    if len(folders) == 1:
        return f"Made by ablate from the records of the sweep. Beside this page: {tables}."
    return f"Made by ablate from the records of the sweeps. In the folder of each: {tables}."


def _show(material: "Material") -> None:
    """The table and the verdicts, on the terminal."""
    from rich.console import Console

    from ablate.report.page import verdict_lines
    from ablate.report.search import finalists
    from ablate.report.tables import finalists_table, print_cells, print_whole

    if material.search is None:
        print_cells(material.cells, material.runs, title=material.folder.name, level=material.level)
    elif finalists(material.search):
        print_whole(finalists_table(material.folder.name, finalists(material.search), material.search.objectives))
    for line in verdict_lines(material):
        Console().print(line, markup=False, highlight=False, soft_wrap=True)


def _complain(line: str) -> None:
    from rich.console import Console

    Console(stderr=True).print(line, markup=False, highlight=False, soft_wrap=True)


_say = _complain  # what is not the table itself goes to standard error
