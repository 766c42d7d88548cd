"""A claim in one line: `gru < lstm`, `32 > 64 > 128`, `lr=0.5 ~ lr=1`.

    A < B       the metric of A is lower than that of B, all else equal; also A < B < C, and >
    A ~ B       they are the same within a margin

A and B are values of one knob that the sweep varies. Where a value belongs to several knobs, or for clarity, each is
named with its knob: `num_hiddens=32 < num_hiddens=64`, or `by="num_hiddens"` says it for all. A knob may be named as
the command of the sweep names it: `model.gates.update=null < model.gates.update=0.5`.
"""

import math
import re
from collections.abc import Mapping, Sequence
from typing import Any

import pandas as pd

from ablate.analysis.frames import value_text
from ablate.claims.grammar import ClaimError
from ablate.claims.reading import Claim, make_claim
from ablate.claims.settings import plain
from ablate.config.columns import gate_named, named_column
from ablate.config.dependence import gates_of, gates_text
from ablate.config.errors import listing, nearest
from ablate.config.knobs import no_gate

HOW = 'write A < B, A > B or A ~ B with values of a knob, such as "gru < lstm"'


def is_sentence(word: str) -> bool:
    """Whether a word of a command line is a claim, and no path: it has a sign, and ~ stands between two sides."""
    return re.search(r"[<>≈]|\S\s*~\s*\S|\S\s+~$", word) is not None


def sides(sentence: str) -> tuple[list[str], str]:
    """What stands on the sides of its sign, and the sign. Raises ClaimError for what is no claim about any settings."""
    parts = re.split(r"([<>~≈])", sentence)
    terms, signs = [part.strip() for part in parts[::2]], set(parts[1::2])
    if len(terms) < 2 or not all(terms) or len(signs) != 1:
        raise ClaimError(f"cannot read the claim {sentence!r}; {HOW}")
    return terms, signs.pop()


def claim_of(
    sentence: str,
    settings: pd.DataFrame,
    swept: Sequence[str],
    metric: str,
    by: str | None = None,
    where: Mapping[str, Any] | None = None,
    margin: float | None = None,
    most: bool = False,
) -> Claim:
    """The claim that a sentence makes of these settings, which vary `swept`. Raises ClaimError, in one line."""
    for key in where or {}:
        _check_gate(key, settings)
    terms, sign = sides(sentence)
    knob, values = _resolved(terms, settings, swept, by)
    if len(set(values)) < len(values):
        raise ClaimError(f"the claim {sentence!r} names a value of {knob} twice")
    entry: dict[str, Any] = {"id": sentence, "statement": sentence, "metric": metric, "where": dict(where or {})}
    share = {"in": "most"} if most else {}
    if sign in "<>":
        if margin is not None:
            raise ClaimError(f"margin={margin:g} is for A ~ B; of {sentence!r} there is none")
        entry["order"] = {"along": knob, "ascending": values if sign == "<" else values[::-1]} | share
    elif len(terms) > 2:
        raise ClaimError(f"cannot read the claim {sentence!r}; ~ stands between two values")
    else:
        within = {} if margin is None else {"margin": margin}
        entry["equivalent"] = {"of": {knob: values[0]}, "to": {knob: values[1]}} | within | share
    return make_claim(entry)


def _check_gate(key: str, settings: pd.DataFrame) -> None:
    """Raise ClaimError for a gate that no cell has."""
    gate = gate_named(key)
    held = _values(settings, "gates") if "gates" in settings else []
    if gate and (line := no_gate(gate, map(gates_of, held))):
        raise ClaimError(line)


def _resolved(
    terms: Sequence[str], settings: pd.DataFrame, swept: Sequence[str], by: str | None
) -> tuple[str, list[Any]]:
    """The one knob of which all terms are values, and these values as the frame has them."""
    pairs = [_parted(term, settings, swept) for term in terms]
    named = {knob for knob, _ in pairs if knob} | ({named_column(by, swept)} if by else set())
    texts = [text for _, text in pairs]
    if len(named) > 1:
        raise ClaimError(f"a claim compares values of one knob, not of {listing(sorted(named))}")
    for knob in named:
        if "gates" in swept and (gate := gate_named(knob)):
            return "gates", _held(gate, texts, _values(settings, "gates"))
        if knob not in swept:
            raise ClaimError(f"{knob} is not varied here; choose {listing(swept) if swept else 'another sweep'}")
    known = {knob: _values(settings, knob) for knob in swept if not named or knob in named}
    fitting = {
        knob: [found for text in texts for found in [_match(text, values)] if found is not _NONE]
        for knob, values in known.items()
    }
    fitting = {knob: values for knob, values in fitting.items() if len(values) == len(texts)}
    if len(fitting) > 1:
        example = next(iter(fitting))
        raise ClaimError(
            f"{' and '.join(texts)} are values of {listing(fitting)}; name the knob: by={example!r}, or "
            f"{example}={texts[0]}"
        )
    if not swept:
        raise ClaimError("the runs differ only by seed; a claim compares values of a knob, such as model=gru,lstm")
    if not fitting:
        every = {value_text(value): None for values in known.values() for value in values}
        strange = [text for text in texts if all(_match(text, values) is _NONE for values in known.values())]
        if not strange:
            raise ClaimError(f"{' and '.join(texts)} are not values of one knob")
        there = "; ".join(f"{knob}: {', '.join(map(value_text, values))}" for knob, values in known.items())
        raise ClaimError(f"no setting has {strange[0]!r}; there is {there or 'nothing'}{nearest(strange[0], every)}")
    return next(iter(fitting.items()))


def _parted(term: str, settings: pd.DataFrame, swept: Sequence[str]) -> tuple[str, str]:
    """The knob that a term names, empty for none, and the text of its value, which may itself be `update=0.5`."""
    knob, equals, text = (part.strip() for part in term.partition("="))
    if not equals or any(_match(term, _values(settings, one)) is not _NONE for one in swept):
        return "", term
    return named_column(knob, swept), text


def _held(gate: str, texts: Sequence[str], values: Sequence[Any]) -> list[Any]:
    """The values of the column `gates` that hold a gate at each of these constants, and the others alike."""
    alike: dict[str, dict[str, Any]] = {}  # how the others are held → constant of this one → the value
    for value in values:
        others = gates_of(value)
        constant = value_text(others.pop(gate, None))
        alike.setdefault(value_text(gates_text(others)), {})[constant] = value
    there = list(dict.fromkeys(constant for found in alike.values() for constant in found))
    chosen = [_match(text, [None if one == "null" else float(one) for one in there]) for text in texts]
    for text, one in zip(texts, chosen, strict=True):
        if one is _NONE:
            raise ClaimError(f"no setting has model.gates.{gate}={text}; there is {listing(there)}")
    fitting = [found for found in alike.values() if all(value_text(one) in found for one in chosen)]
    if len(fitting) != 1:
        every = listing([f"gates={value_text(value)}" for value in values])
        raise ClaimError(f"the other gates are held, too, where model.gates.{gate} is; name all of them: {every}")
    return [fitting[0][value_text(one)] for one in chosen]


_NONE = object()


def _values(settings: pd.DataFrame, knob: str) -> list[Any]:
    return list(dict.fromkeys(map(plain, settings[knob])))


def _match(text: str, values: Sequence[Any]) -> Any:
    """The value that a text says: a number in whatever way it is written, or as tables show it, in six digits."""
    try:
        number = float(text)
    except ValueError:
        number = math.nan
    exact = (v for v in values if isinstance(v, int | float) and not isinstance(v, bool) and v == number)
    return next(exact, next((value for value in values if value_text(value) == text), _NONE))
