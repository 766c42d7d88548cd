"""What a comparison estimates, and its test: ratios and differences, each on the scale on which it is tested."""

from dataclasses import dataclass, replace
from typing import ClassVar, Self

from ablate.stats.contrast import Contrast, Needed


@dataclass(frozen=True)
class Effect:
    """A contrast of settings in the unit of the reader. `low` and `high` bound the effect at `level`, two-sided."""

    contrast: Contrast
    """The same on the scale on which effects add up."""

    none: ClassVar[float]
    """The value that stands for no effect."""

    @staticmethod
    def shown(value: float) -> float:
        """A value of that scale in the unit of the reader."""
        return value

    @staticmethod
    def scaled(bound: float) -> float:
        """The inverse of `shown`."""
        return bound

    @property
    def estimate(self) -> float:
        return self.shown(self.contrast.estimate)

    @property
    def low(self) -> float:
        return self.shown(self.contrast.low)

    @property
    def high(self) -> float:
        return self.shown(self.contrast.high)

    @property
    def n(self) -> int:
        return self.contrast.n

    @property
    def level(self) -> float:
        return self.contrast.level

    @property
    def method(self) -> str:
        return self.contrast.method

    @property
    def rank_p(self) -> float:
        return self.contrast.rank_p

    @property
    def rank_name(self) -> str:
        return self.contrast.rank_name

    @property
    def rank_least_p(self) -> float:
        return self.contrast.rank_least_p

    @property
    def is_fact(self) -> bool:
        return self.contrast.is_fact

    @property
    def is_always_valid(self) -> bool:
        return self.contrast.is_always_valid

    def at(self, level: float) -> Self:
        """The same test at another level; its interval stays that of the old one."""
        return replace(self, contrast=self.contrast.at(level))

    def p_below(self, bound: float | None = None) -> float:
        """One-sided p of H1: effect < bound, by default that of no effect."""
        return self.contrast.p_below(self._bound(bound))

    def p_above(self, bound: float | None = None) -> float:
        """One-sided p of H1: effect > bound, by default that of no effect."""
        return self.contrast.p_above(self._bound(bound))

    def log_e_below(self, bound: float | None = None) -> float:
        """Logarithm of the e-value of H1: effect < bound; NaN of a test of fixed n."""
        return self.contrast.log_e_below(self._bound(bound))

    def log_e_above(self, bound: float | None = None) -> float:
        """Logarithm of the e-value of H1: effect > bound."""
        return self.contrast.log_e_above(self._bound(bound))

    def rank_tails(self, bound: float | None = None) -> tuple[float, float]:
        """`p_below` and `p_above` of the rank test; NaN where there is none."""
        return self.contrast.rank_tails(self._bound(bound))

    def p(self) -> float:
        """Two-sided p against no effect."""
        return self.contrast.p()

    def needed(self, bound: float | None = None, power: float = 0.8) -> int | None:
        """About how many runs of each setting decide against `bound`; see Contrast.needed."""
        return self.contrast.needed(self._bound(bound), power)

    def needed_between(self, bound: float | None = None, power: float = 0.8) -> Needed:
        """Between which numbers of runs that of `needed` lies; see Contrast.needed_between."""
        return self.contrast.needed_between(self._bound(bound), power)

    def _bound(self, bound: float | None) -> float:
        return self.scaled(self.none if bound is None else bound)
