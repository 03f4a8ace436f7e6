"""A fleet on three nodes of a real Ray cluster on this machine: one is killed, one joins, the configuration changes."""

from __future__ import annotations

import json
import re
import signal
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from itertools import chain
from pathlib import Path
from typing import Any

import pytest

from tests.support.copied_bundle import BUNDLE, copied
from tests.support.ray_cluster import Nodes, ray_nodes
from tests.support.served import announced_in
from tests.support.started import started

pytestmark = pytest.mark.onnxruntime

PROGRAM = [sys.executable, "-c", "from stts_runtime.cli import main; main()", "fleet"]
SECRET = "correct-horse-battery"


class Running:
    def __init__(self, folder: Path, clip: Path, nodes: Nodes) -> None:
        self.folder, self.clip, self.nodes, self.out = folder, clip, nodes, folder / "answers.jsonl"
        self.file, self.bundle = folder / "cameras.yaml", str(BUNDLE)
        self.address = ""

    def write(self, *names: str, **fleet: Any) -> None:
        streams = [{"name": name, "source": f"loop:{self.clip}"} for name in names]
        # One that never comes.
        streams[0]["source"] = f"rtsp://user:${{CAMERA_PASSWORD}}@127.0.0.1:1/{names[0]}"
        bundle = fleet.pop("bundle", self.bundle)
        content = {
            "bundle": bundle,
            "questions": ["Who?"],
            "max_tokens": 2,
            "engine": "cpu",
            "sinks": [str(self.out), str(self.folder / "seen.db")],
            "serve": {"listen": "127.0.0.1:0"},
            "fleet": {"address": self.nodes.address, "bears": 3, "lost_after": "2s", **fleet},
            "streams": streams,
        }
        self.file.write_text(json.dumps(content))

    def get(self, path: str) -> Any:
        with urllib.request.urlopen(f"{self.address}{path}", timeout=10) as reply:
            text = reply.read()
        return text.decode() if path == "/metrics" else json.loads(text)

    def boxes(self) -> dict[str, list[str]]:
        return {one["name"]: one["streams"] for one in self.get("/api/fleet")["boxes"]}

    def bundles(self) -> set[str]:
        """What boxes answer with."""
        return set(re.findall(r'stts_build_info{.*bundle="(\w+)"', self.get("/metrics")))

    def wait(self, there: Callable[[], object], seconds: float = 40) -> None:
        deadline = time.monotonic() + seconds
        while not there():
            assert time.monotonic() < deadline, self.get("/api/fleet")
            time.sleep(0.1)

    def records(self) -> list[dict[str, Any]]:
        return [json.loads(line) for line in self.out.read_text().splitlines()] if self.out.exists() else []

    def numbers(self, stream: str) -> list[int]:
        return [one["number"] for one in self.records() if one["stream"] == stream and "number" in one]

    def wait_for_answers(self, *streams: str) -> None:
        """A new one of each."""
        before = {stream: len(self.numbers(stream)) for stream in streams}
        self.wait(lambda: all(len(self.numbers(stream)) > count for stream, count in before.items()))


@contextmanager
def fleet(running: Running) -> Iterator[subprocess.Popen[str]]:
    log = running.folder / "log"
    with (
        log.open("w+") as said,
        started([*PROGRAM, str(running.file)], stdout=subprocess.PIPE, stderr=said) as process,
    ):
        running.address = announced_in(log, process)
        yield process


