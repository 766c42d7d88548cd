"""The predicates as YAML has them: their arguments, each checked, with one clear line for a mistake."""

import math
from collections.abc import Callable
from typing import Any

from ablate.claims.along import Monotone, Narrows, NoTrend, Order, UShape
from ablate.claims.knobs import is_number, knob_fields, knob_value
from ablate.claims.predicates import Converged, Difference, Equivalent, Fails, Predicate, Ratio, SeesFuture, Solves
from ablate.config.columns import as_typed, gate_named, named_column
from ablate.config.dependence import gates_text
from ablate.config.errors import UserError, listing, nearest


class ClaimError(UserError):
    """A claim file that cannot be read as one."""


def mapping(value: Any, name: str) -> dict[str, Any]:
    if not isinstance(value, dict) or not all(isinstance(key, str) for key in value):
        raise ClaimError(f"{name} is {value!r}; write {name}: {{KNOB: VALUE, …}}")
    out: dict[str, Any] = {}
    for knob, one in value.items():
        gate, known = gate_named(knob), known_knob(knob, name)
        if known in out:
            raise ClaimError(f"{name} names {known} twice; of several gates write gates: reset=1 update=0.5")
        out[known] = held_gate(gate, one) if gate else one
    return out


def held_gate(gate: str, value: Any) -> Any:
    """The value of the column `gates` where this gate is held at a constant, or at none (null), and no other is; of a
    list of constants one by one.
    """
    if isinstance(value, list):
        return [held_gate(gate, one) for one in value]
    return None if value is None else gates_text({gate: number(f"model.gates.{gate}", value)})


def known_knob(knob: Any, name: str) -> str:
    """The column of a knob, given by its own name or as a command has it, `model.activation`; `gates` for a gate."""
    knob = as_typed(knob) if isinstance(knob, str) else repr(knob)
    knob = "gates" if gate_named(knob) else named_column(knob, knob_fields())
    if knob not in knob_fields():
        close = nearest(str(knob), knob_fields()) or "; ablate run --help lists them"
        raise ClaimError(f"{name} names no knob {knob!r}{close}")
    return str(knob)


def any_of(knob: str, value: Any) -> tuple[Any, ...]:
    return tuple(knob_value(knob, one) for one in (value if isinstance(value, list) else [value]))


class Arguments:
    """What stands behind the name of a predicate, taken out one by one."""

    def __init__(self, predicate: str, given: Any) -> None:
        if not isinstance(given, dict):
            raise ClaimError(f"{predicate} is {given!r}; write {predicate}: {{…}}, see ablate claims --help")
        self.predicate = predicate
        self.given = dict(given)

    def take(self, name: str) -> Any:
        if name not in self.given:
            raise ClaimError(f"{self.predicate} lacks {name}")
        return self.given.pop(name)

    def knob(self, name: str = "along", numeric: bool = False) -> str:
        knob = known_knob(self.take(name), f"{self.predicate}.{name}")
        if numeric and not is_number(knob):
            raise ClaimError(f"{self.predicate}.{name} is {knob}, whose values are no numbers; use order")
        return knob

    def number(
        self, name: str, above: float = -math.inf, default: float | None = None, below: float = math.inf
    ) -> float:
        value = self.given.pop(name, default) if default is not None else self.take(name)
        return number(f"{self.predicate}.{name}", value, above, below)

    def margin(self) -> float:
        margin = self.number("margin", default=0.0)
        if margin < 0:
            raise ClaimError(f"{self.predicate}.margin is {margin:g}; it must be 0 or more")
        return margin

    def either(self, *names: str, positive: bool = True) -> tuple[str, float]:
        """The one of these that is given, and its value."""
        given = [name for name in names if name in self.given]
        if len(given) != 1:
            raise ClaimError(f"{self.predicate} needs exactly one of {listing(names)}")
        shares = given[0].startswith("at_")
        return given[0], self.number(given[0], above=0 if positive else -math.inf, below=1 if shares else math.inf)

    def flag(self, name: str) -> bool:
        value = self.given.pop(name, False)
        if not isinstance(value, bool):
            raise ClaimError(f"{self.predicate}.{name} is {value!r}; it must be true or false")
        return value

    def setting(self, name: str) -> dict[str, Any]:
        values = mapping(self.take(name), f"{self.predicate}.{name}")
        return {knob: knob_value(knob, value) for knob, value in values.items()}

    def most(self) -> bool:
        """`in: every` or `in: most`; after this nothing may be left."""
        share = self.given.pop("in", "every")
        if share not in ("every", "most"):
            raise ClaimError(f"{self.predicate}.in is {share!r}; choose every or most")
        for name in self.given:
            raise ClaimError(f"{self.predicate} has no {name!r}; see ablate claims --help")
        return bool(share == "most")


