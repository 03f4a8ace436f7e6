"""Streams of the server change while it runs: by SIGHUP, and by a request that shows the token."""

from __future__ import annotations

import json
import shutil
import signal
import time
from http.client import HTTPResponse
from pathlib import Path
from typing import Any
from urllib.error import HTTPError
from urllib.request import Request, urlopen

import pytest

from tests.support.places import DATA
from tests.support.served import served

pytestmark = pytest.mark.onnxruntime

TOKEN = "a-token-of-the-tests"


def asked(url: str, method: str = "GET", token: str = TOKEN) -> tuple[int, dict[str, Any]]:
    request = Request(url, method=method, headers={"Authorization": f"Bearer {token}"})
    try:
        with urlopen(request, timeout=20) as reply:
            return reply.status, json.load(reply)
    except HTTPError as error:
        return error.code, json.load(error)


def follow(address: str) -> HTTPResponse:
    events: HTTPResponse = urlopen(
        Request(f"{address}/api/events", headers={"Authorization": f"Bearer {TOKEN}"}), timeout=20
    )
    return events


def names(address: str) -> list[str]:
    return sorted(one["name"] for one in asked(f"{address}/api/state")[1]["streams"])


def models(address: str) -> list[str]:
    return [one["id"] for one in asked(f"{address}/v1/models")[1]["data"] if one["id"].startswith("stream/")]


def test_streams_come_and_go(tmp_path: Path, clip: Path) -> None:
    path, other = tmp_path / "cameras.yaml", tmp_path / "other"
    shutil.copytree(DATA / "bundle-v7", other)
    manifest = json.loads((other / "manifest.json").read_text())
    (other / "manifest.json").write_text(json.dumps({**manifest, "created": "again"}))

    def write(*streams: str, **settings: Any) -> None:
        content = {"bundle": str(DATA / "bundle-v7"), "max_tokens": 2, **settings}
        path.write_text(
            json.dumps({**content, "streams": [{"name": one, "source": f"loop:{clip}"} for one in streams]})
        )

    write("one", "two")
    with served("--config", path, environment={"STTS_TOKEN": TOKEN}) as server:
        reload = f"{server.address}/api/reload"
        assert asked(reload, "POST", token="")[0] == 401
        write("one", "new")
        assert asked(reload, "POST") == (200, {"status": "ok", "streams": "1 added, 1 removed, 1 as before"})
        until(lambda: names(server.address) == ["new", "one"])
        assert sorted(models(server.address)) == ["stream/new", "stream/one"]
        until(lambda: asked(f"{server.address}/api/state")[1]["streams"][-1]["looks"])
        with follow(server.address) as events:
            write("one", "new", site="north")
            assert asked(reload, "POST") == (200, {"status": "ok", "streams": "2 asked anew"})
            assert [one["group"] for one in asked(f"{server.address}/api/state")[1]["streams"]] == ["north", "north"]
            assert events.read(), "to its end: pages read the state anew"
        for settings, said in (
            ({"keep": 3}, "keep should be at most 1"),
            ({"bundle": str(other)}, "cannot be changed here"),
        ):
            write("one", **settings)
            status, answer = asked(reload, "POST")
            assert status == 400
            assert "reload refused, everything goes on as before: " in answer["error"]["message"]
            assert said in answer["error"]["message"]
            assert names(server.address) == ["new", "one"]
        write("one")
        server.process.send_signal(signal.SIGHUP)
        until(lambda: names(server.address) == ["one"])
        server.stop()


def until(there: Any, seconds: float = 15) -> None:
    deadline = time.monotonic() + seconds
    while not there():
        assert time.monotonic() < deadline
        time.sleep(0.05)


@pytest.mark.slow
def test_without_a_file_there_is_nothing_to_read_again() -> None:
    with served(DATA / "bundle-v7") as server:
        status, answer = asked(f"{server.address}/api/reload", "POST")
        assert status == 409
        assert "--config" in answer["error"]["message"]
