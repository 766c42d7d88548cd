"""What tasks on a text add to a report: what chose, and what reports."""

from collections.abc import Iterator

from ablate.report.material import Material
from ablate.report.sections import Section
from ablate.report.wording import tested


def sentences(m: Material) -> Iterator[str]:
    """Of a sweep with test text."""
    if not tested(m.settings):
        return
    lies = "the test file" if _in_files(m) else "the test text after it"
    yield (
        "What was chosen (epoch, best setting, trials of a search, steps of a path) was chosen by the held-out text; "
        f"settings are compared on {lies}, by which nothing was chosen, in the epoch that the held-out text chooses."
    )


def notes(m: Material) -> Iterator[str]:
    """Of one without, where the held-out text has named a best epoch or setting."""
    if not tested(m.settings) and m.settings["val_perplexity"].notna().any():
        yield (
            "No text was kept for a test: where the held-out text names the best (epoch, setting), the same text "
            "reports it, a little too well."
        )


def _in_files(m: Material) -> bool:
    return "in_files" in m.settings and bool(m.settings["in_files"].eq(True).all())


SPLITS = Section(
    "splits", "Training, held-out and test text", lambda m: True, within="protocol", sentences=sentences, notes=notes
)
