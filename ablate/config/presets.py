"""The files that a choice names: of conf/, of sweeps/, and a person's own, `./sweeps/mine.yaml` or `./model/mine.yaml`.

Every preset is checked here before Hydra composes it: what is wrong in it is said with its file and its line.
"""

import os
import re
from collections.abc import Collection, Iterable, Iterator
from contextvars import ContextVar
from pathlib import Path
from typing import TYPE_CHECKING, Any, get_origin

from ablate.config import former_names
from ablate.config.errors import UserError, listing, nearest, os_reason
from ablate.config.overrides import (
    GROUPS,
    SWEEPERS,
    Knob,
    Override,
    can_be_swept,
    checked_rows,
    is_knob,
    knobs,
    members_of,
    no_knob,
    type_in_words,
    with_decimal_point,
)
from ablate.config.registry import OF_GROUP
from ablate.config.schema import CONFIG_ROOT

if TYPE_CHECKING:
    import yaml

SWEEPER = "hydra/sweeper"
OF_SWEEPER = ("params", "blocks", "conditions", "baseline")
"""The options of the sweepers that name knobs."""

SEARCHED: ContextVar[tuple[Path, ...]] = ContextVar("SEARCHED", default=())
"""Folders whose groups Hydra finds besides conf/, while a command of ours composes."""


def roots(config_dir: Path | None = None) -> list[Path]:
    """The folders that hold groups; the first that has a file decides: ours, `--config-dir`, the working directory."""
    given = [] if config_dir is None else [config_dir]
    return list(dict.fromkeys([CONFIG_ROOT / "conf", CONFIG_ROOT, *given, Path.cwd()]))


def choices(group: str, config_dir: Path | None = None) -> dict[str, Path]:
    """The files of a group by their names: ours in alphabetical order, then a person's own."""
    found: dict[str, Path] = {}
    for root in roots(config_dir):
        for name in files_of(root / group):
            found.setdefault(name.removesuffix(".yaml"), root / group / name)
    return found


def summaries(group: str, config_dir: Path | None = None) -> dict[str, str]:
    """The choices of a group, each with a line on what it is: ours in alphabetical order, then a person's own."""
    ours, theirs = dict[str, str](), dict[str, str]()
    for name, path in choices(group, config_dir).items():
        said = opening_comment(path) if os.access(path, os.R_OK) else "(this file cannot be read)"
        (ours if path.is_relative_to(CONFIG_ROOT) else theirs)[name] = said
    registry = OF_GROUP.get(group)
    for thing in registry or ():
        if thing.name not in ours and registry is not None:
            (theirs if thing.name in registry.origin else ours)[thing.name] = summary(thing)
    return dict(sorted(ours.items())) | theirs


def summary(thing: Any) -> str:
    """A line on what a registered thing is, with its source."""
    said, source = getattr(thing, "summary", ""), getattr(thing, "source", "")
    return f"{said} ({source})" if said and source else said or source


def files_of(folder: Path) -> list[str]:
    """The names of the YAML files in a folder; none where it cannot be read."""
    try:
        names = sorted(name for name in os.listdir(folder) if name.endswith(".yaml") and not name.startswith("."))
    except OSError:
        return []
    return [name for name in names if not os.path.isdir(folder / name)]


def find(preset: str, config_dir: Path | None = None) -> Path:
    """The file of a preset. Raises UserError with the presets that there are."""
    for root in roots(config_dir):
        path = root / "sweeps" / f"{preset}.yaml"
        if os.path.isfile(path):
            return path
    names = choices("sweeps", config_dir)
    hidden = unreadable("sweeps", config_dir)
    own = "" if "/" in preset else f"; there is no ./sweeps/{preset}.yaml of your own"
    raise UserError(f"sweeps is {preset!r}; choose {listing(names)}{nearest(preset, names)}{hidden}{own}")


