"""Which line stands for which settings, and how it looks: the colour says the model, shade and dash the rest."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from functools import cache
from typing import Any

import pandas as pd
from matplotlib.colors import to_rgb
from matplotlib.lines import Line2D

from ablate.analysis.frames import MODEL_ORDER, Factor
from ablate.analysis.frames import named as named
from ablate.report.wording import marked, seeing

Colour = tuple[float, float, float]

KNOWN_MODELS = {
    "rnn": (0, "o"),
    "lstm": (1, "s"),
    "gru": (2, "D"),
    "gru-no-reset": (3, "^"),
    "gru-no-update": (4, "v"),
    "gru-no-reset-as-published": (9, "<"),
    "gru-no-update-as-published": (7, ">"),
}
"""Model → its place in seaborn's palette "colorblind", and its marker: the same in every figure."""
FREE_COLOURS = (5, 8, 6, 3, 4, 9, 7)
DARKER = 0.5
"""How much darker a colour is when it comes round again."""
FREE_MARKERS = "PpXh*dH8"
OTHER_COLOURS = (4, 9, 3, 5, 7, 2, 1, 0)
"""Lines that tell no models apart avoid the colours of rnn, lstm and gru as long as they can."""
MARKERS = "osD^vP<>p*hX"
DASHES: tuple[Any, ...] = ("-", (0, (4, 1.5)), (0, (1.2, 1.2)), (0, (5, 1.5, 1.2, 1.5)))
FILLS = ("full", "left", "top", "bottom")

PREFERRED_X = ("num_hiddens", "layers", "num_steps", "batch_size", "lr", "epochs", "max_tokens", "dropout", "clip")
MANY = 12
"""More lines than this are not drawn into one panel."""
MOST_FACETS = 9


@dataclass(frozen=True)
class Look:
    """How a line is drawn; `fill` is a fill style of matplotlib's markers."""

    colour: Colour
    marker: str = "o"
    dash: Any = "-"
    fill: Any = "full"


@dataclass(frozen=True)
class Line:
    """Settings that belong together: one value for each knob but that on the x axis."""

    name: str
    settings: tuple[str, ...]  # setting_id
    look: Look
    named: bool = True  # whether the legend names it

    def handle(self, **style: Any) -> Line2D:
        """Its entry in the legend."""
        look = self.look
        shown = {"linestyle": look.dash, "marker": look.marker, "fillstyle": look.fill, **style}
        return Line2D([], [], color=look.colour, markerfacecoloralt="white", label=self.name, **shown)


COLORBLIND = (
    *("#0173B2", "#DE8F05", "#029E73", "#D55E00", "#CC78BC"),
    *("#CA9161", "#FBAFE4", "#949494", "#ECE133", "#56B4E9"),
)
"""Seaborn's palette of this name. Here, since every report needs it, and seaborn takes most of a second to load."""


@cache
def palette(name: str = "colorblind", n: int = 10) -> tuple[Colour, ...]:
    """Colours of a palette of seaborn."""
    if name == "colorblind":
        return tuple(to_rgb(COLORBLIND[place % len(COLORBLIND)]) for place in range(n))
    import seaborn

    return tuple(to_rgb(colour) for colour in seaborn.color_palette(name, n))