def number(name: str, value: Any, above: float = -math.inf, below: float = math.inf) -> float:
    try:
        known = math.nan if isinstance(value, bool) else float(value)
    except (TypeError, ValueError, OverflowError):  # 10**400 is no float
        known = math.nan
    if math.isnan(known):
        raise ClaimError(f"{name} is {value!r}; it must be a number")
    if not above < known < below:
        limits = [f"above {above:g}"] * (above > -math.inf) + [f"below {below:g}"] * (below < math.inf)
        raise ClaimError(f"{name} is {value}; it must be {' and '.join(limits) or 'finite'}")
    return known


def order(given: Arguments) -> Order:
    gate = gate_named(str(given.given.get("along")))
    along, values = given.knob(), given.take("ascending")
    values = held_gate(gate, values) if gate and isinstance(values, list) else values
    if not isinstance(values, list) or len(values) < 2:
        raise ClaimError(f"order.ascending is {values!r}; give two or more values of {along} in a list")
    places = tuple(any_of(along, place) for place in values)
    known = [value for place in places for value in place]
    if len(set(known)) < len(known):
        raise ClaimError(f"order.ascending names a value of {along} twice")
    if not all(places):
        raise ClaimError("order.ascending has an empty place; give a value, or several in a list of their own")
    return Order(along=along, ascending=places, most=given.most())


def monotone(given: Arguments) -> Monotone:
    direction = given.take("direction")
    if direction not in ("falls", "rises"):
        raise ClaimError(f"monotone.direction is {direction!r}; choose falls or rises")
    along, margin = given.knob(numeric=True), given.margin()
    return Monotone(along=along, falls=direction == "falls", margin=margin, most=given.most())


def u_shape(given: Arguments) -> UShape:
    along, margin = given.knob(numeric=True), given.margin()
    optimum = given.given.pop("optimum", None)
    optimum = None if optimum is None else knob_value(along, optimum)
    return UShape(along=along, optimum=optimum, peak=given.flag("peak"), margin=margin, most=given.most())


def two_settings(given: Arguments) -> tuple[dict[str, Any], dict[str, Any]]:
    of, to = given.setting("of"), given.setting("to")
    if set(of) != set(to) or of == to:
        raise ClaimError(f"{given.predicate}: of and to must name the same knobs, and not the same setting")
    return of, to


def ratio(given: Arguments) -> Ratio:
    of, to = two_settings(given)
    side, bound = given.either("below", "above")
    return Ratio(of=of, to=to, bound=bound, below=side == "below", most=given.most())


def difference(given: Arguments) -> Difference:
    of, to = two_settings(given)
    side, bound = given.either("below", "above", positive=False)
    return Difference(of=of, to=to, bound=bound, below=side == "below", most=given.most())


def equivalent(given: Arguments) -> Equivalent:
    of, to = two_settings(given)
    return Equivalent(of=of, to=to, margin=given.number("margin", above=0, default=0.05), most=given.most())


def no_trend(given: Arguments) -> NoTrend:
    along = given.knob(numeric=True)
    return NoTrend(along=along, margin=given.number("margin", above=0, default=0.1), most=given.most())


def narrows(given: Arguments) -> Narrows:
    along, between = given.knob(numeric=True), mapping(given.take("between"), "narrows.between")
    if len(between) != 1:
        raise ClaimError("narrows.between needs one knob; write between: {KNOB: [HIGHER, LOWER]}")
    ((knob, values),) = between.items()
    if not isinstance(values, list) or len(values) != 2 or values[0] == values[1]:
        raise ClaimError(f"narrows.between.{knob} is {values!r}; give two values: [HIGHER, LOWER]")
    first, second = any_of(knob, values)
    return Narrows(along=along, knob=knob, pair=(first, second), most=given.most())


def fails(given: Arguments) -> Fails:
    above = given.number("above")
    side, share = given.either("at_least", "at_most")
    return Fails(above=above, share=share, at_least=side == "at_least", most=given.most())


def solves(given: Arguments) -> Solves:
    reach = given.number("at_least")
    share = given.number("in_share", above=0, below=1)
    return Solves(reach=reach, share=share, negated=given.predicate == "does_not_solve", most=given.most())


def sees_future(given: Arguments) -> SeesFuture:
    share = given.number("in_share", above=0, default=0.5, below=1)
    return SeesFuture(share=share, negated=given.predicate == "sees_no_future", most=given.most())


def converged(given: Arguments) -> Converged:
    within = given.number("within", above=0, default=0.01)
    return Converged(within=within, negated=given.predicate == "not_converged", most=given.most())


PREDICATES: dict[str, Callable[[Arguments], Predicate]] = {
    "order": order,
    "monotone": monotone,
    "u_shape": u_shape,
    "ratio": ratio,
    "difference": difference,
    "equivalent": equivalent,
    "no_trend": no_trend,
    "narrows": narrows,
    "fails": fails,
    "solves": solves,
    "does_not_solve": solves,
    "sees_future": sees_future,
    "sees_no_future": sees_future,
    "converged": converged,
    "not_converged": converged,
}
