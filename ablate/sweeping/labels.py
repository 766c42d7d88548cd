"""What a setting is called on the screen: its model and the knobs that the sweep varies, as they are typed."""

from collections.abc import Hashable, Sequence
from dataclasses import fields
from functools import cache
from typing import Any

from ablate.config.columns import as_typed, column
from ablate.config.dependence import gates_text, independent
from ablate.config.schema import Config, Part


def label(config: Config, swept: Sequence[str]) -> str:
    """`gru num_hiddens=32`: the model and what the sweep varies."""
    values = knobs_of(config)
    subject = config.model.name if config.task.thing.has_network else config.task.name
    return " ".join([subject, *(word for key in swept if key in values for word in _words(key, values[key]))])


def _words(key: str, value: Any) -> list[str]:
    """A knob as it is typed; of a table, such as `model.gates`, a word for each of its entries."""
    if isinstance(value, dict):
        return [word for name, one in value.items() for word in _words(f"{key}.{name}", one)]
    return [f"{as_typed(key)}={short_value(value)}"]


def short_value(value: Any) -> str:
    return "null" if value is None else f"{value:g}" if isinstance(value, float) else str(value)


def knobs_of(config: Config) -> dict[str, Any]:
    """Every knob by the name that is typed, where it means something, but for the lists of a group's choice."""
    beside = frozenset[str]() if config.task.thing.has_network else _of_networks()
    out: dict[str, Any] = {}
    for f in fields(config):
        value = getattr(config, f.name)
        if f.name in beside:
            continue
        if not isinstance(value, Part):
            out[f.name] = value
            continue
        out[f.name] = value.name
        if beside:
            out["model"] = value.name  # what is trained, as the frames of records have it
        out |= {f"{f.name}.{name}": one for name, one in value.values().items() if name != "name"}
    return out


@cache
def _of_networks() -> frozenset[str]:
    """The knobs and parts that mean nothing where there is no network."""
    deciding = {f.name for f in fields(Config) if f.metadata.get("identity", True)} | {"data", "updates", "match"}
    return frozenset(deciding - {"task", "seed"})


def varying(configs: Sequence[Config]) -> list[str]:
    """The knobs, other than the model, in which the configs differ; what follows from the others is left out.

    Knobs that merely vary together are all there.
    """
    rows = [knobs_of(config) for config in configs]
    keys = dict.fromkeys(key for values in rows for key in values if key != "optimizer.lr")
    typed = {column(key): key for key in keys}
    found = independent({name: [framed(values.get(key)) for values in rows] for name, key in typed.items()})
    return sorted((typed[name] for name in found if name != "model"), key=lambda key: "." in key)


def framed(value: Any) -> Hashable:
    """A knob's value as the frames of records have it."""
    if isinstance(value, dict):
        return gates_text(value)
    return str(value) if isinstance(value, list) else value
