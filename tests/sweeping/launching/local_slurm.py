"""A SLURM of this machine alone, for as long as the tests take: its daemons, its configuration and its keys lie in a
temporary folder, and it is ended by the numbers of its processes."""

import importlib.util
import os
import re
import shutil
import socket
import subprocess
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pytest

DAEMONS = ("munged", "slurmctld", "slurmd", "sbatch", "srun", "squeue")
ACCOUNTANTS = ("slurmdbd", "mariadbd", "mariadb-install-db", "sacctmgr")

CONFIGURATION = """\
ClusterName=trial
SlurmctldHost={host}(127.0.0.1)
SlurmUser=root
SlurmctldPort={port}
SlurmdPort={port_of_node}
AuthType=auth/munge
AuthInfo=socket={folder}/munge/socket
StateSaveLocation={folder}/state
SlurmdSpoolDir={folder}/spool
SlurmctldPidFile={folder}/slurmctld.pid
SlurmdPidFile={folder}/slurmd.pid
SlurmctldLogFile={folder}/slurmctld.log
SlurmdLogFile={folder}/slurmd.log
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
SelectType=select/cons_tres
SelectTypeParameters=CR_Core
JobAcctGatherType=jobacct_gather/none
AccountingStorageType=accounting_storage/none
JobCompType=jobcomp/none
MpiDefault=none
ReturnToService=2
SchedulerParameters=sched_interval=1,bf_interval=1
PreemptType=preempt/partition_prio
PreemptMode=REQUEUE
KillWait=10
MinJobAge=30
SlurmdParameters=config_overrides
NodeName={host} NodeAddr=127.0.0.1 CPUs=4 RealMemory=4000 State=UNKNOWN
PartitionName=low Nodes=ALL Default=YES PriorityTier=1 PreemptMode=REQUEUE GraceTime=10 MaxTime=60 State=UP
PartitionName=high Nodes=ALL PriorityTier=10 PreemptMode=OFF MaxTime=60 State=UP
"""
"""Without accounting: what has ended is soon not known to it any more."""

WITH_ACCOUNTING = """\
AccountingStorageType=accounting_storage/slurmdbd
AccountingStorageHost=127.0.0.1
AccountingStoragePort={port_of_dbd}
AccountingStoragePass={folder}/munge/socket
AccountingStorageEnforce=associations,wckeys
TrackWCKey=yes
JobAcctGatherType=jobacct_gather/linux
"""
"""In the place of the two lines that say that there is none. An account, or a wckey, that is not known is refused."""

DOES_WITHOUT_CGROUPS = (23, 11)
"""From this version on slurmd sets up control groups, which a container may not allow, unless it is told not to."""

OF_DBD = """\
AuthType=auth/munge
AuthInfo=socket={folder}/munge/socket
DbdHost={host}
DbdAddr=127.0.0.1
DbdPort={port_of_dbd}
SlurmUser=root
LogFile={folder}/slurmdbd.log
PidFile={folder}/slurmdbd.pid
StorageType=accounting_storage/mysql
StorageHost=127.0.0.1
StoragePort={port_of_sql}
StorageUser=root
StorageLoc=trial
TrackWCKey=yes
"""


def free_port() -> int:
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        port: int = one.getsockname()[1]
        return port


@contextmanager
def daemon(*command: str, log: Path) -> Iterator[None]:
    with log.open("w") as out:
        process = subprocess.Popen(command, stdout=out, stderr=out, start_new_session=True)
    try:
        yield
    finally:
        process.terminate()
        try:
            process.wait(20)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


