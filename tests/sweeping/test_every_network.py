"""Every model, connection, rule and kind of pair goes through a whole sweep: planned, trained, on record.

What the networks compute is compared elsewhere. CPU, 6 s.
"""

from collections.abc import Callable
from typing import Any

import pytest

from ablate.config import CONFIG_ROOT, MEMORY, Config
from ablate.sweeping.plan import without_effect
from ablate.sweeping.progress import cost

Configs = Callable[..., Config]

MODELS = sorted(path.stem for path in (CONFIG_ROOT / "conf" / "model").glob("*.yaml"))
TINY = ("num_hiddens=3", "epochs=1", "seeds=1", "engine=cohort")


def test_every_model_in_one_sweep(small: Configs, sweep: Callable[..., Any]) -> None:
    summary = sweep([small(f"model={model}", *TINY) for model in MODELS])
    assert (summary.trained, summary.exit_status) == (len(MODELS), 0)


@pytest.mark.parametrize("rule", MEMORY)
def test_every_rule(compose: Configs, sweep: Callable[..., Any], rule: str) -> None:
    options = (f"data={rule}", *TINY, "num_steps=6", "task.sequences=8", "batch_size=4")
    summary = sweep([compose("task=memory", f"model={model}", *options) for model in ("gru", "mgu", "minlstm")])
    assert (summary.trained, summary.exit_status) == (3, 0)


def test_translations(compose: Configs, sweep: Callable[..., Any]) -> None:
    options = ("data=number_pairs", *TINY, "task.pairs=64", "batch_size=32")
    attention = [f"task.attention={value}" for value in ("false", "true")]
    summary = sweep([compose("task=translation", *options, how) for how in attention])
    assert (summary.trained, summary.exit_status) == (2, 0)


def test_what_no_config_reads_is_said(small: Configs) -> None:
    said = "forget_bias=1.0 changes nothing: no model here has a forget gate whose bias it sets"
    assert without_effect([small("model=gru", "forget_bias=1")]) == [said]
    assert without_effect([small("model=lstm-no-forget-gate", "forget_bias=1")]) == [said]
    assert without_effect([small("model=lstm-coupled", "forget_bias=1")]) == [said]
    assert without_effect([small(f"model={model}", "forget_bias=1") for model in ("gru", "lstm")]) == []
    assert without_effect([small("model=lstm", "reset=before")]) == [
        "reset=before changes nothing: no model here has a reset gate"
    ]
    (line,) = without_effect([small("dropout=0.5")])
    assert line == "dropout=0.5 changes nothing: it acts between layers, and layers is 1"
    assert without_effect([small("dropout=0.5"), small("dropout=0.5", "layers=2")]) == []
    assert without_effect([small("task.symbols=3")]) == ["task.symbols changes nothing here: it is for task=memory"]
    assert without_effect([small("model=gru", "reset=before")]) == []


def test_connections_of_a_single_layer_are_said(small: Configs) -> None:
    said = "model.connection=residual changes nothing: with layers=1 there is no other layer to connect"
    assert without_effect([small("model.connection=residual")]) == [said]
    assert without_effect([small("model.connection=residual"), small("layers=2", "model.connection=residual")]) == []
    assert without_effect([small("model.connection=dense")]) == []  # what is read out grows by the input
    dense = ("model.connection=dense", "model.transition=4")
    assert without_effect([small(*dense)]) == [said.replace("connection=residual", "transition=4")]
    assert without_effect([small("layers=2", *dense)]) == []


@pytest.mark.parametrize("task", ["memory", "translation"])
def test_what_is_for_texts_is_said(compose: Configs, task: str) -> None:
    assert without_effect([compose(f"task={task}")]) == []
    told = without_effect([compose(f"task={task}", "val_tokens=100", "sampling=sequential", "max_tokens=50")])
    assert [line.split(" changes")[0] for line in told] == ["sampling=sequential", "max_tokens=50", "val_tokens=100"]


def test_a_text_typed_for_a_rule_is_said(compose: Configs) -> None:
    said = "prefixes changes nothing here: task=memory has sequences of its own making and continues no text"
    assert without_effect([compose("task=memory", "prefixes=[abc]")]) == [said]
    assert without_effect([compose("task=memory")]) == []
    assert without_effect([compose("task=memory", "prefixes=[abc]"), compose("prefixes=[abc]")]) == []


def test_prefixes_are_nothing_to_a_rule(compose: Configs, sweep: Callable[..., Any]) -> None:
    """Its examples are its own choice, so that none can be missing from a finished run."""
    options = ("task=memory", *TINY, "num_steps=4", "task.sequences=4", "batch_size=4")
    assert sweep([compose(*options)]).trained == 1
    assert sweep([compose(*options, "prefixes=[a b]")]).trained == 0


def test_sentences_are_told_as_they_were_typed(compose: Configs, sweep: Callable[..., Any]) -> None:
    typed = ("task=translation", "data=number_pairs", *TINY, "task.pairs=32", "batch_size=32", "prefixes=[Forty  Two]")
    assert sweep([compose(*typed)]).trained == 1
    assert sweep([compose(*typed)]).trained == 0


def test_cost_counts_what_is_computed(small: Configs) -> None:
    gru = cost(small("model=gru"), 1000)
    assert cost(small("model=gru"), 2000) == pytest.approx(2 * gru)
    assert cost(small("model=gru", "sampling=random", "model.bidirectional=true"), 1000) == pytest.approx(2 * gru)
    assert cost(small("model=mgu"), 1000) == pytest.approx(gru * 2 / 3)
    assert cost(small("model=gru-no-reset"), 1000) == pytest.approx(gru * 2 / 3)
