"""Tokens and their numbers."""

from collections import Counter
from collections.abc import Iterable, Sequence

UNKNOWN = "<unk>"


class Vocabulary:
    """`<unk>`, the reserved tokens, and then the others by falling count, ties in the order of first sight.

    Tokens seen fewer than `min_count` times are left to `<unk>`.
    """

    def __init__(self, tokens: Iterable[str], reserved: Sequence[str] = (), min_count: int = 1) -> None:
        first = [UNKNOWN, *reserved]
        counted = [token for token, count in Counter(tokens).most_common() if count >= min_count]
        self.itos = [*first, *(token for token in counted if token not in first)]
        self.stoi = {token: index for index, token in enumerate(self.itos)}

    def __len__(self) -> int:
        return len(self.itos)

    def encode(self, tokens: Iterable[str]) -> list[int]:
        """Numbers of the tokens; 0 for those that the text does not have."""
        return [self.stoi.get(token, 0) for token in tokens]

    def decode(self, ids: Sequence[int]) -> list[str]:
        return [self.itos[index] for index in ids]
