"""The claims that come with ablate: about settings that their presets have, for all fourteen conclusions. CPU, 2 s."""

import re
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
import yaml

from ablate.analysis.frames import KNOBS
from ablate.claims import Claim, read_claims
from ablate.claims.choosing import claim_files
from ablate.claims.parts import Share
from ablate.claims.predicates import Between, InShare
from ablate.config.choice_files import summaries
from ablate.config.dependence import chosen
from ablate.config.registry import OF_GROUP, own_knobs
from ablate.config.schema import CONFIG_ROOT

FILES = claim_files([CONFIG_ROOT])
CLAIMS = [claim for path in FILES for claim in read_claims(path)]
MODELS = set(summaries("model"))


def named_values(claim: Claim) -> list[tuple[str, Any]]:
    """Every knob and value that a claim names."""
    predicate = claim.predicate
    out = [(knob, value) for knob, values in claim.where.items() for value in values]
    if isinstance(predicate, Between):
        out += [*predicate.of.items(), *predicate.to.items()]
    out += [(predicate.keys[0], value) for value in getattr(predicate, "named", ())]
    out += [(predicate.keys[0], value) for value in getattr(predicate, "pair", ())]
    optimum = getattr(predicate, "optimum", None)
    return out + ([(predicate.keys[0], optimum)] if optimum is not None else [])


def settings(content: dict[str, Any]) -> dict[str, Any]:
    """The knobs that a YAML file sets, those of the groups that it chooses included."""
    out: dict[str, Any] = {}
    for default in content.get("defaults", []):
        for group, choice in default.items() if isinstance(default, dict) else ():
            group = group.removeprefix("override ").removeprefix("/")
            if (CONFIG_ROOT / "conf" / group / f"{choice}.yaml").is_file():
                out |= settings(loaded("conf", group, choice))
            if group in OF_GROUP:
                known = {
                    name: value for name, value in (chosen(group, choice) or {}).items() if name in own_knobs(group)
                }
                out |= {name: value for name, value in known.items() if not isinstance(value, list)} | {group: choice}
    for knob, value in content.items():
        if isinstance(value, dict):
            out |= {name: own for name, own in value.items() if name != "name"}
        elif knob != "name" and not isinstance(value, list):
            out[knob] = value
    return out


def loaded(*path: str) -> dict[str, Any]:
    content: dict[str, Any] = yaml.safe_load(CONFIG_ROOT.joinpath(*path).with_suffix(".yaml").read_text())
    return content


DEFAULTS = settings(loaded("conf", "config")) | {"unit": "char", "cleaning": "letters"}
FROM_MODEL = ("model", "activation")
FROM_ELSEWHERE = ("device", "lr")
"""Knobs whose default is the machine's or the optimizer's."""
IN_RECORDS = {"data": "corpus"}
"""Knob as typed → its name in the records, where that is another."""


def preset_values(name: str) -> dict[str, list[Any]]:
    """The values that a preset gives to knobs, swept or not."""
    preset = loaded("sweeps", name)
    sweeper = preset.pop("hydra")["sweeper"]
    fixed = settings(preset)
    out: dict[str, list[Any]] = {knob: [value] for knob, value in fixed.items()}
    params, blocks = sweeper.get("params", {}), sweeper.get("blocks", [{}])
    for knob in dict.fromkeys([*params, *(knob for block in blocks for knob in block)]):
        name = knob.rpartition(".")[2]
        everywhere = knob in params or all(knob in block for block in blocks)
        swept = [] if everywhere else [(DEFAULTS | fixed).get(name)]
        for block in blocks:
            swept += [yaml.safe_load(value) for value in str((params | block).get(knob, "")).split(",") if value]
        out[name] = swept
    return {IN_RECORDS.get(knob, knob): list(dict.fromkeys(values)) for knob, values in out.items()}


def test_there_are_some() -> None:
    assert len(FILES) >= 25
    assert len({claim.id for claim in CLAIMS}) == len(CLAIMS)


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_each_file_belongs_to_a_preset(path: Path) -> None:
    assert (CONFIG_ROOT / "sweeps" / path.name).is_file()


def test_all_conclusions_are_there() -> None:
    numbers = {int(found[1]) for claim in CLAIMS if (found := re.match(r"conclusion (\d+) \(", claim.source))}
    assert numbers == set(range(1, 15))


@pytest.mark.parametrize("claim", CLAIMS, ids=lambda claim: claim.id)
def test_a_claim_speaks_of_what_its_preset_has(claim: Claim) -> None:
    values = named_values(claim)
    assert {knob for knob, _ in values} <= {*KNOBS, "device"}
    assert {value for knob, value in values if knob == "model"} <= MODELS
    there = preset_values(claim.preset)
    for knob, value in values:
        if knob in there:
            assert value in there[knob], f"{claim.preset} has no {knob}={value}"
        elif knob not in (*FROM_MODEL, *FROM_ELSEWHERE):
            assert value == DEFAULTS[knob], f"{claim.preset} leaves {knob} at {DEFAULTS[knob]}"
    swept = {knob for knob, among in there.items() if len(among) > 1}
    varied = {claim.predicate.keys[0]} if claim.predicate.keys else set()
    assert varied <= swept


def test_statements_are_sentences() -> None:
    for claim in CLAIMS:
        assert claim.statement.endswith("."), claim.id
        assert claim.statement[0].isupper(), claim.id
    assert pd.Series([claim.statement for claim in CLAIMS]).is_unique


SHARES = [(claim, claim.predicate) for claim in CLAIMS if isinstance(claim.predicate, InShare)]


@pytest.mark.parametrize(("claim", "of"), SHARES, ids=[claim.id for claim, _ in SHARES])
def test_runs_that_all_agree_can_confirm_a_share(claim: Claim, of: InShare) -> None:
    """With the seeds of the preset, or the half of them that judges where a knob is tuned."""
    seeds = loaded("sweeps", claim.preset).get("seeds", DEFAULTS["seeds"])
    n = seeds // 2 if claim.tuned else seeds
    assert Share("", n if of.at_least else 0, n, of.share, of.at_least, level=0.95).confirm <= 0.025