def test_no_camera_is_lost_with_a_machine_and_no_promised_record(
    tmp_path: Path, clip: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CAMERA_PASSWORD", SECRET)
    names = [f"c{number}" for number in range(1, 6)]
    with ray_nodes("north", "south") as nodes:
        running = Running(tmp_path, clip, nodes)
        running.write(*names)
        _checked(running)
        with fleet(running) as process:
            _spread(running, names)
            _second_fleet_is_refused(running)
            _killed(running, names)
            _joined(running, names)
            _changed(running, process)
            _crashed(running)
            process.send_signal(signal.SIGTERM)
            out, _ = process.communicate(timeout=30)
        log = (tmp_path / "log").read_text()
        assert (process.returncode, out) == (0, ""), log
        for stream in (*names[1:], "new"):
            numbers = running.numbers(stream)
            assert numbers == list(range(1, len(numbers) + 1)), stream
        assert SECRET not in log
        logs = [one for one in nodes.logs.rglob("*") if one.is_file() and not one.is_symlink()]
        assert len(logs) > 5
        assert not [one for one in logs if SECRET.encode() in one.read_bytes()]


def _checked(running: Running) -> None:
    """What would run where, and nothing runs."""
    done = subprocess.run(
        [*PROGRAM, str(running.file), "--check", "--connect"], capture_output=True, text=True, timeout=60, check=False
    )
    assert done.returncode == 0, done.stderr
    (machines,) = [line for line in done.stdout.splitlines() if line.startswith("machines")]
    assert machines.partition(": ")[0] == "machines  2, with 0 GPUs"
    assert sorted(machines.partition(": ")[2].split(", ")) == ["north", "south"]
    assert not running.out.exists()


def _spread(running: Running, names: list[str]) -> None:
    running.wait(lambda: sum(map(len, running.boxes().values())) == 5)
    assert sorted(map(len, running.boxes().values())) == [2, 3]
    running.wait_for_answers(*names[1:])
    assert [one["box"] is not None for one in running.get("/api/state")["streams"]] == [True] * 5


def _second_fleet_is_refused(running: Running) -> None:
    done = subprocess.run([*PROGRAM, str(running.file)], capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 2
    assert done.stderr.startswith("error: another fleet runs on this cluster, with north, south")
    assert done.stderr.count("\n") == 1


def _killed(running: Running, names: list[str]) -> None:
    """Its cameras go to the other as far as there is room; the last of the file wait."""
    moved = next(iter(set(running.boxes()["north"]) - {names[0]} - set(names[3:])))
    running.nodes.kill("north")
    began = time.monotonic()
    running.wait(lambda: running.boxes() == {"south": names[:3]})
    assert time.monotonic() - began < 10
    assert running.get("/api/fleet")["waiting"] == names[3:]
    running.wait_for_answers(*names[1:3])
    said = [one["reason"] for one in running.records() if one["stream"] == moved and "state" in one]
    assert any(reason.startswith("north is lost: ") for reason in said), said
    waits = [one["reason"] for one in running.records() if one["stream"] == names[4] and "state" in one]
    assert any(reason.endswith("there are 5 streams and room for 3") for reason in waits), waits


def _joined(running: Running, names: list[str]) -> None:
    running.nodes.add("west")
    running.wait(lambda: sorted(map(len, running.boxes().values())) == [2, 3])
    running.wait_for_answers(*names[1:])
    metrics = running.get("/metrics")
    assert "stts_fleet_waiting_streams 0.0" in metrics
    assert "stts_fleet_lost_boxes_total 1.0" in metrics
    for stream in names[1:]:
        assert f'stream="{stream}"' in metrics
        assert running.get(f"/api/search?stream={stream}&limit=1")["records"]


def _changed(running: Running, process: subprocess.Popen[str]) -> None:
    """One more is looked at, and one less, and the others go on; and another bundle answers everywhere."""
    before, running.bundle = running.bundles(), copied(running.folder / "next")
    running.write("c1", "c2", "c3", "c4", "new")
    process.send_signal(signal.SIGHUP)
    running.wait(lambda: sorted(chain(*running.boxes().values())) == ["c1", "c2", "c3", "c4", "new"])
    running.wait(lambda: len(running.bundles()) == 1 and running.bundles().isdisjoint(before))
    assert running.get("/api/state")["bundle"] == "next"
    running.wait_for_answers("new", "c2")
    _refuses(running, process, "fleet cannot be changed while streams run", lost_after="3s")
    _refuses(running, process, "/no/such", bundle="/no/such")


def _refuses(running: Running, process: subprocess.Popen[str], words: str, **change: Any) -> None:
    running.write("c1", "c2", **change)
    process.send_signal(signal.SIGHUP)
    log = running.folder / "log"
    running.wait(lambda: re.search(f"reload refused, .*{words}", log.read_text()))


def _crashed(running: Running) -> None:
    """The process of a box and not its machine: the other takes what it had, as far as there is room."""
    before = set(running.boxes())
    running.nodes.workers("ray::Box")[0].kill()
    running.wait(lambda: len(running.boxes()) == 1)
    (left,) = running.boxes()
    (gone,) = before - {left}
    running.wait(lambda: running.boxes().get(left) == ["c1", "c2", "c3"])
    running.wait_for_answers("c2", "c3")
    assert f"{gone} is lost: its process ended, or its machine" in (running.folder / "log").read_text()
