"""Ids that runs had until version 0.1: what is stored under one of them is found, and read under that of today.

`impl` entered a run's identity although it is resolved into init, reset and bias_vectors; and bias_vectors that of
cells without a recurrent product, which have one bias whatever it says. One run of today could have several such ids.
"""

from collections.abc import Mapping
from itertools import product
from typing import Any

FORMULATION = ("api", "scratch")
"""What `impl` was in an identity."""
BIAS_VECTORS = (1, 2)
WITHOUT_PRODUCT = ("mingru", "minlstm")
"""The cells that there were whose bias_vectors changes nothing."""


def identity_today(stored: Mapping[str, Any]) -> dict[str, Any]:
    """A stored identity, whether of a run or of a setting, as it is made today."""
    out = {name: value for name, value in stored.items() if name != "impl"}
    if _without_product(out):
        out.pop("bias_vectors", None)
    return out


def former_identities(today: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Every identity that the same run, or setting, could have had before."""
    counts: list[dict[str, Any]] = [{}]
    if _without_product(today):
        counts = [{"bias_vectors": count} for count in BIAS_VECTORS]
    return [{**today, "impl": impl, **count} for impl, count in product(FORMULATION, counts)]


def _without_product(identity: Mapping[str, Any]) -> bool:
    model = identity.get("model")
    return isinstance(model, Mapping) and model.get("cell") in WITHOUT_PRODUCT
