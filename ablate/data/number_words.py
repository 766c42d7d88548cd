"""Whole numbers from 0 to 9,999 written out in English and in French: generated pairs of sentences."""

from hashlib import sha256

LIMIT = 10_000

ENGLISH = """
zero one two three four five six seven eight nine ten eleven twelve thirteen fourteen fifteen sixteen seventeen eighteen
nineteen / twenty thirty forty fifty sixty seventy eighty ninety
"""
FRENCH = """
zéro un deux trois quatre cinq six sept huit neuf dix onze douze treize quatorze quinze seize dix-sept dix-huit dix-neuf
/ vingt trente quarante cinquante soixante
"""
ENGLISH_SMALL, ENGLISH_TENS = (words.split() for words in ENGLISH.split("/"))
FRENCH_SMALL, FRENCH_TENS = (words.split() for words in FRENCH.split("/"))


def english(n: int) -> str:
    """British English, with `and` before the tens and units: `one thousand two hundred and thirty-four`."""
    if n < 20:
        return ENGLISH_SMALL[n]
    if n < 100:
        tens, unit = divmod(n, 10)
        return ENGLISH_TENS[tens - 2] + (f"-{ENGLISH_SMALL[unit]}" if unit else "")
    size, word = (100, "hundred") if n < 1000 else (1000, "thousand")
    count, rest = divmod(n, size)
    linked = "" if not rest else f" and {english(rest)}" if rest < 100 else f" {english(rest)}"
    return f"{english(count)} {word}{linked}"


def french(n: int) -> str:
    """French of France in the spelling before 1990, `vingt et un`: hyphens below a hundred, none around `et`."""
    if n < 20:
        return FRENCH_SMALL[n]
    if n < 80:
        tens = min(n // 10, 6)  # 70 to 79 are counted on from sixty
        rest = n - 10 * tens
        link = " et " if rest in (1, 11) else "-"
        return FRENCH_TENS[tens - 2] + (link + french(rest) if rest else "")
    if n < 100:
        return f"quatre-vingt-{french(n - 80)}" if n > 80 else "quatre-vingts"
    if n < 1000:
        count, rest = divmod(n, 100)
        hundreds = "cent" if count == 1 else f"{french(count)} cent"
        plural = "s" if count > 1 and not rest else ""
        return f"{hundreds} {french(rest)}" if rest else hundreds + plural
    count, rest = divmod(n, 1000)
    thousands = "mille" if count == 1 else f"{french(count)} mille"
    return f"{thousands} {french(rest)}" if rest else thousands


def number_pairs() -> list[tuple[str, str]]:
    """Every number in English and in French, hyphens replaced by spaces, in a fixed order without a pattern.

    The order is that of the SHA-256 of the digits, so that the first pairs hold numbers of every kind.
    """
    order = sorted(range(LIMIT), key=lambda n: sha256(str(n).encode()).digest())
    return [(english(n).replace("-", " "), french(n).replace("-", " ")) for n in order]
