"""A Ray cluster of this machine, whose nodes can be lost: a head without a core, and two nodes of one core each.

It lives in a process of its own, `python tests/soak/ray_nodes.py`, as a fork would not survive Ray's threads: that
process says the address in a line, loses a node and gains another for each line that it reads, and then answers.
"""

import importlib.util
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

STORE_BYTES = 2**27
"""Of each node, for objects; there is none but what a task is given."""
OWN = {"RAY_USAGE_STATS_ENABLED": "0", "OMP_NUM_THREADS": "1"}
TRIES = 6
"""A node that does not start within half a minute ends with an error, as it may on a busy machine."""
START_S = 300.0
END_S = 60.0


class Unavailable(Exception):
    """Ray itself did not come up, or has ended: no fault of what is tried."""


class Nodes:
    """The cluster, from outside."""

    def __init__(self, process: "subprocess.Popen[str]") -> None:
        self.process = process
        self.address = self._answer()
        self.environment = {**OWN, "RAY_ADDRESS": self.address}

    def _answer(self) -> str:
        assert self.process.stdout is not None
        if not (line := self.process.stdout.readline().strip()):
            raise Unavailable("the Ray cluster of the soak has ended, or did not come up")
        return line

    def lose_one(self) -> None:
        """All at once, as a machine without power; another one comes."""
        assert self.process.stdin is not None
        print("lose", file=self.process.stdin, flush=True)
        self._answer()


def is_there() -> bool:
    return importlib.util.find_spec("ray") is not None


@contextmanager
def running_ray(folder: Path) -> Iterator[Nodes]:
    """What its process says goes into a file of this folder. Raises Unavailable."""
    own = {name: value for name, value in os.environ.items() if name != "TMPDIR"}  # sockets need short paths
    with (folder / "ray.txt").open("w") as log:
        process = subprocess.Popen(
            [sys.executable, __file__],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=log,
            text=True,
            env={**own, **OWN},
            start_new_session=True,
        )
    try:
        yield Nodes(process)
    finally:
        assert process.stdin is not None
        process.stdin.close()
        try:
            process.wait(END_S)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def tried(start: Callable[[], Any]) -> Any:
    for _ in range(TRIES - 1):
        try:
            return start()
        except Exception as error:
            print(error, file=sys.stderr, flush=True)
    return start()


def main() -> None:
    from ray.cluster_utils import Cluster

    most = {"object_store_memory": STORE_BYTES}
    head = {"num_cpus": 0, "include_dashboard": False, **most}
    cluster: Any = tried(lambda: Cluster(initialize_head=True, head_node_args=head))

    def another() -> Any:
        return tried(lambda: cluster.add_node(wait=False, num_cpus=1, **most))

    nodes = [another(), another()]
    cluster.wait_for_nodes(START_S)
    print(cluster.address, flush=True)
    for _ in sys.stdin:
        cluster.remove_node(nodes.pop(0), allow_graceful=False)
        nodes.append(another())
        print("lost", flush=True)
    cluster.shutdown()


if __name__ == "__main__":
    main()
