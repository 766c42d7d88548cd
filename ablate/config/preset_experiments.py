"""`experiment: train.py:train` in a preset: the same file with the plugin, the task and its knobs written out.

A bare name is the function's own knob, as on the command line (`ablate.experiments.words`); whatever reads a preset
reads what it stands for.
"""

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ablate.config.errors import UserError
from ablate.config.registry import resolved
from ablate.config.yaml_nodes import entries, is_table, read_nodes, value_of, where

if TYPE_CHECKING:
    import yaml

KEY = "experiment"
FOLDER = "sweeps"
"""Of the files that may name one."""


def reference_of(path: Path) -> str | None:
    """What a preset names as its experiment, `train.py:train`; None for a file that names none or cannot be read."""
    return None if (content := _content(path)) is None or KEY not in content else str(content[KEY])


def sets_objective(path: Path) -> bool:
    """Whether a preset says what a search of it looks for."""
    sweeper = ((_content(path) or {}).get("hydra") or {}).get("sweeper") or {}
    return "objective" in sweeper


def _content(path: Path) -> dict[str, Any] | None:
    try:
        content = value_of(path.read_text(encoding="utf-8"), path)
    except (OSError, UnicodeDecodeError, UserError):  # which is said when the preset is looked at
        return None
    return content if isinstance(content, dict) else None


def preset_nodes(path: Path) -> "yaml.Node | None":
    """The table of a preset's file, without `experiment:`: what it names is loaded. None for an empty file.

    Raises UserError, with file and line, for what is no YAML and no table, for a file or function that is not there,
    for what the function has no knob for, and for another task.
    """
    top = read_nodes(path)
    key = next((key for key, _ in entries(top) if key.value == KEY), None)
    if top is None or key is None or path.parent.name != FOLDER:
        return top
    return _Writer(path, top, key).written()


class _Writer:
    """A preset that names an experiment, as one that says the same without."""

    def __init__(self, path: Path, top: "yaml.Node", key: "yaml.Node") -> None:
        self.path, self.top, self.key = path, top, key
        self.value = next(value for key, value in top.value if key is self.key)
        if not isinstance(self.value.value, str):
            raise UserError(f"{where(path, self.value)}: {KEY} names one function: {KEY}: FILE.py:FUNCTION")
        try:
            self.facts = resolved("ablate.experiments.words:chosen")(self.value.value)
        except UserError as error:
            raise UserError(f"{where(path, self.value)}: {error}") from error

    def written(self) -> "yaml.Node":
        kept: dict[str, tuple[yaml.Node, yaml.Node]] = {}
        own: list[tuple[yaml.Node, yaml.Node]] = []
        for key, value in self.top.value:
            if key is self.key:
                continue
            if key.value in ("defaults", "plugins", "task"):
                kept[key.value] = key, value
            elif key.value == "hydra":
                kept["hydra"] = key, self._hydra(value)
            elif (name := self._name(key)) != key.value:
                own.append((self._text(name.removeprefix("task."), key), value))
            else:
                kept[key.value] = key, value
        self._check_task(kept)
        kept["plugins"] = self._appended("plugins", kept, self._text(self.value.value, self.value))
        chosen = self._table([(self._text("override /task", self.value), self._text(self.facts.name, self.value))])
        kept["defaults"] = self._appended("defaults", kept, chosen)
        if own:
            before = kept["task"][1].value if "task" in kept else []
            kept["task"] = self._text("task", self.key), self._table([*before, *own])
        return self._table([*kept.values()])

    def _check_task(self, kept: "dict[str, tuple[yaml.Node, yaml.Node]]") -> None:
        for entry in kept["defaults"][1].value if "defaults" in kept else ():
            for name, chosen in entry.value if isinstance(entry.value, list) else ():
                if str(name.value).endswith("/task"):
                    raise UserError(
                        f"{where(self.path, name)}: {KEY}: {self.value.value} is the task of this preset; leave out "
                        f"{name.value}: {chosen.value}"
                    )

    def _hydra(self, hydra: "yaml.Node") -> "yaml.Node":
        return self._each(hydra, lambda name, node: self._each(node, self._option) if name == "sweeper" else node)

    def _option(self, name: str, node: "yaml.Node") -> "yaml.Node":
        if name == "blocks" and isinstance(node.value, list):
            return _like(node, [self._renamed(block) for block in node.value])
        if name == "conditions":
            return self._each(self._renamed(node), lambda _, inner: self._renamed(inner))
        return self._renamed(node) if name in ("params", "baseline") else node

    def _each(self, table: "yaml.Node", change: "Callable[[str, yaml.Node], yaml.Node]") -> "yaml.Node":
        if not is_table(table):
            return table  # which is refused when the preset is checked
        return _like(table, [(key, change(str(key.value), value)) for key, value in table.value])

    def _renamed(self, table: "yaml.Node") -> "yaml.Node":
        if not is_table(table):
            return table
        return _like(table, [(self._text(self._name(key), key), value) for key, value in table.value])

    def _name(self, key: "yaml.Node") -> str:
        """A knob's full name, or those of several that change together."""
        full, own = resolved("ablate.experiments.words:full_name"), [knob.name for knob in self.facts.knobs]
        try:
            return ":".join(full(name.strip(), own, self.facts.name) for name in str(key.value).split(":"))
        except UserError as error:
            raise UserError(f"{where(self.path, key)}: {error}") from error

    def _appended(
        self, name: str, kept: "dict[str, tuple[yaml.Node, yaml.Node]]", item: "yaml.Node"
    ) -> "tuple[yaml.Node, yaml.Node]":
        import yaml

        key, node = kept.get(name, (self._text(name, self.key), None))
        before = [] if node is None or not isinstance(node.value, list) else node.value
        mark = self.key.start_mark
        return key, yaml.SequenceNode("tag:yaml.org,2002:seq", [*before, item], mark, mark)

    def _table(self, rows: "list[tuple[yaml.Node, yaml.Node]]") -> "yaml.Node":
        import yaml

        return yaml.MappingNode("tag:yaml.org,2002:map", rows, self.top.start_mark, self.top.end_mark)

    def _text(self, text: str, at: "yaml.Node") -> "yaml.Node":
        import yaml

        return yaml.ScalarNode("tag:yaml.org,2002:str", text, at.start_mark, at.end_mark)


def _like(node: "yaml.Node", value: Any) -> "yaml.Node":
    return type(node)(node.tag, value, node.start_mark, node.end_mark)
