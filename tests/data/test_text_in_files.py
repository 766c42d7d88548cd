"""A text in files of its own for training, choosing and reporting: numbers, hashes, and one line for what is wrong.
CPU, 2 s."""

import math
from pathlib import Path

import pytest

from ablate.analysis.aggregate import aggregate
from ablate.analysis.confounders import confounders
from ablate.analysis.frames import curves_frame, runs_frame
from ablate.config.composing import compose as composed
from ablate.config.composing import fallback_data
from ablate.config.errors import ConfigError, DataError, UserError
from ablate.config.identity import run_id, without_effect
from ablate.config.metrics import metrics_of
from ablate.config.resolved import Resolved, resolve
from ablate.data.baselines import baselines
from ablate.data.corpora import as_used, at_hand, described, load, split, split_for_test, tokens_asked_for
from ablate.records.results import save
from ablate.sweeping.plan import make_plan
from ablate.tasks import task_of
from ablate.training.loop import train

SMALL = ["num_hiddens=4", "num_steps=4", "batch_size=2", "prefixes=[]", "epochs=1", "data=text_file"]
TRAIN, VALID, TEST = "a cat sat on a mat " * 20, "a mat on a cat " * 8, "cats sat on mats " * 5


@pytest.fixture
def files(tmp_path: Path) -> dict[str, Path]:
    found = {name: tmp_path / f"{name}.txt" for name in ("train", "valid", "test")}
    for path, text in zip(found.values(), (TRAIN, VALID, TEST), strict=True):
        path.write_text(text)
    return found


def config(files: dict[str, Path], *overrides: str) -> Resolved:
    return resolve(composed([*SMALL, *(f"data.{name}={path}" for name, path in files.items()), *overrides]))


@pytest.mark.parametrize("tokens", ["char", "word"])
def test_each_file_is_read_whole_in_the_numbers_of_the_first(files: dict[str, Path], tokens: str) -> None:
    asked = config(files, f"data.tokens={tokens}", "max_tokens=50")
    corpus = load(asked.data, tokens_asked_for(asked))
    own = as_used(asked, corpus)
    cut = str.split if tokens == "word" else list
    training, held_out, tested = *split(own, corpus), split_for_test(own, corpus)
    assert corpus.decode(training.tolist()) == corpus.separator.join(cut(TRAIN)[:50])
    assert corpus.decode(held_out.tolist()) == corpus.separator.join(cut(VALID))
    assert (own.max_tokens, own.val_tokens, own.test_tokens) == (50, len(cut(VALID)), len(cut(TEST)))
    assert {*corpus.vocabulary.itos[1:]} == {*cut(TRAIN)}
    unknown = sum(token not in corpus.vocabulary.stoi for token in cut(TEST))
    assert unknown == corpus.parts["test"].unknown == int((tested == 0).sum())
    assert corpus.parts["valid"].unknown == 0
    assert as_used(own, corpus) == own


def test_any_other_file_is_another_run_and_no_name_is(files: dict[str, Path], tmp_path: Path) -> None:
    def identity() -> str:
        asked = config(files)
        return run_id(asked, load(asked.data).sha256)

    ids = [identity()]
    for path in files.values():
        before = path.read_text()
        path.write_text(before + "a")
        ids.append(identity())
        path.write_text(before)
    assert len(set(ids)) == 4
    files["train"] = files["train"].rename(tmp_path / "renamed.txt")
    assert identity() == ids[0]


def test_a_run_keeps_the_hashes_and_reports_by_the_test_file(files: dict[str, Path]) -> None:
    asked = config(files, "epochs=3")
    corpus = load(asked.data)
    record = train(asked, corpus)
    assert record.corpus["files"] == dict(corpus.files)
    assert list(corpus.files) == ["train", "valid", "test"]
    assert (record.counts["val_tokens"], record.counts.get("val_unknown", 0)) == (
        120,
        0,
    )
    assert record.metrics["test_perplexity"] is not None
    assert record.metrics["val_perplexity"] is not None
    bits = metrics_of(vars(record))
    assert bits["bits_per_character"] == pytest.approx(math.log2(record.metrics["val_perplexity"]))


def test_bits_of_a_text_with_unknown_tokens_are_none(files: dict[str, Path]) -> None:
    asked = config(files, "data.tokens=word", "num_steps=2")
    record = train(asked, load(asked.data))
    assert record.counts["test_unknown"] == 10
    bits = metrics_of(vars(record))
    assert bits["bits_per_character"] is not None
    assert bits["test_bits_per_character"] is None


