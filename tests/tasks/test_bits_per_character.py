"""Bits per character: characters counted by hand, and the same number from a run's own loss. CPU, under 1 s."""

import math
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ablate.analysis.frames import runs_frame
from ablate.config.composing import compose as composed
from ablate.config.metrics import METRICS, metrics_of
from ablate.config.registry import TASKS
from ablate.config.resolved import Resolved, resolve
from ablate.data.corpora import Corpus, load, of_blocks
from ablate.records.results import save
from ablate.tasks.shipped import bits_per_character
from ablate.training.loop import train

TEXT = "The  cat\nsat -- on\tthe mat.\n\n  It's 9 o'clock!\n"


SMALL = ["num_hiddens=4", "num_steps=2", "batch_size=2", "epochs=1", "prefixes=[]"]


def config(text: Path, *overrides: str) -> Resolved:
    return resolve(composed(["data=text_file", f"data.path={text}", *SMALL, *overrides]))


def corpus(blocks: list[str], *overrides: str) -> Corpus:
    return of_blocks(blocks, config(Path("a.txt"), *overrides).data)


def test_a_word_covers_its_letters_and_the_white_space_before_it() -> None:
    words = corpus([TEXT], "data.tokens=word", "data.cleaning=keep")
    assert words.widths is not None
    assert words.decode(words.ids) == "The cat sat -- on the mat. It's 9 o'clock!"
    assert words.widths.tolist() == [3, 5, 4, 3, 3, 4, 5, 8, 2, 9]
    assert words.characters == 47  # the line end after the last word is covered by none
    assert words.covered(1, 3) == 5 + 4


def test_words_and_characters_of_a_cleaned_text_cover_equally_many() -> None:
    words, letters = (corpus([TEXT], f"data.tokens={tokens}", "data.cleaning=letters") for tokens in ("word", "char"))
    assert letters.decode(letters.ids) == "the catsat on the matit s o clock"
    assert words.decode(words.ids) == "the cat sat on the mat it s o clock"
    assert words.widths is not None
    assert words.widths.tolist() == [3, 4, 3, 3, 4, 4, 2, 2, 2, 6]  # where lines are joined stands no space
    assert words.covered(0, len(words.ids)) == letters.covered(0, len(letters.ids)) == letters.characters == 33


@pytest.mark.full
@given(st.lists(st.text(st.sampled_from("ab \n\t'\u3000\U0001f600"), max_size=9), max_size=9))
def test_where_a_text_is_cut_into_pieces_makes_no_difference(blocks: list[str]) -> None:
    blocks = ["a ", *blocks]
    for cleaning in ("keep", "letters"):
        knobs = ("data.tokens=word", f"data.cleaning={cleaning}")
        whole, pieces = corpus(["".join(blocks)], *knobs), corpus(blocks, *knobs)
        assert whole.widths is not None
        assert pieces.widths is not None
        assert whole.widths.tolist() == pieces.widths.tolist()
        left = "" if cleaning == "letters" else "".join(blocks)[len("".join(blocks).rstrip()) :]
        assert whole.covered(0, whole.tokens) == whole.characters - len(left)


def test_characters_of_a_run_have_the_binary_logarithm_of_its_perplexity(text_path: Path) -> None:
    own = config(text_path, "max_tokens=400", "val_tokens=100")
    record = train(own, load(own.data, 500))
    assert (record.counts["val_scored"], record.counts["val_characters"]) == (96, 96)  # 8 streams of 12
    assert record.metrics["val_perplexity"] is not None
    assert bits_per_character(vars(record)) == pytest.approx(math.log2(record.metrics["val_perplexity"]))


def test_words_of_a_run_share_their_bits_among_the_characters_that_they_cover(text_path: Path) -> None:
    own = config(text_path, "max_tokens=400", "val_tokens=100", "data.tokens=word")
    read = load(own.data, 500)
    record = train(own, read)
    scored = read.decode(read.ids[401 : 401 + 96]).split()
    characters = sum(map(len, scored)) + 96  # before each stands a space or a line end
    assert record.metrics["val_perplexity"] is not None
    nats = math.log(record.metrics["val_perplexity"]) * 96
    found = metrics_of(vars(record))["bits_per_character"]
    assert found == pytest.approx(nats / math.log(2) / characters)


def test_what_older_runs_did_not_count_is_not_made_up(text_path: Path) -> None:
    for tokens, known in (("char", True), ("word", False)):
        own = config(text_path, "max_tokens=400", "val_tokens=100", f"data.tokens={tokens}")
        record = vars(train(own, load(own.data, 500)))
        del record["counts"]["val_scored"], record["counts"]["val_characters"]
        assert (bits_per_character(record) is not None) == known


@pytest.mark.parametrize("other", ["val_tokens=0", "model.bidirectional=true", "task=fill_in"])
def test_there_is_none_of_what_predicts_no_held_out_text(text_path: Path, other: str) -> None:
    held_out = [] if other.startswith("val_tokens") else ["val_tokens=100"]
    own = config(text_path, "max_tokens=400", *held_out, other)
    record = train(own, load(own.data, 500))
    assert bits_per_character(vars(record)) is None
    assert "val_characters" not in record.counts


def test_frames_and_searches_know_it_by_its_name(text_path: Path, tmp_path: Path) -> None:
    own = config(text_path, "max_tokens=400", "val_tokens=100")
    record = train(own, load(own.data, 500))
    save(tmp_path, record)
    runs, problems = runs_frame(tmp_path)
    assert problems == []
    assert runs["bits_per_character"].tolist() == pytest.approx([math.log2(runs["val_perplexity"].iloc[0])])
    metric = METRICS["bits_per_character"]
    assert (metric.searchable, metric.claimable, metric.held_out) == (True, True, True)
    assert "bits_per_character" in TASKS["language_model"].measured
