"""Perplexity and tokens per second against the swept value, by model: the form of the published figures."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.collections import LineCollection
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from ablate.analysis.frames import factor_name, factors, named, value_text
from ablate.analysis.tasks import accuracy_by_guessing, facts_of
from ablate.report.plots.grid import Spot, grid, left_out_text, unnamed_text
from ablate.report.plots.lines import Line, along_x, facets, handles_of, is_number, lines_of, values_of, x_knob
from ablate.report.plots.measures import (
    SPEED,
    TRIANGLES,
    Measure,
    begin_at,
    beyond_text,
    cross,
    diverged_text,
    dots,
    edge,
    finished,
    further_handles,
    has_published,
    hollow,
    measure_chosen,
    measures_of,
    small_print,
)
from ablate.report.plots.rows import by_name
from ablate.report.plots.style import FAINT, HEIGHT, SMALL, finish, styled
from ablate.report.plots.ticks import LABELS, Places

ROOM = (0.52, 0.36)
"""Inches that `5 of 5 diverged` takes in two lines, and `5 of 5` in one."""
BESIDE = 0.035
"""How far single runs stand beside their mean, in inches; half of what lines stand apart."""
GUESS: dict[str, Any] = {"color": FAINT, "linewidth": 0.8, "linestyle": (0, (1, 1.5))}
MARK = 0.12
"""Inches from the middle of a marker at the end of an axis to the panel's edge."""
CROSS = 0.1
"""Inches between the crosses of different lines."""


def by_value(
    runs: pd.DataFrame,
    settings: pd.DataFrame,
    swept: Sequence[str],
    published: pd.DataFrame | None = None,
    title: str = "",
    level: float = 0.95,
    x: str | None = None,
    y: str | None = None,
    without_network: tuple[str, float] | None = None,
) -> Figure:
    """What was made for the task, training and held-out perplexity and tokens/s (where measured) of a sweep's settings.

    Of several questions: a panel for each, with accuracy against the length of the sequences.

    Else against the swept number with the most values, a line for each combination of the other swept knobs; where no
    number was swept, a row for each setting. `x` and `y` are a swept knob and a metric of one's own choice.
    `runs` and `settings`: from runs_frame and aggregate (with_speed); `published`: setting_id, published_perplexity,
    published_tokens_per_s, source. `without_network`: a name and a perplexity, for a line across the held-out one.
    """
    if published is not None:
        published = published[published["setting_id"].isin(settings["setting_id"])].drop_duplicates("setting_id")
        published = None if published.empty else published
    with styled(title, settings[list(swept)].to_csv()):
        measures = measures_of(settings, published) if y is None else [measure_chosen(y, settings)]
        if x is None and y is None and by_task(settings, swept):
            knobs = [knob for knob in swept if knob not in ("corpus", "num_steps")]
            shown = Shown("num_steps", knobs, measures_of(settings)[:1], "corpus", log=True)
            return _against(shown, runs, settings, published, title, level)
        of = factors(settings)
        x = x_knob(swept, settings, of) if x is None else x
        if x is None or not all(is_number(value) for value in values_of(settings, x)):
            return by_name(runs, settings, swept, published, title, level, measures)
        along = along_x(x, settings, of)
        facet, rest = facets(settings, [knob for knob in swept if knob != x and knob not in along])
        shown = Shown(x, rest, measures, facet, along=along, without_network=without_network)
        return _against(shown, runs, settings, published, title, level)


def by_task(settings: pd.DataFrame, swept: Sequence[str]) -> bool:
    """Whether the settings are of several questions at several lengths, which no single axis could compare."""
    several = facts_of(settings).many_questions and {"corpus", "num_steps"} <= set(swept)
    return several and bool(np.isfinite(measures_of(settings)[0].of(settings)).any())


@dataclass(frozen=True)
class Shown:
    """What a figure shows: the knob on its x axis, those that tell lines apart, and what tells panels apart."""

    x: str
    knobs: Sequence[str]
    measures: Sequence[Measure]
    facet: str | None
    log: bool = False  # whatever the values of x
    along: Sequence[str] = ()  # knobs that are confounded with x
    without_network: tuple[str, float] | None = None  # what else predicts the held-out text, and how well

    def texts(self, settings: pd.DataFrame) -> dict[float, str] | None:
        """Value of x → its label, with the values of the knobs that vary along with it."""
        if not self.along:
            return None
        rows = settings.drop_duplicates(self.x)[[self.x, *self.along]].itertuples(index=False, name=None)
        return {x: "\n".join([value_text(x), *setting_lines(self.along, rest)]) for x, *rest in rows}


