"""All parameters of a few replicas in one buffer (R, P), so that clipping and updating them are a few operations.

Axes: R replicas, P numbers per replica, H hidden, V vocabulary. The weights of a layer's gates lie side by side:
W_x (R, inputs, gates·H) and W_h (R, H, gates·H) are views of the buffer, and so are the named tensors of
`ablate.networks.parameters`.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from ablate.config.schema import Config, resolve
from ablate.engines.cohort.steps import columns, steps_class

ALIGNMENT = 32
"""Numbers: every tensor fills whole vectors, so that a replica's row is computed alike wherever it stands."""


@dataclass(frozen=True)
class Place:
    """Where a tensor lies in a replica's row: from `start`, (rows, width), or (width,) for a bias."""

    start: int
    rows: int
    width: int

    def view(self, buffer: Tensor) -> Tensor:
        """(R, P) → (R, rows, width)"""
        end = self.start + self.rows * self.width
        return buffer[:, self.start : end].view(-1, self.rows, self.width)


@dataclass(frozen=True)
class LayerWeights:
    """One layer's parameters, or their gradients. Biases have a row axis of 1."""

    W_x: Tensor  # (R, inputs, gates·H)
    W_h: Tensor  # (R, H, gates·H)
    b_x: Tensor  # (R, 1, gates·H)
    b_h: Tensor | None  # (R, 1, gates·H)


class Layout:
    """The places of all parameters of `config`."""

    def __init__(self, config: Config, vocabulary_size: int) -> None:
        self.config = config
        self.size = 0
        self.layers: list[dict[str, Place]] = []
        self.named: dict[str, tuple[Place, slice]] = {}  # name → place, columns
        H, V = config.num_hiddens, vocabulary_size
        input_gates, state_gates, _ = steps_class(config).arrange(config)
        for layer in range(config.layers):
            order = {"W_x": input_gates, "W_h": state_gates, "b_x": input_gates}
            rows = {"W_x": V if layer == 0 else H, "W_h": H, "b_x": 1, "b_h": 1}
            if resolve(config).bias_vectors == 2:
                order["b_h"] = state_gates
            places = {name: self._next(rows[name], len(gates) * H) for name, gates in order.items()}
            self.layers.append(places)
            for name, gates in order.items():
                for gate, where in columns(gates, H).items():
                    self.named[f"{layer}.{gate}.{name}"] = places[name], where
        # Transposed, because the logits are (R, V, N).
        self.output = {"output.W": self._next(V, H), "output.b": self._next(V, 1)}

    def _next(self, rows: int, width: int) -> Place:
        place = Place(self.size, rows, width)
        self.size += math.ceil(rows * width / ALIGNMENT) * ALIGNMENT
        return place

    def layer_views(self, buffer: Tensor) -> list[LayerWeights]:
        views = [{name: place.view(buffer) for name, place in places.items()} for places in self.layers]
        return [LayerWeights(v["W_x"], v["W_h"], v["b_x"], v.get("b_h")) for v in views]

    def output_views(self, buffer: Tensor) -> tuple[Tensor, Tensor]:
        """Output weights (R, V, H) and biases (R, V, 1)."""
        return self.output["output.W"].view(buffer), self.output["output.b"].view(buffer)

    def named_views(self, buffer: Tensor, replica: int) -> dict[str, Tensor]:
        """The parameters of one replica under the names and in the shapes of `ablate.networks.parameters`."""
        out = {}
        for name, (place, where) in self.named.items():
            view = place.view(buffer)[replica, :, where]
            out[name] = view[0] if ".b_" in name else view
        W, b = self.output_views(buffer)
        return out | {"output.W": W[replica].t(), "output.b": b[replica, :, 0]}

    def stack(self, parameters: Sequence[Mapping[str, Tensor]], device: torch.device) -> Tensor:
        """The named tensors of each replica → one buffer (R, P); padding is zero.

        Raises ValueError where a replica's tensors are not those of the config.
        """
        dtype = parameters[0]["output.W"].dtype
        buffer = torch.zeros(len(parameters), self.size, dtype=dtype, device=device)
        for replica, tensors in enumerate(parameters):
            views = self.named_views(buffer, replica)
            if {name: t.shape for name, t in tensors.items()} != {name: v.shape for name, v in views.items()}:
                raise ValueError(f"the parameters of replica {replica} are not those of its config")
            for name, view in views.items():
                view.copy_(tensors[name])
        return buffer
