"""The product at every step of the loop over time: the same weights, 35 times over.

Axes: R replicas, B sequences, n inputs, m outputs.
"""

import torch
from torch import Tensor

PACKED_FROM = 384
"""Hidden units from which packing the weights pays: 1.2× at 512, 1.5× at 1024; less than packing costs at 256."""


class Product:
    """X W with W (R, n, m) for all steps of a minibatch.

    Large float32 weights are packed once into oneDNN's layout, which MKL would rearrange at every step. That is
    an operator of torch that has no public name; where it is missing, the plain product does.
    """

    def __init__(self, W: Tensor, H: int, B: int) -> None:
        self.W = W
        self.packed: list[Tensor] = []
        if W.dtype == torch.float32 and W.device.type == "cpu" and H >= PACKED_FROM and can_pack():
            self.packed = [torch.ops.mkldnn._reorder_linear_weight(w.t(), B) for w in W]

    def add_to(self, Y: Tensor, X: Tensor) -> None:
        """X (R, B, n), Y (R, B, m)."""
        if not self.packed:
            Y.baddbmm_(X, self.W)
            return
        for y, x, w in zip(Y, X, self.packed, strict=True):
            y.add_(torch.ops.mkldnn._linear_pointwise(x, w, None, "none", [], ""))

    def write_to(self, Y: Tensor, X: Tensor) -> None:
        """As `add_to`, in the place of what Y held."""
        if not self.packed:
            torch.bmm(X, self.W, out=Y)
            return
        for y, x, w in zip(Y, X, self.packed, strict=True):
            y.copy_(torch.ops.mkldnn._linear_pointwise(x, w, None, "none", [], ""))


def can_pack() -> bool:
    """Whether this build of torch has oneDNN and the operators."""
    names = ("_reorder_linear_weight", "_linear_pointwise")
    return torch._C._has_mkldnn and all(hasattr(torch.ops.mkldnn, name) for name in names)
