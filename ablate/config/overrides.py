"""What a person types, `knob=value`: every key is checked and every text is quoted before Hydra sees anything.

Hydra has one grammar for all values. Here the type of a knob says how its value is read: a title is the text typed,
whatever brackets, commas or digits are in it; a number or a choice is left to Hydra, and several of them, `a,b`, sweep.
"""

import itertools
import math
import re
from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace

from ablate.config import former_names, launchers, plugins
from ablate.config.choice_files import typed_as
from ablate.config.errors import ConfigError, UserError, counted, listing, nearest
from ablate.config.knobs import (
    GATE,
    GROUPS,
    HELP_HINT,
    NamedKnob,
    can_be_swept,
    condition_names,
    is_knob,
    knobs,
    no_knob,
)
from ablate.config.quoting import is_quoted, quote, split, unquote
from ablate.config.shell import shell_line

SWEEPERS = {"ablate": "ablate", "optuna": "ablate_optuna"}
"""Sweeper as it is typed → its name among all plugins of Hydra: `optuna` may be that of somebody else's."""

SWEEP_FUNCTION = re.compile(r"(choice|range|interval|glob|shuffle|sort|tag|extend_list)\s*\(.*\)", re.DOTALL)
"""Functions of Hydra's grammar that stand for several values."""

RANGE = re.compile(r"range\s*\(([^()]*)\)")
MOST_VALUES = 1_000_000
"""Values that one word may stand for; a range of more would be written out by Hydra before anything looks at it."""

ENDLESS = re.compile(r"\d{301,}")
"""A whole number of which Python makes no float."""

NUMBER = re.compile(r"(?i:true|false|nan|[-+]?inf|[-+.\d][-+.\d_e]*)")
"""What Hydra reads as something else than a text."""

ZIPPED = "hydra.sweeper.zipped"
"""The option of our grid sweeper with the knobs that change together, each a text such as `num_hiddens:lr=32:1,64:2`:
Hydra's grammar has no word for them."""


@dataclass(frozen=True)
class Override:
    """One word, taken apart: the sign in front (`+`, `++`, `~` or none), the key, and what stands behind `=`.

    Several knobs that change together, `num_hiddens:lr=32:1,64:0.5`, are one override; `zip(num_hiddens,lr)=[32:1,…]`
    is another way to write it.
    """

    sign: str
    key: str
    value: str | None  # None without "="

    @classmethod
    def read(cls, word: str) -> "Override":
        if zipped := re.fullmatch(r"zip\(([^()=]*)\)=(.*)", word.strip(), re.DOTALL):
            inner = zipped[2].strip()
            inner = inner[1:-1] if inner.startswith("[") and inner.endswith("]") else inner
            word = f"{':'.join(map(str.strip, zipped[1].split(',')))}={inner}"
        key, equals, value = word.partition("=")
        sign = key[: len(key) - len(key.lstrip("+~"))]
        return cls(sign, key[len(sign) :].strip(), value if equals else None)

    def __str__(self) -> str:
        return f"{self.sign}{self.key}" + ("" if self.value is None else f"={self.value}")

    @property
    def knobs(self) -> list[str]:
        """The knobs that it sets."""
        return [name.strip().lstrip("+~") for name in self.key.split(":")]

    @property
    def is_zipped(self) -> bool:
        return ":" in self.key and "@" not in self.key


def rows_of(override: Override) -> list[list[Override]]:
    """The rows of several knobs that change together: `num_hiddens:lr=32:1,64:0.5` has two, of two overrides each.

    Raises ConfigError for a row that is longer or shorter than the knobs.
    """
    signs = override.sign + override.key
    names = [name.strip() for name in signs.split(":")]
    pattern = f"{signs}={':'.join(['VALUE'] * len(names))},…"
    if twice := next((name for name in names if names.count(name) > 1), None):
        raise ConfigError(f"{override}: {twice or 'a knob without a name'} stands in it twice; write KNOB:KNOB=…")
    rows = []
    for part in split(override.value or ""):
        values = [value.strip() for value in split(part, ":")]
        if len(values) != len(names) or "" in values:
            given = len([value for value in values if value])
            raise ConfigError(
                f"{override}: {part.strip()!r} has {counted(given, 'value')} for the {len(names)} knobs "
                f"{', '.join(names)}; write {pattern}"
            )
        rows.append([Override.read(f"{name}={value}") for name, value in zip(names, values, strict=True)])
    return rows


