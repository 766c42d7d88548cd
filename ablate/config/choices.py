"""What choosing a registered thing sets, where no file of conf/ says it: `optimizer=adam`, or a user's cell."""

from copy import deepcopy
from typing import Any

from ablate.config.registry import OF_GROUP, knobs_of

BASE_MODEL = "rnn"
"""The file of conf/model that has the knobs which all models have in common."""
USUAL_DATA = "auto"
"""The data where neither the task nor the command says others."""


def choice(group: str, thing: Any) -> dict[str, Any]:
    """What `group=NAME` sets, as a file of conf/ would say it."""
    own = {knob.name: deepcopy(knob.default) for knob in knobs_of(thing)}
    if group == "model":
        return {"defaults": [BASE_MODEL, "_self_"], "name": thing.name, "cell": thing.name} | own
    if group == "optimizer":
        return {"name": thing.name, "lr": thing.lr} | own
    if group == "data":
        return {"name": thing.name, "tokens": "word", "cleaning": "keep"} | dict(thing.fixed) | own
    if group == "task":
        brings = dict(getattr(thing, "brings", {}))
        chosen = {"data": thing.data[0]} if thing.data and USUAL_DATA not in thing.data else {}
        chosen |= {name: brings.pop(name) for name in OF_GROUP if name in brings}
        overridden: list[Any] = [{f"override /{name}": value} for name, value in chosen.items()]
        return {"defaults": [*overridden, "_self_"], "task": {"name": thing.name} | own} | brings
    return {"name": thing.name} | own
