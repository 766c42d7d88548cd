"""Whether a network that predicts the next token can see it: change a token, and look at the outputs before it.

Axes: T steps, B sequences, V vocabulary.
"""

from collections.abc import Callable

import torch
from torch import Generator, Tensor

RELATIVE_SHIFT = 1e-4
"""An output before the change that moves by more than this share of the largest movement has seen the change …"""

ROUNDING = 1e-6
"""… unless it moves by less than this share of the largest output."""


@torch.no_grad()
def sees_future(
    network: Callable[[Tensor], Tensor], vocabulary_size: int, T: int, *, B: int = 4, device: str | torch.device = "cpu"
) -> bool:
    """Whether any output of `network`, tokens (T, B) → logits (T, B, V), depends on a token that comes later.

    Random tokens; each step but the first in turn has its tokens replaced by other ones. A network that remembers
    nothing at all sees no future either. For a translator, hand over the decoder's inputs alone. Needs a vocabulary of
    two and two steps. No random stream of torch's is touched.
    """
    if vocabulary_size < 2 or T < 2:
        raise ValueError(f"vocabulary_size is {vocabulary_size} and T is {T}; give 2 or more of each")
    tokens = torch.randint(vocabulary_size, (T, B), generator=Generator().manual_seed(0)).to(device)
    before = network(tokens)
    for t in range(1, T):
        changed = tokens.clone()
        changed[t] = (changed[t] + 1) % vocabulary_size
        moved = (network(changed) - before).abs().flatten(1).amax(1)
        if moved[:t].max() > max(RELATIVE_SHIFT * moved.max(), ROUNDING * before.abs().max()):
            return True
    return False
