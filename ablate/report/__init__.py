"""Tables, figures and a page for people, from the records of a sweep alone; loads no torch.

gather what there is (material), say it in tables (sheets: CSV, Markdown, LaTeX), figures (plots), sentences
(answer, protocol) and sections (page), and set it as one HTML file (html).
"""

from collections.abc import Callable, Sequence
from hashlib import sha256
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING

from ablate.config.errors import StorageError, UserError, listing

if TYPE_CHECKING:
    from ablate.report.blocks import Attempts, Page, Sheet
    from ablate.report.material import Material

PAGE = "report.html"


LOADED = (
    *("fontTools.subset", "matplotlib.backends.backend_pdf", "matplotlib.backends.backend_svg", "PIL.PngImagePlugin"),
    *("pandas.io.formats.csvs", "pyarrow.dataset", "pyarrow.pandas_compat", "rich.console"),
    *("ablate.report." + name for name in ("baselines", "contents", "drawn", "figures", "html", "latex", "markdown")),
    *("ablate.report." + name for name in ("material", "page", "plots", "tables")),
)
"""What making a report takes, and else is loaded when it is first used."""


def load_all() -> None:
    for name in LOADED:
        import_module(name)


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
    if is_current(sweep, level, title):
        _tell(sweep, level, title, show, quiet)
    else:
        write_report(sweep, level, title, show, quiet)


def is_current(sweep: Path, level: float, title: str | None) -> bool:
    """Whether the report of a sweep is there, made from what there is."""
    from ablate.report.fingerprint import fingerprint
    from ablate.report.products import made_from

    return made_from(sweep) == fingerprint(sweep, level, title)


def _tell(sweep: Path, level: float, title: str | None, show: "Callable[[Material], None] | None", quiet: bool) -> None:
    """The table and the verdicts of a sweep whose report stays as it is."""
    from ablate.report.blocks import Attempts
    from ablate.report.material import gather
    from ablate.report.products import said_of

    if quiet:
        return
    attempt = Attempts(_complain)
    material = gather(sweep, attempt, level, title, whole=show is not None)
    for line in said_of(sweep):  # of the page, which is not made again
        attempt.note(line)
    (show or _show)(material)
    _say(f"report: {sweep / PAGE} (as it was: nothing has changed since)")


def _page_as_it_was(
    sweep: Path, level: float, title: str | None, show: "Callable[[Material], None] | None", quiet: bool
) -> "Page":
    """The page of a sweep whose report is current, of the figures that are drawn already."""
    from ablate.report.blocks import Attempts, Figure
    from ablate.report.contents import sheets, wanted
    from ablate.report.material import gather
    from ablate.report.page import build

    material = gather(sweep, Attempts(_complain), level, title)
    tables = {name: made for name, make in sheets(material).items() if (made := material.attempt(name, make))}
    figures = {}
    for name, (caption, _) in wanted(material).items():
        paths = [sweep / "figures" / f"{name}{end}" for end in (".png", ".svg", ".pdf")]
        if all(path.is_file() for path in paths):
            figures[name] = Figure(name, caption, paths)
    if not quiet:
        (show or _show)(material)
        _say(f"report: {sweep / PAGE} (as it was: nothing has changed since)")
    return build(material, tables, figures)


def has_common_page(reports: int, status: int) -> bool:
    """Whether there is a page about several sweeps: not about the only one that could be reported."""
    return reports >= (2 if status else 1)


def write_reports(
    sweeps: Sequence[Path],
    out: Path | None,
    title: str | None = None,
    level: float = 0.95,
    show: "Callable[[Material], None] | None" = None,
    quiet: bool = False,
) -> int:
    """Each sweep's own report and, of several, one page about all of them; the exit status. What is there already, made
    from what there is, is not made again.

    The common page goes to `out`, by default the folder report/ beside the first sweep. A folder that cannot be
    reported is named and left out, and a page about all is one about two or more.
    """
    from ablate.analysis.throughput import speed_frame
    from ablate.records.places import holds_runs, holds_timings
    from ablate.report.fingerprint import fingerprint
    from ablate.report.html import render
    from ablate.report.products import made_from, products
    from ablate.report.throughput import write_speed

    sweeps = list({sweep.resolve(): sweep for sweep in reversed(sweeps)}.values())[::-1]  # each once
    several = out or sweeps[0].parent / "report" if out or len(sweeps) > 1 else None
    if several is not None and holds_sweep(several):
        _complain(f"ablate: {several} is a sweep with a report of its own; give another folder with --out FOLDER")
        return 2
    own_title = title if len(sweeps) == 1 else None
    status, pages, done = 0, [], []
    of_each = [fingerprint(sweep, level, own_title) for sweep in sweeps if several is not None and sweep.is_dir()]
    of_all = sha256("|".join([repr(title), *of_each]).encode()).hexdigest()
    as_made = [made_from(sweep) == of for sweep, of in zip(sweeps, of_each, strict=False)]
    current = several is not None and len(of_each) == len(sweeps) and all(as_made) and made_from(several) == of_all
    for sweep in sweeps:
        try:
            if holds_timings(sweep) and not holds_runs(sweep):
                write_speed(sweep, speed_frame(sweep))
            elif several is None:
                refresh_report(sweep, level, title, show, quiet)
            elif not is_current(sweep, level, own_title):
                pages.append(write_report(sweep, level, own_title, show, quiet))
                done.append(sweep)
            elif current:
                _tell(sweep, level, own_title, show, quiet)
            else:
                pages.append(_page_as_it_was(sweep, level, own_title, show, quiet))
                done.append(sweep)
        except UserError as error:
            _complain(f"ablate: {error}")
            status = 2
    if several is not None and has_common_page(len(pages), status):
        try:
            several.mkdir(parents=True, exist_ok=True)
            with products(several) as files:
                files.write(PAGE, render(pages, title or f"{len(pages)} sweeps", foot(done)))
                kept = files.publish(None if status else of_all)
        except OSError as error:
            _complain(f"ablate: cannot write {several / PAGE}: {error.strerror}; give another folder with --out FOLDER")
            return 2
        if kept:
            _complain(f"ablate: {several / PAGE} is not as ablate wrote it; give another folder with --out FOLDER")
            return 2
        if not quiet:
            all_of_them = f"{len(pages)} of {len(sweeps)}" if status else "all"
            _say(f"report on {all_of_them}: {several / PAGE}")
    elif current and not quiet:
        _say(f"report on all: {several}/{PAGE} (as it was: nothing has changed since)")
    return status


