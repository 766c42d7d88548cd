"""Pairs of sentences: cleaning, files of one's own, numbers in words; the published ones where they are. CPU, 4 s."""

import hashlib
import io
import os
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest

from ablate.config.errors import ConfigError, DataError
from ablate.config.schema import Config, DataConfig
from ablate.data.corpora import load
from ablate.data.number_words import LIMIT, english, french
from ablate.data.pairs import Pairs, clean, load_pairs
from ablate.data.vocabulary import Vocabulary


def pairs_of(**knobs: object) -> Pairs:
    return load_pairs(DataConfig(**({"tokens": "word", "cleaning": "keep", "path": None} | knobs)))


def zipped(name: str, content: bytes) -> bytes:
    made = io.BytesIO()
    with zipfile.ZipFile(made, "w") as archive:
        archive.writestr(name, content)
    return made.getvalue()


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (zipped("deu.txt", b"Go.\tGeh."), "has no file fra-eng/fra.txt; of pairs of your own give the text itself"),
        (zipped("fra-eng/fra.txt", "Va\té".encode("latin-1")), "fra.txt in .* is not UTF-8 .byte 3.; .*data=pair_file"),
        (b"Go.\tVa !", "cannot be read as a zip archive .*; of pairs of your own"),
        (zipped("fra-eng/fra.txt", b""), "fra_eng has no pair of sentences"),
    ],
)
def test_another_archive_is_a_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, content: bytes, said: str) -> None:
    monkeypatch.setenv("ABLATE_DATA_DIR", str(tmp_path))
    (tmp_path / "mine.zip").write_bytes(content)
    own = {"file": "mine.zip", "sha256": hashlib.sha256(content).hexdigest(), "urls": []}
    with pytest.raises(DataError, match=said):
        pairs_of(name="fra_eng", **own)


@pytest.mark.parametrize(
    ("n", "wanted"),
    [
        (0, "zero"),
        (13, "thirteen"),
        (21, "twenty-one"),
        (40, "forty"),
        (100, "one hundred"),
        (101, "one hundred and one"),
        (342, "three hundred and forty-two"),
        (1000, "one thousand"),
        (1018, "one thousand and eighteen"),
        (2300, "two thousand three hundred"),
        (9999, "nine thousand nine hundred and ninety-nine"),
    ],
)
def test_english(n: int, wanted: str) -> None:
    assert english(n) == wanted


@pytest.mark.parametrize(
    ("n", "wanted"),
    [
        (0, "zéro"),
        (17, "dix-sept"),
        (20, "vingt"),
        (21, "vingt et un"),
        (22, "vingt-deux"),
        (61, "soixante et un"),
        (70, "soixante-dix"),
        (71, "soixante et onze"),
        (77, "soixante-dix-sept"),
        (80, "quatre-vingts"),
        (81, "quatre-vingt-un"),
        (91, "quatre-vingt-onze"),
        (99, "quatre-vingt-dix-neuf"),
        (100, "cent"),
        (101, "cent un"),
        (180, "cent quatre-vingts"),
        (200, "deux cents"),
        (203, "deux cent trois"),
        (1000, "mille"),
        (1984, "mille neuf cent quatre-vingt-quatre"),
        (2000, "deux mille"),
        (5400, "cinq mille quatre cents"),
    ],
)
def test_french(n: int, wanted: str) -> None:
    assert french(n) == wanted


def test_every_number_is_there_once_and_words_repeat_early() -> None:
    numbers = pairs_of(name="number_pairs")
    assert len(numbers.pairs) == LIMIT
    for side in (0, 1):
        sentences = [pair[side] for pair in numbers.pairs]
        assert len(set(sentences)) == LIMIT
        words = {word for sentence in sentences for word in sentence.split(" ")}
        assert not any("-" in word for word in words)
        rare = words - set(Vocabulary((w for s in sentences[:601] for w in s.split(" ")), min_count=2).itos)
        assert rare <= {"zero", "zéro"}  # which stands in one number only
    assert set(numbers.samples) <= set(numbers.pairs)
    assert load_pairs(DataConfig(name="number_pairs", tokens="word", cleaning="keep")).sha256 == numbers.sha256