def for_hydra(words: Sequence[str], sweeper_options: Collection[str] = (), once: bool = True) -> list[str]:
    """The overrides as Hydra is to read them. Reading them again changes nothing. What `plugins` names is loaded.

    `sweeper_options` are those that `hydra.sweeper.…` may set; without `once` the last value of a knob counts. Raises
    UserError, one line, for a key that is no knob, a setting of Hydra that would do nothing here, several values where
    there can be one, and a knob given twice.
    """
    read = [_read(word) for word in words]
    plugins.load(plugin_files(read))
    checked: list[str] = []
    zipped: list[str] = []
    for override in read:
        if not override.is_zipped:
            checked.append(str(_checked(override, sweeper_options)))
        elif len(rows := checked_rows(override)) == 1:
            checked += map(str, rows[0])
        else:
            zipped.append(_together(rows))
    if once:
        check_once(read)
    check_launcher(list(map(Override.read, checked)))
    if zipped:
        checked.append(f"{ZIPPED}=[{','.join(map(quote, zipped))}]")
    # Hydra fails on a group that is set to nothing: no preset is what there is without a word of it
    return [word for word in checked if word != "sweeps=null"]


def checked_rows(override: Override) -> list[list[Override]]:
    """Rows of knobs that change together, each value checked as if it were typed by itself."""
    rows = [[_checked(_read(str(one)), ()) for one in row] for row in rows_of(override)]
    for one in itertools.chain(*rows):
        if one.value is not None and SWEEP_FUNCTION.fullmatch(one.value.strip()):
            raise ConfigError(f"{override}: {one} is several values; several knobs that change together have one each")
        if len(rows) > 1 and not can_be_swept(one.key):
            raise ConfigError(f"{override}: {one.key} cannot be swept, alone or with others; give it one value")
    return rows


def _together(rows: Sequence[Sequence[Override]]) -> str:
    """Rows as one word again."""
    keys = ":".join(f"{one.sign}{one.key}" for one in rows[0])
    return f"{keys}={','.join(':'.join(one.value or '' for one in row) for row in rows)}"


def plugin_files(overrides: Sequence[Override]) -> list[str]:
    """The files that `plugins=[a.py,b.py]` names."""
    given = [_texts(knobs()["plugins"], word.value) for word in overrides if word.key == "plugins" and word.value]
    return [unquote(part) for value in given if value[1:-1] for part in split(value[1:-1])]


def check_launcher(overrides: Sequence[Override]) -> None:
    """Raise UserError for an option that the launcher of these words does not have; no preset chooses another."""
    given = {override.key: override.value or "" for override in overrides}
    chosen, all_of_them = given.get("hydra/launcher", launchers.LOCAL), launchers.launchers()
    has = all_of_them.get(chosen, {})
    for key in given:
        option = key.removeprefix("hydra.launcher.").partition(".")[0]
        if key.startswith("hydra.launcher.") and option not in has:
            meant = nearest(option, has or launchers.all_options())
            if of := [name for name, options in all_of_them.items() if option in options]:
                remedy = f"give hydra/launcher={listing(of)}"
            elif has:
                remedy = f"choose hydra.launcher.{{{','.join(sorted(has))}}}{meant}"
            else:
                with_some = listing(name for name, options in all_of_them.items() if options)
                remedy = f"options are those of hydra/launcher={with_some}{meant}"
            raise UserError(f"hydra/launcher={chosen} has no option {option}; {remedy}")


