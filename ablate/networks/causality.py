"""Whether a network is causal, no output depending on later tokens: change a token, look at the outputs before it.

Axes: T steps, B sequences, V vocabulary.
"""

import math
from collections.abc import Callable, Mapping

import torch
from torch import Generator, Tensor

RELATIVE_SHIFT = 1e-4
"""An output before the change that moves by more than this share of the largest movement depends on it …"""

ROUNDING = 8
"""… unless it moves by less than so many times the precision of the largest output."""


@torch.no_grad()
def is_causal(
    network: Callable[[Tensor], Tensor], vocabulary_size: int, T: int, *, B: int = 4, device: str | torch.device = "cpu"
) -> bool:
    """Whether no output of `network`, tokens (T, B) → logits (T, B, V), depends on a token that comes later.

    Random tokens; each step but the first in turn has its tokens replaced by other ones. A network that remembers
    nothing at all is causal, too. For a translator, hand over the decoder's inputs alone. Needs a vocabulary of
    two and two steps. No random stream of torch's is touched.
    """
    if vocabulary_size < 2 or T < 2:
        raise ValueError(f"vocabulary_size is {vocabulary_size} and T is {T}; give 2 or more of each")
    tokens = torch.randint(vocabulary_size, (T, B), generator=Generator().manual_seed(0)).to(device)
    before = network(tokens)
    rounding = ROUNDING * torch.finfo(before.dtype).eps
    for t in range(1, T):
        changed = tokens.clone()
        changed[t] = (changed[t] + 1) % vocabulary_size
        moved = (network(changed) - before).abs().flatten(1).amax(1)
        if moved[:t].max() > max(RELATIVE_SHIFT * moved.max(), rounding * before.abs().max()):
            return False
    return True


def random_weights(parameters: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Random weights of the same shapes, in float64 and large enough that whatever is connected passes something on.

    What a network has learnt may hide what it depends on: one whose weights are still near zero lets nothing through.
    Matrices (in, out) are N(0, 1/in), vectors N(0, 1/4); always the same ones.
    """
    generator = Generator().manual_seed(0)
    out = {}
    for name, value in parameters.items():
        scale = 1 / math.sqrt(value.shape[-2]) if value.dim() > 1 else 0.5
        out[name] = scale * torch.randn(value.shape, generator=generator, dtype=torch.float64)
    return out
