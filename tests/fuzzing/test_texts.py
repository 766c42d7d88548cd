"""Corpora and files of pairs that are broken, empty, enormous, of other encodings: read, or refused in a line. CPU."""

from pathlib import Path

import pytest
from hypothesis import strategies as st

from ablate.config.composing import compose
from ablate.config.resolved import resolve
from ablate.data.corpora import described, load, split
from ablate.data.pairs import described_pairs, load_pairs
from tests.fuzzing.conftest import Place
from tests.fuzzing.exploring import examples, explore, refused_or
from tests.fuzzing.hostile import MARKUP, any_of, encoded, relined, texts, torn

pytestmark = pytest.mark.filterwarnings("ignore")

TEXT = "The cell keeps a state, and forgets.\nIt has read: ärgerlich, naïve, Straße!\r\nJazz; quickly.\n\n\tEnd." * 3
PAIRS = "go .\tva !\thint\ni lost .\tj'ai perdu .\n\nhe's calm .\til est calme .\ni'm home .\tje suis chez moi .\n"

LONG = st.tuples(st.sampled_from(["a", "\x85", "\u2028", "é", "a b ", "\t", "💥"]), st.integers(1, 70_000)).map(
    lambda one: one[0] * one[1]
)


def broken(text: str, lines: st.SearchStrategy[str]) -> st.SearchStrategy[bytes]:
    return any_of(
        torn(text.encode()),
        encoded(relined(text, lines)),
        encoded(st.text(max_size=60)),
        encoded(LONG),
    )


@examples(40, 4000)
def test_corpora(place: Place, count: int) -> None:
    place.fresh()
    base = ["data=text_file", "data.path=text.txt", "num_steps=5", "batch_size=2", "val_tokens=10"]
    configs = {
        (tokens, cleaning): resolve(compose([*base, f"data.tokens={tokens}", f"data.cleaning={cleaning}"]))
        for tokens in ("char", "word")
        for cleaning in ("keep", "letters")
    }

    def check(given: tuple[bytes, tuple[str, str], int | None]) -> None:
        content, kind, tokens = given
        Path("text.txt").write_bytes(content)
        config = configs[kind]
        corpus = refused_or(lambda: load(config.data, tokens))
        if corpus is not None:
            assert len(corpus.ids) == (corpus.tokens if tokens is None else min(tokens, corpus.tokens))
            assert "\n" not in described(corpus, [config])
            if tokens is None:
                refused_or(lambda: split(config, corpus))

    tokens = st.one_of(st.none(), st.integers(0, 100), st.just(10**12))
    explore(st.tuples(broken(TEXT, texts()), st.sampled_from(sorted(configs)), tokens), check, count)


@examples(40, 3000)
def test_pairs(place: Place, count: int) -> None:
    place.fresh()
    words = ["task=translation", "data=pair_file", "data.path=pairs.txt", "task.val_pairs=1"]
    config = resolve(compose(words))
    lines = st.sampled_from(
        ["no tab", "\t", "a\t", "\tb", "a\tb\tc\td", " \t ", "a\tb\r", *(f"a\t{m}" for m in MARKUP)]
    )

    def check(given: bytes) -> None:
        Path("pairs.txt").write_bytes(given)
        pairs = refused_or(lambda: load_pairs(config.data))
        if pairs is not None:
            assert all(source.strip() and target.strip() for source, target in pairs.pairs)
            described_pairs(pairs, [config])

    explore(broken(PAIRS, lines), check, count)


@examples(1, 100)
def test_commands_on_a_text(place: Place, count: int) -> None:
    """What is planned, and trained, on such a text; its name is as strange."""
    names = st.sampled_from(["text.txt", "a b.txt", "=1+1.txt", "<script>.txt", "ü,[x].txt", "-x.txt", "$(id).txt"])
    small = ["num_hiddens=4", "num_steps=3", "batch_size=2", "max_tokens=40", "val_tokens=5", "epochs=1", "seeds=1"]
    commands = st.sampled_from([["plan"], ["run", "report=false", "engine=eager"]])

    def check(given: tuple[bytes, str, str, list[str]]) -> None:
        content, name, tokens, command = given
        place.fresh()
        (place.here / name).write_bytes(content)
        quoted = name.replace("'", "\\'")
        place.run(*command, "data=text_file", f"data.path='{quoted}'", f"data.tokens={tokens}", *small, "prefixes=[a]")

    explore(st.tuples(broken(TEXT, texts()), names, st.sampled_from(["char", "word"]), commands), check, count)
