"""One study in a PostgreSQL database, shared by processes. Needs Debian's package `postgresql` (its binaries only: the
server is the test's own, on a free port) and psycopg; skipped where one is missing. CPU, 15 s.
"""

import csv
import os
import pwd
import shutil
import socket
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from optuna.trial import TrialState
from synthetic import Noisy, run, searching, settings, space_of

from ablate.config.errors import UserError
from ablate.records.places import holds_runs
from ablate.searching.storage import StorageLost

pytestmark = pytest.mark.full
psycopg = pytest.importorskip("psycopg", reason="needs psycopg: pip install 'ablate-rnn[postgres]'")


def binaries() -> Path:
    """The folder with initdb and postgres, the newest version; skips where there is none."""
    found = sorted(Path("/usr/lib/postgresql").glob("*/bin/initdb"), key=lambda path: int(path.parts[4]))
    if not found:
        on_path = shutil.which("initdb")
        if on_path is None:
            pytest.skip("needs PostgreSQL's initdb: apt-get install postgresql")
        found = [Path(on_path).resolve()]
    return found[-1].parent


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


class Server:
    """A PostgreSQL server of our own. It refuses to run as root: then it runs as another user of the system."""

    def __init__(self) -> None:
        self.bin = binaries()
        self.user = None
        if os.geteuid() == 0:
            known = {entry.pw_name for entry in pwd.getpwall()}
            self.user = next((name for name in ("postgres", "nobody") if name in known), None)
            if self.user is None:
                pytest.skip("PostgreSQL does not run as root, and there is no user postgres or nobody")
        self.folder = Path(tempfile.mkdtemp(prefix="ablate-pg-", dir="/tmp"))
        if self.user:
            entry = pwd.getpwnam(self.user)
            os.chown(self.folder, entry.pw_uid, entry.pw_gid)
        self.port = free_port()
        self.process: subprocess.Popen[bytes] | None = None
        self.call("initdb", "-D", str(self.folder / "data"), "-U", "tester", "-A", "trust", "--no-sync", "-E", "UTF8")
        self.start()

    def options(self) -> dict[str, Any]:
        return {"user": self.user, "group": pwd.getpwnam(self.user).pw_gid, "extra_groups": []} if self.user else {}

    def call(self, name: str, *arguments: str) -> None:
        done = subprocess.run(
            [self.bin / name, *arguments], capture_output=True, text=True, cwd=self.folder, **self.options()
        )
        assert done.returncode == 0, done.stderr

    def start(self) -> None:
        self.process = subprocess.Popen(
            [
                *(self.bin / "postgres", "-D", self.folder / "data", "-p", str(self.port)),
                *("-k", self.folder, "-c", "listen_addresses=127.0.0.1", "-c", "fsync=off"),
            ],
            stdout=subprocess.DEVNULL,
            stderr=(self.folder / "log").open("ab") if not self.user else subprocess.DEVNULL,
            cwd=self.folder,
            **self.options(),
        )
        for _ in range(300):
            try:
                psycopg.connect(self.dsn("postgres"), connect_timeout=1).close()
                return
            except psycopg.OperationalError:
                assert self.process.poll() is None, "the server ended"
                time.sleep(0.1)
        raise AssertionError("the server does not answer")

    def stop(self) -> None:
        if self.process is not None:
            self.process.send_signal(3)  # SIGQUIT: at once
            self.process.wait()
            self.process = None

    def dsn(self, database: str) -> str:
        return f"host=127.0.0.1 port={self.port} user=tester dbname={database}"

    def database(self, name: str) -> str:
        """A new database; its URL."""
        with psycopg.connect(self.dsn("postgres"), autocommit=True) as connection:
            connection.execute(f"create database {name}")
        return f"postgresql://tester@127.0.0.1:{self.port}/{name}"


@pytest.fixture(scope="module")
def server() -> Iterator[Server]:
    own = Server()
    yield own
    own.stop()
    shutil.rmtree(own.folder, ignore_errors=True)


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
        with pytest.raises(StorageLost, match=r"lost the study at .*\bkept, the same command\b"):
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
