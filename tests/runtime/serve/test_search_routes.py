"""`GET /api/search`, over an archive that is being written."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from fastapi import FastAPI
from fastapi.testclient import TestClient

from stts_runtime.archive.writer import ArchiveWriter, Room
from stts_runtime.serve.api_errors import handle_errors
from stts_runtime.serve.search_routes import search_routes
from stts_runtime.serve.settings import ServeConfig
from tests.support.archived import entry_of


@pytest.fixture
def archive(tmp_path: Path) -> Iterator[ArchiveWriter]:
    writer = ArchiveWriter(tmp_path / "seen.db", Room(36_500, 10**8), print)
    writer.add([entry_of("A white van stops", 1), entry_of("A red van", 2, "yard"), entry_of("nobody", 3)])
    yield writer
    writer.close()


def client(*archives: Path) -> TestClient:
    app = FastAPI()
    handle_errors(app, print)
    app.include_router(search_routes(archives))
    return TestClient(app)


def answers(reply: Any) -> list[str]:
    assert reply.status_code == 200, reply.text
    return [one["record"]["answer"] for one in reply.json()["records"]]


def test_it_finds_what_was_written_just_now(archive: ArchiveWriter, tmp_path: Path) -> None:
    api = client(tmp_path / "seen.db")
    assert answers(api.get("/api/search?q=van -white")) == ["A red van"]
    archive.add([entry_of("A blue van", 4)])
    first = api.get("/api/search", params={"q": "van", "limit": 2})
    assert answers(first) == ["A blue van", "A red van"]
    assert first.json()["more"]
    assert first.json()["streams"] == ["gate", "yard"]
    before = first.json()["records"][-1]["number"]
    assert answers(api.get("/api/search", params={"q": "van", "before": before})) == ["A white van stops"]
    assert answers(api.get("/api/search?stream=yard&since=2026-09-21T00:00Z&until=now")) == ["A red van"]


@pytest.mark.parametrize(
    ("query", "message"),
    [
        ("since=soon", "since 'soon' is not a time; it should be today"),
        ("q=%3F%21", "there is no word to search for"),
        ("stream=gote", "no record of a stream gote; there are gate, yard"),
        ("limit=0", "limit should be at least 1"),
        ("limit=501", "limit should be at most 500"),
    ],
)
def test_mistakes_are_said(archive: ArchiveWriter, tmp_path: Path, query: str, message: str) -> None:
    reply = client(tmp_path / "seen.db").get(f"/api/search?{query}")
    assert reply.status_code == 400
    assert message in reply.json()["error"]["message"]


def test_nothing_to_search_and_what_cannot_be_read_are_told_apart(tmp_path: Path) -> None:
    none = client().get("/api/search?q=van")
    assert (none.status_code, "keeps no records" in none.text) == (404, True)
    (tmp_path / "seen.db").write_text("no database")
    broken = client(tmp_path / "seen.db").get("/api/search?q=van")
    assert (broken.status_code, "is damaged, or no archive" in broken.text) == (503, True)


def test_a_server_searches_what_it_writes_or_what_it_is_told() -> None:
    streams: Any = {"streams": [{"name": "a", "source": "x", "sinks": ["seen.db", "a.jsonl"]}]}
    assert ServeConfig.model_validate({"bundle": "b", **streams}).archives == (Path("seen.db"),)
    told = ServeConfig.model_validate({"bundle": "b", **streams, "serve": {"search": "other.db"}})
    assert told.archives == (Path("other.db"),)
