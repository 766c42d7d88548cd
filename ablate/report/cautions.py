"""What a reader should know before believing anything."""

from ablate.config.errors import counted
from ablate.report.blocks import bullets
from ablate.report.material import Material
from ablate.report.sections import Section
from ablate.report.throughput import several

MOST_SKIPPED = 20
"""Files that are no records, named one by one."""


def warnings(m: Material) -> list[str]:
    """What a reader should know before believing anything."""
    said = [warning.text for warning in m.warnings]
    said += [f"{line[0].upper()}{line[1:]}." for line in m.broken]
    said += [f"Not run: {name}: {reason}" for name, reason in m.failures]
    said += untimed(m)
    said += [f"Skipped: {problem}" for problem in m.skipped[:MOST_SKIPPED]]
    if len(m.skipped) > MOST_SKIPPED:
        said.append(f"Skipped: {counted(len(m.skipped) - MOST_SKIPPED, 'more file')}.")
    return said + [f"In this report: {line}." for line in m.attempt.failed]


def untimed(m: Material) -> list[str]:
    """Why timings of the speed lane have no number, a line for each reason; and that there are none, if they were
    asked for."""
    if m.speed.empty:
        asked = any("speed=true" in str(line).lower().split() for line in m.manifest.get("commands", []))
        none = "Tokens per second were asked for (speed=true), but no timing is there: give the command again."
        return [none] * asked
    speed = m.speed.assign(why=m.speed["why"].fillna("").astype(str))
    said = []
    for timed, what in ((False, "No"), (True, "Uncertain")):
        of_kind = speed[speed["tokens_per_s"].notna() == timed]
        for why, alike in of_kind.groupby("why", sort=False):
            if why or not timed:
                reason = str(why) or "no sample was clean"
                said.append(f"{what} tokens per second for {several(alike, speed)}: {reason}.")
    return said


WARNINGS = Section(
    "warnings",
    "Warnings",
    lambda m: not m.runs.empty,
    blocks=lambda m, made: bullets(warnings(m)),
    tells_failures=True,
)
