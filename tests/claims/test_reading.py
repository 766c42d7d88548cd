"""Claim files: what is read, and one clear line for each mistake. CPU, 1 s."""

from pathlib import Path
from typing import Any

import pytest

from ablate.claims.along import Order
from ablate.claims.grammar import PREDICATES, ClaimError
from ablate.claims.reading import make_claim, read_claims
from ablate.config.errors import UserError

GOOD = """
- id: sampling
  statement: Sequential sampling is better.
  source: conclusion 1
  where: {model: rnn, num_hiddens: [32, 64], clip: null, lr: 1e-2}
  order: {along: sampling, ascending: [sequential, random], in: most}
- id: second
  statement: >
    Two lines
    of it.
  metric: tokens_per_s
  monotone: {along: num_steps, direction: rises}
"""


def test_a_file(tmp_path: Path) -> None:
    path = tmp_path / "table09.yaml"
    path.write_text(GOOD)
    first, second = read_claims(path)
    assert first.predicate == Order(along="sampling", ascending=(("sequential",), ("random",)), most=True)
    assert first.where == {"model": ("rnn",), "num_hiddens": (32, 64), "clip": (None,), "lr": (0.01,)}
    assert (first.id, first.preset, first.metric, first.elsewhere) == ("sampling", "table09", "tail_perplexity", None)
    assert (second.statement, second.metric) == ("Two lines of it.", "tokens_per_s")


def test_several_values_may_share_a_place() -> None:
    claim = make_claim({"id": "c", "statement": "It is so.", "order": {"along": "lr", "ascending": [[1, 2], 3]}})
    assert claim.predicate == Order(along="lr", ascending=((1.0, 2.0), (3.0,)))


def message(entry: dict[str, Any]) -> str:
    with pytest.raises(UserError) as raised:
        make_claim({"id": "c", "statement": "It is so."} | entry)
    text = str(raised.value)
    assert "\n" not in text
    return text


ORDER = {"order": {"along": "model", "ascending": ["gru", "rnn"]}}
TWO = {"ratio": {"of": {"lr": 1}, "to": {"lr": 2}, "above": 1}}
SOLVED = {"solves": {"at_least": 0.9, "in_share": 0.5}}


