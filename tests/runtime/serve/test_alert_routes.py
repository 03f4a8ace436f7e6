"""Pictures and clips of alarms over HTTP: whole or in ranges, and no other file, whatever path is asked for."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from fastapi import FastAPI
from fastapi.testclient import TestClient

from stts_runtime.serve.alert_routes import alert_routes
from stts_runtime.serve.api_errors import handle_errors
from stts_runtime.stream.alert_files import AlertFiles
from stts_runtime.stream.alert_store import AlertStore


@pytest.fixture
def client(tmp_path: Path) -> Iterator[TestClient]:
    store = AlertStore(AlertFiles(folder=tmp_path / "alerts"), lambda _: None)
    store.write("gate", "a.jpg", b"picture")
    store.write("gate", "a.mp4", b"0123456789")
    (tmp_path / "alerts" / "gate" / "theirs.jpg").write_bytes(b"secret")
    (tmp_path / "secret.jpg").write_bytes(b"secret")
    app = FastAPI(redirect_slashes=False)
    handle_errors(app, lambda _: None)
    app.include_router(alert_routes(store.find))
    with TestClient(app) as one:
        yield one


def test_a_file_comes_whole_with_its_kind_or_in_parts(client: TestClient) -> None:
    picture = client.get("/api/alerts/gate/a.jpg")
    assert (picture.status_code, picture.content, picture.headers["Content-Type"]) == (200, b"picture", "image/jpeg")
    part = client.get("/api/alerts/gate/a.mp4", headers={"Range": "bytes=3-5"})
    assert (part.status_code, part.content, part.headers["Content-Type"]) == (206, b"345", "video/mp4")


@pytest.mark.parametrize(
    ("path", "status"),
    [
        ("gate/theirs.jpg", 404),
        ("gate/gone.jpg", 404),
        ("yard/a.jpg", 404),
        ("gate/..%2F..%2Fsecret.jpg", 404),
        ("gate%2F..%2F..%2Fsecret.jpg", 404),
        ("%2E%2E/secret.jpg", 400),
        ("..%5C/secret.jpg", 400),
        ("gate/.written.jsonl", 400),
        ("gate/a.jpg%00.mp4", 400),
        ("gate/", 404),
    ],
)
def test_nothing_else_is_handed_out(client: TestClient, path: str, status: int) -> None:
    answer = client.get(f"/api/alerts/{path}")
    assert answer.status_code == status
    assert b"secret" not in answer.content.replace(b"secret.jpg", b"")