def unreadable(group: str, config_dir: Path | None = None) -> str:
    """`; sweeps/mine.yaml cannot be read: permission denied …` for what may hold further choices; else nothing."""
    found = dict[str, None]()
    for root in roots(config_dir):
        folder = root / group
        try:
            names = os.listdir(folder)
        except (FileNotFoundError, NotADirectoryError):
            continue
        except OSError as error:
            found[f"{short(folder)} cannot be read: {os_reason(OSError(error.errno, error.strerror))}"] = None
            continue
        for name in sorted(names):
            if name.endswith(".yaml") and not os.access(folder / name, os.R_OK):
                found[f"{short(folder / name)} cannot be read"] = None
    return "".join(f"; {line}" for line in found)


def question(preset: str) -> str | None:
    """The question that a preset's file opens with, without its command; None for a file that asks nothing."""
    try:
        path = find(preset)
    except UserError:
        return None
    return opening_comment(path).partition("python -m ablate")[0].strip() or None


def opening_comment(path: Path) -> str:
    """The first line of comment in a file of a group, or nothing."""
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError):
        return ""
    comments = [line[1:].strip() for line in lines if line.startswith("#")]
    return next((comment for comment in comments if not comment.startswith("@package")), "")


def sweeper_of(path: Path) -> str | None:
    """The sweeper that a preset's defaults list asks for, `override /hydra/sweeper: optuna`.

    Hydra lets the primary config decide that, so that the command line asks here.
    """
    for key, value in _entries(_top(path)):
        for item in value.value if key.value == "defaults" and _is(value, "SequenceNode") else ():
            for name, chosen in _entries(item):
                if name.value == f"override /{SWEEPER}":
                    return str(chosen.value)
    return None


def given_by(preset: str) -> list[str]:
    """The knobs that a preset sets or sweeps; none for one that is not found any more."""
    folders = SEARCHED.get() or roots()
    path = next((one for root in folders if os.path.isfile(one := root / "sweeps" / f"{preset}.yaml")), None)
    return [] if path is None else list(dict.fromkeys(key for _, key, _ in _knobs_of(path)))


def plugins_of(words: Iterable[str], config_dir: Path | None = None) -> list[str]:
    """The files of a person's own that the preset among these overrides names: what they bring may be typed, too."""
    name = next((word.value for word in map(Override.read, words) if word.key == "sweeps"), None)
    try:
        top = _top(find(name, config_dir)) if name else None
    except UserError:  # which is said when the preset is looked at
        return []
    return _plugins_in(top)


def plugins_of_config(path: Path) -> list[str]:
    """The same of a whole configuration, as a search leaves one: best.yaml. None where it cannot be read."""
    try:
        return _plugins_in(_top(path)) if path.is_file() else []
    except UserError:  # which is said when it is composed
        return []


def _plugins_in(top: Any) -> list[str]:
    found = [value for key, value in _entries(top) if key.value == "plugins" and _is(value, "SequenceNode")]
    return [str(item.value) for value in found for item in value.value]


def swept_words(preset: str, config_dir: Path | None = None) -> list[tuple[Path, str]]:
    """What a preset sweeps, each as it would be typed, with the file; none for one that cannot be read."""
    try:
        path = find(preset, config_dir)
        return [
            (path, f"{name.value}={value.value}")
            for key, hydra in _entries(_top(path))
            for part, sweeper in (_entries(hydra) if key.value == "hydra" else ())
            for option, content in (_entries(sweeper) if part.value == "sweeper" else ())
            for table in (content.value if _is(content, "SequenceNode") else [content])
            for name, value in (_entries(table) if option.value in ("params", "blocks") else ())
            if _is(value, "ScalarNode")
        ]
    except UserError:  # which is said when the preset is looked at
        return []


def given(words: Iterable[str], preset: str | None = None) -> tuple[str, ...]:
    """The knobs that overrides set, and those that their preset sets."""
    typed = [name for word in words for name in Override.read(word).knobs]
    return tuple(dict.fromkeys([*typed, *(given_by(preset) if preset else ())]))


