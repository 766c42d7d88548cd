"""Which knobs follow from which: what a choice brings along by its meaning, and so tells no two settings apart itself.

Two knobs that merely vary together (a learning rate typed anew for each model) follow from nothing: they are
confounded, and both are named wherever one of them is.
"""

from __future__ import annotations

from collections.abc import Hashable, Iterable, Mapping, Sequence
from functools import cache, lru_cache
from typing import Any

from omegaconf import OmegaConf

from ablate.config.choices import choice
from ablate.config.columns import OF_DATA, column, own_columns
from ablate.config.knobs import knobs
from ablate.config.registry import OF_GROUP, knobs_of, revision
from ablate.config.resolved import usual_t_max
from ablate.config.schema import CONFIG_ROOT, PARTS


@lru_cache(1)
def _brings(_: tuple[int, ...]) -> dict[str, set[str]]:
    found: dict[str, set[str]] = {}
    for name, sources in _FOLLOWS_DATA.items():
        for source in sources:
            found.setdefault(source, set()).add(name)
    for key, knob in knobs().items():
        group = key.partition(".")[0]
        of_thing = [OF_DATA.get(group, group), *["task"] * (group == "data")]
        for source in of_thing if knob.owners else knob.metadata.get("follows", ()):
            found.setdefault(source, set()).add(column(key))
    return found


_FOLLOWS_DATA = {"corpus_sha256": ("corpus", "unit", "cleaning", "task")}
"""The checksum of a text, which is no knob."""


def brings(name: str) -> set[str]:
    """What may follow from a knob by its meaning, so that a comparison is none the less fair. Names as in frames.

    Declared with the knobs that follow (`follows`); what a thing has of its own follows from the choice of the thing.

    It does follow where every setting has the value that the choice brings by itself, or where the settings to which
    the knob applies at all share one value. A value that somebody typed for one choice and not for another does not
    follow.
    """
    return _brings(revision()).get(name, set())


IMPLEMENTATION: dict[str, dict[str, Any]] = {
    "torch": {"init": "torch", "reset": "after", "bias_vectors": 2},
    "textbook": {"init": "normal", "reset": "before", "bias_vectors": 1},
}
"""What each `formulation` brings; `reset` where there is a reset gate."""

BY_DATA = ("corpus", "corpus_sha256")
"""What no person could have chosen otherwise: each task has data of its own, each text its checksum."""
BETWEEN_LAYERS = ("dropout", "connection", "transition")
"""What does not apply where there is one layer."""
ALWAYS = ("gates", "clip")
"""Knobs for which a missing value is a choice, too."""


def independent(columns: Mapping[str, Sequence[Hashable]]) -> list[str]:
    """The knobs, in their order, that tell settings apart: of several values, and not brought by another knob.

    `columns`: knob → its value in each setting (settings,); None where it does not apply.
    """
    varying = {name: column for name, column in columns.items() if len(set(column)) > 1}
    return [name for name in varying if not _follows(name, varying, columns)]


def _follows(name: str, varying: Mapping[str, Sequence[Hashable]], columns: Mapping[str, Sequence[Hashable]]) -> bool:
    sources = [source for source in varying if name in brings(source)]
    if not sources or not is_function(varying[name], [varying[source] for source in sources]):
        return False
    if name in BY_DATA:
        return True
    names = list(columns)
    rows = [dict(zip(names, values, strict=True)) for values in zip(*columns.values(), strict=True)]
    applying = {row[name] for row in rows if _applies(name, row)}
    if len(applying) <= 1:
        return True
    return all(_brought(name, row) for row in rows)


def is_function(column: Sequence[Hashable], of: Iterable[Sequence[Hashable]]) -> bool:
    """Whether the values (settings,) are decided by those of other columns."""
    found: dict[tuple[Hashable, ...], Hashable] = {}
    keys = list(zip(*of, strict=True)) or [()] * len(column)
    return all(found.setdefault(key, value) == value for key, value in zip(keys, column, strict=True))


