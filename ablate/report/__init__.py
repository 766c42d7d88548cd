"""Tables, figures and a page for people, from the records of a sweep alone; loads no torch.

gather what there is (material), say it in tables (sheets: CSV, Markdown, LaTeX), figures (plots), sentences
(answer, protocol) and sections (page), and set it as one HTML file (html).
"""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from ablate.config.errors import StorageError, UserError, listing

if TYPE_CHECKING:
    from ablate.report.blocks import Attempts, Page
    from ablate.report.material import Material

PAGE = "report.html"


def write_report(
    sweep: Path,
    level: float = 0.95,
    title: str | None = None,
    show: "Callable[[Material], None] | None" = None,
    quiet: bool = False,
) -> "Page":
    """Write everything into the sweep's folder, `show` it (print its table and its verdicts), and return its page.
    `quiet` says only what is wrong.

    runs.csv and settings.csv, tables/ (CSV, Markdown, LaTeX), figures/ (PNG, SVG, PDF), figure.png, report.html. All
    are put in place at the end, so that a report that is stopped leaves the one before it whole; of an earlier report
    what this one does not make is deleted. A file of somebody else's is neither overwritten nor deleted.
    Damaged or foreign records are named and skipped; a table or figure that cannot be made is named, too, and the
    others are written. Raises UserError for a folder without records or one that cannot be written to.
    """
    from ablate.report.blocks import Attempts
    from ablate.report.fingerprint import fingerprint
    from ablate.report.material import gather

    attempt = Attempts(_complain)
    try:
        material = gather(sweep, attempt, level, title)
        page = _write(material, attempt, fingerprint(sweep, level, title))
    except OSError as error:
        raise StorageError.of(error) from error
    if show is not None or not quiet:
        (show or _show)(material)
    if not quiet:
        _say(f"report: {sweep / PAGE}")
    return page


def refresh_report(
    sweep: Path,
    level: float = 0.95,
    title: str | None = None,
    show: "Callable[[Material], None] | None" = None,
    quiet: bool = False,
) -> None:
    """`write_report`, unless nothing has changed since: then the table and the verdicts are printed all the same."""
    from ablate.report.blocks import Attempts
    from ablate.report.fingerprint import fingerprint
    from ablate.report.material import gather
    from ablate.report.products import made_from, said_of

    if made_from(sweep) != fingerprint(sweep, level, title):
        write_report(sweep, level, title, show, quiet)
        return
    if quiet:
        return
    attempt = Attempts(_complain)
    material = gather(sweep, attempt, level, title, whole=show is not None)
    for line in said_of(sweep):  # of the page, which is not made again
        if line not in attempt.failed:
            attempt.note(line)
    (show or _show)(material)
    _say(f"report: {sweep / PAGE} (as it was: nothing has changed since)")


def write_reports(
    sweeps: Sequence[Path],
    out: Path | None,
    title: str | None = None,
    level: float = 0.95,
    show: "Callable[[Material], None] | None" = None,
    quiet: bool = False,
) -> int:
    """Each sweep's own report and, of several, one page about all of them; the exit status.

    The common page goes to `out`, by default the folder report/ beside the first sweep. A folder that cannot be
    reported is named and left out.
    """
    from ablate.analysis.throughput import speed_frame
    from ablate.records.results import holds_runs, holds_timings
    from ablate.report.html import render
    from ablate.report.products import products
    from ablate.report.throughput import write_speed

    several = out or sweeps[0].parent / "report" if out or len(sweeps) > 1 else None
    if several is not None and holds_sweep(several):
        _complain(f"ablate: {several} is a sweep with a report of its own; give another folder with --out FOLDER")
        return 2
    status, pages, done = 0, [], []
    for sweep in sweeps:
        try:
            if holds_timings(sweep) and not holds_runs(sweep):
                write_speed(sweep, speed_frame(sweep))
            elif several is None:
                refresh_report(sweep, level, title, show, quiet)
            else:
                pages.append(write_report(sweep, level, title if len(sweeps) == 1 else None, show, quiet))
                done.append(sweep)
        except UserError as error:
            _complain(f"ablate: {error}")
            status = 2
    if pages and several is not None:
        try:
            several.mkdir(parents=True, exist_ok=True)
            with products(several) as files:
                files.write(PAGE, render(pages, title or f"{len(pages)} sweeps", foot(done)))
                kept = files.publish()
        except OSError as error:
            _complain(f"ablate: cannot write {several / PAGE}: {error.strerror}; give another folder with --out FOLDER")
            return 2
        if kept:
            _complain(f"ablate: {several / PAGE} is not as ablate wrote it; give another folder with --out FOLDER")
            return 2
        if not quiet:
            _say(f"report on all: {several / PAGE}")
    return status