def holds_sweep(folder: Path) -> bool:
    """Whether a folder is that of a sweep or a search: a page about several would take the place of its own."""
    from ablate.records.places import is_search

    return is_search(folder) or any((folder / name).exists() for name in ("runs", "runs.parquet", "sweep.json"))


def _write(material: "Material", attempt: "Attempts", of: str) -> "Page":
    """Every file of a report; `of`: what it is made from, remembered unless the next attempt could make more of it."""
    from ablate.records.csv_text import csv_text
    from ablate.report.contents import sheets
    from ablate.report.drawn import drawing
    from ablate.report.html import render
    from ablate.report.page import build
    from ablate.report.products import EARLIER, products

    folder = material.folder
    with products(folder) as files, drawing(material, files.aside) as drawn:  # while all else is made
        files.write("runs.csv", csv_text(material.runs))
        files.write("settings.csv", csv_text(material.settings))
        made = {}
        for name, make in sheets(material).items():
            table = attempt(f"the table {name}", lambda name=name, make=make: _table(name, make(), material))  # type: ignore[misc]
            if table is not None:
                made[name], texts = table
                for file, text in texts.items():
                    files.write(file, text)
        figures = drawn()
        page = build(material, made, figures)
        files.write(PAGE, render([page], page.title, foot([folder])))
        for name in files.publish(None if attempt.unforeseen else of, attempt.failed):
            _complain(f"{folder / name} is not as a report wrote it, so it is kept; delete it to have it written anew")
        if files.set_aside:
            _complain(f"what lay in the place of {listing(files.set_aside)} is in {folder / EARLIER} now")
    for figure in figures.values():  # they are in place now
        figure.paths = [folder / "figures" / path.name for path in figure.paths]
    return page


def _table(name: str, sheet: "Sheet", material: "Material") -> tuple["Sheet", dict[str, str]]:
    """A table, and the text of each of its files. Raises UserError for what is no table."""
    from ablate.records.csv_text import csv_text
    from ablate.report.blocks import Sheet
    from ablate.report.latex import latex
    from ablate.report.markdown import markdown

    if not isinstance(sheet, Sheet):
        raise UserError(f"it is {type(sheet).__name__}; make an ablate.report.blocks.Sheet")
    texts = {
        "csv": csv_text(sheet.data),
        "md": markdown(sheet),
        "tex": latex(sheet, material.title, material.folder.resolve().name),
    }
    return sheet, {f"tables/{name}.{ending}": text for ending, text in texts.items()}


def foot(folders: Sequence[Path]) -> str:
    """The last line of a page."""
    tables = "tables/ (CSV, Markdown, LaTeX), figures/ (PNG, SVG, PDF), runs.csv and settings.csv"
    if len(folders) == 1:
        return f"Made by ablate from the records of the sweep. Beside this page: {tables}."
    return f"Made by ablate from the records of the sweeps. In the folder of each: {tables}."


def _show(material: "Material") -> None:
    """The table and the verdicts, on the terminal."""
    from ablate.config.terminal import lines
    from ablate.report.claim_cards import verdict_lines
    from ablate.report.search_sheets import finalists, finalists_table
    from ablate.report.tables import print_settings, print_whole

    if material.search is None:
        print_settings(material.settings, material.runs, title=material.folder.name, level=material.level)
    elif finalists(material.search):
        print_whole(finalists_table(material.folder.name, material.search))
    for line in verdict_lines(material):
        lines(stderr=False)(line)


def _complain(line: str) -> None:
    from ablate.config.terminal import lines

    lines()(line)


_say = _complain  # what is not the table itself goes to standard error
