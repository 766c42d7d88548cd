"""Every model, connection, rule and kind of pair goes through a whole sweep: planned, trained, on record.

What the networks compute is compared elsewhere. CPU, 6 s.
"""

from collections.abc import Callable
from typing import Any

import pytest

from ablate.config.choice_files import summaries
from ablate.config.identity import without_effect
from ablate.config.registry import TASKS
from ablate.config.schema import Config
from ablate.sweeping.naming import folder_name
from ablate.sweeping.progress import cost

Configs = Callable[..., Config]

MODELS = sorted(summaries("model"))
MEMORY = TASKS["memory"].data
TINY = ("num_hiddens=3", "epochs=1", "seeds=1", "engine=cohort")


@pytest.mark.full
def test_every_model_in_one_sweep(small: Configs, sweep: Callable[..., Any]) -> None:
    summary = sweep([small(f"model={model}", *TINY) for model in MODELS])
    assert (summary.trained, summary.exit_status) == (len(MODELS), 0)


@pytest.mark.full
@pytest.mark.parametrize("rule", MEMORY)
def test_every_rule(compose: Configs, sweep: Callable[..., Any], rule: str) -> None:
    options = (f"data={rule}", *TINY, "num_steps=6", "task.sequences=8", "batch_size=4")
    summary = sweep([compose("task=memory", f"model={model}", *options) for model in ("gru", "mgu", "minlstm")])
    assert (summary.trained, summary.exit_status) == (3, 0)


@pytest.mark.full
def test_translations(compose: Configs, sweep: Callable[..., Any]) -> None:
    options = ("data=number_pairs", *TINY, "task.pairs=64", "batch_size=32")
    attention = [f"task.attention={value}" for value in ("false", "true")]
    summary = sweep([compose("task=translation", *options, how) for how in attention])
    assert (summary.trained, summary.exit_status) == (2, 0)


UNREAD = [
    ("forget_bias=1", "model=gru", "a forget gate"),
    ("forget_bias=1", "model=lstm-no-forget-gate", "a forget gate"),
    ("forget_bias=1", "model=lstm-coupled", "a forget gate"),
    ("reset=before", "model=lstm", "a reset gate"),
    ("dropout=0.5", "layers=1", "two layers"),
    ("task.symbols=3", "task=language_model", "memory"),
    ("optimizer.momentum=0.9", "optimizer=sgd", "momentum or rmsprop"),
    ("optimizer.betas=[0.8,0.9]", "optimizer=momentum", "adam or adamw"),
    ("optimizer.alpha=0.9", "optimizer=adam", "rmsprop"),
    ("optimizer.lr=0.3", "task=memory data=copy", "0.01"),
    ("optimizer.lr=0.3", "lr=0.5", "0.5"),
    ("epochs=7", "updates=50", "updates=50"),
    ("model.connection=residual", "layers=1", "another layer"),
    ("model.transition=4", "model.connection=dense", "another layer"),
    ("val_tokens=100", "task=memory data=copy", "a text"),
    ("sampling=sequential", "task=translation data=number_pairs", "a text"),
    ("max_tokens=50", "task=translation data=number_pairs", "a text"),
    ("prefixes=[abc]", "task=memory data=copy", "a text"),
]
"""A knob that is given, beside what nothing reads it, and a word of the reason."""

READ = [
    ("forget_bias=1", "model=lstm"),
    ("reset=before", "model=gru"),
    ("dropout=0.5", "layers=2"),
    ("optimizer.momentum=0.9", "optimizer=rmsprop"),
    ("optimizer.weight_decay=0.1", "optimizer=sgd"),
    ("optimizer.lr=0.3", "model=gru"),
    ("updates=50", "epochs=7"),
    ("model.connection=dense", "layers=1"),  # what is read out grows by the input
    ("model.transition=4", "model.connection=dense layers=2"),
    ("task.masked=0.3", "task=fill_in"),
    ("init=torch", "formulation=torch"),  # what formulation means already: nothing is lost
    ("engine=cohort", "model=gru"),
    ("seeds=3", "model=gru"),
    ("num_hiddens=8", "match=params"),
    ("dropout=0", "layers=1"),
    ("prefixes=[abc]", "data.tokens=word"),
]


@pytest.mark.full
@pytest.mark.parametrize(("knob", "beside", "why"), UNREAD)
def test_a_knob_that_nothing_reads_is_said(compose: Configs, knob: str, beside: str, why: str) -> None:
    name = knob.partition("=")[0]
    found = without_effect([compose(*beside.split(), knob)], [name, *(b.partition("=")[0] for b in beside.split())])
    assert list(found) == [name]
    assert why in found[name]
    assert folder_name([*beside.split(), knob], None, found) == folder_name(beside.split())


@pytest.mark.full
@pytest.mark.parametrize(("knob", "beside"), READ)
def test_a_knob_that_is_read_is_not(compose: Configs, knob: str, beside: str) -> None:
    assert without_effect([compose(*beside.split(), knob)], [knob.partition("=")[0]]) == {}


@pytest.mark.full
@pytest.mark.parametrize(
    ("knob", "chosen", "owner"),
    [
        ("model.peepholes=false", "model=gru", "lstm"),
        ("model.coupled=false", "model=rnn", "lstm"),
        ("optimizer.betas=[0.9,0.999]", "optimizer=sgd", "adam"),
        ("optimizer.momentum=0", "optimizer=adam", "momentum"),
        ("schedule.every=30", "schedule=constant", "step"),
        ("task.masked=0.15", "task=language_model", "fill_in"),
    ],
)
def test_a_knob_of_something_else_is_said_whatever_its_value(
    compose: Configs, knob: str, chosen: str, owner: str
) -> None:
    """Regression: at the value that it has where it is not there, or off, it was taken without a word."""
    name = knob.partition("=")[0]
    one, other = compose(chosen, knob), compose(f"{name.partition('.')[0]}={owner}", knob)
    line = without_effect([one], [name])[name]
    assert knob.partition("=")[2].replace(",", ", ") in line
    assert owner in line
    assert without_effect([one, other], [name]) == {}


def test_one_config_that_reads_a_knob_is_enough(compose: Configs) -> None:
    one, other = compose("dropout=0.5"), compose("dropout=0.5", "layers=2")
    assert list(without_effect([one], ["dropout"])) == ["dropout"]
    assert without_effect([one, other], ["dropout"]) == {}
    assert without_effect([one], []) == {}  # not given: what a task brings needs no word


def test_prefixes_are_nothing_to_a_rule(compose: Configs, sweep: Callable[..., Any]) -> None:
    """Its examples are its own choice, so that none can be missing from a finished run."""
    options = ("task=memory", *TINY, "num_steps=4", "task.sequences=4", "batch_size=4")
    assert sweep([compose(*options)]).trained == 1
    assert sweep([compose(*options, "prefixes=[a b]")]).trained == 0


@pytest.mark.full
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
