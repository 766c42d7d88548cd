"""A PostgreSQL server of the tests' own, in a temporary folder, and ended with them."""

import os
import pwd
import shutil
import socket
import subprocess
import tempfile
import time
from pathlib import Path
from typing import Any, Self

import psycopg


class NotInstalled(Exception):
    """There is no PostgreSQL here that could be run."""


def binaries() -> Path:
    """The folder with initdb and postgres, the newest version. Raises NotInstalled."""
    found = sorted(Path("/usr/lib/postgresql").glob("*/bin/initdb"), key=lambda path: int(path.parts[4]))
    if not found:
        on_path = shutil.which("initdb")
        if on_path is None:
            raise NotInstalled("needs PostgreSQL's initdb: apt-get install postgresql")
        found = [Path(on_path).resolve()]
    return found[-1].parent


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


class Server:
    """A running server. It refuses to run as root: then it runs as another user of the system."""

    def __init__(self) -> None:
        self.bin = binaries()
        self.user = None
        if os.geteuid() == 0:
            known = {entry.pw_name for entry in pwd.getpwall()}
            self.user = next((name for name in ("postgres", "nobody") if name in known), None)
            if self.user is None:
                raise NotInstalled("PostgreSQL does not run as root, and there is no user postgres or nobody")
        self.folder = Path(tempfile.mkdtemp(prefix="ablate-pg-", dir="/tmp"))
        if self.user:
            entry = pwd.getpwnam(self.user)
            os.chown(self.folder, entry.pw_uid, entry.pw_gid)
        self.port = free_port()
        self.process: subprocess.Popen[bytes] | None = None
        self.call("initdb", "-D", str(self.folder / "data"), "-U", "tester", "-A", "trust", "--no-sync", "-E", "UTF8")
        self.start()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()
        shutil.rmtree(self.folder, ignore_errors=True)

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
