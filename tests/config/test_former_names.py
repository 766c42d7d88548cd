"""What was typed, or stored, in the words of before version 0.1 still means the same. CPU, 2 s."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from ablate.claims.reading import make_claim
from ablate.config.composing import compose, from_dict
from ablate.config.former_names import in_claim, of_stored
from ablate.config.identity import run_id
from ablate.config.resolved import resolve
from ablate.config.schema import to_dict
from ablate.records.reading import RecordError
from ablate.records.results import records
from ablate.searching.settings import objectives


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


@pytest.mark.full
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
    assert run_id(from_dict(former), "0") == run_id(resolve(compose(["formulation=textbook"])), "0")


def test_a_claim_in_the_former_words() -> None:
    former = {"order": {"along": "impl", "ascending": ["api", "scratch"]}, "where": {"impl": ["api", "scratch"]}}
    now = {"order": {"along": "formulation", "ascending": ["torch", "textbook"]}}
    now |= {"where": {"formulation": ["torch", "textbook"]}}
    named = {"id": "a", "statement": "It is so."}
    made, expected = make_claim(named | former), make_claim(named | now)
    assert (made.where, made.predicate.keys) == (expected.where, expected.predicate.keys)
    assert made.where == {"formulation": ("torch", "textbook")}


@pytest.mark.full
@pytest.mark.parametrize("preset", ["impl: scratch", "hydra: {sweeper: {params: {impl: 'scratch'}}}"])
@pytest.mark.parametrize("typed", ["formulation=torch", "impl=api"])
def test_what_is_typed_replaces_a_presets_value_under_either_name(
    main: Callable[..., Any], small_arguments: list[str], tmp_path: Path, preset: str, typed: str
) -> None:
    (tmp_path / "sweeps").mkdir()
    (tmp_path / "sweeps" / "mine.yaml").write_text(f"# @package _global_\n{preset}\nname: mine\n")
    done = main("sweeps=mine", *small_arguments, typed)
    assert done.status == 0, done.err
    [record] = records(tmp_path / "results" / "mine")
    assert isinstance(record, dict)
    assert record["config"]["formulation"] == "torch"


def test_a_preset_with_both_names_is_refused(tmp_path: Path, main: Callable[..., Any]) -> None:
    (tmp_path / "sweeps").mkdir()
    (tmp_path / "sweeps" / "mine.yaml").write_text("# @package _global_\nimpl: scratch\nformulation: torch\n")
    done = main("sweeps=mine")
    assert done.status == 2
    assert "sweeps/mine.yaml: impl is the former name of formulation" in done.err
    assert len(done.err.splitlines()) == 1


def test_a_metric_by_its_former_name() -> None:
    """In records and in claims: what the course measures had been called published."""
    stored = json.dumps({"metrics": {"published_loss": 0.02, "published_bleu": 0.5, "bleu": 3.0}})
    assert json.loads(stored, object_hook=of_stored)["metrics"] == {
        "course_loss": 0.02,
        "course_bleu": 0.5,
        "bleu": 3.0,
    }
    entry: dict[str, Any] = {"id": "c", "statement": "It is so.", "metric": "published_bleu"}
    entry["solves"] = {"at_least": 0.75, "in_share": 0.5}
    assert make_claim(in_claim(entry)).metric == "course_bleu"
    assert [o.name for o in objectives("published_loss")] == ["course_loss"]
