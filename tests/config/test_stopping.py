"""What ends a run before its epochs, as it is typed: rules, lengths of time, what is refused. CPU, < 1 s."""

from collections.abc import Callable

import pytest

from ablate.config.composing import compose as composed
from ablate.config.errors import CombinationError, ConfigError
from ablate.config.resolved import Resolved, resolve
from ablate.config.stopping import Rule, as_seconds, seconds_of
from ablate.config.validation import check_combination


@pytest.mark.parametrize(
    ("text", "rule"),
    [
        ("val_perplexity<9", Rule("val_perplexity", "<", 9.0)),
        (" accuracy > .99 ", Rule("accuracy", ">", 0.99)),
        ("perplexity<1e1", Rule("perplexity", "<", 10.0)),
    ],
)
def test_a_rule_is_read_and_written(text: str, rule: Rule) -> None:
    assert Rule.read(text) == rule
    assert Rule.read(str(rule)) == rule


@pytest.mark.parametrize(
    "text", ["", "9", "val_perplexity", "val_perplexity=9", "val_perplexity<", "a<b", "a<1<2", "a<.", "a<nan"]
)
def test_what_is_no_rule_is_refused(text: str) -> None:
    with pytest.raises(ConfigError, match="write a metric"):
        Rule.read(text)


def test_a_rule_holds_beyond_its_number() -> None:
    below, above = Rule.read("val_perplexity<9"), Rule.read("accuracy>0.5")
    assert [below.holds({"val_perplexity": value}) for value in (8.9, 9.0, None)] == [True, False, False]
    assert [above.holds({"accuracy": value}) for value in (0.5, 0.6)] == [False, True]
    assert not below.holds({})


def test_lengths_of_time() -> None:
    assert [seconds_of("budget", text) for text in ("90s", "1.5m", "2min", "1h")] == [90, 90, 120, 3600]
    assert seconds_of("budget", as_seconds(5400.0)) == 5400


@pytest.mark.parametrize("text", ["", "10", "m", "-3s", "0s", "1e400h", "5 days", "1m30s"])
def test_what_is_no_time_is_refused(text: str) -> None:
    with pytest.raises(ConfigError, match=r"budget is .*90s, 30m or 2h"):
        seconds_of("budget", text)


def resolved(*overrides: str) -> Resolved:
    return resolve(composed(overrides))


@pytest.mark.parametrize(
    ("overrides", "says"),
    [
        (["until=accuracy>0.5"], "accuracy.*choose perplexity"),  # which a language model does not measure
        (["until=val_perplexty<9"], "did you mean val_perplexity"),
        (["until=val_perplexity<9", "val_tokens=0"], "choose perplexity, tail_perplexity or best_perplexity"),
        (["until=test_perplexity<9", "test_tokens=1000"], "test_perplexity"),  # by which nothing may be chosen
        (["until=wall_s<9"], "wall_s"),
        (["budget=10"], "90s, 30m or 2h"),
        (["patience=0"], "must be 1 or more"),
        (["forget_bias=chron"], "did you mean chrono"),
        (["clip_by=norms"], "choose norm or value"),
        (["dropout_mask=locked"], "choose step or variational"),
        (["model.embedding=0"], "must be 1 or more"),
    ],
)
def test_values_that_no_run_could_have(overrides: list[str], says: str) -> None:
    with pytest.raises(ConfigError, match=says):
        resolved(*overrides)


def test_a_rule_may_name_what_a_task_measures() -> None:
    assert resolved("task=memory", "data=copy", "until=accuracy>0.99").until == "accuracy>0.99"


@pytest.mark.parametrize("knob", ["patience=3", "schedule=plateau"])
def test_what_follows_the_held_out_perplexity_needs_held_out_data(knob: str) -> None:
    check_combination(resolved(knob))
    with pytest.raises(CombinationError, match=f"{knob} .*val_tokens=0"):
        check_combination(resolved(knob, "val_tokens=0"))


def test_a_length_of_time_is_one_setting_however_it_is_typed(compose: Callable[..., object]) -> None:
    assert resolved("budget=10m").budget == resolved("budget=600s").budget == "600s"
