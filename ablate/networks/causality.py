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

    Random tokens, B sequences for each step but the first, in which the tokens of that step are replaced by other ones:
    all of them in two calls, in which each sequence has to be read by itself. A network that remembers nothing at all
    is causal, too. For a translator, hand over the decoder's inputs alone. Needs a vocabulary of two and two steps. No
    random stream of torch's is touched.
    """
    if vocabulary_size < 2 or T < 2:
        raise ValueError(f"vocabulary_size is {vocabulary_size} and T is {T}; give 2 or more of each")
    tokens = torch.randint(vocabulary_size, (T, T - 1, B), generator=Generator().manual_seed(0))
    changed, replaced = tokens.clone(), torch.arange(T - 1)
    changed[replaced + 1, replaced] = (changed[replaced + 1, replaced] + 1) % vocabulary_size
    before, after = (network(one.flatten(1).to(device)) for one in (tokens, changed))
    moved = (after - before).abs().amax(-1).view(T, T - 1, B).amax(-1)  # (step, step replaced − 1)
    earlier = moved.triu().amax(0)
    rounding = ROUNDING * torch.finfo(before.dtype).eps * before.abs().max()
    return not bool((earlier > torch.maximum(RELATIVE_SHIFT * moved.amax(0), rounding)).any())


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
