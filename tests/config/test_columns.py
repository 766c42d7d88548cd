"""The columns of knobs in frames, and the choices that registered things make. CPU, 2 s."""

from pathlib import Path

import pytest

from ablate.cells.cell import cell
from ablate.config.choice_files import choices, summaries
from ablate.config.choices import choice
from ablate.config.columns import (
    OF_DATA,
    ORDER,
    column,
    columns,
    gate_named,
    named_column,
    own_columns,
    own_values,
)
from ablate.config.composing import compose
from ablate.config.dependence import brings, chosen
from ablate.config.knobs import knobs
from ablate.config.registry import OF_GROUP, knobs_of, own_knobs

OF_A_RUN = {"seed", "updates", "match"}
"""What tells runs of one setting apart, and what decides through another knob."""


def test_every_knob_that_decides_an_outcome_has_a_column() -> None:
    deciding = {
        column(name)
        for name, knob in knobs().items()
        if name not in (*OF_GROUP, "sweeps", "model.cell")
        and not (name.startswith("data.") and name.removeprefix("data.") not in own_knobs("data"))
        if knob.metadata.get("identity", True)
        if not name.endswith(".name")
    }
    assert deciding - OF_A_RUN == set(columns()) - {*OF_GROUP, *OF_DATA.values(), "corpus_sha256"}


def test_columns_of_what_we_ship_are_short() -> None:
    assert own_columns("task")["masked"] == "masked"
    assert own_columns("optimizer")["betas"] == "betas"
    assert not any("." in name for name in columns())
    assert len(set(columns())) == len(columns()) > len(ORDER)


@pytest.mark.parametrize("group", OF_GROUP)
def test_every_registered_thing_is_a_choice_with_its_own_defaults(group: str) -> None:
    for thing in OF_GROUP[group]:
        assert thing.name in summaries(group)
        found = chosen(group, thing.name)
        assert found is not None
        for knob in knobs_of(thing):
            assert found[knob.name] == knob.default, (thing.name, knob.name)


@pytest.mark.full
def test_a_file_of_ones_own_does_not_take_the_place_of_ours(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "optimizer").mkdir()
    (tmp_path / "optimizer" / "adam.yaml").write_text("# Mine\nname: adam\nlr: 7.0\n")
    monkeypatch.chdir(tmp_path)
    assert "adam" in choices("optimizer")
    assert compose(["optimizer=adam"]).lr == choice("optimizer", OF_GROUP["optimizer"]["adam"])["lr"] == 0.005


def test_a_knob_that_a_thing_has_shows_its_value(nothing_stays: None) -> None:
    """Also at the value at which it is no part of an identity, which is another one than its default."""

    @cell(activation="relu")
    def mine(x, h, *, W, candidate):  # type: ignore[no-untyped-def]
        return candidate(x.candidate + h @ W.candidate)

    for name in ("mine", "minlstm", "rnn"):
        for activation in ("tanh", "relu"):
            stored = {"name": name, "cell": name, "activation": activation}
            assert own_values("model", stored)["activation"] == activation, name


def test_a_knob_is_named_by_its_column_as_typed_or_by_its_last_part() -> None:
    known = ["activation", "weight_decay", "unit", "model.a", "model.b", "task.b"]
    for name, found in (
        *(("activation", "activation"), ("model.activation", "activation"), ("data.tokens", "unit")),
        *(("optimizer.weight_decay", "weight_decay"), ("model.a", "model.a"), ("a", "model.a"), ("b", "b")),
        *(("mine.activation", "mine.activation"), ("lr", "lr")),
    ):
        assert named_column(name, known) == found
    assert [gate_named(name) for name in ("model.gates.reset", "gates.reset", "reset", "gates", "model.gates")] == [
        *("reset", "reset", None, None, None)
    ]


def test_what_follows_from_a_choice_is_declared_with_the_knob_or_the_thing() -> None:
    assert {"coupled", "activation", "gates", "reset"} <= brings("model")
    assert {"lr", "momentum", "betas"} <= brings("optimizer")
    assert {"masked", "symbols", "lr", "epochs", "corpus", "unit"} <= brings("task")
    assert {"init", "reset", "bias_vectors"} == brings("formulation")
    assert {"dropout", "connection", "transition"} == brings("layers")
