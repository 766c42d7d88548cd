"""Numbers in a report, as people read them; `–` where there is none."""

import math
from collections.abc import Sequence
from typing import Any

import pandas as pd

from ablate.claims.comparison import telling_digits


def number(value: float | None) -> str:
    """Four digits, so that points of a column stand below each other; whole from 10,000, `8.541e+32` from 10⁹ on."""
    if pd.isna(value):
        return "–"
    if abs(value) < 9999.5:  # from where four digits would be 1.000e+04
        return f"{value:#.4g}".removesuffix(".")
    return f"{value:,.0f}" if abs(value) < 1e9 else f"{value:.3e}"


def whole(value: Any) -> str:
    """A count, or the mean of several to the next whole number."""
    return "–" if value is None or pd.isna(value) else f"{value:,.0f}"


def share_text(share: float) -> str:
    return "–" if pd.isna(share) else f"{100 * share:.1f} %"


def percent(level: float) -> str:
    """`95 %`"""
    return f"{100 * level:g} %"


def p_text(p: float) -> str:
    """`0.012`, `< 0.001`"""
    return "–" if pd.isna(p) else "< 0.001" if p < 0.001 else f"{p:.3f}" if p < 0.0995 else f"{p:.2f}"


def p_equals(p: float) -> str:
    """In a sentence: `p = 0.012`, `p < 0.001`"""
    told = p_text(p)
    return f"p {told}" if told.startswith("<") else f"p = {told}"


def ratio_text(ratio: float, digits: int = 3) -> str:
    """A ratio with so many decimals, where it is near 1; elsewhere three digits, `4.47e-40`."""
    if math.isnan(ratio):
        return "–"
    if ratio in (0, math.inf):  # the end of an interval that has none on this side
        return "∞" if ratio else "0"
    return f"{ratio:.{digits}f}" if 0.01 <= ratio < 9.9995 else f"{ratio:.3g}"


def interval_text(low: float, high: float) -> str:
    """`0.912 … 1.034`; `–` where there are too few runs to have one. With as many digits as tell its ends from 1."""
    if pd.isna(low) or pd.isna(high) or (low == 0 and math.isinf(high)):
        return "–"
    digits = telling_digits(low, high)
    return f"{ratio_text(low, digits)} … {ratio_text(high, digits)}"


def ends_text(low: float | None, high: float | None) -> str:
    """The interval of a mean, each end with as many digits as `number` gives the mean; `–` where there is none."""
    if pd.isna(low) or pd.isna(high):
        return "–"
    return f"{number(low)} … {'∞' if math.isinf(high) else number(high)}"


def text_or_dash(value: Any) -> str:
    return "–" if value is None or pd.isna(value) or value == "" else str(value)


def listed(names: Sequence[str]) -> str:
    """`a, b and c`; of names with commas of their own `gru, lr=1 and rnn, lr=1 and rnn, lr=2`."""
    comma = " and " if any(", " in name for name in names) else ", "
    return f"{comma.join(names[:-1])} and {names[-1]}" if len(names) > 1 else "".join(names)
