"""What tasks on a text add to a report where a part of the text was kept for a test: what chose, and what reports."""

from ablate.report.sections import Section
from ablate.report.wording import tested

SPLITS = Section(
    "splits",
    "Training, held-out and test text",
    lambda m: bool(tested(m.settings)),
    within="protocol",
    notes=lambda m: [
        "Three parts of each text follow one another: what is trained on, the held-out one (val_tokens), by which all "
        "that is chosen was chosen (best epoch, best setting, trials of a search, steps of a path), and the test one "
        "(test_tokens), which is read alike and by which nothing is chosen. Settings are compared on the test text, in "
        "the epoch that the held-out one chooses."
    ],
)
