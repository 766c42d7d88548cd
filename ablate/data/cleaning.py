"""What is taken away from a text before it is cut into tokens, piece by piece."""

from collections import Counter

import numpy as np

from ablate.data.vocabulary import code_points


class Cleaning:
    """The rule `keep`: every character stays, line ends included. `characters` counts what came out."""

    def __init__(self) -> None:
        self.characters = 0
        self.left_out: Counter[str] = Counter()  # without white space

    def __call__(self, block: str) -> str:
        """The next piece of a text, cleaned."""
        self.characters += len(block)
        return block


class Letters(Cleaning):
    """The rule `letters`: in each line every run of characters other than A-Z and a-z becomes one space.

    Lines are stripped, lower-cased and joined by `between_lines`, which `characters` does not count: with nothing, as
    the course does it, or with white space, so that words stay apart.
    """

    def __init__(self, between_lines: str = "") -> None:
        super().__init__()
        self.between_lines = between_lines
        self._letter = False  # whether there has been one, …
        self._gap = False  # … something else after it, …
        self._line_end = False  # … and a line end among that

    def __call__(self, block: str) -> str:
        points = code_points(block)
        lower = points | 32
        letter = (lower >= ord("a")) & (lower <= ord("z")) & (points < 128)
        others = np.bincount(points[~letter])
        self.left_out.update({chr(point): int(others[point]) for point in np.flatnonzero(others)})
        at, line_ends = np.flatnonzero(letter), np.flatnonzero(points == ord("\n"))
        if len(at) == 0:
            self._gap |= len(points) > 0
            self._line_end |= len(line_ends) > 0
            return ""
        gap, ended = np.diff(at, prepend=-1) > 1, np.diff(np.searchsorted(line_ends, at), prepend=0) > 0
        gap[0] |= self._gap
        ended[0] |= self._line_end
        gap[0] &= self._letter
        ended[0] &= self._letter
        space = gap if self.between_lines else gap & ~ended
        out = np.full(len(at) + int(space.sum()), ord(" "), dtype=np.uint8)
        letters = np.arange(len(at)) + np.cumsum(space)
        out[letters] = lower[at]
        if self.between_lines:
            out[letters[gap & ended] - 1] = ord(self.between_lines)
        self.characters += len(at) + int((gap & ~ended).sum())
        self._letter, self._gap = True, bool(at[-1] < len(points) - 1)
        self._line_end = bool(len(line_ends) and line_ends[-1] > at[-1])
        return out.tobytes().decode("ascii")
