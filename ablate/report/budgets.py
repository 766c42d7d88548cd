"""The section on whether a part of the training tells which settings will be the best at its end."""

from functools import partial

import pandas as pd

from ablate.config.metrics import METRICS, by_difference
from ablate.report.blocks import Column, Sheet
from ablate.report.material import Material
from ablate.report.numbers import percent, ratio_text, whole
from ablate.report.sections import Section
from ablate.report.tables import setting_name
from ablate.report.wording import epoch_measure


def budgets_sheet(m: Material, metric: str, table: pd.DataFrame) -> Sheet:
    regret = "loses" if by_difference(metric) else "ratio to the best"
    columns = [
        Column(name, True) for name in ("after epochs", "of", "settings", "Spearman", percent(m.level), "Kendall")
    ]
    columns += [Column("best then", long=True), Column(regret, True)]
    names = m.settings.set_index("setting_id")
    rows = [
        [
            *(whole(row[name]) for name in ("epochs", "of", "settings")),
            *(f"{row[name]:.2f}" for name in ("spearman",)),
            "–" if pd.isna(row["low"]) else f"{row['low']:.2f} … {row['high']:.2f}",
            f"{row['kendall']:.2f}",
            setting_name(names.loc[row["best"]], m.swept),
            ratio_text(row["regret"]),
        ]
        for row in table.to_dict("records")
    ]
    by = f"the best setting, in {METRICS[metric].title}" if by_difference(metric) else "that of the best setting"
    notes = [
        f"Settings ranked by {METRICS[metric].title} after a part of the epochs (mean of the last 5 % of these, over "
        f"seeds), against their ranks at the end. Interval: bootstrap over seeds. Best then: what one would have kept; "
        f"{regret}: its value at the end against {by}."
    ]
    return Sheet("budgets", "Ranks after a part of the training", columns, rows, table, notes)


BUDGETS = Section(
    "budgets",
    "Ranks after a part of the training",
    lambda m: len(m.budgets) > 0,
    tables=lambda m: {"budgets": partial(budgets_sheet, m, epoch_measure(m.settings), m.budgets)},
)
