"""Training, held-out and test text: which tokens, how they are read, what chooses, what is reported. CPU, 2 s."""

import math
from pathlib import Path

import pytest
import torch

from ablate.analysis.aggregate import aggregate
from ablate.analysis.frames import runs_frame
from ablate.config.composing import compose as composed
from ablate.config.errors import CombinationError
from ablate.config.identity import run_id
from ablate.config.metrics import METRICS, metrics_of, metrics_of_test
from ablate.config.resolved import Resolved, resolve
from ablate.data.corpora import Corpus, as_used, described, load, split, split_for_test, tokens_asked_for
from ablate.records.results import save
from ablate.report.wording import main_metric, shown_metrics
from ablate.tasks import task_of
from ablate.training.loop import train
from ablate.training.trajectory import Trajectory

SMALL = ["num_hiddens=4", "num_steps=4", "batch_size=2", "prefixes=[]", "max_tokens=400", "val_tokens=100"]


@pytest.fixture(scope="module")
def text(text_path: Path) -> list[str]:
    return ["data=text_file", f"data.path={text_path}", *SMALL]


@pytest.fixture(scope="module")
def corpus(text: list[str]) -> Corpus:
    return load(config(text).data)


def config(text: list[str], *overrides: str) -> Resolved:
    replaced = {override.partition("=")[0] for override in overrides}
    return resolve(composed([*(one for one in text if one.partition("=")[0] not in replaced), *overrides]))


def test_the_three_parts_follow_one_another(text: list[str], corpus: Corpus) -> None:
    own = config(text, "test_tokens=60")
    training, held_out = split(own, corpus)
    tested = split_for_test(own, corpus)
    assert (len(training), len(held_out), len(tested)) == (400, 100, 60)
    assert [*training, *held_out, *tested] == corpus.ids[:560].tolist()
    assert tokens_asked_for(own) == 560
    assert len(split_for_test(config(text), corpus)) == 0


def test_the_test_text_is_not_trained_on_where_all_others_are(text: list[str], corpus: Corpus) -> None:
    own = as_used(config(text, "max_tokens=null", "test_tokens=60"), corpus)
    assert own.max_tokens == corpus.tokens - 160
    assert split_for_test(own, corpus).tolist() == corpus.ids[-60:].tolist()
    assert "tested on 60" in described(corpus, [own])
    with pytest.raises(CombinationError, match="test_tokens=1000000"):
        split(config(text, "test_tokens=1000000"), corpus)


def test_without_a_test_text_runs_are_the_ones_that_they_were(text: list[str], corpus: Corpus) -> None:
    plain, none, some = (config(text, *own) for own in ([], ["test_tokens=0"], ["test_tokens=60"]))
    assert run_id(plain, corpus.sha256) == run_id(none, corpus.sha256) != run_id(some, corpus.sha256)
    record = train(config(text, "epochs=2"), corpus)
    assert not {*metrics_of_test(), "test_scored"} & {*record.metrics, *record.counts, *record.curve}


@pytest.mark.parametrize("kind", [[], ["task=fill_in"], ["model.bidirectional=true", "sampling=random"]])
def test_it_is_read_as_held_out_text_is(text: list[str], corpus: Corpus, kind: list[str]) -> None:
    usual = task_of(config(text, *kind, "test_tokens=60"), corpus).test
    swapped = config(text, *kind, "max_tokens=500", "val_tokens=60", "num_steps=7", "batch_size=3")
    expected = task_of(swapped, corpus).held_out
    assert usual is not None
    assert expected is not None
    assert all(torch.equal(a, b) for a, b in zip(usual, expected, strict=True))


def test_the_epoch_that_the_held_out_text_chooses_is_reported(text: list[str], corpus: Corpus) -> None:
    record = train(config(text, "epochs=12", "lr=4", "test_tokens=200"), corpus)
    held_out, tested = record.curve["val_perplexity"], record.curve["test_perplexity"]
    values = [math.inf if value is None else value for value in held_out]
    chosen = values.index(min(values))
    assert record.metrics["test_perplexity_at_best"] == tested[chosen]
    assert record.metrics["test_perplexity"] == tested[-1]
    assert chosen < 11
    assert record.metrics["test_perplexity_at_best"] != record.metrics["test_perplexity"]
    bits = metrics_of(vars(record))["test_bits_per_character"]
    assert tested[-1] is not None
    assert bits == pytest.approx(math.log2(tested[-1]))


def test_it_changes_nothing_of_the_training(text: list[str], corpus: Corpus) -> None:
    with_it, without = (train(config(text, "epochs=3", *own), corpus) for own in (["test_tokens=60"], []))
    assert with_it.curve["perplexity"] == without.curve["perplexity"]
    assert with_it.curve["val_perplexity"] == without.curve["val_perplexity"]


def test_nothing_can_be_chosen_by_it() -> None:
    assert metrics_of_test()[0] == "test_perplexity_at_best"
    assert not any(METRICS[name].searchable or METRICS[name].ranked for name in metrics_of_test())


def test_settings_are_compared_by_it_and_masked_tokens_have_an_accuracy(text: list[str], tmp_path: Path) -> None:
    for task in ("language_model", "fill_in"):
        own = config(text, f"task={task}", "epochs=2", "test_tokens=60")
        save(tmp_path / task, train(own, load(own.data, 560)))
        settings = aggregate(runs_frame(tmp_path / task)[0])
        assert main_metric(settings) == "test_perplexity_at_best"
        assert shown_metrics(settings)[0] == "test_perplexity_at_best"
        assert ("test_accuracy" in shown_metrics(settings)) == (task == "fill_in")


def test_a_test_loss_that_is_not_finite_leaves_no_number_of_an_epoch_before() -> None:
    trajectory = Trajectory()
    for held_out, tested in ((1.0, 1.0), (0.5, 1e9)):
        trajectory.add([1.0], held_out)
        trajectory.test(tested)
    assert trajectory.curve["test_perplexity"] == [math.exp(1.0), None]
    assert trajectory.metrics["test_perplexity"] is None
    assert trajectory.metrics["test_perplexity_at_best"] is None
