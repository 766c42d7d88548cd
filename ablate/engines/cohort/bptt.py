"""Truncated backpropagation through time for a few replicas: a plain stack of layers of any cell that has a derivative.

Axes: R replicas, T steps, B sequences, N = T·B tokens, H hidden, K blocks of H columns, V vocabulary. Per layer,
with the recurrent weights W, pre-activations A and gradients D at them (`ablate.networks.recurrence`):

    forward   for t = 1 … T:   A_t += H_{t−1} W;   cell: A_t → H_t
    back      for t = T … 1:   cell: dH_t → D_t;   dH_{t−1} += (cell's direct path) + D_t Wᵀ
    after     dW = Σ_t H_{t−1}ᵀ D_t, one product over all steps; likewise for the input's weights

A program allocates its buffers once.
"""

from collections.abc import Sequence

import torch
from torch import Tensor

from ablate.cells.derivative import Derived
from ablate.engines.cohort.output import Output, lowest_of
from ablate.engines.cohort.weights import LayerWeights, Layout
from ablate.networks.dropout import NOTHING_DROPPED, Masks, masked
from ablate.networks.parameters import Vocabulary, ends
from ablate.networks.products import products_of
from ablate.networks.steps import Shape, replicas_first, runs, steps_for


class Layer:
    """The steps of a cell, its weights and its gradients, over a minibatch."""

    def __init__(self, d: Derived, shape: Shape, weights: LayerWeights, grads: LayerWeights | None) -> None:
        self.shape = shape
        self.weights = weights
        self.grads = grads
        self.steps = steps_for(d, shape, training=grads is not None)
        self.columns = self.steps.columns
        self.bias = shape.zeros(shape.R, 1, self.columns)
        self.seconds = _second_biases(d, shape.H) if weights.b_h is not None else []
        if grads is not None:
            self.D = self.steps.D.flatten(1, 2)[..., : self.columns]

    def prepare(self) -> None:
        """This minibatch's bias (R, 1, K·H), and its weights for the steps."""
        w = self.weights
        self.bias.zero_()
        of_input = self.bias[..., self.steps.from_input]
        of_input.copy_(w.b_x)
        for at, columns in self.seconds:
            assert w.b_h is not None
            of_input[..., columns] += w.b_h[..., at]
        self.steps.bind(w.matrices, w.vectors)
        self.steps.prefill(self.bias)

    def pre_activations(self, rows: Tensor) -> Tensor:
        """Rows (R, n, K·H) that hold X W_x in the columns `from_input` → what the products are added to, in place."""
        start = self.steps.from_input.start
        if start > 0:
            rows[..., :start].zero_()
        return rows.add_(self.bias)

    def forward(self, states: Sequence[Tensor]) -> None:
        """From the input's share in the steps' parts and the states (R, B, H), which are moved on in place."""
        self.steps.load(states)
        self.steps.forward()
        self.steps.store(states)

    def backward(self) -> None:
        """From the gradient at the output to that at the pre-activations, `D`, and those of matrices and vectors."""
        assert self.grads is not None
        self.steps.backward()
        self.steps.matrix_gradients(self.grads.matrices)
        for into, gradient in zip(self.grads.vectors, self.steps.vector_gradients(), strict=True):
            into.copy_(gradient)

    def bias_gradients(self, total: Tensor) -> None:
        """From the sum of `D` over all tokens, (R, 1, K·H)."""
        assert self.grads is not None
        of_input = total[..., self.steps.from_input]
        self.grads.b_x.copy_(of_input)
        for at, columns in self.seconds:
            assert self.grads.b_h is not None
            self.grads.b_h[..., at] = of_input[..., columns]


def _second_biases(d: Derived, H: int) -> list[tuple[slice, slice]]:
    """Columns of b_h that are simply added to b_x, and to which of its columns."""
    found = [number for number, name in enumerate(d.inputs) if name in d.folded]
    return [
        (slice(place * H, (place + length) * H), slice(first * H, (first + length) * H))
        for place, first, length in runs(found)
    ]


class Embedding:
    """The first layer's input of tokens: rows of W_x instead of products with one-hot vectors.

    A table of V rows with the bias in them is gathered from, unless most of its rows would go unread.
    """

    def __init__(self, layer: Layer, vocabulary_size: int) -> None:
        self.layer, self.V = layer, vocabulary_size
        shape = layer.shape
        self.R, self.N = shape.R, shape.T * shape.B
        self.tabled = vocabulary_size <= self.N
        rows = vocabulary_size if self.tabled else self.N
        self.rows = shape.zeros(self.R, rows, layer.columns)
        first = [vocabulary_size * replica for replica in range(self.R)]
        self.first_row = torch.tensor(first, device=shape.device).view(-1, 1, 1)
        self.one_hot: Tensor | None = None
        if shape.device.type == "cuda":
            # There index_add_ adds in another order each time, and a run would not come out the same twice.
            self.use_one_hot()

    def use_one_hot(self) -> None:
        """Sum the gradients of a row by a product, where there is a table."""
        if self.tabled and self.layer.grads is not None:
            self.one_hot = self.layer.shape.zeros(self.R, self.V, self.N)

    def forward(self, tokens: Tensor) -> None:
        """Tokens (R, T, B) → the input's share, in the layer's `A`. IndexError for one outside the vocabulary."""
        lowest_of(tokens, range(self.V))
        self.tokens = tokens
        layer, W_x = self.layer, self.layer.weights.W_x
        of_input = self.rows[..., layer.steps.from_input]
        if self.tabled:
            of_input.copy_(W_x)
            order = replicas_first(tokens + self.first_row).flatten()
            for A, table in layer.steps.split(layer.pre_activations(self.rows)):
                torch.index_select(table.flatten(0, 1), 0, order, out=A.flatten(0, 2))
            return
        for replica, own in enumerate(tokens.flatten(1)):
            of_input[replica] = W_x[replica, own]
        for A, part in layer.steps.split(layer.pre_activations(self.rows).view(*tokens.shape, -1)):
            replicas_first(A).copy_(part)

    def gradients(self) -> None:
        """W_x and the biases, from the layer's `D`."""
        layer, tokens, inputs = self.layer, self.tokens, self.layer.steps.from_input
        assert layer.grads is not None
        if self.tabled:
            if self.one_hot is not None:
                torch.bmm(self.one_hot.zero_().scatter_(1, tokens.flatten(1).unsqueeze(1), 1), layer.D, out=self.rows)
            else:
                order = (tokens + self.first_row).flatten()
                self.rows.zero_().flatten(0, 1).index_add_(0, order, layer.D.flatten(0, 1))
            layer.grads.W_x.copy_(self.rows[..., inputs])
            layer.bias_gradients(self.rows.sum(1, keepdim=True))
            return
        layer.grads.W_x.zero_()
        for replica, own in enumerate(tokens.flatten(1)):
            layer.grads.W_x[replica].index_add_(0, own, layer.D[replica, :, inputs])
        layer.bias_gradients(layer.D.sum(1, keepdim=True))


