"""Files of claims, and claims on the line, that are broken: read, or refused in a line. CPU."""

from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import strategies as st

from ablate.claims.measured import Frames
from ablate.claims.reading import read_claims
from ablate.claims.verdicts import evaluate
from ablate.config.schema import CONFIG_ROOT
from tests.fuzzing.conftest import Place
from tests.fuzzing.exploring import examples, explore, refused_or
from tests.fuzzing.hostile import any_of, edited, encoded, relined, texts, torn
from tests.report.made import config, write_sweep

pytestmark = pytest.mark.filterwarnings("ignore")

FILES = sorted((CONFIG_ROOT / "sweeps" / "claims").glob("*.yaml"))

ODD = st.sampled_from(
    [
        "a: &a [*a]",
        "\n".join(["- &a0 [1, 1]", *(f"- &a{n} [*a{n - 1}, *a{n - 1}, *a{n - 1}]" for n in range(1, 30))]),
        "- id: 2001-99-99",
        "- !!python/object/apply:os.system [true]",
        "- !!int abc",
        "- {id: x, statement: y, order: {along: lr, ascending: [1, .nan]}}",
        "  where: {lr: [[1]]}",
        "  metric: =1+1",
        "? [a, b]\n: c",
        "- " * 2000,
        "[" * 2000,
    ]
)


@pytest.fixture(scope="module")
def frames(tmp_path_factory: pytest.TempPathFactory) -> Frames:
    sweep = tmp_path_factory.mktemp("judged") / "made-up"
    settings = [config(model, lr=lr) for model in ("rnn", "gru") for lr in (0.5, 1.0)]
    write_sweep(sweep, settings, seeds=3, epochs=4)
    return Frames.read(sweep)


def dumped(value: Any) -> bytes:
    try:
        return yaml.safe_dump(value, allow_unicode=True).encode("utf-8", "replace")
    except (yaml.YAMLError, RecursionError):
        return repr(value).encode("utf-8", "replace")


@examples(20, 3000)
def test_files_of_claims(place: Place, frames: Frames, count: int) -> None:
    """Those that can be read are judged, on a sweep that may have nothing of what they speak of."""
    contents = [path.read_text(encoding="utf-8") for path in FILES]
    parsed = [yaml.safe_load(content) for content in contents]

    def broken(number: int) -> st.SearchStrategy[bytes]:
        some = parsed[number][:2]
        return any_of(
            torn("\n".join(contents[number].splitlines()[:40]).encode()),
            encoded(relined("\n".join(contents[number].splitlines()[:30]), ODD)),
            edited(some, most=3).map(dumped),
            edited(some, most=1).map(dumped),
        )

    def check(given: bytes) -> None:
        path = place.root / "claims.yaml"
        path.write_bytes(given)
        claims = refused_or(lambda: read_claims(path))
        if claims is not None:
            refused_or(lambda: evaluate(frames, claims, 0.95, any_protocol=True))

    explore(st.integers(0, len(FILES) - 1).flatmap(broken), check, count)


@examples(2, 300)
def test_claims_on_the_line(place: Place, tmp_path: Path, count: int) -> None:
    place.fresh()
    settings = [config(model, lr=lr) for model in ("rnn", "gru") for lr in (0.5, 1.0)]
    write_sweep(place.sweep, settings, seeds=3, epochs=4)
    terms = st.one_of(st.sampled_from(["gru", "rnn", "lr=0.5", "lr=1", "0.5", "1.0", "lr=", "=1"]), texts())
    sentence = st.lists(st.tuples(terms, st.sampled_from([" < ", " > ", " ~ ", "<", "", "≈"])), min_size=1, max_size=3)
    option = st.sampled_from(["--metric", "--by", "--where", "--margin", "--level", "--claims"])
    options = st.lists(st.tuples(option, texts()), max_size=2)

    def check(given: tuple[list[tuple[str, str]], list[tuple[str, str]]]) -> None:
        said, more = given
        words = ["".join(term + sign for term, sign in said)]
        place.run("claims", "results/made-up", *words, *(f"{name}={value}" for name, value in more))

    explore(st.tuples(sentence, options), check, count)