def holds_sweep(folder: Path) -> bool:
    """Whether a folder is that of a sweep or a search: a page about several would take the place of its own."""
    return any((folder / name).exists() for name in ("runs", "runs.parquet", "sweep.json", "search.json", "trials.csv"))


def _write(material: "Material", attempt: "Attempts", of: str) -> "Page":
    """Every file of a report; `of`: what it is made from, remembered unless the next attempt could make more of it."""
    from ablate.report.figures import draw
    from ablate.report.findings import sheets
    from ablate.report.html import render
    from ablate.report.latex import latex
    from ablate.report.markdown import markdown
    from ablate.report.page import build
    from ablate.report.products import EARLIER, products

    folder = material.folder
    with products(folder) as files:
        files.write("runs.csv", material.runs.to_csv(index=False))
        files.write("settings.csv", material.settings.to_csv(index=False))
        made = {}
        for name, make in sheets(material).items():
            sheet = attempt(f"the table {name}", make)
            if sheet is None:
                continue
            made[name] = sheet
            files.write(f"tables/{name}.csv", sheet.data.to_csv(index=False))
            files.write(f"tables/{name}.md", markdown(sheet))
            files.write(f"tables/{name}.tex", latex(sheet, material.title, folder.resolve().name))
        figures = draw(material, attempt, files.aside)
        page = build(material, made, figures, attempt)
        files.write(PAGE, render([page], page.title, foot([folder])))
        for name in files.publish(None if attempt.unforeseen else of, attempt.failed):
            _complain(f"{folder / name} is not as a report wrote it, so it is kept; delete it to have it written anew")
        if files.set_aside:
            _complain(f"what lay in the place of {listing(files.set_aside)} is in {folder / EARLIER} now")
    for figure in figures.values():  # they are in place now
        figure.paths = [folder / "figures" / path.name for path in figure.paths]
    return page


def foot(folders: Sequence[Path]) -> str:
    """The last line of a page."""
    tables = "tables/ (CSV, Markdown, LaTeX), figures/ (PNG, SVG, PDF), runs.csv and settings.csv"
    if len(folders) == 1:
        return f"Made by ablate from the records of the sweep. Beside this page: {tables}."
    return f"Made by ablate from the records of the sweeps. In the folder of each: {tables}."


def _show(material: "Material") -> None:
    """The table and the verdicts, on the terminal."""
    from rich.console import Console

    from ablate.report.page import verdict_lines
    from ablate.report.search import finalists
    from ablate.report.tables import finalists_table, print_settings, print_whole

    if material.search is None:
        print_settings(material.settings, material.runs, title=material.folder.name, level=material.level)
    elif finalists(material.search):
        print_whole(finalists_table(material.folder.name, finalists(material.search), material.search.objectives))
    for line in verdict_lines(material):
        Console().print(line, markup=False, highlight=False, soft_wrap=True)


def _complain(line: str) -> None:
    from rich.console import Console

    Console(stderr=True, emoji=False).print(line, markup=False, highlight=False, soft_wrap=True)


_say = _complain  # what is not the table itself goes to standard error
