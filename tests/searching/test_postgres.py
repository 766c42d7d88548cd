"""One study in a PostgreSQL database, shared by processes. Needs Debian's package `postgresql` (its binaries only: the
server is the test's own, on a free port) and psycopg; skipped where one is missing. CPU, 15 s.
"""

import csv
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from optuna.trial import TrialState
from synthetic import Noisy, run, searching, settings, space_of

from ablate.config.errors import UserError
from ablate.records.places import holds_runs
from ablate.searching.storage import StorageLost

psycopg = pytest.importorskip("psycopg", reason="needs psycopg: pip install 'psycopg[binary]'")

from postgres_server import NotInstalled, Server, free_port  # noqa: E402

pytestmark = pytest.mark.full


@pytest.fixture(scope="module")
def server() -> Iterator[Server]:
    try:
        own = Server()
    except NotInstalled as error:
        pytest.skip(str(error))
    with own:
        yield own


def bowl(knobs: dict[str, str]) -> float:
    return 5 + float(knobs["x"]) ** 2


BOWL = space_of("x=interval(-2,2)")


@pytest.mark.full
def test_two_processes_share_one_study_on_a_server(
    server: Server, start_search: Callable[..., Any], small_arguments: list[str], tmp_path: Path
) -> None:
    """The same command twice at the same time, on an empty database: both create the tables, neither is lost."""
    url = server.database("shared")
    command = [
        *("-m", "hydra/sweeper=optuna", "name=found", "lr=tag(log, interval(0.1, 4))", "threads=1", "prefixes=[]"),
        *(argument for argument in small_arguments if not argument.startswith(("epochs", "seeds"))),
        *("epochs=30", "seeds=2", "hydra.sweeper.n_trials=12", "hydra.sweeper.race={best: 1, fresh: 1}"),
        f"hydra.sweeper.storage={url}",
    ]
    # each with a results folder of its own, as on two machines
    both = [start_search(*command, f"results_dir={tmp_path / name}") for name in ("one", "two")]
    ended = [process.communicate(timeout=600) for process in both]
    assert [process.returncode for process in both] == [0, 0], ended

    with psycopg.connect(server.dsn("shared")) as connection:
        states = dict(connection.execute("select state, count(*) from trials group by state").fetchall())
    assert "RUNNING" not in states
    assert "WAITING" not in states
    tables = [path for path in tmp_path.glob("*/found/trials.csv") if (path.parent / "search.json").exists()]
    assert tables  # the last one named the winner
    with tables[0].open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    ended_rows = [row for row in rows if row["state"] in ("done", "dropped", "diverged", "failed")]
    assert len(ended_rows) == 12
    assert len({row["worker"] for row in ended_rows}) == 2
    assert len({row["lr"] for row in rows}) == len(rows)
    for folder in ("one", "two"):  # each trained its own trials
        assert holds_runs(tmp_path / folder / "found")


@pytest.mark.full
def test_infinities_and_nothing_chosen_survive_the_database(server: Server, tmp_path: Path) -> None:
    url = server.database("kinds")
    space = space_of("x=range(0,4)", "clip=null,1,0.5")
    evaluator = Noisy(lambda knobs: 5 + float(knobs["x"]), diverges=lambda knobs: knobs["clip"] == "null")
    trials = run(space, settings(n_trials=12, sampler="grid", storage=url), evaluator, tmp_path)
    for trial in trials:
        assert (trial.value == float("inf")) == (trial.params["clip"] is None)


@pytest.mark.full
def test_a_server_that_goes_away_in_the_middle(server: Server, tmp_path: Path) -> None:
    url = server.database("lost")

    class Pulled(Noisy):
        def poll(self, timeout_s: float) -> Any:
            if len(self.evaluated) == 4:
                server.stop()
            return super().poll(timeout_s)

    wanted = settings(n_trials=6, storage=url, seeds=(0, 1))
    try:
        with pytest.raises(StorageLost, match=r"lost the study at .*\bkept; run the same command again"):
            run(BOWL, wanted, Pulled(bowl), tmp_path)
    finally:
        if server.process is None:
            server.start()
    trials = run(BOWL, wanted, Noisy(bowl), tmp_path)
    assert not [trial for trial in trials if trial.state == TrialState.RUNNING]
    assert sum("excluded" not in trial.user_attrs for trial in trials) == 6


def test_a_database_that_does_not_exist_or_refuses(server: Server, tmp_path: Path) -> None:
    for url, message in (
        (f"postgresql://tester@127.0.0.1:{server.port}/missing", 'database "missing" does not exist'),
        (f"postgresql://tester:secret@127.0.0.1:{free_port()}/db", "refused"),
    ):
        with (
            pytest.raises(UserError, match=message) as caught,
            searching(BOWL, settings(storage=url), Noisy(bowl), tmp_path),
        ):
            pass
        assert len(str(caught.value).splitlines()) == 1
        assert "secret" not in str(caught.value)