def check(path: Path, options: Collection[str]) -> None:
    """Raise UserError, with file and line, for what no preset may say; `options` are those of the sweepers."""
    _check_shapes(path, _top(path))
    for node, key, swept in _knobs_of(path):
        if key == "experiment":
            raise UserError(
                f"{_where(path, node)}: experiment= is of the command line; a preset names its function by "
                "plugins: [FILE.py:FUNCTION] and defaults: [{override /task: FUNCTION}], its knobs by task.NAME"
            )
        if not is_knob(key):
            raise UserError(f"{_where(path, node)}: {no_knob(key)}")
        if swept and not can_be_swept(key):
            raise UserError(f"{_where(path, node)}: {key} cannot be swept; set it outside of params and blocks")
    for top, value in _entries(_top(path)):
        if top.value == "defaults":
            _check_defaults(path, value)
        if top.value != "hydra":
            continue
        for name, below in _entries(value):
            if name.value != "sweeper":
                raise UserError(
                    f"{_where(path, name)}: hydra.{name.value} has no effect here; of Hydra's own settings there is "
                    "hydra.sweeper"
                )
            for option, _ in _entries(below):
                if option.value not in options:
                    raise UserError(
                        f"{_where(path, option)}: there is no option hydra.sweeper.{option.value}; choose "
                        f"{listing(options)}{nearest(option.value, options)}"
                    )


def _check_shapes(path: Path, top: "yaml.Node | None") -> None:
    """Raise UserError for a node of the wrong kind, where Hydra or a sweeper would fail with an error of its own."""
    for key, value in _entries(top):
        if "." in str(key.value):
            group, _, rest = str(key.value).partition(".")
            raise UserError(
                f"{_where(path, key)}: {key.value} is written as a table in a file: {group}: {{{rest}: VALUE}}"
            )
        if key.value == "defaults":
            _check_kind(path, key.value, value, "SequenceNode")
        elif key.value in GROUPS and not _is(value, "MappingNode"):
            raise UserError(
                f"{_where(path, key)}: {key.value} is {_shown(value)}; it is chosen in the defaults list: "
                f"defaults: [override /{key.value}: NAME]"
            )
        elif key.value == "hydra":
            _check_kind(path, "hydra", value, "MappingNode")
            for name, sweeper in _entries(value):
                if name.value == "sweeper":
                    _check_kind(path, "hydra.sweeper", sweeper, "MappingNode")
                for option, content in _entries(sweeper) if name.value == "sweeper" else ():
                    whole = f"hydra.sweeper.{option.value}"
                    if option.value == "blocks":
                        _check_kind(path, whole, content, "SequenceNode", optional=True)
                        for block in content.value if _is(content, "SequenceNode") else ():
                            _check_kind(path, f"an entry of {whole}", block, "MappingNode")
                    elif option.value in ("params", "conditions"):
                        _check_kind(path, whole, content, "MappingNode", optional=True)
        else:
            _check_values(path, key, value)


def _check_kind(path: Path, what: str, node: "yaml.Node", kind: str, optional: bool = False) -> None:
    if not _is(node, kind) and not (optional and _is_null(node)):
        must = "a list, [a, b]" if kind == "SequenceNode" else "a table, {key: value}"
        raise UserError(f"{_where(path, node)}: {what} is {_shown(node)}; it must be {must}")


def check_choice(path: Path, group: str) -> None:
    """Raise UserError, with file and line, for what a person's own `./model/mine.yaml` may not say."""
    if path.is_relative_to(CONFIG_ROOT) or "# @package" in path.read_text(encoding="utf-8", errors="replace"):
        return
    for key, value in _entries(_top(path)):
        if key.value != "defaults":
            for node, name, _ in _below(path, key, value, f"{group}."):
                if not is_knob(name):
                    raise UserError(f"{_where(path, node)}: {no_knob(name)}")
            _check_values(path, key, value, f"{group}.")