class Projection:
    """The product of what a layer reads with its weights: of the outputs of the layer below, or of real numbers."""

    def __init__(self, layer: Layer) -> None:
        self.layer = layer
        self.rows = layer.shape.zeros(layer.shape.R, layer.shape.T * layer.shape.B, layer.columns)

    def forward(self, X: Tensor) -> None:
        """What is read (R, T, B, inputs) → the input's share, in the layer's `A`."""
        layer = self.layer
        self.X = X.to(self.rows.dtype).flatten(1, 2)
        layer.shape.products.write(self.rows[..., layer.steps.from_input], self.X, layer.weights.W_x)
        rows = layer.pre_activations(self.rows).view(*X.shape[:3], -1)
        for A, part in layer.steps.split(rows):
            replicas_first(A).copy_(part)

    def gradients(self) -> None:
        """W_x and the biases, from the layer's `D`."""
        layer = self.layer
        assert layer.grads is not None
        layer.shape.products.write(layer.grads.W_x, self.X.transpose(1, 2), layer.D[..., layer.steps.from_input])
        layer.bias_gradients(layer.D.sum(1, keepdim=True))

    def input_gradients(self) -> Tensor:
        """The gradient at what is read (R, T·B, inputs), from the layer's `D`."""
        layer, d_X = self.layer, torch.empty_like(self.X)
        layer.shape.products.write(d_X, layer.D[..., layer.steps.from_input], layer.weights.W_x.transpose(1, 2))
        return d_X


class Program:
    """The whole network over minibatches of one size: buffers, forward, loss, backward.

    `parameters` and `grads` are buffers (R, P) that others write to and read from; without `grads` the program
    can only go forward.
    """

    def __init__(
        self, layout: Layout, parameters: Tensor, grads: Tensor | None, T: int, B: int, vocabulary_size: Vocabulary
    ) -> None:
        config = layout.config
        products = products_of(config.precision, parameters.device)
        shape = Shape(parameters.shape[0], T, B, config.num_hiddens, parameters.dtype, parameters.device, products)
        grad_layers = [None] * config.layers if grads is None else layout.layer_views(grads)
        self.layers = [
            Layer(layout.derived, shape, weights, grad)
            for weights, grad in zip(layout.layer_views(parameters), grad_layers, strict=True)
        ]
        first, *others = self.layers
        self.first = Embedding(first, vocabulary_size) if isinstance(vocabulary_size, int) else Projection(first)
        self.projections = [Projection(layer) for layer in others]
        self.inputs = [self.first, *self.projections]
        self.output = Output(layout, parameters, grads, shape, ends(vocabulary_size)[1])
        self.shape = shape

    @property
    def allocated_bytes(self) -> int:
        return self.shape.allocated_bytes

    def losses(
        self,
        tokens: Tensor,
        targets: Tensor,
        states: Sequence[Sequence[Tensor]],
        masks: Masks = NOTHING_DROPPED,
    ) -> Tensor:
        """Tokens, or numbers (R, T, B, features), and targets (R, T, B) → mean cross-entropy (R,) in nats per scored
        token (see `Output`).

        `states` (layer, part: (R, B, H)) are moved on in place. `masks` (R, T, B, H), or (R, 1, B, H), multiply what
        the layers read that their numbers name, never the first.
        """
        self.masks, read = masks, tokens
        for number, (layer, each, state) in enumerate(zip(self.layers, self.inputs, states, strict=True)):
            layer.prepare()
            each.forward(masked(read, masks.get(number)))
            layer.forward(state)
            read = layer.steps.output
        return self.output.losses(self.layers[-1].steps.output.flatten(1, 2), targets)

    def backward(self) -> None:
        """Fill `grads` with the gradients of the losses just computed."""
        self.output.backward(self.layers[-1].steps.d_output)
        for number in reversed(range(len(self.layers))):
            self.layers[number].backward()
            self.inputs[number].gradients()
            if number > 0:
                reaching = self.layers[number - 1].steps.d_output
                d_X = self.projections[number - 1].input_gradients().view(reaching.shape)
                reaching.copy_(masked(d_X, self.masks.get(number)))
