"""What the site makes of the package itself when it is built: reference pages, the gallery, numbers in pages of papers.

hook        what mkdocs calls: adds these pages, fills in numbers, sets formulas as MathML
reference   commands, knobs, models, tasks, data sets, optimizers, presets, launchers
gallery     a card for each committed sweep
papers      published values beside ours, and verdicts, in the pages of docs/papers
published   the course's published tables, cell by cell, beside ours
sweeps      what the committed sweeps hold, as tables
documents   the changelog and the lab book as pages
tables      Markdown tables
docstrings  docstrings of the package as Markdown
console     which lines of a console block are commands
"""