def setting_lines(knobs: Sequence[str], values: Sequence[Any]) -> list[str]:
    """`lr=2`, one knob a line."""
    return [named([knob], [value]) for knob, value in zip(knobs, values, strict=True)]


def _against(
    shown: Shown, runs: pd.DataFrame, settings: pd.DataFrame, published: pd.DataFrame | None, title: str, level: float
) -> Figure:
    x, rest = shown.x, shown.knobs
    height = HEIGHT + 0.3 * bool(settings["diverged"].any()) + 0.13 * len(shown.along)
    figure, spots, left_out = grid(settings, shown.measures, shown.facet, height)
    measures = list(dict.fromkeys(spot.measure for spot in spots))
    places = Places.of(values_of(settings, x), spots[0].width)
    places = replace(places, log=places.log or (shown.log and places.values[0] > 0))
    texts, axis = shown.texts(settings), LABELS.get(x, x)
    if shown.along:
        axis = factor_name([x, *shown.along])
    unguessed: list[str] = []
    beyond: list[tuple[Measure, np.ndarray]] = []
    guessed, reach, without = False, 0.0, list[str]()
    runs = finished(runs)
    reported = set() if published is None else set(published["setting_id"])
    every = lines_of(settings, rest)
    for spot in spots:
        lines = lines_of(spot.settings, rest, settings)
        offsets = _offsets(len(lines), 2 * BESIDE, places)
        crowded = not any(line.named for line in lines)
        if crowded:
            _crowd(spot, lines, offsets, places, x, runs)
        for offset, line in zip(offsets, lines, strict=True):
            if not crowded:
                _line(spot, line, offset, places, x, runs)
            if published is not None and spot.measure.published in published and not reported.isdisjoint(line.settings):
                _published(spot, line, offset, places, x, published)
        reach = max(reach, *map(abs, offsets))
        places.mark(spot.panel, x, texts)
        _make_room(spot, places, max(map(abs, offsets)) + MARK)
        values = spot.measure.shown(settings, runs, published)
        if shown.without_network and spot.measure.metric == "val_perplexity":
            spot.panel.axhline(shown.without_network[1], zorder=1, **GUESS)
            values, without = np.append(values, shown.without_network[1]), [shown.without_network[0]]
        beyond.append((spot.measure, spot.measure.axis(spot.panel, "y", values)))
        _beyond(spot, lines, offsets, places, x)
        known = _guess(spot)
        guessed |= known
        if spot.measure.metric == "accuracy" and not known:
            unguessed.append(spot.panel.get_title())
        spot.label(axis, spot.measure.label)
        spot.panel.grid(axis="y")
        if spot.measure is not SPEED:
            _crosses(spot, lines, places, x)
    note = (
        small_print(settings, measures, published, level),
        f"Lines stand side by side around each value of {x}." if reach > 0 else "",
        _without_guess(unguessed) if guessed else "",
        left_out_text([m.label for m in left_out]),
        unnamed_text(every),
        "" if any(line.named for line in every) else "Their intervals are not drawn.",
        beyond_text(beyond, TRIANGLES),
    )
    with_published = any(has_published(published, measure) for measure in measures)
    return finish(
        figure,
        title,
        " ".join(part for part in note if part),
        [
            *handles_of(every, settings),
            *[Line2D([], [], label="best guess without memory", **GUESS)] * guessed,
            *(Line2D([], [], label=name, **GUESS) for name in without),
            *further_handles(with_published, bool(settings["diverged"].sum())),
        ],
    )


def _make_room(spot: Spot[Measure], places: Places, reach: float) -> None:
    """Limits of the x axis that leave `reach` inches beyond the values at its ends."""
    low, high = spot.panel.get_xlim()
    first, last = places.at(places.values[:1], -reach)[0], places.at(places.values[-1:], reach)[0]
    spot.panel.set_xlim(min(low, first), max(high, last))


def _without_guess(panels: Sequence[str]) -> str:
    """What the small print says of panels without a line for the best guess."""
    return f"No such line for {', '.join(panels)}: there the best guess depends on the length." if panels else ""


def _guess(spot: Spot[Measure]) -> bool:
    """A line at the accuracy that needs no memory, where that is known of the panel's one task; whether there is."""
    if spot.measure.metric != "accuracy" or (guess := accuracy_by_guessing(spot.settings)) is None:
        return False
    spot.panel.axhline(guess, zorder=1, **GUESS)
    return True