def _check_values(path: Path, key: "yaml.Node", value: "yaml.Node", prefix: str = "") -> None:
    """Raise UserError for a knob without a value that needs one, and for what is of another kind than its values."""
    for node, name, content in _below(path, key, value, prefix):
        knob, where = knobs().get(name), _where(path, node)
        if name.startswith("model.gates.") and (_is_null(content) or not _is(content, "ScalarNode")):
            raise UserError(f"{where}: {name} is {_shown(content)}; it must be a number")
        if knob is None or (knob.is_group and not _is_null(content)):
            continue
        if _is_null(content):
            if not knob.optional:
                must = f"a list; an empty one is {name}: []" if knob.is_texts else "given (null is not possible)"
                raise UserError(f"{where}: {name} is null; it must be {must}")
        elif type(content).__name__ not in _node_kinds(knob):
            is_flat = _is(content, "SequenceNode") and all(_is(one, "ScalarNode") for one in content.value)
            if is_flat and knob.is_scalar and can_be_swept(name):
                values = ", ".join(one.value for one in content.value)
                raise UserError(
                    f"{where}: {name} is a list; one value it is, and several are swept below hydra.sweeper.params: "
                    f'{name}: "{values}"'
                )
            raise UserError(f"{where}: {name} is {_shown(content)}; it must be {type_in_words(knob.kind)}")
        elif knob.is_texts and (wrong := next((one for one in content.value if not _is(one, "ScalarNode")), None)):
            raise UserError(f"{_where(path, wrong)}: {name} holds {_shown(wrong)}; it must be a list of texts")


def _node_kinds(knob: Knob) -> set[str]:
    """As which of YAML's kinds a file may write a knob's value."""
    kinds = {list: "SequenceNode", dict: "MappingNode"}
    if knob.kind is Any:  # things that share its name have other types for it
        return {*kinds.values(), "ScalarNode"}
    return {kinds.get(get_origin(one) or one, "ScalarNode") for one in members_of(knob.kind)}


def _is_null(node: "yaml.Node") -> bool:
    return str(node.tag).endswith(":null")


def _shown(node: "yaml.Node") -> str:
    """A node in a message: what is written, or what kind it is."""
    if _is_null(node):
        return "null"
    kinds = {"SequenceNode": "a list", "MappingNode": "a table"}
    return kinds.get(type(node).__name__) or repr(node.value)


def _check_defaults(path: Path, node: "yaml.Node") -> None:
    """Raise UserError for an entry of a defaults list that is none, and for a group that there is not.

    All groups are chosen already, where Hydra begins; a preset can only replace a choice.
    """
    known = (*(group for group in GROUPS if group != "sweeps"), SWEEPER)
    for item in node.value if _is(node, "SequenceNode") else ():
        if not _is(item, "MappingNode") and item.value != "_self_":
            raise UserError(f"{_where(path, item)}: {_shown(item)} chooses nothing; write override /GROUP: NAME")
        for name, chosen in _entries(item):
            group = name.value.removeprefix("override ").lstrip("/").partition("@")[0]
            if group == "sweeps":
                raise UserError(f"{_where(path, name)}: a preset chooses no other; write here what that one sets")
            if group not in known:
                raise UserError(
                    f"{_where(path, name)}: there is no group {group!r}; choose {listing(known)}{nearest(group, known)}"
                )
            if not (_is(chosen, "ScalarNode") and chosen.tag.endswith(":str")):
                more = "; several are swept below hydra.sweeper.params" if _is(chosen, "SequenceNode") else ""
                raise UserError(
                    f"{_where(path, chosen)}: {group} is {_shown(chosen)}; one has to be chosen by its name{more}"
                )
            if not name.value.startswith("override /"):
                raise UserError(
                    f"{_where(path, name)}: {name.value}: {chosen.value} chooses a second {group}; write "
                    f"override /{group}: {chosen.value}"
                )


