"""What tasks whose data have a test part add to a report: what chose, and what reports."""

from collections.abc import Iterator

from ablate.analysis.tasks import facts_of
from ablate.report.material import Material
from ablate.report.sections import Section
from ablate.report.wording import in_files, tested, unit_of


def sentences(m: Material) -> Iterator[str]:
    """Of a sweep with test data."""
    if not tested(m.settings):
        return
    words = facts_of(m.settings).words
    if words.plural:
        lie, choose = "the test set", "choose"
    else:
        lie, choose = ("the test file" if in_files(m.settings) else "the test text after it"), "chooses"
    yield (
        f"What was chosen (epoch, best setting, trials of a search, steps of a path) was chosen by the held-out "
        f"{words.data}; settings are compared on {lie}, by which nothing was chosen, in the epoch that the held-out "
        f"{words.data} {choose}."
    )


def notes(m: Material) -> Iterator[str]:
    """Of one without, where the held-out data have named a best one; and of what the training text lacks."""
    for part, title in {"val": "held-out", "test": "test"}.items():
        unknown = m.runs[f"{part}_unknown"].max() if f"{part}_unknown" in m.runs else 0
        if unknown > 0:
            whole, unit = m.settings[f"{part}_tokens"].max(), f"{unit_of(m.settings)}s"
            yield (
                f"Of {whole:,.0f} {title} {unit} {unknown:,.0f} are not in the training text: they count as <unk>, "
                "which no network was trained to predict."
            )
    if not tested(m.settings) and m.settings["val_perplexity"].notna().any():
        words = facts_of(m.settings).words
        name, report = ("name", "report") if words.plural else ("names", "reports")
        yield (
            f"No {words.data} {words.were()} kept for a test: where the held-out {words.data} {name} the best (epoch, "
            f"setting), the same {words.data} {report} it, too well on average."
        )


SPLITS = Section(
    "splits", "Training, held-out and test data", lambda m: True, within="protocol", sentences=sentences, notes=notes
)
