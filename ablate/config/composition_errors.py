"""In one line, what Hydra or OmegaConf says of a configuration that cannot be composed."""

import re
from typing import get_origin

from ablate.config.choice_files import summaries, unreadable
from ablate.config.columns import as_typed
from ablate.config.errors import UserError, listing, nearest
from ablate.config.knobs import can_be_swept, knobs, type_in_words
from ablate.config.overrides import Override
from ablate.config.quoting import quote
from ablate.config.registry import OF_GROUP
from ablate.config.shell import shell_line

FORMS = {
    "choice": "choice(VALUE,VALUE,…), or VALUE,VALUE where one of them is null",
    "range": "range(FIRST,END) or range(FIRST,END,STEP), of numbers, without END",
    "interval": "interval(LOW,HIGH), of numbers, or tag(log,interval(LOW,HIGH)); for searches",
    "tag": "tag(log,interval(LOW,HIGH)); for searches",
}
"""How functions of Hydra's grammar are written."""


def composition_line(error: Exception) -> str:
    """What Hydra or OmegaConf could not compose: the value, the choices, the remedy."""
    from hydra.errors import ConfigCompositionException, MissingConfigException, OverrideParseException

    cause = error.__cause__
    while cause is not None and not isinstance(cause, UserError):
        cause = cause.__cause__
    if cause is not None:
        return str(cause)
    if isinstance(error, MissingConfigException) and error.options:
        group, _, value = str(error.missing_cfg_file).partition("/")
        near = f"{_as_path(group, value) or nearest(value, error.options)}{unreadable(group)}"
        own = "; one of your own is loaded by plugins=[FILE]" if group in OF_GROUP and not near else ""
        return f"{group} is {value!r}; choose {listing(error.options)}{near or own}"
    if isinstance(error, OverrideParseException):
        return f"cannot read {error.override!r}; {_how_to_write(str(error.override))}"
    if isinstance(error, ConfigCompositionException):
        return _composition(error)
    key, said = getattr(error, "full_key", None), _first_lines(error)
    return f"{key}: {said}" if key and key not in said else said


def _first_lines(error: Exception) -> str:
    """A message in one line: with what stands behind a colon at the end of its first."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    said = lines[0] if lines else type(error).__name__
    return " ".join(lines[:2]) if said.endswith(":") else said


def _how_to_write(word: str) -> str:
    """The same value as one text, for the shell and for Hydra, where the knob takes a text; else what it takes."""
    override = Override.read(word)
    knob = knobs().get(override.key)
    if knob is not None and knob.is_text and override.value:
        return f"write {shell_line(f'{override.key}={quote(override.value)}')}"
    function = re.match(r"(\w+)\s*\(", (override.value or "").strip())
    if function and function[1] in FORMS:
        return f"write {override.key}={FORMS[function[1]]}"
    return "write knob=value or knob=value,value; a list in brackets, [a,b], a text in quotes"


def _composition(error: Exception) -> str:
    """What Hydra could not compose: a group without a choice, or a value of the wrong type."""
    message = _first_lines(error)
    unchosen = re.match(r"(?:In '[^']*': )?You must specify '([^']+)'", message)  # Hydra 1.4 says in which file
    if unchosen:
        return f"{unchosen[1]} has no value; choose {listing(summaries(unchosen[1]))}"
    several = re.match(r"Ambiguous value for argument '([^=]+)=(.*)'", message)
    if several:
        return f"{several[1]} has several values, {several[2]}, and one configuration is shown; give one"
    return _wrong_type(error) or message


def _wrong_type(error: Exception) -> str:
    """`lr is 'abc'; it must be a number`, from OmegaConf's message; with the file where a file says so."""
    file = re.match(r"In '([^']+)': \w+ raised while composing config:\n(?:Value '(.*)' of type.*|(.*))", str(error))
    key = re.search(r"full_key: (\S+)", str(error))
    below = re.search(r"Could not override '([^']+)'\.\s+To append to your config use \+[^=]+=(.*)", str(error))
    if file and key:
        name, where, value, cause = key[1], f"{file[1]}.yaml: {key[1]}", file[2] or file[3] or "", file[0]
        if value.startswith("[") and name in knobs() and can_be_swept(name):
            return f'{where} is {value}; several values are swept below hydra.sweeper.params: {name}: "{value[1:-1]}"'
    elif override := re.search(r"Error merging override [+~]*(\S+)=(.*)", str(error)) or below:
        name, where = override[1], as_typed(override[1])
        value, cause = override[2], str(error.__cause__ or "")
    else:
        return ""
    knob = knobs().get(name)
    if knob is not None and get_origin(knob.kind) is dict and not file:
        return f"{where} is {value!r}; give each of them by itself: {where}.NAME=VALUE"
    kinds = r"could not be converted to (\w+)|is not a valid (bool)|(Incompatible value 'None'|Optional)"
    if kind := re.search(kinds, cause):
        words = {"Integer": "a whole number", "Float": "a number", "bool": "true or false", "Boolean": "true or false"}
        must = "given (null is not possible)" if kind[3] else words.get(kind[1] or kind[2], "a text")
        return f"{where} is {value!r}; it must be {must}"
    if knob is None:
        return ""
    must = f"must be {type_in_words(knob.kind)}"
    return f"{where} {must} ({value})" if file else f"{where} is {value!r}; it {must}"


def _as_path(group: str, value: str) -> str:
    """`; for a file of your own write …` where a text is chosen by what is the name of a file."""
    if group != "data" or not re.search(r"\.\w{1,5}$", value):
        return ""
    path = value if re.fullmatch(r"[\w./-]+", value) else quote(value)
    return f"; for a file of your own write {shell_line('data=text_file', f'data.path={path}')}"
