"""What was typed, or stored, in the words of before version 0.1 still means the same. CPU, 2 s."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from ablate.claims.reading import make_claim
from ablate.config.composing import compose, from_dict
from ablate.config.former_names import of_stored
from ablate.config.identity import run_id
from ablate.config.schema import to_dict
from ablate.records.results import RecordError, records


@pytest.mark.parametrize(
    ("former", "now"),
    [
        ("impl=scratch", "formulation=textbook"),
        ("impl=api", "formulation=torch"),
        ("engine=scratch", "engine=eager"),
        ("engine=api", "engine=torch_nn"),
    ],
)
def test_a_former_knob_or_value_composes_to_the_same(former: str, now: str) -> None:
    assert compose([former]) == compose([now])
    knob, value = now.split("=")
    assert getattr(compose([former]), knob) == value


def test_a_preset_in_the_former_words(tmp_path: Path, main: Callable[..., Any], small_arguments: list[str]) -> None:
    (tmp_path / "sweeps").mkdir()
    text = "# Mine\n# @package _global_\nimpl: scratch\nengine: api\nname: mine\nmodel.reset: after\n"
    (tmp_path / "sweeps" / "mine.yaml").write_text(text.replace("model.reset: after\n", "reset: after\n"))
    done = main("sweeps=mine", *small_arguments, "seeds=1")
    assert done.status == 0, done.err
    [record] = [one for one in records(tmp_path / "results" / "mine") if not isinstance(one, RecordError)]
    assert (record["config"]["formulation"], record["engine"]) == ("textbook", "torch_nn")


def test_a_stored_config_in_the_former_words() -> None:
    now = to_dict(compose(["formulation=textbook", "engine=eager"]))
    former = {("impl" if name == "formulation" else name): value for name, value in now.items()}
    former |= {"impl": "scratch", "engine": "scratch"}
    assert of_stored({"config": former, "cell_id": "a", "engine": "api"}) == {
        "config": now,
        "setting_id": "a",
        "engine": "torch_nn",
    }
    assert run_id(from_dict(former), "0") == run_id(compose(["formulation=textbook"]), "0")


def test_a_claim_in_the_former_words() -> None:
    former = {"order": {"along": "impl", "ascending": ["api", "scratch"]}, "where": {"impl": ["api", "scratch"]}}
    now = {"order": {"along": "formulation", "ascending": ["torch", "textbook"]}}
    now |= {"where": {"formulation": ["torch", "textbook"]}}
    named = {"id": "a", "statement": "It is so."}
    made, expected = make_claim(named | former), make_claim(named | now)
    assert (made.where, made.predicate.keys) == (expected.where, expected.predicate.keys)
    assert made.where == {"formulation": ("torch", "textbook")}