def check_once(overrides: Sequence[Override]) -> None:
    """Raise ConfigError where a key is given twice with different values: Hydra would take the last in silence."""
    values: dict[str, dict[str, None]] = {}
    for override in overrides:
        for key in override.knobs if override.is_zipped else [override.key]:
            value = override.value or ""
            if key == "hydra/sweeper":
                value = SWEEPERS.get(value, value)
            values.setdefault(key, {})[str(override) if override.is_zipped else value] = None
    for key, several in values.items():
        if len(several) > 1:
            none = {"", "null"} if key in GROUPS else {""}
            is_one = any(set(value) & set("([{:") or value in none for value in several)
            together = is_knob(key) and can_be_swept(key) and not is_one
            each = ",".join(dict.fromkeys(part.strip() for value in several for part in split(value)))
            remedy = f"for {'both' if len(several) == 2 else 'all'} write {key}={each}"
            raise ConfigError(
                f"{key} is given {'twice' if len(several) == 2 else f'{len(several)} times'}: "
                f"{' and '.join(several)}; {remedy if together else 'give it once'}"
            )


def former_name(word: str) -> str | None:
    """A line for a knob, or a value of one, by its former name; None for any other override."""
    override = Override.read(word)
    if override.is_zipped or override.value is None:
        return None
    now = _read(word)
    same = now.key == override.key and set(map(str.strip, split(override.value))) == set(split(now.value or ""))
    return None if same else f"{override} is written {now} now"


def _read(word: str) -> Override:
    try:
        word.encode()
    except UnicodeEncodeError:
        raise UserError(f"{word.encode(errors='backslashreplace').decode()!r} is not UTF-8") from None
    if "\0" in word:
        raise UserError(f"{word!r} holds the character NUL, which no value may")
    override = Override.read(word)
    if override.sign not in ("", "+", "++", "~") or not re.fullmatch(r"[\w./@:\[\]-]+", override.key):
        raise UserError(f"cannot read {word!r}; write knob=value {HELP_HINT}")
    if override.is_zipped:
        return override
    key = former_names.knob_of(override.key)
    if key not in former_names.VALUES or override.value is None:
        return replace(override, key=key)
    words = [former_names.value_of(key, part.strip()) for part in override.value.split(",")]
    return replace(override, key=key, value=",".join(words))


def check_size(override: Override) -> None:
    """Raise ConfigError for a number beyond all measure, and for a range of more than MOST_VALUES."""
    if endless := ENDLESS.search(override.value or ""):
        raise ConfigError(f"{override.key} has a number of {len(endless[0])} digits; it must be a finite number")
    for found in RANGE.finditer(override.value or ""):
        given: dict[str, float] = {}
        try:
            for name, part in zip(("start", "stop", "step"), found[1].split(","), strict=False):
                keyword, equals, number = part.rpartition("=")
                given[keyword.strip() if equals else name] = float(number)
        except ValueError:  # which Hydra's grammar says
            continue
        if "stop" not in given:
            given["stop"], given["start"] = given.get("start", 0.0), 0.0
        step = given.get("step", 1.0)
        values = (given["stop"] - given.get("start", 0.0)) / step if step else 0
        if not values <= MOST_VALUES:  # nor is NaN, of an end that is none
            many = f"{values:.3g}" if math.isfinite(values) else "no finite number of"
            raise ConfigError(f"{override.key}={found[0]} is {many} values; give a range of {MOST_VALUES:,} at most")


