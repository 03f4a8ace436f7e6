"""A Ray cluster of several nodes on this machine, as a program of its own: `kill NAME`, `add NAME`, `end` on its input.

A node that is killed goes with all that runs on it, at once, as a machine whose power is cut.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import psutil
import pytest

from tests.support.started import line_with, started

_MEMORY = 80 * 2**20


class Nodes:
    def __init__(self, process: subprocess.Popen[str], logs: Path) -> None:
        self._process, self.logs = process, logs
        self.address = self._read()

    def kill(self, name: str) -> None:
        self._do(f"kill {name}")

    def add(self, name: str) -> None:
        self._do(f"add {name}")

    def workers(self, name: str) -> list[psutil.Process]:
        """Processes that Ray calls so, of this cluster alone."""
        found = [one for one in psutil.process_iter(["name"]) if str(one.info["name"]).startswith(name)]
        return [one for one in found if one.environ().get("RAY_TMPDIR") == str(self.logs)]

    def _do(self, words: str) -> None:
        assert self._process.stdin is not None
        self._process.stdin.write(f"{words}\n")
        self._process.stdin.flush()
        assert self._read() == words

    def _read(self) -> str:
        return line_with("^nodes: (.*)", self._process.stdout)[1]


@contextmanager
def ray_nodes(*names: str) -> Iterator[Nodes]:
    """Beside a head on which nothing runs. Skips the test where Ray is not installed."""
    if find_spec("ray") is None:
        (pytest.fail if os.environ.get("CI") else pytest.skip)("no ray: pip install 'stts-export[fleet]'")
    # Paths of sockets have to be short.
    folder = Path(tempfile.mkdtemp(prefix="r", dir="/tmp"))
    environment = {"RAY_USAGE_STATS_ENABLED": "0", "RAY_TMPDIR": str(folder)}
    command = [sys.executable, "-m", "tests.support.ray_cluster", *names]
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "stderr": subprocess.STDOUT}
    try:
        with started(command, environment, **pipes) as process:
            yield Nodes(process, folder)
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _run(names: Sequence[str]) -> None:
    from ray.cluster_utils import Cluster

    head = {"num_cpus": 0, "node_name": "head", "include_dashboard": False, "object_store_memory": _MEMORY}
    cluster = Cluster(initialize_head=True, head_node_args=head)
    nodes = {name: _added(cluster, name) for name in names}
    print(f"nodes: {cluster.address}", flush=True)
    for line in sys.stdin:
        word, name = line.split()
        if word == "kill":
            _kill(nodes.pop(name).all_processes["raylet"][0].process.pid)
        else:
            nodes[name] = _added(cluster, name)
        print(f"nodes: {line.strip()}", flush=True)
    cluster.shutdown()


def _added(cluster: Any, name: str) -> Any:
    return cluster.add_node(num_cpus=1, node_name=name, object_store_memory=_MEMORY)


def _kill(pid: int) -> None:
    node = psutil.Process(pid)
    for process in [*node.children(recursive=True), node]:
        process.kill()


if __name__ == "__main__":
    _run(sys.argv[1:])
