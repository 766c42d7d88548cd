"""All parameters of a few replicas in one buffer (R, P), so that clipping and updating them are a few operations.

Axes: R replicas, P numbers per replica, H hidden, V vocabulary, K pre-activations. The weights of a layer lie as its
cell is computed (`ablate.cells.derivative`): side by side what multiplies the same, W_x (R, inputs, K·H), and one
matrix (R, n·H, k·H) for each group of products. They are views of the buffer, and so are the named tensors of
`ablate.networks.parameters`.
"""

import math
from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass
from typing import TypeVar

import torch
from torch import Tensor

from ablate.cells.cell import variant_of
from ablate.cells.derivative import derivative_of
from ablate.cells.structure import parameter
from ablate.config.resolved import Resolved
from ablate.engines.cohort.padding import fill
from ablate.networks.parameters import Vocabulary, ends, shapes

Key = TypeVar("Key", bound=Hashable)

ALIGNMENT = 32
"""Numbers: every tensor fills whole vectors, so that a replica's row is computed alike wherever it stands."""


def columns(keys: Sequence[Key], H: int) -> dict[Key, slice]:
    """Blocks in order → the columns of each."""
    return {key: slice(k * H, (k + 1) * H) for k, key in enumerate(keys)}


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
    """One layer's parameters, or their gradients, of what the graph of its cell reaches. Vectors have a row axis of 1.

    Groups, inputs K and vectors are those of its `Derived`, in the same order.
    """

    W_x: Tensor  # (R, inputs, K·H)
    matrices: tuple[Tensor, ...]  # of each group (R, n·H, k·H)
    b_x: Tensor  # (R, 1, K·H)
    b_h: Tensor | None  # (R, 1, k·H): those that are simply added to b_x
    vectors: tuple[Tensor, ...]  # (R, 1, H)


@dataclass(frozen=True)
class LayerPlaces:
    """Where a layer's parameters lie."""

    W_x: Place
    matrices: tuple[Place, ...]
    b_x: Place
    b_h: Place | None
    vectors: tuple[Place, ...]
    reached: int
    """Columns of W_x and b_x, the first ones, that the graph reaches."""

    def views(self, buffer: Tensor) -> LayerWeights:
        return LayerWeights(
            self.W_x.view(buffer)[..., : self.reached],
            tuple(place.view(buffer) for place in self.matrices),
            self.b_x.view(buffer)[..., : self.reached],
            None if self.b_h is None else self.b_h.view(buffer),
            tuple(place.view(buffer) for place in self.vectors),
        )


class Layout:
    """The places of all parameters of `config`, whose cell has a derivative.

    What the cell's graph does not reach, as where a gate is held at 0, has a place, and no gradient.
    """

    def __init__(self, config: Resolved, vocabulary_size: Vocabulary) -> None:
        self.config, self.vocabulary_size = config, vocabulary_size
        self.derived = derivative_of(config)
        self.size = 0
        self.named: dict[str, tuple[Place, slice]] = {}  # name → place, columns
        self.are_vectors: set[str] = set()
        H, (inputs, outputs) = config.num_hiddens, ends(vocabulary_size)
        self.layers = [self._layer(f"{layer}.", inputs if layer == 0 else H, H) for layer in range(config.layers)]
        # Transposed, because the logits are (R, V, N).
        self.output = {"output.W": self._next(outputs, H), "output.b": self._next(outputs, 1)}

    def _layer(self, prefix: str, inputs: int, H: int) -> LayerPlaces:
        d, structure = self.derived, variant_of(self.config).structure
        doubled = self.config.bias_vectors == 2

        def placed(rows: int, keys: Sequence[tuple[str, str]]) -> Place:
            place = self._next(rows, len(keys) * H)
            for (name, kind), where in columns(keys, H).items():
                self.named[prefix + parameter(name, kind)] = place, where
            return place

        def vector(key: tuple[str, str]) -> Place:
            return placed(1, [key])

        read = [*d.inputs, *(n for n in structure.preactivations if n in structure.reads_input and n not in d.inputs)]
        folded = [(name, "b_h") for name in d.inputs if name in d.folded] if doubled else []
        out = LayerPlaces(
            placed(inputs, [(name, "W_x") for name in read]),
            tuple(placed(len(group.operand) * H, group.weights) for group in d.groups),
            placed(1, [(name, "b_x") for name in read]),
            placed(1, folded) if folded else None,
            tuple(vector(key) for key in d.vectors),
            len(d.inputs) * H,
        )
        matrices = [key for group in d.groups for key in group.weights]
        for key, rows in structure.matrices.items():  # what is not reached
            if key not in matrices:
                placed(rows * H, [key])
        seconds = [(name, "b_h") for name, kind in structure.matrices if kind == "W" and doubled]
        vectors = [*seconds, *sorted(structure.vectors)]
        for key in vectors:
            if key not in d.vectors and key not in folded:
                vector(key)
        self.are_vectors |= {prefix + parameter(*key) for key in (*vectors, *((name, "b_x") for name in read))}
        return out

    def _next(self, rows: int, width: int) -> Place:
        place = Place(self.size, rows, width)
        self.size += math.ceil(rows * width / ALIGNMENT) * ALIGNMENT
        return place

    def layer_views(self, buffer: Tensor) -> list[LayerWeights]:
        return [places.views(buffer) for places in self.layers]

    def output_views(self, buffer: Tensor) -> tuple[Tensor, Tensor]:
        """Output weights (R, V, H) and biases (R, V, 1)."""
        return self.output["output.W"].view(buffer), self.output["output.b"].view(buffer)

    def named_views(self, buffer: Tensor, replica: int) -> dict[str, Tensor]:
        """The parameters of one replica under the names and in the shapes of `ablate.networks.parameters`."""
        out = {}
        for name, (place, where) in self.named.items():
            view = place.view(buffer)[replica, :, where]
            out[name] = view[0] if name in self.are_vectors else view
        W, b = self.output_views(buffer)
        return out | {"output.W": W[replica].t(), "output.b": b[replica, :, 0]}

    def stack(
        self, parameters: Sequence[Mapping[str, Tensor]], device: torch.device, configs: Sequence[Resolved] = ()
    ) -> Tensor:
        """The named tensors of each replica → one buffer (R, P); padding is zero.

        `configs` are the replicas' own, where some have fewer hidden units. Raises ValueError where a replica's tensors
        are not those of its config.
        """
        dtype = parameters[0]["output.W"].dtype
        buffer = torch.zeros(len(parameters), self.size, dtype=dtype, device=device)
        for replica, tensors in enumerate(parameters):
            own = shapes(configs[replica] if configs else self.config, self.vocabulary_size)
            if {name: tuple(tensor.shape) for name, tensor in tensors.items()} != own:
                raise ValueError(f"the parameters of replica {replica} are not those of its config")
            for name, view in self.named_views(buffer, replica).items():
                fill(view, tensors[name], self.config.num_hiddens)
        return buffer