def _checked(override: Override, sweeper_options: Collection[str]) -> Override:
    sign, key, value = override.sign, override.key, override.value
    if (knob := knobs().get(key)) is None or not (knob.is_text or knob.is_texts):
        check_size(override)
    if key.partition(".")[0].partition("/")[0] == "hydra":
        return _of_hydra(override, sweeper_options)
    if not is_knob(key):
        if value is None and not sign:
            meant = typed_as(key) or nearest(key, knobs())
            raise UserError(f"cannot read {key!r}; write knob=value{meant} {HELP_HINT}")
        raise UserError(no_knob(key))
    if key.startswith(GATE):  # a model may have it or not: either way it is set
        return override if sign == "~" else Override("++", key, value)
    if sign == "~":
        off = f"{key}=null switches it off" if knobs()[key].optional else f"give it a value: {key}=VALUE"
        raise UserError(f"~{key}: a knob cannot be taken away; {off}")
    if sign == "+":
        raise UserError(f"{key} is there already; write {key}={value or 'VALUE'}, without +")
    if value is None:
        raise UserError(f"cannot read {key!r}: it has no value; write {key}=VALUE")
    return Override("", key, _value(knobs()[key], value))


def _of_hydra(override: Override, sweeper_options: Collection[str]) -> Override:
    """A setting of Hydra that means something here: the sweeper, the launcher, and their options."""
    key, value = override.key, override.value or ""
    chosen = {"hydra/launcher": launchers.names(), "hydra/sweeper": tuple(SWEEPERS)}.get(key)
    if chosen:
        if (key == "hydra/sweeper" and value in SWEEPERS.values()) or (
            key == "hydra/launcher" and value == launchers.FORMER
        ):
            return override
        if value not in chosen or override.sign == "~":
            raise UserError(f"{key} is {value!r}; choose {listing(chosen)}{nearest(value, chosen)}")
        return replace(override, value=SWEEPERS.get(value, value))
    option = re.match(r"hydra\.sweeper\.(\w+)", key)
    if option and (not sweeper_options or option[1] in sweeper_options):
        below = re.match(r"hydra\.sweeper\.(params|conditions|baseline)\.(.+)", key)
        if below and not (is_knob(below[2]) or (below[1] == "conditions" and condition_names(below[2], is_knob))):
            raise UserError(no_knob(below[2]))
        if below and below[1] == "params" and (len(split(value)) > 1 or SWEEP_FUNCTION.fullmatch(value.strip())):
            raise UserError(f"{key} is for presets; on the command line write {below[2]}={value}")
        # Entries of tables are new to Hydra. Of one that is none of a race the search itself says which there are.
        is_new = (option[1] == "race" or below) and override.sign != "~"
        return replace(override, sign="++") if is_new else override
    if option:
        raise UserError(
            f"there is no option {key}; choose hydra.sweeper.{{{','.join(sorted(sweeper_options))}}}"
            f"{nearest(option[1], sweeper_options)}"
        )
    if option := re.match(r"hydra\.launcher\.(\w+)", key):
        # Hydra takes entries that are not there yet only where it is told that they are new.
        may_be_new = launchers.is_table(option[1]) or key.count(".") > 2
        return replace(override, sign="++") if may_be_new and override.sign != "~" else override
    remedy = {
        "hydra.searchpath": "--config-dir FOLDER adds a folder of configurations",
        "hydra.run.dir": "results_dir=FOLDER and name=NAME say where results are kept",
        "hydra.sweep.dir": "results_dir=FOLDER and name=NAME say where results are kept",
        "hydra.sweep.subdir": "results_dir=FOLDER and name=NAME say where results are kept",
    }.get(key, "of Hydra's own settings there are hydra/sweeper, hydra/launcher and what is below them")
    raise UserError(f"{key} has no effect here; {remedy}")


