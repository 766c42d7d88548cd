"""Claims: statements in words with a predicate on settings, and what repeated seeds say of them; loads no torch.

    reading      a claim file to a list of Claim, with one clear line for each mistake
    grammar      the arguments of the predicates in YAML
    knobs        the knobs that a claim may name, and their values
    predicates   what a claim may say of settings, one class each
    along        those that follow a knob: order, monotone, u_shape, no_trend, narrows
    settings        which settings a claim speaks about, and what is missing
    choosing     which claims judge a sweep
    protocol     under which protocol a claim may be judged
    measured     the records of a sweep as samples of a metric
    parts        one ratio or difference against a bound, one share of runs, one fact
    statements   from the p-values of parts to those of the whole
    verdicts     confirmed, refuted, undecided or not testable, with the evidence
    table        the verdicts on a terminal

One level α = 1 − level serves both sides: a claim that is false is confirmed, and one that is true is refuted, in at
most α/2 of all sweeps.
"""

from ablate.claims.choosing import claims_for
from ablate.claims.measured import Frames
from ablate.claims.reading import Claim, read_claims
from ablate.claims.verdicts import Verdict, evaluate, verdicts_frame

__all__ = ["Claim", "Frames", "Verdict", "claims_for", "evaluate", "read_claims", "verdicts_frame"]
