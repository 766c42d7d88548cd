"""What a translation that repeats the published experiment adds to a report: the course's loss and BLEU beside ours."""

from collections.abc import Iterator

from ablate.report.material import Material
from ablate.report.sections import Section
from ablate.report.tables import mean_text, setting_name


def repeats_course(m: Material) -> bool:
    """Whether any setting repeats the published experiment."""
    return "published_course_loss" in m.published and bool(m.published["published_course_loss"].notna().any())


def beside_published(m: Material) -> Iterator[str]:
    settings = m.settings.merge(m.published, on="setting_id")
    settings = settings[settings["published_course_loss"].notna() & (settings["n"] > 0)]
    for _, setting in settings.iterrows():
        loss, bleu = mean_text(setting, "course_loss"), mean_text(setting, "course_bleu")
        begins = f"{setting_name(setting, m.swept)}: the" if len(settings) > 1 else "The"
        yield (
            f"{begins} published loss is {setting['published_course_loss']:g}, ours {loss}; the published BLEU is 1 on "
            f"{setting['published_perfect']} sentences, ours {bleu} in the mean of them all."
        )


def notes(m: Material) -> Iterator[str]:
    yield (
        "The published loss and BLEU are those of one run. In prediction the published decoder read its own "
        "state where in training it read the encoder's (context=as-published)."
    )


COURSE = Section("course", "The course", repeats_course, sentences=beside_published, notes=notes)
