"""How the values of a step lie and follow each other, as every generator of kernels asks it of a derivative."""

from collections.abc import Callable, Iterable, Sequence

from ablate.cells.derivative import Derived
from ablate.cells.lowering import End
from ablate.cells.stages import Group, Stage
from ablate.cells.trace import Value


def same(a: End, b: End) -> bool:
    return isinstance(a, Value) and isinstance(b, Value) and a.index == b.index


def key(end: End) -> int | float:
    """What is the same for the same value."""
    return end.index if isinstance(end, Value) else -1 - float(end)


def with_inner_leaves_first(d: Derived) -> tuple[Stage, ...]:
    """A stage before the first products where these multiply a share of the input, or a vector, as such."""
    first = d.forward[:1]
    leaves = any(
        d.node(part).op in ("input", "vector") for s in first for k in s.groups for part in d.groups[k].operand
    )
    return (Stage((), ()), *d.forward) if leaves else d.forward


def made_in(
    stages: Sequence[Stage], groups: Sequence[Group], results: Callable[[Group], Iterable[int]]
) -> dict[int, int]:
    """The stage at which a value is there."""
    made: dict[int, int] = {}
    for number, stage in enumerate(stages):
        for k in stage.groups:
            made |= dict.fromkeys(results(groups[k]), number)
        made |= dict.fromkeys(stage.values, number)
    return made


def gradient_slots(d: Derived) -> tuple[list[End], list[int], int]:
    """Gradients side by side: of each group's products, and of the shares of the input; where these begin."""
    slots: list[End] = []

    def placed(ends: Sequence[End]) -> int:
        wanted, there = [key(end) for end in ends], [key(end) for end in slots]
        for start in range(len(there) + 1):  # found as a whole; or the end is their beginning
            common = there[start : start + len(wanted)]
            if common == wanted[: len(common)]:
                slots.extend(ends[len(common) :])
                return start
        raise AssertionError

    groups = [placed([d.d_products[product] for product in group.products]) for group in d.groups]
    return slots, groups, placed(list(d.d_inputs.values()))
