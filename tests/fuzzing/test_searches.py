"""The study of a search, as SQLite and as a journal, and what a search leaves: broken, then reported. CPU."""

import json
import shutil
import sqlite3
from pathlib import Path

import pytest
from hypothesis import strategies as st

from tests.fuzzing.conftest import SMALL, Place
from tests.fuzzing.exploring import examples, explore
from tests.fuzzing.hostile import edited, encoded, relined, texts, torn, values
from tests.report.made_search import made_up, write_search, write_study

pytestmark = pytest.mark.filterwarnings("ignore")

SEARCH = ["model=rnn", "hydra/sweeper=optuna", "lr=interval(0.1,1)", "hydra.sweeper.n_trials=1"]
COMMANDS = (("report", "results/made-up"), ("status", "results/made-up"), ("claims", "results/made-up"))


@pytest.fixture(scope="module")
def searched(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A concluded search, its study in both forms beside it."""
    folder = tmp_path_factory.mktemp("searched") / "made-up"
    trials = made_up(12)
    write_search(folder, trials)
    write_study(folder, trials)
    write_study(folder, trials, journal=True)
    return folder


@examples(3, 400)
def test_what_a_search_leaves(place: Place, searched: Path, count: int) -> None:
    facts = json.loads((searched / "search.json").read_text())
    table = (searched / "trials.csv").read_text()
    lines = st.one_of(texts(), st.sampled_from(["=1,done,1,8,1,1,,1,1", "1,odd,x,x,x,x,x,x,x"]))
    json_file = st.one_of(
        edited(facts, most=2).map(lambda value: json.dumps(value).encode("utf-8", "replace")),
        torn(json.dumps(facts).encode()),
    )
    csv_file = st.one_of(torn(table.encode()), encoded(relined(table, lines)))
    inputs = st.one_of(
        st.tuples(st.just("search.json"), json_file, st.sampled_from(COMMANDS)),
        st.tuples(st.just("trials.csv"), csv_file, st.sampled_from(COMMANDS)),
    )

    def check(given: tuple[str, bytes, tuple[str, ...]]) -> None:
        name, content, command = given
        place.fresh()
        place.sweep.mkdir()
        for kept in ("search.json", "trials.csv"):
            shutil.copy(searched / kept, place.sweep)
        (place.sweep / name).write_bytes(content)
        place.run(*command)

    explore(inputs, check, count)


@st.composite
def changed_database(draw: st.DrawFn, content: bytes) -> bytes:
    """A database with other values in its tables, or with other bytes."""
    if draw(st.integers(0, 2)) == 0:
        return draw(torn(content))
    base = sqlite3.connect(":memory:")
    base.deserialize(content[:18] + b"\1\1" + content[20:])  # in memory there is no write-ahead log
    tables = [row[0] for row in base.execute("select name from sqlite_master where type='table'")]
    for _ in range(draw(st.integers(1, 3))):
        table = draw(st.sampled_from(sorted(tables)))
        columns = [row[1] for row in base.execute(f"pragma table_info({table})")]
        column = draw(st.sampled_from(columns)) if columns else None
        kind = draw(st.sampled_from(("cell", "cell", "cell", "delete", "drop")))
        try:
            if kind == "drop":
                base.execute(f"drop table {table}")
            elif kind == "delete":
                base.execute(f"delete from {table} where rowid % 2 = ?", (draw(st.integers(0, 1)),))
            elif column is not None:
                value = draw(st.one_of(st.none(), st.integers(-1, 9), texts(), values().map(json.dumps)))
                value = value.encode("utf-8", "replace").decode() if isinstance(value, str) else value
                where = "" if draw(st.booleans()) else " where rowid = 1"
                base.execute(f"update {table} set {column} = ?{where}", (value,))
        except sqlite3.Error:
            continue
    base.commit()
    return base.serialize()


def changed_journal(content: bytes) -> st.SearchStrategy[bytes]:
    lines = st.one_of(
        texts(), st.sampled_from(["{}", "5", '{"op_code": 99}', '{"op_code": 4, "trial_id": 10**9}', "[1]"])
    )
    return st.one_of(torn(content), encoded(relined(content.decode(), lines)))


@examples(2, 300)
def test_studies(place: Place, searched: Path, count: int) -> None:
    database = changed_database((searched / "study.db").read_bytes())
    inputs = st.one_of(
        st.tuples(st.just("study.db"), database, st.sampled_from(COMMANDS)),
        st.tuples(
            st.just("study.journal"),
            changed_journal((searched / "study.journal").read_bytes()),
            st.sampled_from(COMMANDS),
        ),
    )

    def check(given: tuple[str, bytes, tuple[str, ...]]) -> None:
        name, content, command = given
        place.fresh()
        place.sweep.mkdir()
        (place.sweep / name).write_bytes(content)
        place.run(*command)

    explore(inputs, check, count)


CHANGED = {"study.db": changed_database, "study.journal": changed_journal}
"""The file of a study → what may have become of it."""


@examples(1, 30)
@pytest.mark.parametrize("study", CHANGED)
def test_a_search_that_goes_on_from_a_broken_study(place: Place, tmp_path: Path, study: str, count: int) -> None:
    """One trial of a tiny search is made, its study broken, and the same search typed again."""
    storage = {"study.db": "sqlite", "study.journal": "journal"}[study]
    command = ["search", *SMALL, *SEARCH, f"hydra.sweeper.storage={storage}", "name=made-up"]
    first = tmp_path / "first"
    place.fresh()
    place.run(*command)
    shutil.copytree(place.sweep, first)

    def check(content: bytes) -> None:
        place.fresh()
        shutil.copytree(first, place.sweep)
        (place.sweep / study).write_bytes(content)
        place.run(*command)

    explore(CHANGED[study]((first / study).read_bytes()), check, count)