def test_without_a_test_file_nothing_is_tested(files: dict[str, Path]) -> None:
    del files["test"]
    asked = config(files)
    corpus = load(asked.data)
    own = as_used(asked, corpus)
    assert own.test_tokens == 0
    assert task_of(own, corpus).test is None
    assert len(split_for_test(own, corpus)) == 0


def test_what_is_said_of_it(files: dict[str, Path]) -> None:
    asked = config(files, "data.tokens=word", "num_steps=2", "max_tokens=50")
    said = described(load(asked.data), [asked])
    assert f"{files['train'].parent.name}/train.txt, 120 words, 5 different" in said
    assert "trained on the first 50" in said
    assert "valid=valid.txt (40)" in said
    assert "test=test.txt (20, of which 10 are not in the training text: <unk>)" in said


def test_a_text_that_is_trained_on_and_held_out_is_told(files: dict[str, Path], tmp_path: Path) -> None:
    def warnings() -> list[str]:
        return make_plan([config(files).given], tmp_path / "sweep", fallback_data()).warnings

    assert warnings() == []
    files["valid"].write_text(TRAIN)
    [said] = warnings()
    assert said.startswith("data.valid is the same text as data.train: ")
    files["test"].write_text(TRAIN)
    [said] = warnings()
    assert said.startswith("data.valid and data.test are the same text as data.train: ")


def test_numbers_of_tokens_have_no_effect_on_what_files_hold_out(files: dict[str, Path]) -> None:
    given = ["val_tokens", "test_tokens", "max_tokens"]
    found = without_effect([config(files, "val_tokens=7", "test_tokens=5", "max_tokens=50").given], given)
    assert [*found] == ["val_tokens", "test_tokens"]
    assert "data.valid" in found["val_tokens"]


def test_settings_of_different_lengths_are_measured_on_the_same_text(files: dict[str, Path], tmp_path: Path) -> None:
    sweep = tmp_path / "sweep"
    for tokens in (50, 200):
        asked = config(files, f"max_tokens={tokens}", "sampling=random")
        save(sweep, train(asked, load(asked.data)))
    runs, _ = runs_frame(sweep)
    kinds = [one.kind for one in confounders(runs, aggregate(runs), curves_frame(sweep, runs))]
    assert "held-out text" not in kinds


def test_baselines_learn_from_the_one_and_predict_the_other(files: dict[str, Path]) -> None:
    corpus = load(config(files).data)
    found = {one.name: one for one in baselines(corpus, corpus.tokens, len(VALID))}
    assert found["uniform"].val_perplexity == pytest.approx(len(corpus.vocabulary))
    assert found["5-gram"].val_perplexity < found["unigram"].val_perplexity
    assert {"gzip", "ppm"} <= {*found}


@pytest.mark.parametrize(
    ("given", "said"),
    [
        (["data.train={train}"], "data.valid=FILE"),
        (["data.valid={valid}", "data.test={test}"], "data.train=FILE"),
        (["data.train={train}", "data.valid={valid}", "data.path={test}"], "data.path"),
        (["data=auto", "data.train={train}", "data.valid={valid}"], "choose data=text_file"),
        (["task=translation", "data=pair_file", "data.path={test}", "data.valid={valid}"], "data.valid"),
    ],
)
def test_what_does_not_go_together_is_one_line(files: dict[str, Path], given: list[str], said: str) -> None:
    words = [word.format(**files) for word in given]
    with pytest.raises(ConfigError, match=said) as caught:
        composed([*SMALL[:-1], *(["data=text_file"] if not words[0].startswith(("data=", "task=")) else []), *words])
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("part", ["train", "valid", "test"])
@pytest.mark.parametrize(("content", "said"), [(None, "No such file"), ("", "no characters"), ("a", "one character")])
def test_a_file_that_is_missing_or_too_short_is_named(
    files: dict[str, Path], part: str, content: str | None, said: str
) -> None:
    if content is None:
        files[part].unlink()
    else:
        files[part].write_text(content)
    asked = config(files)
    with pytest.raises(DataError, match=said) as caught:
        load(asked.data)
    assert f"data.{part}" in str(caught.value)
    assert files[part].name in str(caught.value)
    assert at_hand(asked.data) == (content is not None)


def test_a_training_file_without_one_minibatch_is_one_line(files: dict[str, Path]) -> None:
    files["train"].write_text("a b")
    asked = config(files)
    with pytest.raises(UserError, match="longer text") as caught:
        split(asked, load(asked.data))
    assert "val_tokens" not in str(caught.value)
