"""Prediction by partial matching: what a text costs after another one, in bits, by the longest contexts seen before.

Cleary, Teahan and Witten (1995), "Unbounded length contexts for PPM", section 2: escape method C (Moffat 1990), with
exclusions. A symbol that was seen c times in a context costs −log₂ c / (n + d), of n symbols, d different ones, seen in
it; an escape to the next shorter context −log₂ d / (n + d), after which the symbols of the longer one no longer count
in n. What no context has seen is one of the rest of the alphabet.
"""

import math
from collections import defaultdict

HIGHEST_ORDER = 5
"""Symbols of the longest context."""


class Counts:
    """How often each symbol has followed each context of up to `order` symbols."""

    def __init__(self, order: int = HIGHEST_ORDER) -> None:
        self.order = order
        self.after: defaultdict[str, dict[str, int]] = defaultdict(dict)

    def add(self, text: str, start: int = 0, stop: int | None = None) -> None:
        """Count the symbols of a text from `start` to before `stop`, each in the contexts before it."""
        after, orders = self.after, range(self.order + 1)
        for place in range(start, len(text) if stop is None else stop):
            symbol = text[place]
            for k in orders:
                if k > place:
                    break
                seen = after[text[place - k : place]]
                seen[symbol] = seen.get(symbol, 0) + 1

    def bits(self, symbol: str, before: str, alphabet: int) -> float:
        """What a symbol costs after the text `before`, of an alphabet of so many symbols."""
        probability = 1.0
        excluded: set[str] = set()
        for k in range(min(self.order, len(before)), -1, -1):
            seen = self.after.get(before[len(before) - k :])
            if seen is None:
                continue
            n = sum(seen.values()) - sum(seen[one] for one in excluded if one in seen)
            if symbol in seen and symbol not in excluded:
                return -math.log2(probability * seen[symbol] / (n + len(seen)))
            probability *= len(seen) / (n + len(seen))
            excluded |= seen.keys()
        return -math.log2(probability / (alphabet - len(excluded)))


def bits_after(given: str, text: str, alphabet: int, order: int = HIGHEST_ORDER) -> float:
    """Bits of a text right after another one, from both of which it learns as it reads, as compressors do."""
    whole, counts, total = given + text, Counts(order), 0.0
    counts.add(whole, stop=len(given))
    for place in range(len(given), len(whole)):
        total += counts.bits(whole[place], whole[max(0, place - order) : place], alphabet)
        counts.add(whole, place, place + 1)
    return total
