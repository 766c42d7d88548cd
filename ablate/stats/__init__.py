"""The one kernel of inference: every estimate, interval and p of tables, verdicts, paths and searches comes from here.

    ratio          a positive metric in two settings, compared on its logarithm
    difference     a metric that may be 0, compared as it is
    independent    samples that share nothing
    paired         runs paired by seed
    signed_rank    the exact distribution of Wilcoxon's test
    intervals      bootstrap, interquartile mean
    multiplicity   several tests at once
    power          how many runs an effect takes

numpy and scipy alone; each formula with its source.
"""

from ablate.stats.difference import DifferenceTest, paired_difference
from ablate.stats.independent import probability_of_improvement
from ablate.stats.intervals import bootstrap_interval, bootstrap_means, iqm
from ablate.stats.multiplicity import holm
from ablate.stats.power import detectable_ratio, seeds_for
from ablate.stats.ratio import RatioTest, independent, paired

__all__ = [
    "DifferenceTest",
    "RatioTest",
    "bootstrap_interval",
    "bootstrap_means",
    "detectable_ratio",
    "holm",
    "independent",
    "iqm",
    "paired",
    "paired_difference",
    "probability_of_improvement",
    "seeds_for",
]
