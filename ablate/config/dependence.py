"""Which knobs follow from which: what a choice brings along by its meaning, and so tells no two settings apart itself.

Two knobs that merely vary together (a learning rate typed anew for each model) follow from nothing: they are
confounded, and both are named wherever one of them is.
"""

from __future__ import annotations

from collections.abc import Hashable, Iterable, Mapping, Sequence
from functools import cache
from typing import Any

from omegaconf import OmegaConf

from ablate.config.schema import CONFIG_ROOT, TASK_OPTIONS

BRINGS: dict[str, tuple[str, ...]] = {
    "model": (
        *("activation", "output_activation", "coupled", "peepholes", "gate_recurrence", "gates"),
        *("readout", "write_back", "reset", "forget_bias", "cell"),
    ),
    "formulation": ("init", "reset", "bias_vectors"),
    "layers": ("dropout", "connection", "transition"),
    "connection": ("transition",),
    "optimizer": ("lr", "momentum", "weight_decay", "betas", "eps", "alpha"),
    "corpus": ("corpus_sha256", "unit", "cleaning", "path", "file", "sha256", "urls"),
    "unit": ("corpus_sha256",),
    "cleaning": ("corpus_sha256",),
    "task": (
        *("corpus", "corpus_sha256", "unit", "cleaning", "optimizer", "lr", "model", "init", "num_hiddens", "layers"),
        *(
            "path",
            "file",
            "sha256",
            "urls",
            "dropout",
            "num_steps",
            "batch_size",
            "sampling",
            "max_tokens",
            "val_tokens",
            "clip",
            "epochs",
        ),
        *(name for options in TASK_OPTIONS.values() for name in options),
    ),
}
"""What may follow from a knob by its meaning, so that a comparison is none the less fair. Names as in records' frames.

It does follow where every setting has the value that the choice brings by itself, or where the settings to which the
knob applies at all share one value. A value that somebody typed for one choice and not for another does not follow.
"""

IMPLEMENTATION: dict[str, dict[str, Any]] = {
    "torch": {"init": "torch", "reset": "after", "bias_vectors": 2},
    "textbook": {"init": "normal", "reset": "before", "bias_vectors": 1},
}
"""What each `formulation` brings; `reset` where there is a reset gate."""

BY_DATA = ("corpus", "corpus_sha256")
"""What no person could have chosen otherwise: each task has data of its own, each text its checksum."""
BETWEEN_LAYERS = ("dropout", "connection", "transition")
"""What does not apply where there is one layer."""
ALWAYS = ("activation", "gates", "clip")
"""Knobs for which a missing value is a choice, too."""


def independent(columns: Mapping[str, Sequence[Hashable]]) -> list[str]:
    """The knobs, in their order, that tell settings apart: of several values, and not brought by another knob.

    `columns`: knob → its value in each setting (settings,); None where it does not apply.
    """
    varying = {name: column for name, column in columns.items() if len(set(column)) > 1}
    return [name for name in varying if not _follows(name, varying, columns)]


def _follows(name: str, varying: Mapping[str, Sequence[Hashable]], columns: Mapping[str, Sequence[Hashable]]) -> bool:
    sources = [source for source in varying if name in BRINGS.get(source, ())]
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
    task = (_choice("task", str(row["task"])) if row.get("task") is not None else None) or {}
    if name in BRINGS["model"] and name not in ("reset", "forget_bias"):
        model = _choice("model", str(row.get("model")))
        default = gates_text(model["gates"]) if model and name == "gates" else (model or {}).get(name)
        return model is None or (value if name != "activation" or value else "tanh") == default
    if name in task:
        return bool(value == task[name])
    if name in BRINGS["optimizer"]:
        optimizer = _choice("optimizer", str(row.get("optimizer")))
        default = (optimizer or {}).get(name)
        return optimizer is None or value == (str(default) if name == "betas" else default)
    if name in BRINGS["formulation"]:
        known = IMPLEMENTATION.get(str(row.get("formulation")))
        return known is None or value == known[name]
    if name in ("unit", "cleaning"):
        data = _choice("data", str(row.get("corpus")))
        return data is None or value == data["tokens" if name == "unit" else name]
    usual = _config()
    if name in ("model", "optimizer"):
        return bool(value == task.get(f"/{name}", usual.get(f"/{name}")))
    return name not in usual or bool(value == usual[name])


def gates_text(gates: Mapping[str, float]) -> str | None:
    """`reset=1 update=0`: the gates that a model holds at a constant; None for none."""
    return " ".join(f"{gate}={value:g}" for gate, value in sorted(gates.items())) or None


@cache
def _choice(group: str, name: str) -> dict[str, Any] | None:
    """What a choice of conf/ sets, with what it is made from; `/group` → the choice it makes of another group.

    None for a choice that conf/ does not have: one of the user's own.
    """
    path = CONFIG_ROOT / "conf" / group / f"{name}.yaml"
    if not path.is_file():
        return None
    return _loaded(group, OmegaConf.to_container(OmegaConf.load(path), resolve=False))


@cache
def _config() -> dict[str, Any]:
    """The defaults of all tasks."""
    return _loaded("", OmegaConf.to_container(OmegaConf.load(CONFIG_ROOT / "conf" / "config.yaml"), resolve=False))


def _loaded(group: str, content: Any) -> dict[str, Any]:
    out: dict[str, Any] = {}
    for entry in content.get("defaults", ()):
        if isinstance(entry, dict):
            out |= {f"/{key.removeprefix('override /')}": value for key, value in entry.items()}
        elif group and entry != "_self_":
            out |= _choice(group, entry) or {}
    own = content.get("task")
    out |= {key: value for key, value in content.items() if key != "defaults"}
    return out | (own if isinstance(own, dict) else {})
