"""A YAML file as nodes, each of which knows its line: to say where in a person's file something is wrong."""

import re
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from ablate.config.errors import UserError, short_path

if TYPE_CHECKING:
    import yaml

Kind = Literal["value", "list", "table"]

MOST = 100_000
"""Values that a file may stand for."""
DIGITS = 300
"""Of a whole number: of longer ones, as of 0x and a thousand letters, Python makes neither a float nor a text."""


def read_nodes(path: Path) -> "yaml.Node | None":
    """The table that a file is; None for an empty file. Raises UserError for what is no YAML, and no table."""
    try:
        node = nodes_of(path.read_text(encoding="utf-8"), path)
    except UnicodeDecodeError as error:
        raise UserError(encoding_line(error, path)) from error
    if node is not None and not is_table(node):
        raise UserError(f"{where(path, node)}: a preset is a table, knob: value")
    return node


def nodes_of(text: str, path: Path) -> "yaml.Node | None":
    """What a text of YAML is; None of an empty one, and of one that is null.

    Raises UserError for what is none, for what is nested too deeply, and for what stands for more than MOST values, as
    a few lines of aliases do.
    """
    import yaml

    try:
        node = yaml.compose(text, Loader=yaml.SafeLoader)
        if node is not None and "*" in text:
            _size(node, {}, path)
        if node is not None and LONG.search(text):
            _refuse_endless(node, path)
    except yaml.YAMLError as error:
        raise UserError(yaml_line(error, path)) from error
    except RecursionError as error:
        raise UserError(f"{short_path(path)}: its lists and tables are nested too deeply") from error
    return None if node is None or is_null(node) else node


def _size(node: "yaml.Node", known: "dict[yaml.Node, int]", path: Path) -> int:
    """How many values a node stands for, each alias counted as all that it stands for. Raises UserError."""
    if node not in known:
        known[node] = MOST + 1  # until it is counted: of a list that holds itself
        parts = [part for pair in node.value for part in pair] if is_table(node) else items(node)
        known[node] = 1 + sum(_size(part, known, path) for part in parts)
    if known[node] > MOST:
        raise UserError(
            f"{where(path, node)}: its aliases stand for more than {MOST:,} values; write out what is needed"
        )
    return known[node]


LONG = re.compile(rf"[\w:]{{{DIGITS + 1}}}")


def _refuse_endless(node: "yaml.Node", path: Path) -> None:
    """Raise UserError for a whole number of more than DIGITS digits."""
    parts = [part for pair in node.value for part in pair] if is_table(node) else items(node)
    for part in parts:
        _refuse_endless(part, path)
    if type_of(node) == "int" and len(node.value) > DIGITS:
        raise UserError(f"{where(path, node)}: a whole number of {len(node.value)} digits; put a text in quotes")


def value_of(text: str, path: Path) -> Any:
    """The values that a text of YAML holds. Raises UserError as `nodes_of`, and for what no value can be made of."""
    import yaml

    if "*" in text or LONG.search(text):
        nodes_of(text, path)
    try:
        with suppress(yaml.YAMLError):  # by libyaml, where PyYAML has it, ten times as fast
            return yaml.load(text, Loader=getattr(yaml, "CSafeLoader", yaml.SafeLoader))
        return yaml.safe_load(text)
    except yaml.YAMLError as error:  # which PyYAML says better
        raise UserError(yaml_line(error, path)) from error
    except RecursionError as error:
        raise UserError(f"{short_path(path)}: its lists and tables are nested too deeply") from error
    except (ValueError, TypeError, OverflowError) as error:  # of a date, or a number, that is none
        raise UserError(f"{short_path(path)}: {error}") from error


def entries(node: "yaml.Node | None") -> "list[tuple[yaml.Node, yaml.Node]]":
    """The keys of a table with their values; none of what is no table."""
    return list(node.value) if node is not None and is_table(node) else []


def items(node: "yaml.Node") -> "list[yaml.Node]":
    """What is in a list; nothing where it is none."""
    return list(node.value) if is_list(node) else []


def kind_of(node: "yaml.Node") -> Kind:
    """What a node is."""
    kinds: dict[str, Kind] = {"MappingNode": "table", "SequenceNode": "list"}
    return kinds.get(type(node).__name__, "value")  # by name: of the start of a program, yaml is a large part


def is_table(node: "yaml.Node") -> bool:
    return kind_of(node) == "table"


def is_list(node: "yaml.Node") -> bool:
    return kind_of(node) == "list"


def is_value(node: "yaml.Node") -> bool:
    return kind_of(node) == "value"


def is_null(node: "yaml.Node") -> bool:
    return type_of(node) == "null"


def type_of(node: "yaml.Node") -> str:
    """What YAML takes a value for: `str`, `int`, `float`, `bool`, `null`, `timestamp`."""
    return str(node.tag).rpartition(":")[2]


def node_text(node: "yaml.Node") -> str:
    """A node in a message: what is written, or what kind it is."""
    if is_null(node):
        return "null"
    return repr(node.value) if is_value(node) else f"a {kind_of(node)}"


def where(path: Path, node: "yaml.Node") -> str:
    """`sweeps/mine.yaml, line 3`"""
    return f"{short_path(path)}, line {node.start_mark.line + 1}"


def yaml_line(error: "yaml.YAMLError", path: Path | None = None) -> str:
    """What YAML's parser says, in one line, with the file and the line in it."""
    mark, problem = getattr(error, "problem_mark", None), getattr(error, "problem", None)
    file = short_path(path or Path(getattr(mark, "name", "a YAML file")))
    if mark is None:
        return f"{file}: {' '.join(str(error).split())}"
    context = f"{said}: " if (said := getattr(error, "context", None)) else ""
    return f"{file}, line {mark.line + 1}: {context}{problem}"


def encoding_line(error: UnicodeDecodeError, path: Path) -> str:
    """The line for a file that is not UTF-8."""
    return f"{short_path(path)} is not UTF-8: {error.reason} at byte {error.start}"
