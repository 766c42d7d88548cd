"""Tokens and their numbers."""

from collections import Counter
from collections.abc import Iterable, Sequence

UNKNOWN = "<unk>"


class Vocabulary:
    """`<unk>` and then the tokens by falling count, ties in the order in which they were first seen."""

    def __init__(self, tokens: Iterable[str]) -> None:
        self.itos = [UNKNOWN, *(token for token, _ in Counter(tokens).most_common() if token != UNKNOWN)]
        self.stoi = {token: index for index, token in enumerate(self.itos)}

    def __len__(self) -> int:
        return len(self.itos)

    def encode(self, tokens: Iterable[str]) -> list[int]:
        """Numbers of the tokens; 0 for those that the text does not have."""
        return [self.stoi.get(token, 0) for token in tokens]

    def decode(self, ids: Sequence[int]) -> list[str]:
        return [self.itos[index] for index in ids]
