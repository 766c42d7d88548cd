"""The page of a sweep: its sections, in the order in which a reader asks."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pandas as pd

from ablate.analysis.tasks import facts_of, of_networks
from ablate.claims import Verdict
from ablate.config.errors import counted
from ablate.config.metrics import METRICS
from ablate.config.registry import DATASETS, FIRST_TASK, TASKS
from ablate.config.shell import command_line
from ablate.records import results
from ablate.records.results import RecordError
from ablate.report.answer import answer, verdict_counts
from ablate.report.blocks import (
    Attempts,
    Badge,
    Block,
    Bullets,
    Card,
    Cards,
    Commands,
    Facts,
    Figure,
    Page,
    Part,
    Sample,
    Samples,
    Sheet,
)
from ablate.report.findings import ANALYSES, sections
from ablate.report.material import Material
from ablate.report.protocol import deviations, protocol_sheet
from ablate.report.provenance import provenance
from ablate.report.search import search_sections
from ablate.report.sections import Section, own_figures
from ablate.report.tables import setting_name
from ablate.report.throughput import several
from ablate.report.wording import FUTURE_NOTE, heading, marked, shown_metrics, task_of

MOST_SAMPLES = 8
"""Settings whose texts are shown one by one; of more, only the best of each model."""


def build(m: Material, sheets: dict[str, Sheet], figures: dict[str, Figure], attempt: Attempts) -> Page:
    """A page of the sections that have something to say."""
    sections = [section for section in _sections(m, sheets, figures, attempt) if section.blocks]
    told = len(warnings(m, attempt.failed))
    return Page(m.folder.name, m.title, m.question, sections, verdict_counts(m), len(m.runs), len(m.settings), told)


def _sections(m: Material, sheets: dict[str, Sheet], figures: dict[str, Figure], attempt: Attempts) -> Iterator[Part]:
    def drawn(*names: str) -> list[Block]:
        return [figures[name] for name in names if name in figures]

    def tabled(*names: str) -> list[Block]:
        return [sheets[name] for name in names if name in sheets]

    def content(one: Section) -> list[Block]:
        """Of each thing that a section shows the figure, then the table."""
        names = dict.fromkeys([*one.order, *one.figures(m), *one.tables(m)])
        return [block for name in names for block in (*drawn(name), *tabled(name))]

    main = "" if m.search is not None else "by_value" if "by_value" in figures else "curves"
    yield Part("answer", "In short", _block(Bullets, attempt("the answer", lambda: answer(m))))
    yield Part("claims", "Claims", [*_block(Cards, attempt("the claims", lambda: cards(m))), *drawn("verdicts")])
    if m.search is not None:
        yield from search_sections(m.search, m.folder, sheets, figures)
    explained = _block(Bullets, questions(m))
    every = sections(m)
    among = [block for one in every if one.within == "results" for block in content(one)]
    yield Part("results", "Results", [*explained, *drawn(main), *among, *tabled("settings")])
    own = [one for one in every if one not in ANALYSES]
    yield from (Part(one.name, one.title, content(one)) for one in own if not one.within)
    yield Part("figures", "Further figures", drawn(*own_figures(m)))
    yield Part("curves", "Learning curves", drawn("curves") if main != "curves" else [])
    yield from (Part(one.name, one.title, content(one)) for one in every if one in ANALYSES)
    if m.runs.empty:
        yield Part("commands", "Regenerate", [Commands(commands(m))])
        return
    told = attempt("the generated texts", lambda: samples(m))
    words = facts_of(m.settings).words
    if not task_of(m.settings):  # several tasks
        words = TASKS[FIRST_TASK].words
    note = f"Of each setting shown, the run with the median {heading(shown_metrics(m.settings)[0])}: {words.sample}"
    yield Part("texts", words.samples, [Samples(told, note)] if told else [])
    protocol: list[Block] = []
    if (said := attempt("the protocol", lambda: deviations(m))) is not None:
        protocol += [Bullets(said)] if said else []
    if (sheet := attempt("the table of the protocol", lambda: protocol_sheet(m))) is not None:
        protocol.append(sheet)
    origin = attempt("the provenance", lambda: provenance(m))
    yield Part("warnings", "Warnings", _block(Bullets, warnings(m, attempt.failed)))
    yield Part("protocol", "Protocol", protocol)
    yield Part("provenance", "Provenance", _block(Facts, origin))
    yield Part("commands", "Regenerate", [Commands(commands(m))])


def questions(m: Material) -> list[str]:
    """What is asked in each data set of a sweep, where these are different questions."""
    if not facts_of(m.settings).many_questions:
        return []
    names = [str(name) for name in m.settings["corpus"].unique() if name in DATASETS and DATASETS[str(name)].asks]
    return [f"{name}: {DATASETS[name].asks}." for name in names]


def _block(kind: type, content: list | None) -> list[Block]:  # type: ignore[type-arg]
    return [kind(content)] if content else []


def cards(m: Material) -> list[Card]:
    """The claims, those that cannot be tested last."""
    ranked = sorted(m.verdicts, key=lambda v: v.verdict == "not testable")
    return [Card(Badge(v.verdict), marked(v.statement, v.sees_future), v.evidence, _details(v)) for v in ranked]


def _details(v: Verdict) -> str:
    """Source and method, as far as there are such."""
    return " · ".join(part for part in (v.source, v.method, FUTURE_NOTE * v.sees_future) if part)


def samples(m: Material) -> list[Sample]:
    """What the networks wrote: of each setting, or of the best of each model, the run with the median of the metric
    that its task was made for, and what that is."""
    first = shown_metrics(m.settings)[0]
    lowest = first if METRICS[first].better == "lower" else "perplexity"
    finished = m.runs[m.runs["status"] == "ok"]
    settings = m.settings[m.settings["n"] > 0]
    if len(settings) > MOST_SAMPLES:
        settings = settings.loc[settings.groupby(["corpus", "model"], sort=False)[lowest].idxmin().dropna()]
    found = []
    for _, setting in settings.head(3 * MOST_SAMPLES).iterrows():
        own = finished[finished["setting_id"] == setting["setting_id"]].sort_values(first)
        run = own.iloc[(len(own) - 1) // 2]
        try:
            record = results.read(m.folder, run["run_id"])
        except RecordError:
            continue
        pairs = _told(record, str(setting["task"]))
        if pairs:
            reached = f"{heading(first)} {run[first]:.3g}" if pd.notna(run[first]) else "–"
            who = f"{setting_name(setting, m.swept)} (seed {run['seed']}, {reached})"
            found.append(Sample(who, pairs))
    return found


def _told(record: dict[str, Any], task: str) -> list[tuple[str, str]]:
    """What was given to a network, and what it made of it, as it stands on the page."""
    texts, references = record.get("text") or {}, record.get("references") or {}
    if TASKS.known(task).words.continues:
        return [(str(prefix), str(text).removeprefix(str(prefix))) for prefix, text in texts.items()]
    pairs = []
    for given, text in texts.items():
        right = references.get(given)
        meant = "" if not right else " (as the reference)" if right == text else f" (reference: {right})"
        pairs.append((str(given), f" → {str(text).strip().removeprefix('→').strip()}{meant}"))
    return pairs


def warnings(m: Material, failed: list[str]) -> list[str]:
    """What a reader should know before believing anything."""
    said = [warning.text for warning in m.warnings]
    said += [f"Not run: {name}: {reason}" for name, reason in m.failures]
    said += untimed(m)
    said += [f"Skipped: {problem}" for problem in _few(m.skipped, "file")]
    return said + [f"In this report: {line}." for line in failed]


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


def _few(lines: list[str], what: str, most: int = 20) -> list[str]:
    return lines if len(lines) <= most else [*lines[:most], f"and {counted(len(lines) - most, what)} more"]


def commands(m: Material) -> list[tuple[str, str]]:
    """What makes each part again."""
    folder = _short(m.folder)
    lines = [str(line) for line in m.manifest.get("commands", [])]
    said = [("The runs; only what is missing is trained", "\n".join(lines))] if lines else []
    if of_networks(m.runs):
        said += [("Tokens per second, on this machine", command_line("bench", folder))]
    if m.verdicts:
        said.append(("The verdicts", command_line("claims", folder)))
    level = [] if m.level == 0.95 else ["--level", f"{m.level:g}"]
    title = [] if m.title in (m.folder.name, m.manifest.get("title")) else _option("--title", m.title)
    again = command_line("report", folder, *title, *level)
    return [*said, ("This report, its tables and figures", again)]


def _option(name: str, value: str) -> list[str]:
    """An option and its value, as one word where the value looks like another option."""
    return [f"{name}={value}"] if value.startswith("-") else [name, value]


def _short(folder: Path) -> Path:
    """The folder as seen from where ablate is called: absolute paths mean nothing to another reader."""
    return Path("results") / folder.resolve().name


def verdict_lines(m: Material) -> list[str]:
    """For the terminal: symbol, verdict and statement; the evidence is on the page and in tables/verdicts.csv."""
    return [f"{Badge(v.verdict).symbol} {v.verdict}: {marked(v.statement, v.sees_future)}" for v in m.verdicts]
