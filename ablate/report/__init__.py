"""Tables and figures of a sweep, from its records alone; loads no torch."""

from pathlib import Path

from ablate.errors import UserError


def write_report(sweep: Path) -> None:
    """Write runs.csv, cells.csv and figure.png into the sweep's folder and print its table.

    Damaged or foreign records are named and skipped. Raises UserError for a folder without records.
    """
    from rich.console import Console

    from ablate.analysis.aggregate import aggregate
    from ablate.analysis.frames import runs_frame, swept_knobs
    from ablate.analysis.speed import speed_frame, with_speed
    from ablate.report.plots import plot_sweep
    from ablate.report.tables import print_cells

    if not (sweep / "runs").is_dir():
        raise UserError(
            f"{sweep} holds no sweep; give a folder that python -m ablate has written, such as results/smoke"
        )
    runs, problems = runs_frame(sweep)
    for problem in problems:
        Console(stderr=True).print(f"skipped: {problem}", markup=False, highlight=False, soft_wrap=True)
    if runs.empty:
        raise UserError(f"{sweep} holds no finished run yet")
    cells = with_speed(aggregate(runs), speed_frame(sweep))
    try:
        runs.to_csv(sweep / "runs.csv", index=False)
        cells.to_csv(sweep / "cells.csv", index=False)
        plot_sweep(sweep, runs, cells, swept_knobs(runs))
    except OSError as error:
        raise UserError(f"cannot write to {sweep}: {error.strerror}; copy the folder and report it there") from error
    print_cells(cells, runs, title=sweep.name)
