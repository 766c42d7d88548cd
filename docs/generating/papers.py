"""Pages of papers: the protocol and its deviations in words (docs/papers/*.md), and the numbers from the records.

A line `{{ settings NAME }}`, `{{ verdicts NAME }}` or `{{ trained NAME }}` in a page is replaced by what the sweep
results/NAME holds; `{{ cells tableNN }}` by a published table beside ours, `{{ cells all }}` by a line on each.
"""

import re
from textwrap import indent

from generating.published import cells_table, summary_table
from generating.sweeps import commands_of, settings_table, verdicts_table

MADE = {
    "settings": settings_table,
    "verdicts": verdicts_table,
    "trained": commands_of,
    "cells": lambda name: summary_table() if name == "all" else cells_table(name),
}
PLACE = re.compile(r"^( *)\{\{ (\w+) ([\w-]+) \}\}$", re.MULTILINE)


def filled(markdown: str) -> str:
    """A page with its numbers. Raises KeyError for what nothing makes."""
    return PLACE.sub(lambda found: indent(MADE[found[2]](found[3]), found[1]), markdown)
