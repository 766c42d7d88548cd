"""Translation as a task: what is trained on, held out and measured; and what a bad choice is told. CPU, 5 s."""

import math
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch import Generator

from ablate.config.errors import CombinationError
from ablate.config.schema import Config
from ablate.data.corpora import load
from ablate.data.pairs import Pairs
from ablate.networks.parameters import Sizes, initial
from ablate.networks.translator import BOS, EOS, PAD
from ablate.tasks import task_of
from ablate.tasks.bleu import sentence_bleu
from ablate.tasks.translation import Translation
from ablate.training.loop import train

NUMBERS = ("task=translation", "data=number_pairs")
TINY = ("num_hiddens=8", "task.embed=6", "epochs=2", "seeds=1", "task.pairs=100", "batch_size=32")


def numbers(config: Config) -> Pairs:
    pairs = load(config.data)
    assert isinstance(pairs, Pairs)
    return pairs


def translation(config: Config, pairs: Pairs | None = None) -> Translation:
    task = task_of(config, pairs or numbers(config))
    assert isinstance(task, Translation)
    return task


def own(config: Config, pairs: list[tuple[str, str]]) -> Translation:
    """The task on these pairs."""
    return translation(config, replace(numbers(config), name="mine", pairs=tuple(pairs), samples=(("a b", "x y"),)))


@pytest.fixture
def tiny(compose: Callable[..., Config]) -> Callable[..., Config]:
    return lambda *overrides: compose(*NUMBERS, *TINY, *overrides)


def test_sentences_become_numbers(tiny: Callable[..., Config]) -> None:
    config = tiny("num_steps=4", "batch_size=2", "task.pairs=4")
    task = own(config, [("a b", "x y z x"), ("b", "y"), ("a c b a b", "x z"), ("a", "z")])
    assert task.source.itos == ["<unk>", "<pad>", "<bos>", "<eos>", "a", "b"]  # c stands there once
    assert task.target.itos == ["<unk>", "<pad>", "<bos>", "<eos>", "x", "z", "y"]
    assert task.sizes == Sizes(6, 7)
    X, Y = task.training
    assert X[0].T.tolist() == [[4, 5, EOS, PAD], [5, EOS, PAD, PAD], [4, 0, 5, 4], [4, EOS, PAD, PAD]]  # the third cut
    assert Y.T.tolist() == [[4, 6, 5, 4], [6, EOS, -1, -1], [4, 5, EOS, -1], [5, EOS, -1, -1]]
    assert X[1].T.tolist() == [[BOS, 4, 6, 5], [BOS, 6, EOS, PAD], [BOS, 4, 5, EOS], [BOS, 5, EOS, PAD]]
    assert task.train_tokens == 4 + 2 + 3 + 2
    assert task.held_out is None


def test_an_epoch_has_every_pair_once_in_a_new_order(tiny: Callable[..., Config]) -> None:
    task = translation(tiny())
    order = Generator().manual_seed(0)
    epochs = [list(task.minibatches(order)) for _ in range(2)]
    assert [X.shape for X, _ in epochs[0]] == [(2, 10, 32)] * 3 + [(2, 10, 4)]
    assert task.updates_per_epoch() == 4
    joined = [[torch.cat([batch[part] for batch in epoch], -1) for part in (0, 1)] for epoch in epochs]
    columns = [sorted(zip(X.flatten(0, 1).T.tolist(), Y.T.tolist(), strict=True)) for X, Y in [*joined, task.training]]
    assert columns[0] == columns[1] == columns[2]
    assert not torch.equal(joined[0][0], joined[1][0])


def test_no_source_is_both_trained_on_and_held_out(tiny: Callable[..., Config]) -> None:
    pairs = [(f"s{k // 3}", f"t{k}") for k in range(30)]  # three targets each, side by side
    task = own(tiny("task.pairs=10", "task.val_pairs=6", "batch_size=2"), pairs)
    assert list(task.held_out_pairs) == pairs[12:18]  # s3 is trained on
    assert task.training[1].shape[1] == 10
    assert task.val_tokens == 6 * 2
    everything = own(tiny("task.pairs=null", "task.val_pairs=7", "batch_size=2"), pairs)
    assert list(everything.held_out_pairs) == pairs[23:]
    assert everything.training[1].shape[1] == 21  # s7, which begins at 21, is held out


