"""Tokens and their numbers."""

import hashlib
from collections import Counter, deque
from collections.abc import Iterable, Sequence
from typing import Any, Self

import numpy as np
import numpy.typing as npt

UNKNOWN = "<unk>"

CODE_POINTS = 0x110000

WHITE = np.array([chr(point).isspace() for point in range(0x3001)] + [False])
"""Which code points are white space; the last place is that of all larger ones."""

Numbers = npt.NDArray[Any]
"""Whole numbers of the smallest signed or 8-bit type that holds them, (n,)."""


class Vocabulary:
    """`<unk>`, the reserved tokens, and then the others by falling count, ties in the order of first sight.

    Tokens seen fewer than `min_count` times are left to `<unk>`.
    """

    def __init__(self, tokens: Iterable[str], reserved: Sequence[str] = (), min_count: int = 1) -> None:
        self._list(reserved, (token for token, count in Counter(tokens).most_common() if count >= min_count))

    @classmethod
    def in_order(cls, tokens: Iterable[str]) -> Self:
        """The vocabulary of different tokens that are sorted already."""
        vocabulary = cls.__new__(cls)
        vocabulary._list((), tokens)
        return vocabulary

    def _list(self, reserved: Sequence[str], tokens: Iterable[str]) -> None:
        first = [UNKNOWN, *reserved]
        self.itos = [*first, *(token for token in tokens if token not in first)]
        self.stoi = {token: index for index, token in enumerate(self.itos)}

    def __len__(self) -> int:
        return len(self.itos)

    def encode(self, tokens: Iterable[str]) -> list[int]:
        """Numbers of the tokens; 0 for those that the text does not have."""
        return [self.stoi.get(token, 0) for token in tokens]

    def decode(self, ids: Iterable[int]) -> list[str]:
        return [self.itos[index] for index in ids]


class Numbering:
    """The tokens of a text that comes in pieces: numbered by first sight, counted, the first `limit` of them kept.

    A text is read once, and of it only what is used stays in memory: one byte a token where there are at most 256
    different ones. `hash` is that of the whole text in UTF-8; words are joined by spaces there, so that it tells
    where a word ends.
    """

    def __init__(self, limit: int | None = None) -> None:
        self.limit = limit
        self.hash = hashlib.sha256()
        self.total = 0
        self.kept = 0
        self.pieces: deque[Numbers] = deque()
        self.counts = np.zeros(0, dtype=np.int64)

    def different(self) -> list[str]:
        """Different tokens in the order of first sight; once, at the end."""
        raise NotImplementedError

    def add(self, text: str) -> None:
        """The next piece of the text."""
        raise NotImplementedError

    def close(self) -> None:
        """The text has ended."""

    def _count(self, numbers: Numbers, different: int) -> None:
        """Count and keep tokens by their numbers of first sight."""
        if different > len(self.counts):
            grown = np.zeros(max(different, 2 * len(self.counts)), dtype=np.int64)
            grown[: len(self.counts)] = self.counts
            self.counts = grown
        if different <= len(numbers):
            self.counts[:different] += np.bincount(numbers, minlength=different)
        else:
            which, often = np.unique(numbers, return_counts=True)
            self.counts[which] += often
        self.total += len(numbers)
        wanted = len(numbers) if self.limit is None else min(len(numbers), self.limit - self.kept)
        if wanted > 0:
            self.pieces.append(numbers[:wanted].astype(smallest_type(different)))
            self.kept += wanted

    def result(self) -> tuple[Vocabulary, Numbers]:
        """The vocabulary of the whole text, and the numbers of the tokens that were kept; once."""
        seen = self.different()
        order = np.argsort(-self.counts[: len(seen)], kind="stable")
        itself = seen.index(UNKNOWN) if UNKNOWN in seen else None
        vocabulary = Vocabulary.in_order(seen[place] for place in order.tolist())
        del seen
        kind = smallest_type(len(vocabulary))
        final = np.empty(len(order), dtype=np.int64)
        final[order] = np.arange(1, len(order) + 1)
        if itself is not None:  # the text has the word `<unk>`, which is number 0 anyway
            final[final > final[itself]] -= 1
            final[itself] = 0
        final = final.astype(kind)
        ids, done = np.empty(self.kept, dtype=kind), 0
        while self.pieces:  # each is let go as soon as it is written
            piece = self.pieces.popleft()
            ids[done : done + len(piece)] = final[piece]
            done += len(piece)
        return vocabulary, ids


