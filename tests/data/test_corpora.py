"""Texts: the parity facts of the course on the real book, the cleaning rules, and what is refused.

The facts about The Time Machine need timemachine.txt in ABLATE_DATA_DIR; the rest needs nothing. CPU, 2 s.
"""

import hashlib
import itertools
import math
import string
from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ablate.config.errors import CombinationError, DataError
from ablate.config.schema import Config, DataConfig
from ablate.data.cleaning import Cleaning, Letters
from ablate.data.corpora import Corpus, load, raw_blocks, resolve_auto, split

BOOK_SHA256 = "3b4cba3f9e4913b3551a759f60198bf6a6ad7b0753305de0b96d5fffad1b1cc6"
FIRST_10000_SHA256 = "a264255f8dd6ff00b0a378b4380cc1a562543c378fb56b935d69cb725c9d7cc7"
FIRST_IDS = (3, 9, 2, 1, 3, 5, 13, 2, 1, 13, 4, 15, 9, 5, 6, 2, 1, 21, 19, 1)


# --- The Time Machine: parity with the course's reference code ------------------------------------------


@pytest.mark.full
def test_book_has_3221_lines_373_of_them_empty(time_machine: Callable[..., Config]) -> None:
    text = "".join(raw_blocks(time_machine().data))
    lines = [Letters()(line) for line in text.removesuffix("\n").split("\n")]
    assert len(lines) == 3_221
    assert lines.count("") == 373


def test_book_characters(book: Corpus) -> None:
    text = book.decode(list(book.ids))
    assert len(book.ids) == 170_580
    assert book.characters == 170_580
    assert hashlib.sha256(text.encode()).hexdigest() == BOOK_SHA256 == book.sha256
    assert hashlib.sha256(text[:10_000].encode()).hexdigest() == FIRST_10000_SHA256
    assert "by h g wellsithe time traveller for so it w" in text  # lines are joined with nothing between them


def test_book_vocabulary_is_that_of_the_whole_text(book: Corpus) -> None:
    assert book.vocabulary.itos == ["<unk>", " ", *"etainoshrdlmucfwgypbvkxzjq"]
    assert tuple(book.ids[:20]) == FIRST_IDS


def test_book_words(time_machine: Callable[..., Config]) -> None:
    words = load(time_machine("data.tokens=word").data)
    assert len(words.ids) == 32_775
    assert len(words.vocabulary) == 4_580
    assert words.decode(list(words.ids[:3])) == "the time machine"


def test_baselines_of_the_first_10000_characters(book: Corpus) -> None:
    ids = book.ids[:10_000]
    unigrams = Counter(ids.tolist())
    entropy = -sum(count / len(ids) * math.log(count / len(ids)) for count in unigrams.values())
    assert math.exp(entropy) == pytest.approx(17.41, abs=0.005)
    bigrams, firsts = Counter(itertools.pairwise(ids.tolist())), Counter(ids[:-1].tolist())
    log_loss = -sum(n * math.log(n / firsts[first]) for (first, _), n in bigrams.items()) / (len(ids) - 1)
    assert math.exp(log_loss) == pytest.approx(9.87, abs=0.005)


# --- cleaning -------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "lines"),
    [
        ("The Time Machine, by H. G. Wells [1898]", ["the time machine by h g wells"]),
        ("  ab\n\n\ncd--ef  ", ["ab", "", "", "cd ef"]),
        ("it's 1895", ["it s"]),
        ("Café ÉTÉ", ["caf t"]),
        ("tab\tand\x0cform feed", ["tab and form feed"]),
        ("123", [""]),
        ("\uff26ull \u212a (a Kelvin sign)", ["ull a kelvin sign"]),
    ],
)
def test_letters(text: str, lines: list[str]) -> None:
    assert Letters()(text) == "".join(lines)
    assert Letters(" ")(text) == " ".join(line for line in lines if line)


pieces = st.lists(st.text(st.sampled_from(string.ascii_letters + " .,\n\n\t'éß1"), max_size=12), max_size=8)


@pytest.mark.full
@given(pieces)
def test_letters_equal_a_derivation_character_by_character_wherever_the_text_is_cut(blocks: list[str]) -> None:
    lines = []
    for line in "".join(blocks).split("\n"):
        kept = "".join(c if c in string.ascii_letters else " " for c in line)
        lines.append(" ".join(kept.split()).lower())
    joined, apart = Letters(), Letters(" ")
    assert "".join(map(joined, blocks)) == "".join(lines)
    assert "".join(map(apart, blocks)) == " ".join(line for line in lines if line)
    assert joined.characters == apart.characters == len("".join(lines))
    assert joined.left_out == Counter(c for c in "".join(blocks) if c not in string.ascii_letters)


@given(st.text(st.sampled_from("aZ é\t\n\r\x0b\x0c\x1c\x85\u2028\u2029"), max_size=60))
def test_keep_loses_nothing(text: str) -> None:
    cleaning = Cleaning()
    assert cleaning(text) == text
    assert cleaning.characters == len(text)


