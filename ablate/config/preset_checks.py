"""What is wrong in a preset, or in a person's own file of a group: said with file and line before Hydra composes it."""

import re
from collections.abc import Collection
from pathlib import Path
from typing import TYPE_CHECKING, Any, get_origin

from ablate.config import former_names
from ablate.config.ambiguous import with_decimal_point
from ablate.config.errors import UserError, listing, nearest
from ablate.config.knobs import GROUPS, NamedKnob, can_be_swept, is_knob, knobs, members_of, no_knob, type_in_words
from ablate.config.overrides import Override, checked_rows
from ablate.config.preset_experiments import preset_nodes
from ablate.config.presets import SWEEPER, SWEEPING, knobs_below, knobs_of_entry, sweeper_tables
from ablate.config.schema import CONFIG_ROOT
from ablate.config.yaml_nodes import (
    Kind,
    entries,
    is_list,
    is_null,
    is_table,
    is_value,
    items,
    kind_of,
    node_text,
    type_of,
    where,
)

if TYPE_CHECKING:
    import yaml


def check_preset(path: Path, options: Collection[str]) -> None:
    """Raise UserError, with file and line, for what no preset may say; `options` are those of the sweepers."""
    top = preset_nodes(path)
    _check_shapes(path, top)
    for key, value in entries(top):
        if key.value == "hydra":
            for option, table in sweeper_tables(value):
                _check_sweeper_table(path, option, table)
        elif key.value != "defaults":
            for own, name, content in knobs_below(key, value):
                if name in knobs() and knobs()[name].is_text:
                    _check_text(path, own, content)
                _check_number(path, own, name, content)
                _check_named(path, own, name)
    for key, value in entries(top):
        if key.value == "defaults":
            _check_defaults(path, value)
        elif key.value == "hydra":
            _check_options(path, value, options)


def check_choice(path: Path, group: str) -> None:
    """Raise UserError, with file and line, for what a person's own `./model/mine.yaml` may not say."""
    if path.is_relative_to(CONFIG_ROOT) or "# @package" in path.read_text(encoding="utf-8", errors="replace"):
        return
    for key, value in entries(preset_nodes(path)):
        if key.value != "defaults":
            _check_values(path, key, value, f"{group}.")
            for node, name, _ in knobs_below(key, value, f"{group}."):
                if not is_knob(name):
                    raise UserError(f"{where(path, node)}: {no_knob(name)}")


def _check_named(path: Path, node: "yaml.Node", name: str) -> None:
    """Raise UserError for a key that names no knob."""
    if not is_knob(name):
        raise UserError(f"{where(path, node)}: {no_knob(name)}")


def _check_sweeper_table(path: Path, option: str, table: "yaml.Node") -> None:
    """Raise UserError for what a sweeper's table may not name: no knob, none that cannot be swept, none twice."""
    seen: set[str] = set()
    for key, value in entries(table):
        _check_key(path, key, value)
        for name in knobs_of_entry(option, key, value):
            _check_named(path, key, name)
            if option in SWEEPING and not can_be_swept(name):
                raise UserError(f"{where(path, key)}: {name} cannot be swept; set it outside of params and blocks")
            if former_names.knob_of(name) in seen:
                raise UserError(f"{where(path, key)}: {name} stands twice in one table; leave one out")
            seen.add(former_names.knob_of(name))
        word = Override.read(f"{key.value}={value.value}")
        if option in SWEEPING and word.is_zipped:
            _check_together(path, value, word)


def _check_options(path: Path, hydra: "yaml.Node", options: Collection[str]) -> None:
    """Raise UserError for settings of Hydra that do nothing here."""
    for name, sweeper in entries(hydra):
        if name.value != "sweeper":
            raise UserError(
                f"{where(path, name)}: hydra.{name.value} has no effect here; of Hydra's own settings there is "
                "hydra.sweeper"
            )
        for option, _ in entries(sweeper):
            if option.value not in options:
                raise UserError(
                    f"{where(path, option)}: there is no option hydra.sweeper.{option.value}; choose "
                    f"{listing(options)}{nearest(option.value, options)}"
                )


def _check_shapes(path: Path, top: "yaml.Node | None") -> None:
    """Raise UserError for a node of the wrong kind, where Hydra or a sweeper would fail with an error of its own."""
    for key, value in entries(top):
        if "." in str(key.value):
            group, _, rest = str(key.value).partition(".")
            raise UserError(
                f"{where(path, key)}: {key.value} is written as a table in a file: {group}: {{{rest}: VALUE}}"
            )
        if key.value == "defaults":
            _check_kind(path, key.value, value, "list")
        elif key.value in GROUPS and not is_table(value):
            raise UserError(
                f"{where(path, key)}: {key.value} is {node_text(value)}; it is chosen in the defaults list: "
                f"defaults: [override /{key.value}: NAME]"
            )
        elif key.value == "hydra":
            _check_kind(path, "hydra", value, "table")
            for name, sweeper in entries(value):
                if name.value == "sweeper":
                    _check_kind(path, "hydra.sweeper", sweeper, "table")
                for option, content in entries(sweeper) if name.value == "sweeper" else ():
                    whole = f"hydra.sweeper.{option.value}"
                    if option.value == "blocks":
                        _check_kind(path, whole, content, "list", optional=True)
                        for block in items(content):
                            _check_kind(path, f"an entry of {whole}", block, "table")
                    elif option.value in ("params", "conditions"):
                        _check_kind(path, whole, content, "table", optional=True)
        else:
            _check_values(path, key, value)


