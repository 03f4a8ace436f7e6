"""Runs a command where nothing is reached but loopback, and says what it looked up, connected to and wrote.

    unshare --net --mount python tests/support/sandbox.py root SCRATCH COMMAND...

Every address of the world is this machine's there, so that a connection is counted and refused in place of failing
before anybody sees it, and a server for names hears each look-up. For root, / and what is mounted on it are read
through overlays, whose upper layers then hold what was written, wherever that was; others may not do that, and there
only the home and the temporary folder are looked at. Prints JSON. Needs Linux, `unshare`, `ip`.
"""

from __future__ import annotations

import json
import os
import shutil
import socket
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

_IS_ROOT = os.geteuid() == 0
_UNSHARE = ["unshare", "--net", "--mount", *([] if _IS_ROOT else ["--map-root-user"])]
_FOLDERS = ("HOME", "TMPDIR")
_SYSTEM = ("/proc", "/dev", "/sys")
_DISKS = ("ext4", "xfs", "btrfs", "overlay", "tmpfs", "zfs", "f2fs")


@dataclass(frozen=True)
class Seen:
    """What a command did."""

    code: int
    said: str
    names: list[str]
    """That it looked up."""
    connections: int
    """TCP, to wherever."""
    datagrams: int
    written: list[str]
    """Files, by their whole path."""

    def written_outside(self, *folders: Path) -> list[str]:
        return [path for path in self.written if not any(Path(path).is_relative_to(one) for one in folders)]


def why_not() -> str | None:
    """Why there is no sandbox here."""
    if not (shutil.which("unshare") and shutil.which("ip")):
        return "takes unshare and ip"
    tried = subprocess.run([*_UNSHARE, "ip", "link", "set", "lo", "up"], capture_output=True, text=True, check=False)
    return None if tried.returncode == 0 else f"not allowed here: {tried.stderr.strip()}"


def sandboxed(scratch: Path, command: Sequence[object], environment: Mapping[str, str]) -> Seen:
    """`scratch` is a folder that the command does not need."""
    who = "root" if _IS_ROOT else "other"
    words = [*_UNSHARE, sys.executable, __file__, who, str(scratch), *map(str, command)]
    done = subprocess.run(words, capture_output=True, text=True, env=dict(environment), timeout=300, check=False)
    assert done.returncode == 0, done.stderr
    return Seen(**json.loads(done.stdout))


def _main(is_root: bool, scratch: Path, command: Sequence[str]) -> None:
    _open_to_itself()
    names: list[str] = []
    threading.Thread(target=_hear_names, args=[_name_server(), names], daemon=True).start()
    if is_root:
        layers, enter = _overlaid(scratch), _entering(scratch)
    else:
        layers, enter = {os.environ[name]: Path(os.environ[name]) for name in _FOLDERS}, None
    done = subprocess.run(
        command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False, preexec_fn=enter
    )
    seen = Seen(done.returncode, done.stdout, names, *_counts(), sorted(_written(layers)))
    print(json.dumps(vars(seen)))


def _open_to_itself() -> None:
    subprocess.run(["ip", "link", "set", "lo", "up"], check=True)
    subprocess.run(["ip", "route", "add", "local", "0.0.0.0/0", "dev", "lo"], check=True)
    subprocess.run(["ip", "-6", "route", "add", "local", "::/0", "dev", "lo"], capture_output=True, check=False)


def _name_server() -> socket.socket:
    server = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    server.bind(("", 53))
    return server


def _hear_names(server: socket.socket, names: list[str]) -> None:
    """Answers that there is no such name."""
    while True:
        query, client = server.recvfrom(1500)
        names.append(_name_in(query))
        server.sendto(query[:2] + b"\x81\x83" + query[4:], client)


def _name_in(query: bytes) -> str:
    steps, at = [], 12
    while at < len(query) and (size := query[at]):
        steps.append(query[at + 1 : at + 1 + size].decode(errors="replace"))
        at += 1 + size
    return ".".join(steps)


def _counts() -> tuple[int, int]:
    """TCP connections begun and datagrams sent, less our own answers to look-ups, which nobody else sends."""
    lines = Path("/proc/net/snmp").read_text().splitlines()
    pairs = zip(lines[::2], lines[1::2], strict=True)
    table = {
        name: dict(zip(keys.split(), map(int, values.split()), strict=True))
        for (name, keys), (_, values) in ((one.split(":"), other.split(":")) for one, other in pairs)
    }
    return table["Tcp"]["ActiveOpens"], table["Udp"]["OutDatagrams"]


def _mounts() -> list[str]:
    """Of disks, the root first."""
    found = [line.split()[1:3] for line in Path("/proc/self/mounts").read_text().splitlines()]
    on_disk = {place for place, kind in found if kind in _DISKS and Path(place).is_dir()}
    return sorted(place for place in on_disk if not place.startswith(_SYSTEM))


def _overlaid(scratch: Path) -> dict[str, Path]:
    """The upper layer of each mount, by its place; together they are seen at SCRATCH/root."""
    places, root = _mounts(), scratch / "root"
    subprocess.run(["mount", "-t", "tmpfs", "tmpfs", scratch], check=True)
    root.mkdir()
    layers = {}
    for number, place in enumerate(places):
        upper, work = scratch / f"upper{number}", scratch / f"work{number}"
        upper.mkdir()
        work.mkdir()
        options = f"lowerdir={place},upperdir={upper},workdir={work}"
        target = root / place.lstrip("/")
        if target.is_dir():
            subprocess.run(["mount", "-t", "overlay", "overlay", "-o", options, target], check=True)
            layers[place] = upper
    for place in _SYSTEM:
        subprocess.run(["mount", "--rbind", place, root / place.lstrip("/")], check=True)
    return layers


def _entering(scratch: Path) -> Callable[[], None]:
    folder = Path.cwd()

    def enter() -> None:
        os.chroot(scratch / "root")
        os.chdir(folder)

    return enter


def _written(layers: Mapping[str, Path]) -> Iterator[str]:
    for place, upper in layers.items():
        for path in upper.rglob("*"):
            if path.is_file() and not path.is_symlink():
                yield str(Path(place, path.relative_to(upper)))


if __name__ == "__main__":
    _main(sys.argv[1] == "root", Path(sys.argv[2]), sys.argv[3:])
