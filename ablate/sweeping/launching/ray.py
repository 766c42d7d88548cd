"""Tasks of a Ray cluster. They end with the program that submitted them; what they have finished stays on disk."""

import json
import logging
import os
import socket
import sys
from collections.abc import Mapping, Sequence
from contextlib import chdir, suppress
from pathlib import Path
from typing import Any

from ablate.config.errors import UserError, reason
from ablate.records.jobs import Batch
from ablate.sweeping.launching.options import Ray
from ablate.sweeping.launching.queues import RUNNING, WAITING, imports_from_here, not_installed
from ablate.sweeping.launching.worker import CarryOut, Work

MOST_SAID = 200
"""Characters of what Ray says, of each message."""
GB = 2**30
REMEDY = "give less of hydra.launcher.cpus, gpus, mem_gb or resources, unless the cluster gains such a node"
ANSWERS_S = 20.0
"""So long a head may take to answer."""


class RayQueue:
    """A `Queue`; connected when something is submitted."""

    name = "Ray"

    def __init__(self, options: Ray) -> None:
        try:
            import ray
        except ImportError as error:
            raise not_installed("ray", "ray") from error
        self.ray: Any = ray
        self.options = options
        self.tasks: dict[str, Any] = {}

    def submit(self, batch: Batch, carry_out: CarryOut) -> list[str]:
        own = self.options
        if not self.ray.is_initialized():
            self._connect()
        task = self.ray.remote(_do).options(
            num_cpus=own.cpus,
            num_gpus=own.gpus,
            memory=None if own.mem_gb is None else round(own.mem_gb * GB),
            resources=dict(own.resources) or None,
            max_retries=own.retries,
            name="ablate",
        )
        ids = []
        for job in range(batch.jobs):
            # Ray itself begins one again without end that it has killed for its memory.
            reference = task.remote(Work(str(batch.path.absolute()), job, carry_out, most=own.retries + 1))
            ids.append(reference.task_id().hex()[:16])
            self.tasks[ids[-1]] = reference
        return ids

    def _connect(self) -> None:
        own = self.options
        address = own.address or os.environ.get("RAY_ADDRESS")
        check_head(address)
        # Ray has its tasks find modules in the folder in which it is begun: here that of the package. What else than
        # variables a runtime_env has may be paths, which are meant from the working folder.
        stay = imports_from_here() or own.runtime_env.keys() - {"env_vars"}
        folder = os.getcwd() if stay else Path(__file__).parents[3]
        try:
            with chdir(folder):
                self.ray.init(
                    address=address,
                    runtime_env=described(own.runtime_env) or None,
                    log_to_driver=False,
                    logging_level=logging.ERROR,
                    include_dashboard=None if address else False,
                )
        except Exception as error:  # of the network, of Ray's own kinds, of values that it does not take
            if isinstance(error, TypeError) and own.runtime_env:
                raise UserError(f"Ray does not take hydra.launcher.runtime_env: {reason(error)}") from error
            at = f" at {address}" if address else ""
            raise UserError(f"Ray cannot be reached{at}: {reason(error)}") from error
        _say_in_a_line_each()

    def states(self, batch: Batch) -> dict[str, str] | None:
        own = {name: self.tasks[name] for name in batch.ids or () if name in self.tasks}
        try:
            done, _ = self.ray.wait(list(own.values()), num_returns=len(own), timeout=0)
        except Exception as error:  # of Ray's own kinds: its head is gone
            raise UserError(
                f"Ray is lost: {reason(error)}; what has finished is kept; with a cluster that runs, run the same "
                "command again to resume"
            ) from error
        return {name: self._ended(task) if task in done else self._doing(batch, name) for name, task in own.items()}

    def _doing(self, batch: Batch, name: str) -> str:
        return RUNNING if batch.state((batch.ids or []).index(name)).begun else WAITING

    def why_waiting(self, batch: Batch) -> dict[str, str]:
        try:
            nodes = [node["Resources"] for node in self.ray.nodes() if node["Alive"]]
        except Exception:  # of Ray's own kinds
            return {}
        return dict.fromkeys(batch.ids or (), self._why(nodes))

    def _why(self, nodes: Sequence[Mapping[str, float]]) -> str:
        own = self.options
        wanted = {"CPU": own.cpus, "GPU": own.gpus, "memory": (own.mem_gb or 0) * GB, **own.resources}
        if any(all(node.get(name, 0) >= much for name, much in wanted.items()) for node in nodes):
            return "other tasks have the nodes, or the task is being started"
        lacking = []
        for name, much in wanted.items():
            most = max((node.get(name, 0) for node in nodes), default=0)
            unit, what = (GB, "GB of memory") if name == "memory" else (1, name)
            if much > most:
                lacking.append(f"{much / unit:.4g} {what}, a node has {most / unit:.4g} at most")
        return f"no node is large enough for a task ({'; '.join(lacking) or 'of all that it asks for'}): {REMEDY}"

    def _ended(self, task: Any) -> str:
        """What Ray says of a task that has ended, in a line."""
        try:
            self.ray.get(task)
        except Exception as error:  # what the task has raised is its cause
            cause = getattr(error, "cause", None)
            return f"{type(error).__name__}: {reason(cause if isinstance(cause, Exception) else error)}"
        return "ENDED"

    def cancel(self, batch: Batch) -> None:
        for name in batch.ids or ():
            with suppress(Exception):  # one that has ended meanwhile
                self.ray.cancel(self.tasks[name])


def described(runtime_env: Mapping[str, Any]) -> dict[str, Any]:
    """Ray's description of the environment, in which numbers are variables, too: `{env_vars: {OMP_NUM_THREADS: 1}}`."""
    found = dict(runtime_env)
    if isinstance(variables := found.get("env_vars"), Mapping):
        found["env_vars"] = {
            name: json.dumps(value) if isinstance(value, bool | int | float) else value
            for name, value in variables.items()
        }
    return found


def check_head(address: str | None) -> None:
    """Raises UserError where nothing answers at an address: Ray itself tries for minutes, with a line each time."""
    host, separator, port = (address or "").rpartition("://")[2].rpartition(":")
    if not separator:  # none, or a word of Ray's: auto, local
        return
    try:
        socket.create_connection((host.strip("[]"), int(port)), timeout=ANSWERS_S).close()
    except (OSError, ValueError, OverflowError) as error:
        raise UserError(
            f"Ray cannot be reached at {address}: {reason(error)}; give the address of a head that runs, HOST:PORT "
            "(hydra.launcher.address or RAY_ADDRESS), or none, for Ray on this machine alone"
        ) from error


def _say_in_a_line_each() -> None:
    """Of a lost node Ray prints a page of its logs, on standard output, where our table belongs."""

    def say(data: Mapping[str, Any], **_: Any) -> None:
        for text in data["lines"]:
            print(f"Ray: {text.strip().partition(chr(10))[0][:MOST_SAID]}", file=sys.stderr)

    with suppress(ImportError):
        from ray._private import worker

        if hasattr(worker, "print_to_stdstream"):
            vars(worker)["print_to_stdstream"] = say


def _do(work: Work) -> None:
    work()