def _check_kind(path: Path, what: str, node: "yaml.Node", kind: Kind, optional: bool = False) -> None:
    if kind_of(node) != kind and not (optional and is_null(node)):
        must = "a list, [a, b]" if kind == "list" else "a table, {key: value}"
        raise UserError(f"{where(path, node)}: {what} is {node_text(node)}; it must be {must}")


def _check_values(path: Path, key: "yaml.Node", value: "yaml.Node", prefix: str = "") -> None:
    """Raise UserError for a knob without a value that needs one, and for what is of another kind than its values."""
    for node, name, content in knobs_below(key, value, prefix):
        if node is not key:
            _check_key(path, node, content)
        knob, at = knobs().get(name), where(path, node)
        if name.startswith("model.gates.") and (is_null(content) or not is_value(content)):
            raise UserError(f"{at}: {name} is {node_text(content)}; it must be a number")
        if knob is None or (knob.is_group and not is_null(content)):
            continue
        if is_null(content):
            if not knob.optional:
                must = f"a list; an empty one is {name}: []" if knob.is_texts else "given (null is not possible)"
                raise UserError(f"{at}: {name} is null; it must be {must}")
        elif kind_of(content) not in _node_kinds(knob):
            is_flat = is_list(content) and all(is_value(one) for one in content.value)
            if is_flat and knob.is_scalar and can_be_swept(name):
                values = ", ".join(one.value for one in content.value)
                raise UserError(
                    f"{at}: {name} is a list; one value it is, and several are swept below hydra.sweeper.params: "
                    f'{name}: "{values}"'
                )
            raise UserError(f"{at}: {name} is {node_text(content)}; it must be {type_in_words(knob.kind)}")
        elif knob.is_texts and (wrong := next((one for one in content.value if not is_value(one)), None)):
            raise UserError(f"{where(path, wrong)}: {name} holds {node_text(wrong)}; it must be a list of texts")


def _node_kinds(knob: NamedKnob) -> set[Kind]:
    """As which of YAML's kinds a file may write a knob's value."""
    if knob.kind is Any:  # things that share its name have other types for it
        return {"value", "list", "table"}
    kinds: dict[Any, Kind] = {list: "list", dict: "table"}
    return {kinds.get(get_origin(one) or one, "value") for one in members_of(knob.kind)}


def _check_defaults(path: Path, node: "yaml.Node") -> None:
    """Raise UserError for an entry of a defaults list that is none, and for a group that there is not.

    All groups are chosen already, where Hydra begins; a preset can only replace a choice.
    """
    known = (*(group for group in GROUPS if group != "sweeps"), SWEEPER)
    for item in items(node):
        if not is_table(item) and item.value != "_self_":
            raise UserError(f"{where(path, item)}: {node_text(item)} chooses nothing; write override /GROUP: NAME")
        for name, chosen in entries(item):
            group = name.value.removeprefix("override ").lstrip("/").partition("@")[0]
            if group == "sweeps":
                raise UserError(f"{where(path, name)}: a preset chooses no other; write here what that one sets")
            if group not in known:
                raise UserError(
                    f"{where(path, name)}: there is no group {group!r}; choose {listing(known)}{nearest(group, known)}"
                )
            if not (is_value(chosen) and type_of(chosen) == "str"):
                more = "; several are swept below hydra.sweeper.params" if is_list(chosen) else ""
                raise UserError(
                    f"{where(path, chosen)}: {group} is {node_text(chosen)}; one has to be chosen by its name{more}"
                )
            if not name.value.startswith("override /"):
                raise UserError(
                    f"{where(path, name)}: {name.value}: {chosen.value} chooses a second {group}; write "
                    f"override /{group}: {chosen.value}"
                )


def _check_key(path: Path, key: "yaml.Node", value: "yaml.Node") -> None:
    """Raise UserError for `{num_hiddens: 32,64}`, which to YAML are two keys."""
    if value.value == "" and re.fullmatch(r"[-+.\deE]+", str(key.value)):
        raise UserError(
            f"{where(path, key)}: there is no knob {key.value!r}; several values stand in quotes, such as "
            'num_hiddens: "32,64", and a number has a decimal point'
        )


def _check_number(path: Path, key: "yaml.Node", name: str, value: "yaml.Node") -> None:
    """Raise UserError for `lr: 0,5`, which to YAML is a text."""
    number = with_decimal_point(name, value.value) if is_value(value) else None
    if number is not None:
        raise UserError(
            f"{where(path, key)}: {name} is {value.value}, and a number has a decimal point: {key.value}: {number}; "
            "several values stand below hydra.sweeper.params"
        )


def _check_together(path: Path, value: "yaml.Node", word: Override) -> None:
    """Raise UserError for rows of knobs that change together that cannot be."""
    if not is_value(value) or type_of(value) != "str":
        raise UserError(f'{where(path, value)}: the values of {word.key} stand in quotes: {word.key}: "VALUE:VALUE,…"')
    try:
        checked_rows(word)
    except UserError as error:
        raise UserError(f"{where(path, value)}: {error}") from error


def _check_text(path: Path, key: "yaml.Node", value: "yaml.Node") -> None:
    """Raise UserError for `name: 2.10`, which to YAML is the number 2.1."""
    if type_of(value) in ("int", "float", "bool", "timestamp"):
        raise UserError(f'{where(path, value)}: {key.value} is a text; put it in quotes: {key.value}: "{value.value}"')