@pytest.mark.parametrize(
    ("entry", "words"),
    [
        ({"ordr": {}}, ["no predicate 'ordr'", *PREDICATES, "did you mean order?"]),
        ({"metrik": "x"} | ORDER, ["'metrik'", "did you mean metric?"]),
        ({}, ["no predicate", "exactly one of", "u_shape"]),
        (ORDER | {"converged": {}}, ["2 predicates (order, converged)", "exactly one"]),
        (ORDER | {"metric": "perplexty"}, ["metric is 'perplexty'", "tokens_per_s", "did you mean perplexity?"]),
        (ORDER | {"statement": None}, ["statement is None", "text"]),
        (ORDER | {"where": {"num_hidens": 3}}, ["where", "'num_hidens'", "did you mean num_hiddens?"]),
        (ORDER | {"where": {"zzzzzz": 3}}, ["where", "'zzzzzz'", "--help"]),
        (ORDER | {"where": ["model"]}, ["where is ['model']", "{KNOB: VALUE"]),
        (ORDER | {"where": {"num_hiddens": "many"}}, ["num_hiddens is 'many'", "a number"]),
        (ORDER | {"where": {"num_hiddens": 32.5}}, ["num_hiddens is 32.5", "whole number"]),
        (ORDER | {"where": {"num_hiddens": 0}}, ["num_hiddens is 0", "1 or more"]),
        (ORDER | {"where": {"lr": 0}}, ["lr is 0", "above 0"]),
        (ORDER | {"where": {"sampling": "randm"}}, ["sampling is 'randm'", "sequential-reset", "mean random?"]),
        (ORDER | {"where": {"model": 3}}, ["model is 3", "text"]),
        (ORDER | {"where": {"write_back": "no"}}, ["write_back is 'no'", "true or false"]),
        (ORDER | {"elsewhere": "no"}, ["elsewhere is 'no'", "true or false"]),
        (ORDER | {"tuned": "lrr"}, ["tuned", "'lrr'", "did you mean lr?"]),
        (ORDER | {"tuned": "model"}, ["tuned: model"]),
        (ORDER | {"tuned": "lr", "metric": "tokens_per_s"}, ["tuned: lr"]),
        ({"order": "model"}, ["order is 'model'", "--help"]),
        ({"order": {"along": "model"}}, ["order lacks ascending"]),
        ({"order": {"along": "model", "ascending": ["gru"]}}, ["ascending", "two or more"]),
        ({"order": {"along": "model", "ascending": ["gru", "gru"]}}, ["twice"]),
        ({"order": {"along": "modl", "ascending": [1, 2]}}, ["order.along", "'modl'", "did you mean model?"]),
        ({"order": {"along": "model", "ascending": ["a", "b"], "in": "some"}}, ["order.in is 'some'", "every or most"]),
        ({"order": {"along": "model", "ascending": ["a", "b"], "margin": 1}}, ["order has no 'margin'", "--help"]),
        ({"order": {"along": ["lr"], "ascending": [1, 2]}}, ["order.along", "no knob", "['lr']"]),
        (ORDER | {"where": {"lr": 10**400}}, ["lr is 1000", "it must be a number"]),
        ({"fails": {"above": 10**400, "at_least": 0.5}}, ["fails.above is 1000", "it must be a number"]),
        ({"monotone": {"along": "model", "direction": "falls"}}, ["model", "no numbers", "use order"]),
        ({"monotone": {"along": "lr", "direction": "down"}}, ["'down'", "falls or rises"]),
        ({"monotone": {"along": "lr", "direction": "falls", "margin": "x"}}, ["margin is 'x'", "a number"]),
        ({"monotone": {"along": "lr", "direction": "falls", "margin": -1}}, ["margin is -1"]),
        ({"u_shape": {"along": "layers", "optimum": "two"}}, ["layers is 'two'", "a number"]),
        ({"u_shape": {"along": "layers", "peak": "yes"}}, ["peak is 'yes'", "true or false"]),
        ({"ratio": {"of": {"lr": 1}, "to": {"lr": 2}}}, ["ratio", "exactly one of below or above"]),
        ({"ratio": {"of": {"lr": 1}, "to": {"lr": 2}, "above": 1, "below": 2}}, ["exactly one of"]),
        ({"ratio": {"of": {"lr": 1}, "to": {"lr": 2}, "above": 0}}, ["ratio.above is 0", "above 0"]),
        ({"ratio": {"of": {"lr": 1}, "to": {"layers": 2}, "above": 1}}, ["the same knobs"]),
        ({"ratio": {"of": {"lr": 1}, "to": {"lr": 1}, "above": 1}}, ["not the same setting"]),
        ({"equivalent": {"of": {"lr": 1}, "to": {"lr": 2}, "margin": 0}}, ["margin is 0", "above 0"]),
        ({"no_trend": {"along": "lr", "margin": True}}, ["margin is True", "a number"]),
        ({"narrows": {"along": "lr", "between": {"model": ["a"]}}}, ["two values"]),
        ({"narrows": {"along": "lr", "between": {}}}, ["one knob"]),
        ({"fails": {"at_least": 0.5}}, ["fails lacks above"]),
        ({"fails": {"above": 9}}, ["exactly one of at_least or at_most"]),
        ({"fails": {"above": 9, "at_least": 1}}, ["at_least is 1", "below 1"]),
        ({"fails": {"above": 9, "at_least": 0.5}, "metric": "tokens_per_s"}, ["fails", "tokens_per_s"]),
        ({"order": {"along": "model", "ascending": [["gru", "lstm"], "gru"]}}, ["twice"]),
        ({"order": {"along": "model", "ascending": ["gru", []]}}, ["an empty place"]),
        (TWO | {"metric": "accuracy"}, ["'accuracy'", "may be 0", "use difference, not ratio"]),
        (
            {"difference": {**TWO["ratio"]}},
            ["'tail_perplexity'", "difference is for accuracy", "bleu", "there is ratio"],
        ),
        ({"difference": {"of": {"lr": 1}, "to": {"lr": 2}}, "metric": "bleu"}, ["exactly one of below or above"]),
        ({"equivalent": {"of": {"lr": 1}, "to": {"lr": 2}}, "metric": "bleu"}, ["lacks margin", "bleu, 0 to 100"]),
        ({"no_trend": {"along": "lr"}, "metric": "accuracy"}, ["lacks margin", "accuracy, 0 to 1"]),
        ({"fails": {"above": 9, "at_least": 0.5}, "metric": "bleu"}, ["use does_not_solve, not fails"]),
        (SOLVED | {"metric": "bits_per_character"}, ["solves is for accuracy", "there is fails"]),
        (TWO | {"metric": "bits_per_character"}, ["'bits_per_character', which may be 0", "use difference, not ratio"]),
        ({"solves": SOLVED["solves"]}, ["'tail_perplexity'", "solves is for accuracy", "there is fails"]),
        (SOLVED | {"metric": "tokens_per_s"}, ["solves speaks of runs", "tokens_per_s"]),
        ({"solves": {"at_least": 99, "in_share": 0.5}, "metric": "accuracy"}, ["at_least is 99", "between 0 and 1"]),
        ({"solves": {"at_least": 0.9}, "metric": "accuracy"}, ["solves lacks in_share"]),
        ({"does_not_solve": {"at_least": 0.9, "in_share": 1}, "metric": "accuracy"}, ["in_share is 1", "below 1"]),
        ({"sees_future": {}, "metric": "accuracy"}, ["sees_future", "leave metric out"]),
        ({"sees_future": {}, "tuned": "lr"}, ["tuned: lr"]),
        (ORDER | {"where": {"task": "memmory"}}, ["task is 'memmory'", "did you mean memory?"]),
        (ORDER | {"where": {"bidirectional": "both"}}, ["bidirectional is 'both'", "true or false"]),
        ({"converged": {}, "metric": "val_perplexity"}, ["converged", "curves of perplexity"]),
        ({"converged": {"within": "nan"}}, ["within", "a number"]),
    ],
)
def test_mistakes(entry: dict[str, Any], words: list[str]) -> None:
    text = message(entry)
    for word in words:
        assert word in text


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ("- id: [", ["line 1", "not YAML"]),
        ("a: 1", ["list of claims", "- id: NAME"]),
        ("", ["list of claims"]),
        ("- statement: x", ["claim number 1 has no id"]),
        ("- 3", ["claim number 1 has no id"]),
        (GOOD + GOOD, ["claim sampling", "twice"]),
        (GOOD.replace("order:", "ordre:"), ["claim sampling", "'ordre'", "did you mean order?"]),
        (GOOD.replace("rises", "up"), ["claim second", "'up'"]),
    ],
)
def test_a_damaged_file_is_named_with_its_claim(tmp_path: Path, content: str, words: list[str]) -> None:
    path = tmp_path / "broken.yaml"
    path.write_text(content)
    with pytest.raises(ClaimError) as raised:
        read_claims(path)
    text = str(raised.value)
    assert "\n" not in text
    for word in [str(path), *words]:
        assert word in text


def test_a_file_that_cannot_be_read(tmp_path: Path) -> None:
    with pytest.raises(ClaimError, match=r"nowhere\.yaml: No such file"):
        read_claims(tmp_path / "nowhere.yaml")
    (tmp_path / "latin.yaml").write_bytes(b"- id: caf\xe9")
    with pytest.raises(ClaimError, match=r"latin\.yaml"):
        read_claims(tmp_path / "latin.yaml")
