"""A stand-in for the Hugging Face hub on loopback: as much of its HTTP API as downloading a model asks for.

Written from the API as the hub documents it and as huggingface_hub's client asks: what a revision holds under
/api/models, files under /resolve with their hash and commit in headers, large ones behind a redirect to storage.
"""

from __future__ import annotations

import hashlib
import json
import re
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import unquote

import pytest

COMMIT = "0123456789abcdef0123456789abcdef01234567"
TOKEN = "hf_" + "Secret" * 5
_STORAGE = r"/storage/([^/]+--[^/]+)/(.+)"
_API = r"/api/models/([^/]+/[^/]+?)(?:/revision/([^/?]+))?(?:\?.*)?"
_RESOLVE = r"/([^/]+/[^/]+)/resolve/([^/]+)/(.+)"
_LARGE = (".safetensors", ".bin", ".pt", ".distcp")


@dataclass
class Asked:
    method: str
    path: str
    agent: str
    authorization: str | None


@dataclass
class HubModel:
    """A model on the hub; files are as they are in `folder` when they are asked for."""

    folder: Path
    private: bool = False
    gated: bool = False
    revisions: tuple[str, ...] = ("main", COMMIT)

    @property
    def files(self) -> list[str]:
        return sorted(str(path.relative_to(self.folder)) for path in self.folder.rglob("*") if path.is_file())


@dataclass
class HubStandIn:
    address: str
    models: dict[str, HubModel] = field(default_factory=dict)
    asked: list[Asked] = field(default_factory=list)
    status: int | None = None
    """Answer everything with it."""
    answer: bytes | None = None
    """Answer everything with it, as a portal does that wants somebody to sign in."""
    silent_seconds: float = 0
    """Say nothing for so long."""
    cut: bool = False
    """Close the connection in the middle of large files."""

    def refusal(self, asked: re.Match[str] | None, token: str | None, wants_file: bool) -> tuple[int, str, str] | None:
        """Status, code and message; None for what may be had."""
        model = self.models.get(asked[1]) if asked else None
        if token not in (None, f"Bearer {TOKEN}"):
            return 401, "", "Invalid credentials in Authorization header"
        if asked is None or model is None or (model.private and token is None):
            # Who has not signed in is not told what there is.
            return 404 if token else 401, "RepoNotFound", "Repository not found"
        if unquote(asked[2] or "main") not in model.revisions:
            return 404, "RevisionNotFound", "Invalid rev id"
        if model.gated and wants_file:
            return 403 if token else 401, "GatedRepo", "Access to this model is restricted"
        if wants_file and unquote(asked[3]) not in model.files:
            return 404, "EntryNotFound", "Entry not found"
        return None

    def got(self) -> list[str]:
        """Names of the files that were downloaded, in order."""
        fetched = (re.search(r"/(?:resolve|storage)/[^/]+/(.+)", one.path) for one in self.asked if one.method == "GET")
        return [unquote(found[1]) for found in fetched if found]


@contextmanager
def hub_stand_in() -> Iterator[HubStandIn]:
    with ThreadingHTTPServer(("127.0.0.1", 0), _Handler) as server:
        server.daemon_threads = True
        hub = HubStandIn(f"http://127.0.0.1:{server.server_address[1]}")
        server.hub = hub  # type: ignore[attr-defined]
        thread = threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True)
        thread.start()
        try:
            yield hub
        finally:
            server.shutdown()
            thread.join()


def use_hub(hub: HubStandIn, home: Path, patch: pytest.MonkeyPatch) -> None:
    """Has huggingface_hub in this process ask `hub`, with nothing in its cache and no token."""
    from huggingface_hub import constants

    for name in ("HF_TOKEN", "HUGGING_FACE_HUB_TOKEN"):
        patch.delenv(name, raising=False)
    patch.setattr(constants, "ENDPOINT", hub.address)
    patch.setattr(constants, "HUGGINGFACE_CO_URL_TEMPLATE", hub.address + "/{repo_id}/resolve/{revision}/{filename}")
    patch.setattr(constants, "HF_HUB_CACHE", str(home / "hub"))
    patch.setattr(constants, "HF_TOKEN_PATH", str(home / "token"))
    patch.setattr(constants, "HF_HUB_OFFLINE", False)


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def log_message(self, *_: object) -> None:
        """Nothing is said."""

    def do_GET(self) -> None:
        self._handle()

    def do_HEAD(self) -> None:
        self._handle()

    @property
    def _hub(self) -> HubStandIn:
        hub: HubStandIn = self.server.hub  # type: ignore[attr-defined]
        return hub

    def _handle(self) -> None:
        hub, token = self._hub, self.headers.get("authorization")
        time.sleep(hub.silent_seconds)
        hub.asked.append(Asked(self.command, self.path, self.headers.get("user-agent", ""), token))
        stored, listed, file = (re.fullmatch(form, self.path) for form in (_STORAGE, _API, _RESOLVE))
        if hub.status is not None or hub.answer is not None:
            self._reply(hub.status or 200, hub.answer or b"")
        elif stored:
            self._content(hub.models[stored[1].replace("--", "/")], unquote(stored[2]))
        elif refusal := hub.refusal(listed or file, token, wants_file=file is not None):
            status, code, message = refusal
            self._reply(status, b"{}", {"X-Error-Code": code, "X-Error-Message": message})
        elif listed:
            names = [{"rfilename": one} for one in hub.models[listed[1]].files]
            self._reply(200, json.dumps({"id": listed[1], "sha": COMMIT, "siblings": names}).encode())
        elif file:
            self._resolve(file[1], hub.models[file[1]], unquote(file[3]))

    def _resolve(self, name: str, model: HubModel, file: str) -> None:
        if file.endswith(_LARGE):
            content = (model.folder / file).read_bytes()
            headers = {"X-Linked-Etag": f'"{_hash(content)}"', "X-Linked-Size": str(len(content))}
            place = f"{self._hub.address}/storage/{name.replace('/', '--')}/{file}"
            self._reply(302, b"", {**headers, "X-Repo-Commit": COMMIT, "Location": place})
        else:
            self._content(model, file)

    def _content(self, model: HubModel, file: str) -> None:
        content = (model.folder / file).read_bytes()
        headers = {"X-Repo-Commit": COMMIT, "ETag": f'"{_hash(content)}"'}
        if self._hub.cut and self.command == "GET" and file.endswith(_LARGE):
            self._reply(200, content, headers, sent=len(content) // 2)
            self.close_connection = True
        else:
            self._reply(200, content, headers)

    def _reply(self, status: int, body: bytes, headers: dict[str, str] | None = None, sent: int | None = None) -> None:
        self.send_response(status)
        for name, value in (headers or {}).items():
            if value:
                self.send_header(name, value)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if self.command != "HEAD":
            # Who asked may have gone.
            with suppress(ConnectionError):
                self.wfile.write(body[:sent])


def _hash(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()