def _value(knob: NamedKnob, value: str) -> str:
    """The value as Hydra is to read it."""
    if knob.is_texts:
        return _texts(knob, value)
    if knob.is_text:
        return _text(knob, value)
    inner = value.strip()
    if knob.is_group and knob.name != "sweeps" and {"", "null"} & {part.strip().lower() for part in split(value)}:
        raise ConfigError(f"{knob.name} is {value!r}, and one has to be chosen {HELP_HINT}")
    if knob.is_group and NUMBER.fullmatch(inner):  # a name of no file, which is to be said
        return quote(inner)
    if knob.is_group and inner.startswith("{"):
        raise ConfigError(f"{knob.name} is {value}; give the name of one, and its knobs one by one {HELP_HINT}")
    if knob.kind is bool and re.fullmatch(r"[+-]?\d+", inner) and inner not in ("0", "1"):  # Hydra takes it for true
        raise ConfigError(f"{knob.name} is {inner}; it must be true or false")
    if not knob.is_group and re.fullmatch(r"glob\s*\(.*\)", inner):
        raise ConfigError(
            f"{knob.name}={value} is a pattern for names of files; give its values one by one: {knob.name}=VALUE,VALUE"
        )
    if (knob.is_scalar or knob.is_group) and inner.startswith("[") and inner.endswith("]"):
        if not can_be_swept(knob.name):
            raise ConfigError(f"{knob.name} is {value}; give one value, without brackets")
        items = ",".join(part.strip() for part in split(inner[1:-1]))
        raise ConfigError(
            f"{knob.name} is the list {value}; several values sweep without brackets: "
            f"{shell_line(f'{knob.name}={items}')}"
        )
    if knob.name != "sweeps" and not can_be_swept(knob.name):
        _check_single(knob, value)
    return value if SWEEP_FUNCTION.fullmatch(inner) else ",".join(map(_ascii, split(value)))


def _ascii(part: str) -> str:
    """One value, in quotes where it has letters that Hydra's grammar knows only there."""
    inner = part.strip()
    return part if part.isascii() or is_quoted(inner) or inner[0] in "([{" else quote(inner)


def _check_single(knob: NamedKnob, value: str) -> None:
    """Raise ConfigError for several values of a knob that has one."""
    if len(split(value)) > 1 or SWEEP_FUNCTION.fullmatch(value.strip()):
        as_text = f", or as one text {shell_line(f'{knob.name}={quote(value)}')}" if knob.is_text else ""
        remedy = "; device=cuda takes all GPUs" if knob.name == "device" else as_text
        raise ConfigError(
            f"{knob.name} has several values, {value}, but does not change what comes out of a run, so that there is "
            f"nothing to sweep: give one{remedy}"
        )


def _text(knob: NamedKnob, value: str) -> str:
    """A text, as typed but for quotes around the whole of it; of a knob that can be swept, several with commas."""
    if value.strip().lower() == "null" or is_quoted(value.strip()):
        return value.strip()
    if knob.decides:
        if SWEEP_FUNCTION.fullmatch(value.strip()):
            return value
        return ",".join(
            part if is_quoted(part) or part == "null" else quote(part) for part in map(str.strip, split(value))
        )
    if not knob.metadata.get("prose"):
        _check_single(knob, value)
    return quote(value)


def _texts(knob: NamedKnob, value: str) -> str:
    """A list of texts, `[a, b]`; each is as typed but for quotes around it."""
    inner = value.strip()
    if inner.startswith("[") and inner.endswith("]") and len(split(inner)) == 1:
        parts = [part.strip() for part in split(inner[1:-1])] if inner[1:-1].strip() else []
        unclosed = next((part for part in parts if part[:1] in ("'", '"') and not is_quoted(part)), None)
        if unclosed is None:
            return f"[{','.join(part if is_quoted(part) else quote(part) for part in parts)}]"
        raise ConfigError(f"cannot read {knob.name}={value}: {unclosed} opens with a quote that does not end it")
    if inner.startswith("["):
        raise ConfigError(f"cannot read {knob.name}={value}; close the list: {knob.name}=[TEXT,TEXT]")
    texts = [] if inner.lower() in ("", "null") else map(str.strip, split(inner))
    items = ",".join(part if is_quoted(part) else quote(part) for part in texts)
    raise ConfigError(f"{knob.name} is {value!r}; it is a list: {shell_line(f'{knob.name}=[{items}]')}")