@pytest.mark.parametrize(
    ("content", "cleaning", "text"),
    [
        (b"One two\r\nthree\r\n", "letters", "one twothree"),
        (b"One\rtwo", "letters", "onetwo"),
        (b"\xef\xbb\xbfOne", "letters", "one"),
        (b"\xef\xbb\xbfOne", "keep", "One"),
        (b"One\r\ntwo\rthree\n", "keep", "One\ntwo\nthree\n"),
        ("Grüße, élan!\n".encode(), "letters", "gr e lan"),
        ("Grüße, élan!\n".encode(), "keep", "Grüße, élan!\n"),
    ],
    ids=["crlf", "cr", "bom", "bom-keep", "line-ends-keep", "non-ascii", "non-ascii-keep"],
)
def test_text_file(tmp_path: Path, compose: Callable[..., Config], content: bytes, cleaning: str, text: str) -> None:
    (tmp_path / "text.txt").write_bytes(content)
    data = compose("data=text_file", f"data.path={tmp_path / 'text.txt'}", f"data.cleaning={cleaning}").data
    corpus = load(data)
    assert corpus.decode(list(corpus.ids)) == text
    assert corpus.sha256 == hashlib.sha256(text.encode()).hexdigest()
    assert corpus.characters == len(text)
    assert corpus.name == "text.txt"


@pytest.mark.parametrize("cleaning", ["data.cleaning=letters", "data.cleaning=keep"])
def test_words_do_not_run_together_at_line_ends(tmp_path: Path, compose: Callable[..., Config], cleaning: str) -> None:
    (tmp_path / "text.txt").write_text("One two\nthree two\n")
    corpus = load(compose("data=text_file", f"data.path={tmp_path / 'text.txt'}", "data.tokens=word", cleaning).data)
    one = "one" if cleaning == "data.cleaning=letters" else "One"
    assert corpus.vocabulary.itos == ["<unk>", "two", one, "three"]
    assert corpus.decode(list(corpus.ids)) == f"{one} two three two"
    assert corpus.encode("three four") == [3, 0]


@pytest.mark.full
@pytest.mark.parametrize(("one", "other"), [("ab\nc", "a\nbc"), ("a b", "ab")])
def test_texts_of_other_words_have_another_hash(
    tmp_path: Path, compose: Callable[..., Config], one: str, other: str
) -> None:
    hashes = set()
    for number, text in enumerate((one, other)):
        path = tmp_path / f"{number}.txt"
        path.write_text(text)
        hashes.add(load(compose("data=text_file", f"data.path={path}", "data.tokens=word").data).sha256)
    assert len(hashes) == 2


# --- python_docs and auto -------------------------------------------------------------------------------


def test_python_docs_needs_no_network(compose: Callable[..., Config]) -> None:
    corpus = load(compose("data=python_docs").data)
    text = corpus.decode(list(corpus.ids))
    assert set(text) == set(string.ascii_lowercase + " ")
    assert len(text) > 300_000
    assert "the assert statement" in text
    assert corpus.sha256 == hashlib.sha256(text.encode()).hexdigest()


def made_up_auto(compose: Callable[..., Config], content: bytes) -> DataConfig:
    return replace(
        compose("data=auto", "data.tokens=word", "data.cleaning=keep").data,
        file="book.txt",
        sha256=hashlib.sha256(content).hexdigest(),
        urls=["http://127.0.0.1:9/book.txt"],
    )