def _knobs_of(path: Path) -> Iterator[tuple["yaml.Node", str, bool]]:
    """Each key that must name a knob: where it stands, and whether its values are swept."""
    for key, value in _entries(_top(path)):
        if key.value == "hydra":
            yield from _knobs_of_sweeper(path, value)
        elif key.value != "defaults":
            for own, name, content in _below(path, key, value):
                if name in knobs() and knobs()[name].is_text:
                    _check_text(path, own, content)
                _check_number(path, own, name, content)
                yield own, name, False


def _below(
    path: Path, key: "yaml.Node", value: "yaml.Node", prefix: str = ""
) -> "Iterator[tuple[yaml.Node, str, yaml.Node]]":
    """The knobs of a table: the key's node, the knob's name, the value's node; `task: {masked: 0.2}` is task.masked."""
    name = prefix + str(key.value)
    inner = _entries(value)
    if inner and (name == "model.gates" or any(knob.startswith(f"{name}.") for knob in knobs())):
        for below, content in inner:
            _check_key(path, below, content)
            yield from _below(path, below, content, f"{name}.")
    else:
        yield key, name, value


def _knobs_of_sweeper(path: Path, hydra: "yaml.Node") -> Iterator[tuple["yaml.Node", str, bool]]:
    for name, sweeper in _entries(hydra):
        for option, content in _entries(sweeper) if name.value == "sweeper" else ():
            tables = content.value if _is(content, "SequenceNode") else [content]
            for table in tables if option.value in OF_SWEEPER else ():
                swept = option.value in ("params", "blocks")
                seen: set[str] = set()
                for key, value in _entries(table):
                    _check_key(path, key, value)
                    word = Override.read(f"{key.value}={value.value}")
                    names = word.knobs if swept else [str(key.value)]
                    for one in names:
                        yield key, one, swept
                        if former_names.knob_of(one) in seen:
                            raise UserError(f"{_where(path, key)}: {one} stands twice in one table; leave one out")
                        seen.add(former_names.knob_of(one))
                    if swept and word.is_zipped:
                        _check_together(path, value, word)


def _check_key(path: Path, key: "yaml.Node", value: "yaml.Node") -> None:
    """Raise UserError for `{num_hiddens: 32,64}`, which to YAML are two keys."""
    if value.value == "" and re.fullmatch(r"[-+.\deE]+", str(key.value)):
        raise UserError(
            f"{_where(path, key)}: there is no knob {key.value!r}; several values stand in quotes, such as "
            'num_hiddens: "32,64", and a number has a decimal point'
        )


def _check_number(path: Path, key: "yaml.Node", name: str, value: "yaml.Node") -> None:
    """Raise UserError for `lr: 0,5`, which to YAML is a text."""
    number = with_decimal_point(name, value.value) if _is(value, "ScalarNode") else None
    if number is not None:
        raise UserError(
            f"{_where(path, key)}: {name} is {value.value}, and a number has a decimal point: {key.value}: {number}; "
            "several values stand below hydra.sweeper.params"
        )


def _check_together(path: Path, value: "yaml.Node", word: Override) -> None:
    """Raise UserError for rows of knobs that change together that cannot be."""
    if not _is(value, "ScalarNode") or value.tag.rpartition(":")[2] != "str":
        raise UserError(f'{_where(path, value)}: the values of {word.key} stand in quotes: {word.key}: "VALUE:VALUE,…"')
    try:
        checked_rows(word)
    except UserError as error:
        raise UserError(f"{_where(path, value)}: {error}") from error


def _check_text(path: Path, key: "yaml.Node", value: "yaml.Node") -> None:
    """Raise UserError for `name: 2.10`, which to YAML is the number 2.1."""
    if value.tag.rpartition(":")[2] in ("int", "float", "bool", "timestamp"):
        raise UserError(f'{_where(path, value)}: {key.value} is a text; put it in quotes: {key.value}: "{value.value}"')


