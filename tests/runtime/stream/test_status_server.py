"""Health, states and metrics of streams that run: cameras that are dead, engines that hang, rules that are shipped."""

from __future__ import annotations

import json
import re
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any
from urllib.error import HTTPError
from urllib.request import urlopen

import pytest
import yaml

from stts_runtime.engines import cpu
from stts_runtime.service_manager import ServiceManager
from stts_runtime.stream import status_server
from stts_runtime.stream.config import StreamConfig
from stts_runtime.stream.run import run_streams
from stts_runtime.stream.status_server import Health, StatusServer
from tests.support.places import DATA, ROOT
from tests.support.waiting import ended, until

BUNDLE = DATA / "bundle-v7"
DEAD = {"name": "dead", "source": "rtsp://127.0.0.1:9/1"}


def fetched(url: str) -> tuple[int, str]:
    try:
        with urlopen(url, timeout=10) as reply:
            return reply.status, reply.read().decode()
    except HTTPError as error:
        return error.code, error.read().decode()


@contextmanager
def running(folder: Path, *streams: dict[str, str]) -> Iterator[str]:
    """The address."""
    content = {"bundle": BUNDLE, "questions": ["Who?"], "max_tokens": 2, "sinks": [str(folder / "out.jsonl")]}
    config = StreamConfig.model_validate({**content, "streams": streams, "metrics": "127.0.0.1:0"})
    stop, lines = threading.Event(), list[str]()
    thread = threading.Thread(target=run_streams, args=(config, stop, lines.append), name="streams")
    thread.start()
    try:
        until(lambda: any("metrics: " in line for line in lines), said=lines)
        (address,) = [line.split()[1] for line in lines if line.startswith("metrics: ")]
        yield address.removesuffix("/metrics")
    finally:
        stop.set()
        ended(thread)


@pytest.mark.onnxruntime
def test_each_camera_is_told_and_dead_ones_are_no_reason_to_restart(tmp_path: Path, clip: Path) -> None:
    with running(tmp_path, {"name": "gate", "source": f"loop:{clip}"}, DEAD) as address:
        until(lambda: fetched(f"{address}/readyz")[0] == 200)
        until(lambda: '"answers": 2' in fetched(f"{address}/streams")[1])
        state = json.loads(fetched(f"{address}/streams")[1])
        assert state["bundle"] == "e316b5b30995"
        gate, dead = state["streams"]
        assert (gate["name"], gate["state"]) == ("gate", "live")
        assert gate["looked_seconds_ago"] < 5
        assert (dead["state"], dead["looked_seconds_ago"], dead["answers"]) == ("reconnecting", None, 0)
        assert fetched(f"{address}/healthz") == (200, '{"status": "ok"}')
        status, said = fetched(f"{address}/")
        assert (status, said) == (404, "there are /metrics, /healthz, /readyz, /streams\n")
        status, metrics = fetched(f"{address}/metrics")
        assert_known(metrics)
        assert 'stts_reconnections_total{stream="dead"} 0.0' in metrics
        assert float(re.findall(r'stts_frame_lag_seconds{stream="dead"} (\S+)', metrics)[0]) > 0
        assert 'stts_waiting_questions{stream="gate"}' in metrics
        assert re.search(r'stts_build_info{bundle="e316b5b30995",checkpoint="[^"]+",engine="cpu",version="', metrics)
        assert "process_open_fds" in metrics
        assert "_created" not in metrics


def assert_known(metrics: str) -> None:
    """Every metric that the shipped rules name is there, but for a GPU's and a fleet's, which are only where one is."""
    rules = (ROOT / "docs" / "examples" / "stts-alerts.yml").read_text()
    expressions = [rule["expr"] for group in yaml.safe_load(rules)["groups"] for rule in group["rules"]]
    named = {name for expression in expressions for name in re.findall(r"\b(?:stts|process)_\w+", expression)}
    there = set(re.findall(r"^# TYPE (\S+)", metrics, re.MULTILINE))
    assert len(named) > 10
    missing = {name for name in named if name.removesuffix("_bucket") not in there and "_fleet_" not in name}
    assert missing <= {"stts_gpu_memory_used_bytes", "stts_gpu_memory_total_bytes"}


@pytest.mark.onnxruntime
def test_a_watchdog_is_fed_for_dead_cameras_and_not_by_an_engine_that_hangs(
    tmp_path: Path, clip: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    hangs, go_on, whole = threading.Event(), threading.Event(), cpu.CpuFrames.run

    def run(*arguments: Any) -> Any:
        if hangs.is_set():
            go_on.wait(15)
        return whole(*arguments)

    monkeypatch.setattr(cpu.CpuFrames, "run", run)
    monkeypatch.setattr(status_server, "UNRESPONSIVE_SECONDS", 0.5)
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager:
        manager.bind(str(tmp_path / "notify"))
        manager.settimeout(0.05)
        monkeypatch.setenv("NOTIFY_SOCKET", str(tmp_path / "notify"))
        monkeypatch.setenv("WATCHDOG_USEC", "800000")
        heard = list[str]()

        def beats(seconds: float) -> int:
            heard.clear()
            end = time.monotonic() + seconds
            while time.monotonic() < end:
                with suppress(TimeoutError):
                    heard.append(manager.recv(4096).decode())
            return heard.count("WATCHDOG=1")

        with running(tmp_path, DEAD, {"name": "gate", "source": f"loop:{clip}"}) as address:
            until(lambda: fetched(f"{address}/readyz")[0] == 200)
            assert beats(1.0) >= 2
            hangs.set()
            beats(1.0)
            assert beats(1.0) == 0
            status, said = fetched(f"{address}/healthz")
            assert status == 503
            assert "the engines' thread has not come by for" in said
            hangs.clear()
            go_on.set()
            until(lambda: fetched(f"{address}/healthz")[0] == 200)
        assert beats(0.2) >= 0
        assert "STOPPING=1" in heard


def test_before_the_engines_are_there_it_lives_and_is_not_ready() -> None:
    health = Health(ServiceManager({}))
    with StatusServer("127.0.0.1", 0, health.routes) as server:
        address = f"http://127.0.0.1:{server.port}"
        assert fetched(f"{address}/healthz")[0] == 200
        assert fetched(f"{address}/readyz") == (503, '{"status": "loading"}')
        health.ready(list, dict)
        assert fetched(f"{address}/readyz")[0] == 200
        with pytest.raises(HTTPError, match="501"):
            urlopen(address, data=b"x", timeout=5)
