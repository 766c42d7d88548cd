"""With which number of seeds a claim's settings were declared, and so which test its verdict may come from.

Where every setting has just as many runs as were declared before the first of them, the test of a fixed n. Where a
sweep was extended after somebody could look, or is looked at before it is whole, the test that holds however often one
looks.
"""

from collections.abc import Collection, Mapping
from dataclasses import dataclass

import pandas as pd

from ablate.config.errors import counted, span
from ablate.records.design import Designs


@dataclass(frozen=True)
class Design:
    """What the verdict on a claim says of its number of runs."""

    always_valid: bool
    text: str


ALWAYS_VALID = "always-valid, "
"""How the text of a design begins where the number of runs was not fixed."""

SHOWN_STEPS = 4
"""Numbers of seeds that are said one after the other."""

BY_PROTOCOL = "laid down by the timing protocol"


def design_of(designs: Designs | None, runs: pd.DataFrame, settings: Collection[str]) -> Design:
    """That of a claim on these settings; runs are those of the sweep, also those that chose. None: nothing is known.

    What was excluded is one of those that were declared, and is said: which runs count was then decided after somebody
    could look. Of sweeps read as one it may still count in another of them.
    """
    own = runs[runs["setting_id"].isin(settings)]
    there = {str(name): int(n) for name, n in own["setting_id"].value_counts().items()}
    if designs is None:
        return Design(False, f"fixed n = {_range(there.values())}")
    numbers = {name: designs.numbers(name) for name in there}
    if not all(numbers.values()):
        return Design(True, f"{ALWAYS_VALID}for no number of seeds was declared")
    excluded = {name: designs.excluded.get(name, frozenset()).difference(own["run_id"]) for name in there}
    whole = {name: n + len(excluded[name]) for name, n in there.items()}
    left_out = sum(map(len, excluded.values()))
    besides = f", {counted(left_out, 'run')} excluded since" if left_out else ""
    extended = {name for name, own in numbers.items() if len(own) > 1 or whole[name] > own[0]}
    if extended:
        return Design(True, f"{ALWAYS_VALID}extended from {_steps(numbers, whole, extended)}{besides}")
    if any(whole[name] < own[0] for name, own in numbers.items()):
        return Design(True, f"{ALWAYS_VALID}{_part(numbers, whole)} declared seeds are there{besides}")
    when = "before the first run" if numbers.keys() <= designs.of_setting.keys() else "by its command"
    return Design(False, f"fixed n = {_range(whole.values())}, declared {when}{besides}")


def _range(numbers: Collection[int]) -> str:
    return span(min(numbers), max(numbers))


def _steps(numbers: Mapping[str, tuple[int, ...]], whole: Mapping[str, int], extended: Collection[str]) -> str:
    """`6 to 20`, of the setting that was extended most often, or most; `6 to 40 in 5 steps`."""
    longest = max((numbers[name] for name in extended), key=lambda own: (len(own), own))
    most = max(whole[name] for name in extended)
    steps = longest if most <= max(longest) else (*longest, most)
    if len(steps) > SHOWN_STEPS:
        return f"{steps[0]} to {steps[-1]} in {len(steps) - 1} steps"
    return " to ".join(map(str, steps))


def _part(numbers: Mapping[str, tuple[int, ...]], whole: Mapping[str, int]) -> str:
    """`4 of the 20`, of the setting that lacks most."""
    name = min(whole, key=lambda name: whole[name] - numbers[name][0])
    return f"{whole[name]} of the {numbers[name][0]}"
