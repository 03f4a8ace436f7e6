"""What is said of a Ray that is missing, too old or away. None of it needs Ray."""

from __future__ import annotations

import os
import socket
import sys
from pathlib import Path

import pytest

from stts_runtime.errors import UserError
from stts_runtime.fleet.cluster import connected
from stts_runtime.fleet.config import FleetSettings


def refused(address: str = "auto") -> str:
    with pytest.raises(UserError) as caught, connected(FleetSettings(address=address), on_gpus=False):
        raise AssertionError("it is connected")
    return str(caught.value)


@pytest.fixture
def fake_ray(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A Ray that is new enough, and never asked."""
    for module in ("ray", "ray.exceptions", "ray.util.scheduling_strategies", "ray._private.worker"):
        folder = tmp_path.joinpath(*module.split("."))
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "__init__.py").write_text('__version__ = "2.60.0"\n')
        monkeypatch.delitem(sys.modules, module, raising=False)
    monkeypatch.delitem(sys.modules, "ray.util", raising=False)
    monkeypatch.syspath_prepend(tmp_path)


def test_ray_that_is_not_there_is_a_sentence(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "ray", None)
    assert refused() == "ray is not installed, and a fleet needs it: pip install 'stts-export[fleet]'"


def test_ray_that_is_too_old_is_a_sentence(fake_ray: None, tmp_path: Path) -> None:
    (tmp_path / "ray" / "__init__.py").write_text('__version__ = "2.9.3"\n')
    assert refused().startswith("ray 2.9.3 is too old, a fleet needs 2.50 or newer: pip install")


def test_a_cluster_that_does_not_answer_is_a_sentence(fake_ray: None) -> None:
    with socket.socket() as held:
        held.bind(("127.0.0.1", 0))
        address = f"127.0.0.1:{held.getsockname()[1]}"
        said = refused(address)
    assert said.startswith(f"no Ray cluster answers at {address} (Connection refused): start its head with `ray start")


@pytest.mark.parametrize(
    ("address", "words"),
    [
        ("ray://h:10001", "is for Ray's clients"),
        ("192.0.2.7", "should be auto, local or HOST:PORT"),
        ("192.0.2.7:0", "should be auto, local or HOST:PORT"),
    ],
)
def test_an_address_that_is_none_is_a_sentence(fake_ray: None, address: str, words: str) -> None:
    assert words in refused(address)


def test_ray_tells_nobody_how_it_is_used(fake_ray: None, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("RAY_USAGE_STATS_ENABLED", raising=False)
    refused("192.0.2.7")
    assert os.environ["RAY_USAGE_STATS_ENABLED"] == "0"
