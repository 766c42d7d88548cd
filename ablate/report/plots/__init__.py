"""Figures: functions from frames to a matplotlib Figure; the only place that imports matplotlib and seaborn.

style, fonts       printed size and type; title, legend and small print around the panels; writing the files
ticks              axes with plain numbers
lines, grid        which settings form a line and how it looks; which panels there are
measures           what panels show of settings and runs
by_value, rows     the swept value against perplexity and speed; settings without an order
curves             perplexity over the epochs
across             settings over several data sets: mean ranks, performance profiles
pareto, heatmap, effects, path, verdicts, speed
search_trials      history, front and timeline of a search
search_space       importance of its knobs, parallel coordinates, slices
labels             texts beside points
"""

from ablate.report.plots.across import mean_ranks, profile
from ablate.report.plots.by_value import by_task, by_value
from ablate.report.plots.curves import curves
from ablate.report.plots.effects import effects, importance, variance
from ablate.report.plots.fonts import missing_glyphs
from ablate.report.plots.heatmap import heatmap
from ablate.report.plots.lines import model_looks
from ablate.report.plots.pareto import pareto
from ablate.report.plots.path import ablation_path
from ablate.report.plots.search_space import search_importance, search_parallel, search_slices
from ablate.report.plots.search_trials import Estimate, search_front, search_history, search_timeline
from ablate.report.plots.style import save
from ablate.report.plots.throughput import draw_speed, speed_over_hiddens
from ablate.report.plots.verdicts import scale_of, verdicts

__all__ = [
    "Estimate",
    "ablation_path",
    "by_task",
    "by_value",
    "curves",
    "draw_speed",
    "effects",
    "heatmap",
    "importance",
    "mean_ranks",
    "missing_glyphs",
    "model_looks",
    "pareto",
    "profile",
    "save",
    "scale_of",
    "search_front",
    "search_history",
    "search_importance",
    "search_parallel",
    "search_slices",
    "search_timeline",
    "speed_over_hiddens",
    "variance",
    "verdicts",
]
