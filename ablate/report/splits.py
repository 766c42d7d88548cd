"""What tasks on a text add to a report where a part of the text was kept for a test: what chose, and what reports."""

from ablate.report.sections import Section
from ablate.report.wording import tested

SPLITS = Section(
    "splits",
    "Training, held-out and test text",
    lambda m: bool(tested(m.settings)),
    within="protocol",
    sentences=lambda m: [
        "What was chosen (epoch, best setting, trials of a search, steps of a path) was chosen by the held-out text; "
        "settings are compared on the test text after it, by which nothing was chosen, in the epoch that the held-out "
        "text chooses."
    ],
)
