"""The tables and figures of a search, from trials.csv and search.json in its folder; loads no torch."""

from pathlib import Path
from typing import Any

import pandas as pd
from rich.table import Table

from ablate.analysis.trials import BETTER, history, search_facts, search_importance, timeline, trials_frame
from ablate.report.tables import PLAIN, print_whole


def write_search(folder: Path) -> list[Path]:
    """importance.csv and the figures search-*.png; prints the finalists. Raises UserError where there is no search."""
    import matplotlib.pyplot as plt

    from ablate.report import search_plots as plots

    facts, trials = search_facts(folder), trials_frame(folder)
    space, names = facts["space"], [objective["name"] for objective in facts["settings"]["objectives"]]
    figures: dict[str, Any] = {"timeline": plots.plot_timeline(timeline(trials), folder.name)}
    tables = []
    for name in names:
        suffix = f"-{name}" if len(names) > 1 else ""
        table = search_importance(trials, space, name)
        tables.append(table.assign(objective=name))
        better = BETTER.get(name, "lower")
        figures[f"history{suffix}"] = plots.plot_history(history(trials, name, better), name, folder.name)
        figures[f"importance{suffix}"] = plots.plot_importance(table, f"{folder.name}: {name}")
        figures[f"parallel{suffix}"] = plots.plot_parallel(trials, space, name, folder.name)
        figures[f"slices{suffix}"] = plots.plot_slices(trials, space, name, folder.name)
    if len(names) == 2:
        numbers = [one["number"] for one in facts["front"]]
        figures["front"] = plots.plot_front(trials, numbers, (names[0], names[1]), folder.name)
    pd.concat(tables).to_csv(folder / "importance.csv", index=False)
    written = []
    for name, figure in figures.items():
        path = folder / f"search-{name}.png"
        figure.savefig(path, dpi=160, bbox_inches="tight")
        plt.close(figure)
        written.append(path)
    print_whole(finalists_table(facts, names))
    return written


def finalists_table(facts: dict[str, Any], names: list[str]) -> Table:
    """The finalists, best first, and the baseline: their fresh seeds, and what the search had seen."""
    table = Table(title=f"{facts['study']}: the best few on fresh seeds", **PLAIN)
    table.add_column("trial", justify="right")
    table.add_column("configuration")
    for name in names:
        table.add_column(f"{name}, fresh", justify="right")
        table.add_column("in the search", justify="right")
    everyone = [*(facts["front"] or facts["finalists"]), *([facts["baseline"]] if facts["baseline"] else [])]
    for one in everyone:
        cells = []
        for name in names:
            fresh, told = one["fresh"].get(name), one["in_the_search"].get(name)
            interval = f" ({fresh['low']:.4g} to {fresh['high']:.4g})" if fresh and fresh["high"] else ""
            cells += [f"{fresh['value']:.4g}{interval}" if fresh and fresh["value"] else "–"]
            cells += [f"{told:.4g}" if told is not None else "–"]
        number = "baseline" if one["number"] is None else str(one["number"])
        table.add_row(number, " ".join(one["overrides"]) or "the defaults", *cells)
    return table