def _applies(name: str, row: Mapping[str, Any]) -> bool:
    """Whether a knob can have an effect in a setting."""
    if name in BETWEEN_LAYERS and row.get("layers") == 1:
        return False
    return name in ALWAYS or row[name] is not None


def _brought(name: str, row: Mapping[str, Any]) -> bool:
    """Whether the value of a knob in a setting is what the setting's choices bring; also where conf/ cannot tell."""
    value = row[name]
    if not _applies(name, row):
        return True
    if name == "t_max":
        return bool(value == usual_t_max(row["num_steps"]))
    if name == "embedding" and row.get("tied"):
        return bool(value == row["num_hiddens"])
    task = (chosen("task", str(row["task"])) if row.get("task") is not None else None) or {}
    if name in brings("model") and name not in ("reset", "forget_bias"):
        model = chosen("model", str(row.get("model")))
        default = gates_text(model["gates"]) if model and name == "gates" else (model or {}).get(_typed("model", name))
        return model is None or bool(value == default)
    if name in own_columns("task").values() or name in task:
        return bool(value == task.get(_typed("task", name)))
    for group in ("optimizer", "schedule"):
        if name in brings(group):
            found = chosen(group, str(row.get(group)))
            default = (found or {}).get(_typed(group, name))
            return found is None or value == (str(default) if isinstance(default, list) else default)
    if name in brings("formulation"):
        known = IMPLEMENTATION.get(str(row.get("formulation")))
        return known is None or value == known[name]
    if name in ("unit", "cleaning", *own_columns("data").values()):
        data = chosen("data", str(row.get("corpus")))
        return data is None or value == data.get("tokens" if name == "unit" else _typed("data", name))
    usual = defaults()
    if name in ("model", "optimizer"):
        return bool(value == task.get(f"/{name}", usual.get(f"/{name}")))
    return name not in usual or bool(value == usual[name])


def gates_text(gates: Mapping[str, float]) -> str | None:
    """`reset=1 update=0`: the gates that a model holds at a constant; None for none."""
    return " ".join(f"{gate}={value:g}" for gate, value in sorted(gates.items())) or None


def gates_of(text: str | None) -> dict[str, float]:
    """The gates of such a text, each with its constant."""
    pairs = (word.partition("=") for word in (text or "").split())
    return {gate: float(value) for gate, _, value in pairs}


def _typed(group: str, name: str) -> str:
    """The name of a knob within its group, of a column."""
    return name.removeprefix(f"{group}.")


def chosen(group: str, name: str) -> dict[str, Any] | None:
    """What a choice sets, with what it is made from; `/group` → the choice it makes of another group.

    None for a choice that neither conf/ has nor anything that is loaded here.
    """
    return _chosen(group, name, revision())


@cache
def _chosen(group: str, name: str, _: tuple[int, ...]) -> dict[str, Any] | None:
    path = CONFIG_ROOT / "conf" / group / f"{name}.yaml"
    if path.is_file():
        loaded = _loaded(group, OmegaConf.to_container(OmegaConf.load(path), resolve=False))
    elif (thing := OF_GROUP[group].get(name)) is not None:
        loaded = _loaded(group, choice(group, thing))
    else:
        return None
    thing = OF_GROUP[group].get(loaded[PARTS[group].chosen_by])
    return {knob.name: knob.default for knob in knobs_of(thing)} | loaded


@cache
def defaults() -> dict[str, Any]:
    """The defaults of all tasks."""
    return _loaded("", OmegaConf.to_container(OmegaConf.load(CONFIG_ROOT / "conf" / "config.yaml"), resolve=False))


def _loaded(group: str, content: Any) -> dict[str, Any]:
    out: dict[str, Any] = {}
    for entry in content.get("defaults", ()):
        if isinstance(entry, dict):
            out |= {f"/{key.removeprefix('override /')}": value for key, value in entry.items()}
        elif group and entry != "_self_":
            out |= chosen(group, entry) or {}
    own = content.get("task")
    out |= {key: value for key, value in content.items() if key != "defaults"}
    return out | (own if isinstance(own, dict) else {})