def test_auto_takes_the_file_where_it_is(
    tmp_path: Path, compose: Callable[..., Config], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ABLATE_DATA_DIR", str(tmp_path))
    (tmp_path / "book.txt").write_bytes(b"a small book")
    auto = made_up_auto(compose, b"a small book")
    data, warning = resolve_auto(auto, compose("data=python_docs").data)
    assert data == replace(auto, name="time_machine")
    assert warning == ""


def test_auto_falls_back_with_a_warning_and_keeps_the_other_options(
    tmp_path: Path, compose: Callable[..., Config], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ABLATE_DATA_DIR", str(tmp_path))
    auto = made_up_auto(compose, b"a small book")
    data, warning = resolve_auto(auto, compose("data=python_docs").data)
    assert (data.name, data.tokens, data.cleaning) == ("python_docs", "word", "keep")
    assert "python_docs instead of time_machine" in warning
    assert "127.0.0.1:9/book.txt" in warning
    assert len(warning.splitlines()) == 1


def test_what_is_not_auto_is_left_alone(compose: Callable[..., Config]) -> None:
    data = compose("data=time_machine").data
    assert resolve_auto(data, compose("data=python_docs").data) == (data, "")


# --- what is refused ------------------------------------------------------------------------------------


@pytest.mark.parametrize("content", ["1 2 3\n", "éü", "日本語"], ids=["digits", "accents", "no Latin script"])
def test_a_text_without_letters_is_refused(tmp_path: Path, compose: Callable[..., Config], content: str) -> None:
    path = tmp_path / "text.txt"
    path.write_text(content, encoding="utf-8")
    with pytest.raises(DataError, match=r"no letters.*data\.cleaning=keep"):
        load(compose("data=text_file", f"data.path={path}", "data.cleaning=letters").data)


@pytest.mark.parametrize("cleaning", ["keep", "letters"])
@pytest.mark.parametrize(("content", "tokens", "lacks"), [("", "char", "characters"), (" \n\t", "word", "words")])
def test_a_text_without_tokens_is_refused(
    tmp_path: Path, compose: Callable[..., Config], content: str, tokens: str, lacks: str, cleaning: str
) -> None:
    path = tmp_path / "text.txt"
    path.write_text(content, encoding="utf-8")
    data = compose("data=text_file", f"data.path={path}", f"data.cleaning={cleaning}", f"data.tokens={tokens}").data
    with pytest.raises(DataError, match=f"has no {lacks};"):
        load(data)


# --- what stays in memory ---------------------------------------------------------------------------------


@pytest.mark.parametrize("tokens", ["char", "word"])
@pytest.mark.parametrize("limit", [1, 57, 100, 5_000, None])
def test_the_first_tokens_are_those_of_the_whole_text(
    small: Callable[..., Config], tokens: str, limit: int | None
) -> None:
    data = replace(small().data, tokens=tokens)
    whole, some = load(data), load(data, limit)
    assert (some.sha256, some.tokens, some.vocabulary.itos) == (whole.sha256, len(whole.ids), whole.vocabulary.itos)
    assert some.ids.tolist() == whole.ids[:limit].tolist()
    assert some.holds(limit)
    assert some.holds(len(some.ids) + 1) == (len(some.ids) == whole.tokens)


@pytest.mark.parametrize(
    ("different", "bytes_each"), [(10, 1), (255, 1), (256, 2), (32_767, 2), (32_768, 4), (70_000, 4)]
)
def test_tokens_take_no_more_bytes_than_their_numbers_need(
    tmp_path: Path, compose: Callable[..., Config], different: int, bytes_each: int
) -> None:
    """`<unk>` is one more."""
    words = [f"w{k}" for k in range(different)]
    (tmp_path / "text.txt").write_text(" ".join(words), encoding="utf-8")
    corpus = load(
        compose("data=text_file", f"data.path={tmp_path / 'text.txt'}", "data.tokens=word", "data.cleaning=keep").data
    )
    assert corpus.ids.itemsize == bytes_each
    assert corpus.ids.tolist() == list(range(1, different + 1))
    assert corpus.decode(corpus.ids[-1:]) == words[-1]


# --- training and held-out tokens -----------------------------------------------------------------------


def test_held_out_tokens_follow_the_training_tokens(small: Callable[..., Config], corpus: Corpus) -> None:
    training, held_out = split(small("max_tokens=400", "val_tokens=100"), corpus)
    assert training.tolist() == corpus.ids[:400].tolist()
    assert held_out.tolist() == corpus.ids[400:500].tolist()


@pytest.mark.full
def test_max_tokens_null_leaves_exactly_the_held_out_tokens(small: Callable[..., Config], corpus: Corpus) -> None:
    training, held_out = split(small("max_tokens=null", "val_tokens=123"), corpus)
    assert [*training, *held_out] == corpus.ids.tolist()
    assert len(held_out) == 123


def test_more_max_tokens_than_there_are_never_takes_held_out_ones(small: Callable[..., Config], corpus: Corpus) -> None:
    training, held_out = split(small("max_tokens=1000000", "val_tokens=123"), corpus)
    assert (len(training), len(held_out)) == (len(corpus.ids) - 123, 123)


def test_val_tokens_0_holds_nothing_out(small: Callable[..., Config], corpus: Corpus) -> None:
    assert len(split(small("val_tokens=0"), corpus)[1]) == 0


@pytest.mark.parametrize(
    ("overrides", "says"),
    [
        (["num_steps=100"], "num_steps=100 needs 501 training tokens, max_tokens is 400; raise max_tokens"),
        (["batch_size=79"], "batch_size=79 sequences of num_steps=5 needs 401 training tokens, max_tokens is 400"),
        (["max_tokens=null", "num_steps=10000"], "made-up.txt has"),
        (["max_tokens=null", "val_tokens=1000000"], "val_tokens=1000000 are held out"),
    ],
)
def test_too_little_text_is_refused_with_the_numbers(
    small: Callable[..., Config], corpus: Corpus, overrides: list[str], says: str
) -> None:
    with pytest.raises(CombinationError) as caught:
        split(small(*overrides), corpus)
    assert says in str(caught.value)
    assert len(str(caught.value).splitlines()) == 1


def test_the_largest_batch_that_fits_is_accepted(small: Callable[..., Config], corpus: Corpus) -> None:
    assert len(split(small("batch_size=78"), corpus)[0]) == 400