@pytest.mark.full
def test_a_run_is_measured_by_bleu_and_accuracy_and_the_published_figures(tiny: Callable[..., Config]) -> None:
    config = tiny("task.val_pairs=20", "epochs=40", "lr=0.02")
    record = train(config, numbers(config))
    assert record.status == "ok"
    assert record.metrics["perplexity"] < 10
    assert 0.2 < record.metrics["accuracy"] < 1
    assert record.metrics["val_perplexity"] > record.metrics["perplexity"]
    assert 0 <= record.metrics["bleu"] <= 100
    assert record.metrics["course_loss"] == pytest.approx(math.log(record.metrics["perplexity"]) / 10)
    samples = dict(numbers(config).samples)
    assert list(record.text) == list(samples)
    each = [sentence_bleu(record.text[source], samples[source]) for source in samples]
    assert record.metrics["course_bleu"] == pytest.approx(sum(each) / len(each))
    assert record.counts["train_tokens"] == translation(config).train_tokens
    assert not any(word in text for text in record.text.values() for word in ("<eos>", "<pad>", "<bos>"))


def test_without_held_out_pairs_nothing_is_said_of_them(tiny: Callable[..., Config]) -> None:
    config = tiny()
    record = train(config, numbers(config))
    assert record.metrics["val_perplexity"] is None
    assert "bleu" not in record.metrics
    assert 0 <= record.metrics["accuracy"] < 1


def test_the_accuracy_counts_the_words_ranked_first(tiny: Callable[..., Config]) -> None:
    task = translation(tiny("task.val_pairs=7"))
    parameters = initial(task.config, task.sizes, Generator().manual_seed(0))
    X, Y = task.held_out
    logits, _ = task.translator(parameters)(X)
    words = [(t, b) for t in range(10) for b in range(7) if Y[t, b] >= 0]
    right = sum(int(logits[t, b].argmax()) == int(Y[t, b]) for t, b in words)
    assert task.scores(parameters) == {"accuracy": pytest.approx(right / len(words))}


@pytest.mark.full
@pytest.mark.parametrize("overrides", [(), ("task.attention=true",), ("model.cell=mgu",), ("model.cell=lstm",)])
def test_every_engine_trains_the_same_run(tiny: Callable[..., Config], overrides: tuple[str, ...]) -> None:
    """Dropout, clipping and a smaller last minibatch included; the engines differ by rounding."""
    found = {}
    for engine in ("eager", "cohort", "torch_nn"):
        config = tiny("epochs=3", f"engine={engine}", *overrides)
        if engine == "torch_nn" and overrides not in ((), ("model.cell=lstm",)):
            with pytest.raises(CombinationError):
                train(config, numbers(config))
            continue
        found[engine] = train(config, numbers(config)).metrics["perplexity"]
    assert list(found.values()) == pytest.approx([found["eager"]] * len(found), rel=1e-4)


def test_prefixes_are_cleaned_and_translated(tiny: Callable[..., Config]) -> None:
    config = tiny("prefixes=['Twenty one','zero zero']")
    task = translation(config)
    assert task.shown(config.prefixes) == {"Twenty one": ("twenty one", "vingt et un"), "zero zero": ("zero zero", "")}
    parameters = initial(task.config, task.sizes, Generator().manual_seed(0))
    told = task.texts(parameters, config.prefixes)
    assert list(told) == ["Twenty one", "zero zero"]  # as typed: by these a finished run is told
    assert told["Twenty one"] == task.texts(parameters, ["twenty one"])["twenty one"]
    assert task.references(config.prefixes) == {"Twenty one": "vingt et un"}