def test_cleaning_sets_punctuation_apart() -> None:
    assert clean("Va\u202f!\tI'm\u00a0home.Go, go...") == "va !\ti'm home .go , go . . ."
    assert clean("a !\n.b") == "a !\n .b"


def test_a_file_of_pairs(tmp_path: Path) -> None:
    path = tmp_path / "mine.tsv"
    path.write_bytes(
        b"\xef\xbb\xbfGo.\tVa !\tCC-BY 2.0\r\n\r\nGo.\tMarche.\r\nRun!\t Cours ! \r\nHi.\tSalut.\nA\tB\nC\tD"
    )
    pairs = load(DataConfig(name="pair_file", tokens="word", cleaning="keep", path=str(path)))
    assert isinstance(pairs, Pairs)
    assert pairs.name == "mine.tsv"
    assert pairs.pairs[:4] == (("go .", "va !"), ("go .", "marche ."), ("run !", "cours !"), ("hi .", "salut ."))
    assert pairs.samples == (("go .", "va !"), ("run !", "cours !"), ("hi .", "salut ."), ("a", "b"))
    cleaned = "go .\tva !\ngo .\tmarche .\nrun !\tcours !\nhi .\tsalut .\na\tb\nc\td\n"
    assert pairs.sha256 == hashlib.sha256(cleaned.encode()).hexdigest()


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("a\tb\nonly one column\n", r"mine.tsv, line 2, has no tab; give one pair per line, SOURCE<tab>TARGET"),
        ("a\t\n", r"mine.tsv, line 1, has an empty target; .*"),
        ("a\tb\n\n \tb\n", r"mine.tsv, line 3, has an empty source; .*"),
        (" \n", r"mine.tsv has no pair of sentences; .*"),
        ("", r"mine.tsv has no pair of sentences; .*"),
    ],
)
def test_a_bad_file_is_one_line(tmp_path: Path, content: str, message: str) -> None:
    path = tmp_path / "mine.tsv"
    path.write_text(content)
    with pytest.raises(DataError, match=rf"^{message}$"):
        pairs_of(name="pair_file", path=str(path))


@pytest.mark.parametrize(("option", "value", "only"), [("tokens", "char", "word"), ("cleaning", "letters", "keep")])
@pytest.mark.parametrize("chosen", [("task=translation", "data=number_pairs"), ("task=memory", "data=copy")])
def test_options_of_texts_are_refused(
    compose: Callable[..., Config], chosen: tuple[str, str], option: str, value: str, only: str
) -> None:
    with pytest.raises(ConfigError, match=rf"^data\.{option} is {value}, .*\b{chosen[1]} .*\bdata\.{option}={only}"):
        compose(*chosen, f"data.{option}={value}")


@pytest.fixture(scope="module")
def published(compose) -> Pairs:
    folder = os.environ.get("ABLATE_DATA_DIR")
    if not folder or not (Path(folder).expanduser() / "fra-eng.zip").is_file():
        pytest.skip("needs the published pairs: put fra-eng.zip into a folder and name it in ABLATE_DATA_DIR")
    pairs = load(compose("task=translation").data)
    assert isinstance(pairs, Pairs)
    return pairs


@pytest.mark.full
@pytest.mark.parametrize(("count", "sizes"), [(601, (184, 201)), (None, (10_012, 17_851))])
def test_the_published_vocabularies(published: Pairs, count: int | None, sizes: tuple[int, int]) -> None:
    found = [
        len(Vocabulary((w for pair in published.pairs[:count] for w in pair[side].split(" ")), ("a>", "b>", "c>"), 2))
        for side in (0, 1)
    ]
    assert tuple(found) == sizes


def test_the_published_pairs(published: Pairs) -> None:
    assert len(published.pairs) == 167_130
    assert published.pairs[0] == ("go .", "va !")
    assert published.sha256 == "28f0e806d34e24aa4a98e9fc1c976759559d005b353d527c9a553da3d385a4db"
    assert [source for source, _ in published.samples] == ["go .", "i lost .", "he's calm .", "i'm home ."]
