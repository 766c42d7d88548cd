"""What tasks on a text add to a report: what chose, and what reports."""

from collections.abc import Iterator

from ablate.report.material import Material
from ablate.report.sections import Section
from ablate.report.wording import in_files, tested, unit_of


def sentences(m: Material) -> Iterator[str]:
    """Of a sweep with test text."""
    if not tested(m.settings):
        return
    lies = "the test file" if in_files(m.settings) else "the test text after it"
    yield (
        "What was chosen (epoch, best setting, trials of a search, steps of a path) was chosen by the held-out text; "
        f"settings are compared on {lies}, by which nothing was chosen, in the epoch that the held-out text chooses."
    )


def notes(m: Material) -> Iterator[str]:
    """Of one without, where the held-out text has named a best one; and of what the training text lacks."""
    for part, title in {"val": "held-out", "test": "test"}.items():
        unknown = m.runs[f"{part}_unknown"].max() if f"{part}_unknown" in m.runs else 0
        if unknown > 0:
            whole, unit = m.settings[f"{part}_tokens"].max(), f"{unit_of(m.settings)}s"
            yield (
                f"Of {whole:,.0f} {title} {unit} {unknown:,.0f} are not in the training text: they count as <unk>, "
                "which no network was trained to predict."
            )
    if not tested(m.settings) and m.settings["val_perplexity"].notna().any():
        yield (
            "No text was kept for a test: where the held-out text names the best (epoch, setting), the same text "
            "reports it, too well on average."
        )


SPLITS = Section(
    "splits", "Training, held-out and test text", lambda m: True, within="protocol", sentences=sentences, notes=notes
)