@pytest.mark.full
def test_what_is_shown_does_not_decide_the_course_bleu(tiny: Callable[..., Config]) -> None:
    """prefixes are no part of a run's identity."""
    scores = []
    for prefixes in ("[]", "['zero zero']", "['one']"):
        task = translation(tiny(f"prefixes={prefixes}"))
        parameters = initial(task.config, task.sizes, Generator().manual_seed(0))
        scores.append(task.final_scores(parameters, 2.0)["course_bleu"])
    assert len(set(scores)) == 1


def test_of_several_references_the_first_counts(tiny: Callable[..., Config]) -> None:
    pairs = [("a", "x"), ("a", "y"), ("a b", "z")]
    task = own(tiny("task.pairs=3", "batch_size=1", "prefixes=[a,a b]"), pairs)
    assert task.references(["a", "a b"]) == {"a": "x", "a b": "x y"}  # those of the data's own samples go before


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        (
            ["prefixes=[xylophone one]"],
            r"prefixes has 'xylophone one', but 'xylophone' stands in no source .*number_pairs; .*",
        ),
        (["prefixes=['  ']"], r"prefixes has '  ', but it is empty; .*"),
        (
            ["task.pairs=31"],
            r"31 of 10,000 .* to train on, fewer than one minibatch; .*batch_size=32 or raise task.pairs=31",
        ),
        (["task.pairs=null", "task.val_pairs=10000"], r"0 of 10,000 pairs left .* lower .*task.val_pairs=10000.*"),
        (
            ["task.pairs=9999", "task.val_pairs=9"],
            r"number_pairs has 10,000 pairs, but .* ask for 10,008; lower one of .*",
        ),
        (["model.bidirectional=true"], r"model.bidirectional=true is for language_model.*stack their layers plainly"),
        (
            ["task.attention=true", "task.context=as-published"],
            r"task.context is as-published, but with .* leave one .*",
        ),
        (["model.connection=residual"], r"model.connection=residual is for .*"),
    ],
)
def test_a_bad_choice_is_one_line(tiny: Callable[..., Config], overrides: list[str], message: str) -> None:
    config = tiny(*overrides)
    with pytest.raises(CombinationError, match=rf"^{message}$"):
        translation(config)


def test_what_shares_its_source_with_a_held_out_pair_is_not_trained_on_and_may_leave_too_little(
    tiny: Callable[..., Config],
) -> None:
    pairs = [("a", "x")] * 4 + [("b", "y")] * 2 + [("a", "z")]
    task = own(tiny("task.pairs=null", "task.val_pairs=1", "batch_size=2"), pairs)
    assert task.training[1].shape[1] == 2
    assert list(task.held_out_pairs) == [("a", "z")]
    message = r"2 of 7 pairs .* \(4 have a source that is held out\), .*batch_size=3 or lower task.val_pairs=1"
    with pytest.raises(CombinationError, match=f"^{message}$"):
        own(tiny("task.pairs=null", "task.val_pairs=1", "batch_size=3"), pairs)
    with pytest.raises(CombinationError, match=r"fewer than one minibatch; lower batch_size=8$"):
        own(tiny("task.pairs=null", "batch_size=8"), pairs)


def test_too_few_pairs_with_other_sources(tiny: Callable[..., Config]) -> None:
    with pytest.raises(CombinationError, match=r"\b4 pairs of mine after the first 4, 2\b"):
        own(tiny("task.pairs=4", "task.val_pairs=3", "batch_size=2"), [("a", "x")] * 6 + [("b", "y"), ("c", "z")])


@pytest.mark.full
def test_a_bad_pair_file_ends_the_command_with_one_line(main: Callable[..., object], tmp_path: Path) -> None:
    path = tmp_path / "mine.tsv"
    path.write_text("one column\n")
    outcome = main("task=translation", "data=pair_file", f"data.path={path}")
    assert outcome.status == 2
    assert "mine.tsv, line 1, has no tab" in outcome.err
    assert outcome.err.count("\n") == 1