class Slurm:
    """What a person asks of SLURM."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.node = folder, socket.gethostname().partition(".")[0]

    def ask(self, *command: str) -> str:
        done = subprocess.run(command, capture_output=True, text=True, timeout=60)
        assert done.returncode == 0, (command, done.stderr)
        return done.stdout

    def jobs(self) -> dict[str, str]:
        """Job → its state, of those that wait or run."""
        rows = self.ask("squeue", "-h", "-r", "-o", "%i|%T").splitlines()
        return dict(row.split("|") for row in rows)

    def node_is(self, state: str) -> None:
        self.ask("scontrol", "update", f"nodename={self.node}", f"state={state}", "reason=trial")

    def steps(self) -> list[Path]:
        """Of jobs that are not over on the node: a node that comes back with one in it is drained."""
        return list((self.folder / "spool").glob(f"{self.node}_[0-9]*.*"))

    def node_returns(self) -> None:
        """At our word, or by itself, as soon as it answers: then SLURM refuses our word."""
        subprocess.run(["scontrol", "update", f"nodename={self.node}", "state=resume"], capture_output=True, timeout=60)
        until(self.node_is_up, 60)

    def node_is_up(self) -> bool:
        return self.ask("sinfo", "-h", "-o", "%T").split()[0] in ("idle", "mixed", "allocated")

    def clear(self) -> None:
        """End what a test has left: its jobs, which may still be leaving, and a node that is away."""
        for job in self.jobs():
            subprocess.run(["scancel", job], capture_output=True, timeout=60)
        if not self.node_is_up():
            self.node_returns()
        until(lambda: self.jobs() == {}, 240)

    def start_now(self) -> None:
        """What was queued again waits two minutes otherwise, or is held where it was begun on a node still busy."""
        for job in self.jobs():
            self.ask("scontrol", "release", job)
            self.ask("scontrol", "update", f"jobid={job}", "starttime=now")

    def works_again(self) -> bool:
        """Whether the node that was lost has taken all jobs again. Where it had not forgotten one yet, SLURM drains
        the node and holds the job: then both are told to go on."""
        if not self.node_is_up():
            self.node_returns()
        if waiting := "PENDING" in self.jobs().values():
            self.start_now()
        time.sleep(3)
        return not waiting and self.node_is_up() and "PENDING" not in self.jobs().values()


def until(true: Callable[[], object], limit_s: float = 180.0) -> None:
    """Wait until something is so; fail where it does not come to be."""
    end = time.monotonic() + limit_s
    while not true():
        assert time.monotonic() < end, "it did not come to be in time"
        time.sleep(0.5)


def lacking(programs: Sequence[str] = DAEMONS) -> str:
    """Why there can be no SLURM of these programs here, or nothing."""
    if missing := [name for name in programs if shutil.which(name) is None]:
        return f"no {', '.join(missing)} on this machine"
    if importlib.util.find_spec("submitit") is None:
        return "no submitit here"
    return "slurmd starts jobs as their users, and is for root alone" if os.getuid() else ""


@pytest.fixture(scope="module")
def plain_slurm(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Slurm]:
    if why := lacking():
        pytest.skip(why)
    with running_slurm(tmp_path_factory.mktemp("slurm")) as found:
        yield found


@pytest.fixture
def slurm(plain_slurm: Slurm) -> Iterator[Slurm]:
    yield plain_slurm
    plain_slurm.clear()


@pytest.fixture
def accounted_slurm(slurm_with_accounts: Slurm) -> Iterator[Slurm]:
    """The same with accounting, in a MariaDB of its own, and one account, `lab`."""
    yield slurm_with_accounts
    slurm_with_accounts.clear()


@pytest.fixture(scope="module")
def slurm_with_accounts(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Slurm]:
    if why := lacking((*DAEMONS, *ACCOUNTANTS)):
        pytest.skip(why)
    with running_slurm(tmp_path_factory.mktemp("slurm"), accounting=True) as found:
        yield found


@contextmanager
def running_slurm(folder: Path, accounting: bool = False) -> Iterator[Slurm]:
    """A SLURM of one node with two partitions; its commands find it by SLURM_CONF."""
    for name in ("munge", "state", "spool"):
        (folder / name).mkdir(parents=True)
    key, made = folder / "munge" / "key", Slurm(folder)
    key.write_bytes(os.urandom(1024))
    key.chmod(0o400)
    ports = {name: free_port() for name in ("port", "port_of_node", "port_of_dbd", "port_of_sql")}
    facts = {"host": made.node, "folder": folder, **ports}
    configuration, text = folder / "slurm.conf", CONFIGURATION
    if accounting:
        kept = [line for line in text.splitlines() if not line.startswith(("AccountingStorage", "JobAcctGather"))]
        text = WITH_ACCOUNTING + "\n".join(kept) + "\n"
    configuration.write_text(text.format(**facts))
    if version_of_slurm() >= DOES_WITHOUT_CGROUPS:
        (folder / "cgroup.conf").write_text("CgroupPlugin=disabled\n")
    with pytest.MonkeyPatch.context() as patch, ExitStack() as stack:
        patch.setenv("SLURM_CONF", str(configuration))
        try:
            start(folder, facts, stack, accounting)
        except AssertionError as error:  # as in a container that keeps from them what they need
            pytest.skip(f"SLURM's daemons do not run here: {error}\n{last_words(folder)}")
        yield made
        subprocess.run(["scancel", "--signal=KILL", "--user=root"], capture_output=True)
        subprocess.run(["scancel", "--user=root"], capture_output=True)


def start(folder: Path, facts: Mapping[str, object], stack: ExitStack, accounting: bool) -> None:
    """The daemons, one after the other. Raises AssertionError where one of them does not come to be."""
    at = [f"--{what}-file={folder}/munge/{what}" for what in ("key", "pid", "log", "seed")]
    munged = ("munged", "--foreground", "--force", "--num-threads=1", f"--socket={folder}/munge/socket", *at)
    stack.enter_context(daemon(*munged, log=folder / "munged.out"))
    until((folder / "munge" / "socket").exists, 20)
    if accounting:
        account(folder, facts, stack)
    for name in ("slurmctld", "slurmd"):
        stack.enter_context(daemon(name, "-D", "-f", str(folder / "slurm.conf"), log=folder / f"{name}.out"))
    until(lambda: "idle" in subprocess.run(["sinfo", "-h"], capture_output=True, text=True).stdout, 60)


def version_of_slurm() -> tuple[int, ...]:
    """`slurm-wlm 22.05.8` is (22, 5, 8)."""
    said = subprocess.run(["slurmd", "-V"], capture_output=True, text=True).stdout
    return tuple(int(part) for part in re.findall(r"\d+", said)[:3])


def last_words(folder: Path) -> str:
    """The last lines that each daemon has logged."""
    logs = [path for path in (*sorted(folder.glob("*.out")), folder / "munge" / "log") if path.exists()]
    return "\n".join(f"{log.name}: {line}" for log in logs for line in log.read_text().splitlines()[-5:])


def account(folder: Path, facts: Mapping[str, object], stack: ExitStack) -> None:
    """A database, the daemon before it, and an account in it."""
    data, socket_of_sql = folder / "sql", folder / "sql.socket"
    install = ["mariadb-install-db", "--no-defaults", f"--datadir={data}", "--auth-root-authentication-method=normal"]
    subprocess.run([*install, "--user=root"], capture_output=True, check=True, timeout=120)
    own = ["--no-defaults", f"--datadir={data}", "--user=root", f"--socket={socket_of_sql}", "--skip-grant-tables"]
    own += ["--bind-address=127.0.0.1", f"--port={facts['port_of_sql']}", f"--pid-file={folder}/sql.pid"]
    stack.enter_context(daemon("mariadbd", *own, log=folder / "mariadbd.out"))
    until(socket_of_sql.exists, 60)
    of_dbd = folder / "slurmdbd.conf"
    of_dbd.write_text(OF_DBD.format(**facts))
    of_dbd.chmod(0o600)
    stack.enter_context(daemon("slurmdbd", "-D", log=folder / "slurmdbd.out"))
    add = ["sacctmgr", "--immediate", "add"]
    until(lambda: subprocess.run([*add, "cluster", "trial"], capture_output=True).returncode == 0, 60)
    for what in (["account", "lab"], ["user", "root", "account=lab", "wckey=known"]):
        subprocess.run([*add, *what], capture_output=True, check=True, timeout=60)
