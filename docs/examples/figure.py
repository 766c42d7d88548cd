"""A figure of your own: it is on the page of every report and, as PNG, SVG and PDF, in figures/."""

import pandas as pd
import seaborn as sns
from matplotlib.figure import Figure

import ablate


@ablate.figure("Training time against perplexity, a point for each setting.")
def time_and_perplexity(settings: pd.DataFrame) -> Figure:
    figure = Figure(figsize=(4.5, 3), layout="constrained")
    axes = figure.subplots()
    sns.scatterplot(settings, x="wall_s", y="perplexity", hue="model", ax=axes)
    axes.set(xlabel="seconds per run", ylabel="perplexity", xscale="log", yscale="log")
    return figure