def model_looks(names: Iterable[str]) -> dict[str, Look]:
    """The colour and marker of each model; an unknown one takes the next that is free, darker where all were taken."""
    out, unknown = {}, 0
    for name in by_model(names):
        dark = 1.0
        if name in KNOWN_MODELS:
            colour, marker = KNOWN_MODELS[name]
        else:
            colour = FREE_COLOURS[unknown % len(FREE_COLOURS)]
            marker = FREE_MARKERS[unknown % len(FREE_MARKERS)]
            dark = DARKER ** (unknown // len(FREE_COLOURS))
            unknown += 1
        red, green, blue = palette()[colour]
        out[name] = Look((red * dark, green * dark, blue * dark), marker)
    return out


def by_model(names: Iterable[str]) -> list[str]:
    """Models without repeats: rnn, lstm, gru, the ablations, those as published, then the others by name."""
    order = list(dict.fromkeys([*MODEL_ORDER, *KNOWN_MODELS]))
    return sorted(set(names), key=lambda name: (order.index(name) if name in order else len(order), name))


def values_of(frame: pd.DataFrame, knob: str) -> list[Any]:
    """The values of a knob without repeats: models in their order, numbers ascending, names as they come, null last."""
    values = list(dict.fromkeys(value for value in cleaned(frame[knob]) if value is not None))
    if knob == "model":
        values = by_model(values)
    elif all(is_number(value) for value in values):
        values.sort()
    return values + [None] * any(value is None for value in cleaned(frame[knob]))


def cleaned(column: pd.Series) -> list[Any]:
    """The values of a column as Python has them, a missing one as None."""
    return [None if value is None or value is pd.NA or value != value else value for value in column.tolist()]


def is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def x_knob(swept: Sequence[str], settings: pd.DataFrame, of: Sequence[Factor] = ()) -> str | None:
    """The numeric knob that belongs on the x axis: the one with the most values; None where rows serve better.

    `of`: the swept knobs as factors; only the first of each is asked.
    """
    along = {knob for factor in of for knob in factor[1:]}
    numeric = [
        name
        for name in [*(n for n in PREFERRED_X if n in swept), *(n for n in swept if n not in PREFERRED_X)]
        if name not in along
        and all(is_number(value) for value in cleaned(settings[name]))
        and settings[name].nunique() > 1
    ]
    if not numeric:
        return None
    best = max(numeric, key=lambda name: settings[name].nunique())
    others = [name for name in swept if name != best and name not in along_x(best, settings, of)]
    most_names = max((settings[name].nunique() for name in others if name not in numeric), default=0)
    lines = settings.groupby(others, dropna=False)[best].nunique() if others else [2]
    joined = [n > 1 for n in lines]
    if 2 * sum(joined) < len(joined):  # one change at a time, not a grid: hardly anything to join
        return None
    return best if settings[best].nunique() > 2 or most_names <= 4 else None


def along_x(x: str, settings: pd.DataFrame, of: Sequence[Factor]) -> list[str]:
    """The knobs that are confounded with x and have one value at each of its values; a model has its line instead."""
    factor: Factor = next((factor for factor in of if x in factor), ())
    return [
        knob
        for knob in factor
        if knob not in (x, "model") and settings.groupby(x, dropna=False)[knob].nunique(dropna=False).max() == 1
    ]


def lines_of(settings: pd.DataFrame, knobs: Sequence[str], everything: pd.DataFrame | None = None) -> list[Line]:
    """One line per combination of the knobs' values, in their order.

    `everything`: the settings of all panels of a figure, so that a line looks the same in each of them.
    """
    everything = settings if everything is None else everything
    if not knobs:
        models = by_model(settings["model"])
        look = model_looks(models)[models[0]] if len(models) == 1 else Look(palette()[OTHER_COLOURS[0]])
        return [Line(models[0] if len(models) == 1 else "all", tuple(settings["setting_id"]), look)]
    looks = _looks(everything, knobs)
    groups: dict[tuple[Any, ...], list[str]] = {}
    for combination, setting in zip(_combinations(settings, knobs), settings["setting_id"], strict=True):
        groups.setdefault(combination, []).append(setting)
    names = _names(everything, knobs, list(looks))
    told = _told(list(names.values()), ordered=len(knobs) == 1 and all(is_number(value) for (value, *_) in looks))
    return [
        Line(names[values], tuple(groups[values]), look, names[values] in told)
        for values, look in looks.items()
        if values in groups
    ]


def _names(settings: pd.DataFrame, knobs: Sequence[str], found: list[tuple[Any, ...]]) -> dict[tuple[Any, ...], str]:
    """Combination of values → name of its line, with a dagger where all of its settings see the future."""
    blind = {values for values, sees in zip(_combinations(settings, knobs), seeing(settings), strict=True) if not sees}
    return {values: marked(named(knobs, values), values not in blind) for values in found}


def _combinations(settings: pd.DataFrame, knobs: Sequence[str]) -> list[tuple[Any, ...]]:
    return list(zip(*(cleaned(settings[knob]) for knob in knobs), strict=True))


def _looks(settings: pd.DataFrame, knobs: Sequence[str]) -> dict[tuple[Any, ...], Look]:
    """Combination of values → look, in the order of the values."""
    ranks = {knob: {value: rank for rank, value in enumerate(values_of(settings, knob))} for knob in knobs}
    found = sorted(
        set(_combinations(settings, knobs)),
        key=lambda values: [ranks[knob][value] for knob, value in zip(knobs, values, strict=True)],
    )
    if "model" in knobs:
        where = list(knobs).index("model")
        models = model_looks(values[where] for values in found)
        rests = list(dict.fromkeys((*values[:where], *values[where + 1 :]) for values in found))
        return {
            values: _shaded(models[values[where]], rests.index((*values[:where], *values[where + 1 :])), len(rests))
            for values in found
        }
    ordered = len(knobs) == 1 and len(found) > 2 and all(is_number(value) for (value,) in found)
    colours = palette("viridis", len(found) + 1 + len(found) // 5) if ordered else [palette()[i] for i in OTHER_COLOURS]
    if len(found) > len(colours):
        colours = palette("husl", len(found))
    return {
        values: Look(colours[number], MARKERS[number % len(MARKERS)], DASHES[number % len(DASHES)])
        for number, values in enumerate(found)
    }


def _shaded(look: Look, number: int, of: int) -> Look:
    """The look of a model's line number `number` of `of`: lighter, dashed otherwise, its marker half filled."""
    light = 0.5 * number / max(of - 1, 1)
    red, green, blue = (channel + (1 - channel) * light for channel in look.colour)
    return replace(look, colour=(red, green, blue), dash=DASHES[number % len(DASHES)], fill=FILLS[number % len(FILLS)])


def handles_of(lines: Sequence[Line], settings: pd.DataFrame, **style: Any) -> list[Line2D]:
    """The legend of the lines; where they are too many to name, of their models."""
    if any(line.named for line in lines):
        return [line.handle(**style) for line in lines if line.named]
    models = model_looks(settings["model"])
    return [Line(name, (), look).handle(marker="") for name, look in models.items()] if len(models) > 1 else []


def _told(names: list[str], ordered: bool) -> set[str]:
    """The names for the legend: all; of too many ordered ones the ends and three between; of other ones none."""
    if len(names) <= MANY:
        return set(names)
    last = len(names) - 1
    return {names[round(last * part / 4)] for part in range(5)} if ordered else set()


def facets(settings: pd.DataFrame, knobs: Sequence[str], most: int = MANY) -> tuple[str | None, list[str]]:
    """The knob whose values get a panel each so that none has more than `most` lines, and the knobs that remain.

    None where one panel is enough, or where no knob helps.
    """
    if len(set(_combinations(settings, knobs))) <= most or len(knobs) < 2:
        return None, list(knobs)
    choices = []
    for knob in knobs:
        rest = [name for name in knobs if name != knob]
        lines = max(
            len(set(_combinations(group, rest))) for _, group in settings.groupby(knob, sort=False, dropna=False)
        )
        count = len(values_of(settings, knob))
        if count <= MOST_FACETS:
            choices.append((max(lines, most), knob == "model", count, knob, rest))
    if not choices:
        return None, list(knobs)
    *_, knob, rest = min(choices, key=lambda choice: choice[:4])
    return knob, rest
