"""Pages of papers: the protocol and its deviations in words (docs/papers/*.md), and the numbers from the records.

A line `{{ settings NAME }}`, `{{ verdicts NAME }}` or `{{ trained NAME }}` in a page is replaced by what the sweep
results/NAME holds; `{{ cells tableNN }}` by a published table beside ours, `{{ cells all }}` by a line on each;
`{{ together verdicts }}` by a sentence on all verdicts of the page as one family.
"""

import re
from textwrap import indent

from generating.published import cells_table, summary_table
from generating.sweeps import commands_of, settings_table, stand_together, verdicts_table

MADE = {
    "settings": settings_table,
    "verdicts": verdicts_table,
    "trained": commands_of,
    "cells": lambda name: summary_table() if name == "all" else cells_table(name),
}
PLACE = re.compile(r"^( *)\{\{ (\w+) ([\w-]+) \}\}$", re.MULTILINE)


def filled(markdown: str) -> str:
    """A page with its numbers. Raises KeyError for what nothing makes."""
    judged = [name for _, kind, name in PLACE.findall(markdown) if kind == "verdicts"]
    made = MADE | {"together": lambda _: stand_together(judged)}
    return PLACE.sub(lambda found: indent(made[found[2]](found[3]), found[1]), markdown)
