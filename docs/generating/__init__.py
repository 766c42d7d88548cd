"""What the site makes of the package itself when it is built: reference pages, the gallery, the pages of papers.

hook        what mkdocs calls: adds these pages, sets formulas as MathML
tables      Markdown tables
reference   commands, knobs, models, tasks, data sets, optimizers, presets, launchers
gallery     a card for each sweep of results/
papers      published values beside ours, and the verdicts of sweeps
"""
