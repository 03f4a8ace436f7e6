"""What systemd hears over its socket."""

from __future__ import annotations

import os
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from stts_runtime import clock
from stts_runtime.service_manager import ServiceManager


@pytest.fixture
def heard(tmp_path: Path) -> Iterator[socket.socket]:
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as receiver:
        receiver.bind(str(tmp_path / "notify"))
        receiver.settimeout(0.2)
        yield receiver


def said(heard: socket.socket) -> list[str]:
    found = []
    try:
        while True:
            found.append(heard.recv(4096).decode())
    except TimeoutError:
        return found


def test_it_says_ready_reloading_and_stopping(heard: socket.socket) -> None:
    manager = ServiceManager({"NOTIFY_SOCKET": heard.getsockname()})
    manager.ready("3 streams")
    manager.reloading()
    manager.ready()
    manager.beat()
    manager.stopping()
    ready, reloading, *rest = said(heard)
    assert ready == "READY=1\nSTATUS=3 streams"
    assert reloading.startswith("RELOADING=1\nMONOTONIC_USEC=")
    assert rest == ["READY=1", "STOPPING=1"], "without WATCHDOG_USEC no watchdog is fed"


def test_an_abstract_address_is_one() -> None:
    name = f"stts-test-{os.getpid()}"
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as receiver:
        receiver.bind(f"\0{name}")
        receiver.settimeout(0.2)
        ServiceManager({"NOTIFY_SOCKET": f"@{name}"}).ready()
        assert said(receiver) == ["READY=1"]


def test_the_watchdog_is_fed_four_times_in_its_time_however_often_it_beats(
    heard: socket.socket, monkeypatch: pytest.MonkeyPatch
) -> None:
    now = [1000.0]
    monkeypatch.setattr(clock, "now", lambda: now[0])
    manager = ServiceManager({"NOTIFY_SOCKET": heard.getsockname(), "WATCHDOG_USEC": "20000000"})
    for _ in range(100):
        now[0] += 0.2
        manager.beat()
    assert said(heard) == ["WATCHDOG=1"] * 4
    assert manager.last_beat == now[0]


def test_anothers_watchdog_is_not_fed_and_nobody_is_needed(heard: socket.socket, tmp_path: Path) -> None:
    environment = {"NOTIFY_SOCKET": heard.getsockname(), "WATCHDOG_USEC": "1000000", "WATCHDOG_PID": "1"}
    ServiceManager(environment).beat()
    assert said(heard) == []
    ServiceManager({}).ready()
    ServiceManager({"NOTIFY_SOCKET": str(tmp_path / "gone")}).ready()