def _top(path: Path) -> "yaml.Node | None":
    """The whole file as YAML's nodes, each of which knows its line. Raises UserError for what is no table."""
    import yaml

    try:
        node = yaml.compose(path.read_text(encoding="utf-8"), Loader=yaml.SafeLoader)
    except yaml.YAMLError as error:
        raise UserError(yaml_line(error, path)) from error
    except UnicodeDecodeError as error:
        raise UserError(f"{short(path)} is not UTF-8: {error.reason} at byte {error.start}") from error
    if node is not None and not _is(node, "MappingNode"):
        raise UserError(f"{_where(path, node)}: a preset is a table, knob: value")
    return node


def yaml_line(error: "yaml.YAMLError", path: Path | None = None) -> str:
    """What YAML's parser says, in one line, with the file and the line in it."""
    mark, problem = getattr(error, "problem_mark", None), getattr(error, "problem", None)
    where = short(path or Path(getattr(mark, "name", "a YAML file")))
    if mark is None:
        return f"{where}: {' '.join(str(error).split())}"
    context = f"{said}: " if (said := getattr(error, "context", None)) else ""
    return f"{where}, line {mark.line + 1}: {context}{problem}"


def _where(path: Path, node: "yaml.Node") -> str:
    return f"{short(path)}, line {node.start_mark.line + 1}"


def short(path: Path) -> str:
    """A path as seen from the working directory."""
    return str(path.relative_to(Path.cwd()) if path.is_relative_to(Path.cwd()) else path)


def _entries(node: "yaml.Node | None") -> "list[tuple[yaml.Node, yaml.Node]]":
    return list(node.value) if node is not None and _is(node, "MappingNode") else []


def _is(node: "yaml.Node", kind: str) -> bool:
    return type(node).__name__ == kind


def load(path: Path) -> tuple[str, Any]:
    """A YAML file: its text, and its content in the words of today and of Hydra.

    Raises UserError, with file and line, for what cannot be read.
    """
    import yaml
    from omegaconf import OmegaConf

    try:
        text = path.read_text(encoding="utf-8")
        content = OmegaConf.create(text)
        return text, OmegaConf.create(_todays(path, OmegaConf.to_container(content)))
    except yaml.YAMLError as error:
        raise UserError(yaml_line(error, path)) from error
    except UnicodeDecodeError as error:
        raise UserError(f"{short(path)} is not UTF-8: {error.reason} at byte {error.start}") from error


def _todays(path: Path, content: Any) -> Any:
    """A file's content with knobs by their names of today, and the sweeper by its name among Hydra's plugins.

    So a knob typed on the command line replaces the file's, whichever name the file has it by.
    """
    if not isinstance(content, dict):
        return content
    out: dict[str, Any] = _renamed(path, content)
    hydra = out.get("hydra")
    found = hydra.get("sweeper") if isinstance(hydra, dict) else None
    sweeper: dict[str, Any] = found if isinstance(found, dict) else {}
    for option in OF_SWEEPER:
        if isinstance(tables := sweeper.get(option), list):
            sweeper[option] = [_renamed(path, table) for table in tables]
        elif isinstance(tables, dict):
            own = {key: _renamed(path, value) for key, value in tables.items()}
            sweeper[option] = _renamed(path, own)
    if isinstance(out.get("defaults"), list):
        out["defaults"] = [
            {key: SWEEPERS.get(value, value) if str(key).endswith(SWEEPER) else value for key, value in entry.items()}
            if isinstance(entry, dict)
            else entry
            for entry in out["defaults"]
        ]
    return out


def _renamed(path: Path, table: Any) -> Any:
    if not isinstance(table, dict):
        return table
    for former, name in former_names.KNOBS.items():
        if former in table and name in table:
            raise UserError(
                f"{short(path)}: {former} is the former name of {name}, which stands there, too; leave it out"
            )
    return former_names.with_todays_names({str(key): value for key, value in table.items()})