def _crowd(
    spot: Spot[Measure], lines: Sequence[Line], offsets: Sequence[float], places: Places, x: str, runs: pd.DataFrame
) -> None:
    """Lines that are too many to name, with their runs as dots: with an artist for each of them they take seconds."""
    line_of = {setting: number for number, line in enumerate(lines) for setting in line.settings}
    number = runs["setting_id"].map(line_of)
    single, owner = runs[number.notna()], number.dropna().to_numpy(int)
    beside = np.asarray(offsets)[owner] - BESIDE
    dots(spot.panel, places.at(single[x], beside), spot.measure.of(single), [lines[one].look for one in owner.tolist()])
    settings = spot.settings.assign(line=spot.settings["setting_id"].map(line_of)).sort_values(["line", x])
    middle, of = spot.measure.of(settings), settings["line"].to_numpy(int)
    points = np.column_stack([places.at(settings[x], np.asarray(offsets)[of]), middle])[np.isfinite(middle)]
    of = of[np.isfinite(middle)]
    shown, firsts = np.unique(of, return_index=True)
    looks = [lines[number].look for number in shown.tolist()]
    spot.panel.add_collection(
        LineCollection(
            np.split(points, firsts[1:]) if len(points) else [],
            colors=[look.colour for look in looks],
            linestyles=[look.dash for look in looks],
            linewidths=0.7,
            zorder=2,
        )
    )


def _published(spot: Spot[Measure], line: Line, offset: float, places: Places, x: str, published: pd.DataFrame) -> None:
    """The published values of one line."""
    own = spot.settings[spot.settings["setting_id"].isin(line.settings)].sort_values(x)
    column = spot.measure.published
    theirs = own.merge(published[["setting_id", column]], on="setting_id").dropna(subset=[column])
    spot.panel.plot(places.at(theirs[x], offset), theirs[column].astype(float), **hollow(line.look))


def _line(spot: Spot[Measure], line: Line, offset: float, places: Places, x: str, runs: pd.DataFrame) -> None:
    """One line with its intervals, and its runs as dots, `offset` beside the value itself."""
    axes, measure, look = spot.panel, spot.measure, line.look
    own = spot.settings[spot.settings["setting_id"].isin(line.settings)].sort_values(x)
    middle = measure.of(own)
    known = np.isfinite(middle)
    single = runs[runs["setting_id"].isin(line.settings)]
    dots(axes, places.at(single[x], offset - BESIDE), measure.of(single), [look])
    bars = axes.errorbar(
        places.at(own[x], offset)[known],
        middle[known],
        yerr=measure.interval(own)[:, known] if line.named else None,
        color=look.colour,
        marker=look.marker if line.named else "",
        linestyle=look.dash,
        fillstyle=look.fill,
        markerfacecoloralt="white",
        linewidth=1.3 if line.named else 0.7,
        elinewidth=1.0,
        capsize=1.8,
        label=line.name,
    )
    if line.named:
        begin_at(bars, "y", measure.of(own, "_low")[known])


def _beyond(spot: Spot[Measure], lines: Sequence[Line], offsets: Sequence[float], places: Places, x: str) -> None:
    """A triangle at the upper edge for each mean beyond it."""
    _, last = spot.panel.get_ylim()
    for offset, line in zip(offsets, lines, strict=True):
        own = spot.settings[spot.settings["setting_id"].isin(line.settings)]
        for where in places.at(own.loc[spot.measure.of(own) > last, x], offset):
            edge(spot.panel, "y", where, line.look)


def _crosses(spot: Spot[Measure], lines: Sequence[Line], places: Places, x: str) -> None:
    """A cross above the panel for each setting with diverged runs, and the number of runs below each other's text."""
    axes, hurt = spot.panel, spot.settings[spot.settings["diverged"] > 0]
    if hurt.empty:
        return
    beside = axes.get_xaxis_transform()
    for offset, line in zip(_offsets(len(lines), CROSS, places), lines, strict=True):
        for where in places.at(hurt.loc[hurt["setting_id"].isin(line.settings), x], offset):
            cross(axes, where, 1.05, line.look, beside)
    room = Places(tuple(sorted(set(hurt[x]))), places.log, places.width).apart() if hurt[x].nunique() > 1 else np.inf
    for value, own in hurt.groupby(x):
        text = diverged_text(int(own["diverged"].sum()), int((own["n"] + own["diverged"]).sum()))
        axes.text(
            float(places.at([value])[0]),
            1.1,
            text.replace(" diverged", "\ndiverged" if room > ROOM[0] else ""),
            transform=beside,
            ha="center",
            va="bottom",
            size=SMALL,
            rotation=0 if room > ROOM[1] else 90,
        )
    if axes.get_title():
        axes.set_title(axes.get_title(), pad=36)


def _offsets(lines: int, step: float, places: Places) -> list[float]:
    """How far each of the lines stands from the value itself, in inches: evenly, within half the way to the next."""
    step = min(step, 0.5 * places.apart() / lines)
    return [(number - (lines - 1) / 2) * step for number in range(lines)]
