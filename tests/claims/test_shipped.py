"""The claims that come with ablate: about cells that their presets have, for all fourteen conclusions. CPU, 2 s."""

import re
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
import yaml

from ablate.analysis.frames import KNOBS
from ablate.claims import Claim, read_claims
from ablate.claims.choosing import claim_files
from ablate.claims.predicates import Between
from ablate.config import CONFIG_ROOT

FILES = claim_files([CONFIG_ROOT])
CLAIMS = [claim for path in FILES for claim in read_claims(path)]
MODELS = {path.stem for path in (CONFIG_ROOT / "conf" / "model").glob("*.yaml")}


def named_values(claim: Claim) -> list[tuple[str, Any]]:
    """Every knob and value that a claim names."""
    predicate = claim.predicate
    out = [(knob, value) for knob, values in claim.where.items() for value in values]
    if isinstance(predicate, Between):
        out += [*predicate.of.items(), *predicate.to.items()]
    out += [(predicate.keys[0], value) for value in getattr(predicate, "ascending", ())]
    out += [(predicate.keys[0], value) for value in getattr(predicate, "pair", ())]
    optimum = getattr(predicate, "optimum", None)
    return out + ([(predicate.keys[0], optimum)] if optimum is not None else [])


def preset_values(name: str) -> dict[str, list[Any]]:
    """The values that a preset gives to knobs, swept or not."""
    preset = yaml.safe_load((CONFIG_ROOT / "sweeps" / f"{name}.yaml").read_text())
    sweeper = preset.pop("hydra")["sweeper"]
    defaults = yaml.safe_load((CONFIG_ROOT / "conf" / "config.yaml").read_text())
    out: dict[str, list[Any]] = {knob: [value] for knob, value in preset.items()}
    blocks = sweeper.get("blocks", [{}])
    for block in blocks:
        for knob, values in (sweeper.get("params", {}) | block).items():
            name = knob.rpartition(".")[2]
            everywhere = knob in sweeper.get("params", {}) or all(knob in one for one in blocks)
            out.setdefault(name, [] if everywhere else [defaults.get(name)])
            out[name] += [yaml.safe_load(value) for value in str(values).split(",")]
    return {knob: list(dict.fromkeys(values)) for knob, values in out.items()}


def test_there_are_some() -> None:
    assert len(FILES) >= 15
    assert len({claim.id for claim in CLAIMS}) == len(CLAIMS)


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_each_file_belongs_to_a_preset(path: Path) -> None:
    assert path.stem == "bidirectional" or (CONFIG_ROOT / "sweeps" / path.name).is_file()


def test_all_conclusions_are_there() -> None:
    numbers = {int(found[1]) for claim in CLAIMS if (found := re.match(r"conclusion (\d+) \(", claim.source))}
    assert numbers == set(range(1, 15))


@pytest.mark.parametrize("claim", CLAIMS, ids=lambda claim: claim.id)
def test_a_claim_speaks_of_what_its_preset_has(claim: Claim) -> None:
    values = named_values(claim)
    assert {knob for knob, _ in values} <= {*KNOBS, "device"}
    if claim.preset == "bidirectional":
        return
    assert {value for knob, value in values if knob == "model"} <= MODELS
    there = preset_values(claim.preset)
    for knob, value in values:
        if knob in there:
            assert value in there[knob], f"{claim.preset} has no {knob}={value}"
    defaults = yaml.safe_load((CONFIG_ROOT / "conf" / "config.yaml").read_text())
    swept = {knob for knob, among in there.items() if len(among) > 1}
    for knob, value in values:
        if knob not in there and knob not in ("model", "device", "lr", "activation"):
            assert value == defaults[knob], f"{claim.preset} leaves {knob} at {defaults[knob]}"
    varied = {claim.predicate.keys[0]} if claim.predicate.keys else set()
    assert varied <= swept


def test_statements_are_sentences() -> None:
    for claim in CLAIMS:
        assert claim.statement.endswith("."), claim.id
        assert claim.statement[0].isupper(), claim.id
    assert pd.Series([claim.statement for claim in CLAIMS]).is_unique