class Characters(Numbering):
    """Every character is a token."""

    def __init__(self, limit: int | None = None) -> None:
        super().__init__(limit)
        self._numbers = np.full(CODE_POINTS, -1, dtype=np.int32)
        self._seen: list[str] = []

    def different(self) -> list[str]:
        return self._seen

    def add(self, text: str) -> None:
        self.hash.update(text.encode())
        points = code_points(text)
        numbers = self._numbers[points]
        unseen = points[numbers < 0]
        if len(unseen):
            new, first = np.unique(unseen, return_index=True)
            new = new[np.argsort(first)]
            self._numbers[new] = np.arange(len(self._seen), len(self._seen) + len(new))
            self._seen += map(chr, new.tolist())
            numbers = self._numbers[points]
        self._count(numbers, len(self._seen))


class Words(Numbering):
    """What stands between white space is a token; it covers its letters and the white space before it.

    `joint` is a character that stands for nothing in the text, and which no token covers: what lines were joined by.
    """

    def __init__(self, limit: int | None = None, joint: str = "") -> None:
        super().__init__(limit)
        self._numbers = _FirstSight()
        self._cut = ""  # the beginning of a word whose end is in the next piece
        self._joint = ord(joint) if joint else -1
        self._before = 0  # characters since the end of the last whole word, without the cut one
        self._covered: list[Numbers] = []

    def different(self) -> list[str]:
        seen = list(self._numbers)
        self._numbers.clear()  # large, and no longer needed
        return seen

    def split(self, text: str) -> list[str]:
        """The words that end in this piece."""
        text = self._cut + text
        words = text.split()
        self._cut = words.pop() if words and not text[-1].isspace() else ""
        if self.limit is None or self.kept < self.limit:
            self._cover(text[: len(text) - len(self._cut)])
        return words

    def _cover(self, text: str) -> None:
        """Count the characters that each word of a piece covers, which ends after a word."""
        points = code_points(text)
        white = WHITE.take(points, mode="clip")
        until = np.cumsum(points != self._joint)
        ends = np.flatnonzero(~white[:-1] & white[1:])
        if len(ends):
            widths = np.diff(until[ends], prepend=-self._before)
            self._covered.append(widths.astype(smallest_type(int(widths.max()) + 1)))
            self._before = -int(until[ends[-1]])
        self._before += int(until[-1]) if len(until) else 0

    def covered(self) -> Numbers:
        """How many characters of the text each of the kept tokens covers, (n,); once."""
        found = np.concatenate(self._covered) if self._covered else np.zeros(0, np.uint8)
        self._covered.clear()
        return found[: self.kept]

    def add(self, text: str) -> None:
        self._take(self.split(text))

    def close(self) -> None:
        self._take(self.split(" "))

    def _take(self, words: Sequence[str]) -> None:
        if not words:
            return
        self.hash.update((" " * (self.total > 0) + " ".join(words)).encode())
        numbers = np.fromiter(map(self._numbers.__getitem__, words), np.int64, len(words))
        self._count(numbers, len(self._numbers))


class _FirstSight(dict[str, int]):
    """Numbers what it is asked for and does not know yet."""

    def __missing__(self, token: str) -> int:
        number = self[token] = len(self)
        return number


def code_points(text: str) -> Numbers:
    """The characters of a text as numbers, (n,)."""
    if text.isascii():
        return np.frombuffer(text.encode("ascii"), np.uint8)
    return np.frombuffer(text.encode("utf-32-le", "surrogatepass"), "<u4")


def smallest_type(different: int) -> type[np.unsignedinteger[Any]] | type[np.signedinteger[Any]]:
    """The smallest type, of those with which torch computes, that holds the numbers from 0 to `different` − 1."""
    if different <= 1 << 8:
        return np.uint8
    return np.int16 if different <= 1 << 15 else np.int32
