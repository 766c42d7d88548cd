"""Claims in one sentence, where a sweep cannot decide them. CPU, below a second."""

from pathlib import Path

import pandas as pd
import pytest

from ablate.analysis.frames import swept_knobs
from ablate.claims import Frames, evaluate
from ablate.claims.along import Order
from ablate.claims.reading import make_claim
from ablate.claims.sentences import claim_of
from ablate.config.errors import UserError
from tests.report.made import config, write_run


def test_a_sweep_of_one_setting_says_that_a_knob_has_to_vary() -> None:
    settings = pd.DataFrame({"model": ["gru"]})
    with pytest.raises(UserError, match="model=gru,lstm"):
        claim_of("gru < rnn", settings, [], "tail_perplexity")


def judged(sentence: str, gates: list[str | None], **more: object) -> tuple[str, list[object]]:
    """The knob of the order that a sentence claims, and its values, of settings whose gates are held so."""
    settings = pd.DataFrame({"gates": gates, "activation": "tanh", "model.a": [float(n) for n in range(len(gates))]})
    claim = claim_of(sentence, settings, ["gates", "model.a"], "tail_perplexity", **more)  # type: ignore[arg-type]
    order = claim.predicate
    assert isinstance(order, Order)
    return order.along, [value for place in order.ascending for value in place]


@pytest.mark.parametrize(
    ("sentence", "by"),
    [
        ("model.gates.update=null < model.gates.update=0.5", None),
        ("gates.update=null < gates.update=.50", None),
        ("model.gates.update=null < 0.5", None),
        ("null < 0.5", "model.gates.update"),
        ("null < update=0.5", None),
        ("gates=null < gates=update=0.5", None),
        ("null < update=0.5", "model.gates"),
    ],
)
def test_a_gate_is_named_as_the_sweep_named_it_or_as_the_table_does(sentence: str, by: str | None) -> None:
    assert judged(sentence, [None, "update=0.5"], by=by) == ("gates", [None, "update=0.5"])


def test_a_gate_beside_another_that_is_held_alike() -> None:
    found = judged("model.gates.update=0.5 < model.gates.update=1", ["reset=1 update=0.5", "reset=1 update=1"])
    assert found == ("gates", ["reset=1 update=0.5", "reset=1 update=1"])
    every = [None, "reset=1", "update=0.5", "reset=1 update=0.5"]
    with pytest.raises(UserError, match=r"gates=reset=1 update=0\.5"):
        judged("model.gates.update=null < model.gates.update=0.5", every)
    assert judged("gates=reset=1 < gates=reset=1 update=0.5", every) == ("gates", ["reset=1", "reset=1 update=0.5"])
    with pytest.raises(UserError, match=r"model\.gates\.update=0\.7; there is null or 0\.5"):
        judged("model.gates.update=null < model.gates.update=0.7", [None, "update=0.5"])


def test_where_names_a_gate_that_a_cell_has() -> None:
    """Of one that none has it would be true of every setting that it is held at none."""
    for gate in ("update", "keep"):  # whose cell is in a file that is gone
        judged("null < gates=keep=1", [None, "keep=1"], where={f"model.gates.{gate}": None})
    with pytest.raises(UserError, match=r"'model\.gates\.updat'; did you mean model\.gates\.update\?"):
        judged("null < gates=keep=1", [None, "keep=1"], where={"model.gates.updat": None})


@pytest.mark.parametrize("name", ["model.a", "a"])
def test_the_knob_of_a_cell_of_ones_own_is_named_as_typed_or_by_its_bare_name(name: str, tmp_path: Path) -> None:
    """Also by somebody who has the folder of results and not the file of the cell."""
    for a in (0.25, 1.0):
        for seed in range(6):
            write_run(tmp_path, config("mine", **{"model.cell": "mine", "model.a": a}), seed, 2.0 + a + seed / 50)
    frames = Frames.read(tmp_path)
    claim = claim_of(f"{name}=0.25 < {name}=1", frames.runs, swept_knobs(frames.runs), "tail_perplexity")
    assert claim.speaks_of == {"model.a"}
    [verdict] = evaluate(frames, [claim], any_protocol=True)
    assert verdict.effect.startswith("model.a 0.25/1 = ")
    with pytest.raises(UserError, match=r"no setting has '2'; there is model\.a: 0\.25, 1"):
        claim_of("a=0.25 < a=2", frames.runs, swept_knobs(frames.runs), "tail_perplexity")


def test_a_claim_of_a_file_names_knobs_as_the_sweep_does() -> None:
    said = {"id": "one", "statement": "One.", "where": {"model.gates.update": [None, 0.5], "model.activation": "relu"}}
    order = {"along": "model.gates.reset", "ascending": [1, None]}
    claim = make_claim({**said, "order": order})
    assert claim.where == {"gates": (None, "update=0.5"), "activation": ("relu",)}
    assert claim.speaks_of == {"gates", "activation"}
    assert isinstance(claim.predicate, Order)
    assert claim.predicate.ascending == (("reset=1",), (None,))
    with pytest.raises(UserError, match=r"model\.gates\.update is 'half'; it must be a number"):
        make_claim({**said, "where": {"model.gates.update": "half"}, "order": order})
    with pytest.raises(UserError, match="names gates twice"):
        make_claim({**said, "where": {"model.gates.update": 1, "model.gates.reset": 1}, "order": order})


@pytest.mark.parametrize(
    ("sentence", "values"),
    [("0.1234561 < 1.234562e-1", [0.1234561, 0.1234562]), ("0.123456 < 0.2", [0.1234561, 0.2])],
)
def test_values_that_tables_show_alike_are_two(sentence: str, values: list[float]) -> None:
    claim = claim_of(sentence, pd.DataFrame({"lr": [0.1234561, 0.1234562, 0.2]}), ["lr"], "perplexity")
    assert isinstance(claim.predicate, Order)
    assert [value for place in claim.predicate.ascending for value in place] == values
