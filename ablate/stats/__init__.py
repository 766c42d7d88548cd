"""The one kernel of inference: every estimate, interval and p of tables, verdicts, paths and searches comes from here.

    contrast       what every test has: estimate, interval and p, which never contradict each other
    ratios         a positive metric, compared on its logarithm: the ratio of geometric means
    differences    a metric that may be 0, compared as it is: the difference of means
    independent    runs of different settings: Welch's t; exact ranks where there is no mean or no spread
    paired         runs paired by seed: Wilcoxon's signed-rank test
    evidence       e-values and confidence sequences, which hold however often one looks
    always_valid   contrasts with such evidence: a sequential t test by seed, the sign test
    pairwise       many pairs of settings at once
    rank_sum, signed_rank   the exact distributions of the rank tests
    ranks          of many rows at once; Kendall's τ
    intervals      of means and shares; bootstrap; runs that lie far outside their group
    processes      timings repeated in several processes
    multiplicity   several tests at once
    power, shares  about how many runs an effect takes, and a share
    data_sets      settings over several data sets: ranks, aggregates, probability of improvement, profiles

numpy, pandas and scipy alone; each formula with its source.
"""

from ablate.stats.contrast import NEEDED_LEVEL, Needed
from ablate.stats.differences import (
    DifferenceTest,
    always_valid_difference,
    difference,
    difference_contrast,
    paired_difference,
)
from ablate.stats.evidence import decisive, p_of, share_evidence, share_sequence
from ablate.stats.independent import probability_of_improvement
from ablate.stats.intervals import (
    bootstrap_interval,
    bootstrap_means,
    geometric_mean,
    iqm,
    outlying,
    share_interval,
    t_interval,
)
from ablate.stats.multiplicity import e_bh, holm, of_a_page
from ablate.stats.pairwise import Comparisons, pairwise_differences, pairwise_improvements, pairwise_ratios
from ablate.stats.power import detectable_ratio, least_runs, seeds_for
from ablate.stats.processes import LEAST_PROCESSES, process_interval, too_few_processes
from ablate.stats.ratios import RatioTest, always_valid_ratio, paired_ratio, ratio, ratio_contrast
from ablate.stats.shares import runs_for_share

__all__ = [
    "LEAST_PROCESSES",
    "NEEDED_LEVEL",
    "Comparisons",
    "DifferenceTest",
    "Needed",
    "RatioTest",
    "always_valid_difference",
    "always_valid_ratio",
    "bootstrap_interval",
    "bootstrap_means",
    "decisive",
    "detectable_ratio",
    "difference",
    "difference_contrast",
    "e_bh",
    "geometric_mean",
    "holm",
    "iqm",
    "least_runs",
    "of_a_page",
    "outlying",
    "p_of",
    "paired_difference",
    "paired_ratio",
    "pairwise_differences",
    "pairwise_improvements",
    "pairwise_ratios",
    "probability_of_improvement",
    "process_interval",
    "ratio",
    "ratio_contrast",
    "runs_for_share",
    "seeds_for",
    "share_evidence",
    "share_interval",
    "share_sequence",
    "t_interval",
    "too_few_processes",
]
