"""Products of matrices, and what their factors are rounded to; the one at every step of the loop over time.

Axes: R replicas, B sequences, n inputs, m outputs.
"""

from collections.abc import Callable

import torch
from torch import Tensor

PACKED_FROM = 384
"""Hidden units from which packing the weights pays: 1.2× at 512, 1.5× at 1024; less than packing costs at 256."""


class Products:
    """Factors as they are; of float32 ones a GPU may take TF32 (`ablate.engines.precision`)."""

    exact = True

    def factor(self, X: Tensor) -> Tensor:
        """What is multiplied in place of X: made once of what is a factor many times."""
        return X

    def write(self, Y: Tensor, X: Tensor, W: Tensor) -> None:
        """Y = X W, batched: X (R, B, n), W (R, n, m), Y (R, B, m)."""
        torch.bmm(X, W, out=Y)

    def add(
        self, Y: Tensor, X: Tensor, W: Tensor, *, to: Tensor | None = None, beta: float = 1, alpha: float = 1
    ) -> Tensor:
        """Y = beta · Y + alpha · X W, or with `to` that in the place of Y's part, broadcast; returns Y."""
        return torch.baddbmm(Y if to is None else to, X, W, beta=beta, alpha=alpha, out=Y)


class Rounded(Products):
    """Factors rounded to fewer bits, the product and its sums as of the numbers that are left: an emulation.

    The numbers of a unit that multiplies such factors and adds in float32, but for the order of its sums.
    """

    exact = False

    def __init__(self, rounding: Callable[[Tensor], Tensor]) -> None:
        self.rounding = rounding

    def factor(self, X: Tensor) -> Tensor:
        return self.rounding(X)

    def write(self, Y: Tensor, X: Tensor, W: Tensor) -> None:
        torch.bmm(self.factor(X), self.factor(W), out=Y)

    def add(
        self, Y: Tensor, X: Tensor, W: Tensor, *, to: Tensor | None = None, beta: float = 1, alpha: float = 1
    ) -> Tensor:
        factors = self.factor(X), self.factor(W)
        return torch.baddbmm(Y if to is None else to, *factors, beta=beta, alpha=alpha, out=Y)


class Bfloat16(Products):
    """Factors in bfloat16, sums and results in float32, on a GPU that multiplies so. Has not run on one yet."""

    exact = False

    def factor(self, X: Tensor) -> Tensor:
        return X.bfloat16()

    def _product(self, X: Tensor, W: Tensor) -> Tensor:
        made: Tensor = torch.bmm(X.bfloat16(), W.bfloat16(), out_dtype=torch.float32)
        return made

    def write(self, Y: Tensor, X: Tensor, W: Tensor) -> None:
        Y.copy_(self._product(X, W))

    def add(
        self, Y: Tensor, X: Tensor, W: Tensor, *, to: Tensor | None = None, beta: float = 1, alpha: float = 1
    ) -> Tensor:
        if to is None and beta == 0:
            return torch.mul(self._product(X, W), alpha, out=Y)
        return torch.add((Y if to is None else to) * beta, self._product(X, W), alpha=alpha, out=Y)


EXACT = Products()


def shortened() -> bool:
    """Whether torch's products of float32 on a GPU take TF32 factors now (`ablate.engines.precision` sets that)."""
    if has_flags():
        return bool(torch._C._get_fp32_precision_getter("cuda", "matmul") == "tf32")
    return bool(torch.backends.cuda.matmul.allow_tf32)


def has_flags() -> bool:
    """Whether torch has a flag for each operator, from 2.9 on."""
    return hasattr(torch._C, "_set_fp32_precision_setter")


def to_bfloat16(X: Tensor) -> Tensor:
    """X rounded to the nearest bfloat16 (8 bits of a number), in its own type."""
    return X.bfloat16().to(X.dtype)


def to_tf32(X: Tensor) -> Tensor:
    """Float32 rounded to the nearest number with the 11 bits of TF32, as NVIDIA's cvt.rna does; ties away from 0."""
    return ((X.contiguous().view(torch.int32) + 0x1000) & ~0x1FFF).view(torch.float32)


def products_of(precision: str, device: torch.device) -> Products:
    """How a program multiplies. On a CPU bf16 is emulated in the torch form, which only tests ask for."""
    if precision != "bf16":
        return EXACT
    return Bfloat16() if device.type == "cuda" else Rounded(to_bfloat16)


class Product:
    """X W with W (R, n, m) for all steps of a minibatch.

    Large float32 weights are packed once into oneDNN's layout, which MKL would rearrange at every step. That is
    an operator of torch that has no public name; where it is missing, the plain product does.
    """

    def __init__(self, W: Tensor, H: int, B: int, products: Products = EXACT) -> None:
        self.W, self.products = products.factor(W), products
        self.packed: list[Tensor] = []
        packs = W.dtype == torch.float32 and W.device.type == "cpu" and products.exact
        if packs and H >= PACKED_FROM and can_pack():
            self.packed = [torch.ops.mkldnn._reorder_linear_weight(w.t(), B) for w in W]

    def add_to(self, Y: Tensor, X: Tensor) -> None:
        """X (R, B, n), Y (R, B, m)."""
        if not self.packed:
            Y.baddbmm_(X, self.W) if self.products.exact else self.products.add(Y, X, self.W)
            return
        for y, x, w in zip(Y, X, self.packed, strict=True):
            y.add_(torch.ops.mkldnn._linear_pointwise(x, w, None, "none", [], ""))

    def write_to(self, Y: Tensor, X: Tensor) -> None:
        """As `add_to`, in the place of what Y held."""
        if not self.packed:
            self.products.write(Y, X, self.W)
            return
        for y, x, w in zip(Y, X, self.packed, strict=True):
            y.copy_(torch.ops.mkldnn._linear_pointwise(x, w, None, "none", [], ""))


def can_pack() -> bool:
    """Whether this build of torch has oneDNN and the operators."""
    names = ("_reorder_linear_weight", "_linear_pointwise")
    return torch._C._has_mkldnn and all(hasattr(torch.ops.mkldnn, name) for name in names)
