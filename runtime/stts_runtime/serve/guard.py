"""What stands before every route: who may ask, from where, how much, and what a browser may do with the answer.

Pure ASGI, so that streamed answers pass through as they come. It knows no route but the public ones.
"""

from __future__ import annotations

import asyncio
import hmac
import ipaddress
import re
import secrets
from urllib.parse import urlsplit

from fastapi import HTTPException
from prometheus_client import Counter
from starlette.datastructures import Headers, MutableHeaders
from starlette.responses import RedirectResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from stts_runtime import clock
from stts_runtime.errors import UserError
from stts_runtime.serve.api_errors import ApiError, error_response
from stts_runtime.serve.forwarded import Outside, from_outside
from stts_runtime.serve.page_files import PAGE_FILES
from stts_runtime.serve.settings import ServerSettings
from stts_runtime.tell import Tell, tell_event
from stts_runtime.text import shortened

UPLOADS = "/v1/files"
PUBLIC = frozenset({*PAGE_FILES, "/healthz", "/readyz"})
"""The page itself holds nothing; what it shows it asks for, with the token that was typed into it."""

_SAFE_METHODS = ("GET", "HEAD", "OPTIONS")
_LONGEST_ADDRESS = 64
_REQUEST_ID = "x-request-id"
_ID = re.compile(r"[A-Za-z0-9._:-]{1,64}", re.ASCII)
BODY_SECONDS = 120.0
"""For the body of a request: 64 MB over 5 Mbit/s."""
_FORM_BYTES = 10_000
"""Around a file in a form."""
_HEADERS = {
    "Content-Security-Policy": (
        "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' blob: data:; media-src blob:; "
        "connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    ),
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Resource-Policy": "same-origin",
}


class Guard:
    """Middleware: checks a request before the application sees it, and counts and logs what became of it."""

    def __init__(
        self, app: ASGIApp, settings: ServerSettings, token: str | None, requests: Counter, tell: Tell
    ) -> None:
        """`requests` has the labels route and status."""
        self._app, self._limits = app, settings.limits
        self._base, self._trusted = settings.base_path, settings.trust_proxy
        self._token = None if token is None else token.encode()
        # A page of another site has no token. Where none is needed it must neither write here nor, by a name of its
        # own for this address, read.
        self._hosts_checked = token is None and is_loopback(settings.listen.address)
        self._requests, self._log = requests, tell if settings.access_log else None
        self._open = 0

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        scope = self._below_base(scope)
        is_upload = scope["path"] == UPLOADS
        most_bytes = self._limits.upload_bytes + _FORM_BYTES if is_upload else self._limits.body_bytes
        request = _Watched(scope, receive, send, most_bytes)
        outside = from_outside(scope, self._trusted)
        began = clock.now()
        self._open += 1
        try:
            await self._let_in(request, outside)
        finally:
            self._open -= 1
            self._count(request, outside, clock.now() - began)

    def _below_base(self, scope: Scope) -> Scope:
        """A proxy may have left the base path in front, or not."""
        path = scope["path"]
        if not self._base or not path.startswith(f"{self._base}/"):
            return scope
        return {**scope, "path": path[len(self._base) :]}

    async def _let_in(self, request: _Watched, outside: Outside) -> None:
        if self._base and request.scope["path"] == self._base:
            await RedirectResponse(f"{self._base}/", 308)(request.scope, request.receive, request.send)
            return
        try:
            self._check(request.scope, outside)
        except ApiError as error:
            await error_response(error)(request.scope, request.receive, request.send)
            return
        try:
            await self._app(request.scope, request.receive, request.send)
        except _UnreadBodyError as error:
            if not request.status:
                refused = ApiError(error.status_code, error.detail)
                await error_response(refused)(request.scope, request.receive, request.send)

    def _check(self, scope: Scope, outside: Outside) -> None:
        headers = Headers(scope=scope)
        if self._open > self._limits.open_requests:
            raise ApiError(503, f"{self._limits.open_requests} requests are open, and no more may be", retry=1)
        self._check_place(scope["method"], headers, outside)
        if self._token is not None and scope["path"] not in PUBLIC:
            kind, _, shown = headers.get("authorization", "").partition(" ")
            if kind.lower() != "bearer" or not hmac.compare_digest(shown.strip().encode(), self._token):
                raise ApiError(
                    401, "the token is missing or wrong: Authorization: Bearer TOKEN", code="invalid_api_key"
                )

    def _check_place(self, method: str, headers: Headers, outside: Outside) -> None:
        if self._hosts_checked:
            # Both names: a proxy may pass on whatever X-Forwarded-Host its client wrote.
            if not all(is_loopback(_host_of(host)) for host in (outside.host, headers.get("host", ""))):
                raise ApiError(403, "this server answers to localhost alone; with a token it answers to every name")
            if not outside.is_whole or not _is_this_machine(outside.client):
                raise ApiError(403, "this server has no token, so it answers this machine alone, also behind a proxy")
        if method not in _SAFE_METHODS and not self._may_write(headers, outside):
            raise ApiError(403, "a page of another site may not write here")

    def _may_write(self, headers: Headers, outside: Outside) -> bool:
        """Browsers say so themselves where they trust the page's address; else its host has to be ours, or the token
        tells, which a proxy may add to whatever its users' browsers send.
        """
        if site := headers.get("sec-fetch-site"):
            return site in ("same-origin", "none")
        origin = headers.get("origin")
        return self._token is not None or origin is None or origin.partition("://")[2] == outside.host

    def _count(self, request: _Watched, outside: Outside, seconds: float) -> None:
        scope, status = request.scope, request.status or 499
        route = getattr(scope.get("route"), "path", "other")
        self._requests.labels(route, str(status)).inc()
        if self._log is not None:
            # Without the query, which may hold anything.
            client = shortened(outside.client, _LONGEST_ADDRESS) or "-"
            method, path, spent = scope["method"], scope["path"], round(seconds * 1000)
            text = f"{client} {method} {path} {status} {spent} ms, request {request.id}"
            known = {"client": client, "method": method, "path": path, "status": status, "milliseconds": spent}
            tell_event(self._log, "info", text, request_id=request.id, **known)


class _UnreadBodyError(HTTPException):
    """A body that is not waited for: of FastAPI's kind, since it makes a status 400 of any other while it reads."""


class _Watched:
    """A request whose body is counted as it comes, and whose answer gets the headers that all answers have."""

    def __init__(self, scope: Scope, receive: Receive, send: Send, most_bytes: int) -> None:
        self.scope, self._receive, self._send = scope, receive, send
        self.most_bytes, self._bytes = most_bytes, 0
        self.id = _request_id(scope)
        self.status = 0
        """0 until the answer begins."""
        self._is_whole = False
        self._deadline = clock.now() + BODY_SECONDS

    async def receive(self) -> Message:
        declared = Headers(scope=self.scope).get("content-length", "0")
        if declared.isdecimal() and int(declared) > self.most_bytes:
            raise self._too_large()
        # Once the body is here, what is still waited for is that the client goes away.
        left = None if self._is_whole else max(self._deadline - clock.now(), 0)
        try:
            message = await asyncio.wait_for(self._receive(), left)
        except asyncio.TimeoutError:
            slow = f"a request should be here within {BODY_SECONDS:.0f} s; send less, or faster"
            raise _UnreadBodyError(408, slow) from None
        self._is_whole = not message.get("more_body", False)
        self._bytes += len(message.get("body", b""))
        if self._bytes > self.most_bytes:
            raise self._too_large()
        return message

    def _too_large(self) -> _UnreadBodyError:
        return _UnreadBodyError(413, f"a request may have {self.most_bytes:,} bytes; larger clips go to {UPLOADS}")

    async def send(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            self.status = message["status"]
            headers = MutableHeaders(raw=message.setdefault("headers", []))
            for name, value in _HEADERS.items():
                headers[name] = value
            headers.setdefault("Cache-Control", "no-store")
            headers[_REQUEST_ID] = self.id
        await self._send(message)


def _request_id(scope: Scope) -> str:
    """What the client or a proxy calls this request, if it can stand in a line; else a new one."""
    given = Headers(scope=scope).get(_REQUEST_ID, "")
    return given if _ID.fullmatch(given) else secrets.token_hex(8)


def _host_of(header: str) -> str:
    """Without the port: `localhost:8080`, `[::1]:8080`; empty for what is none."""
    try:
        return urlsplit(f"//{header}").hostname or ""
    except ValueError:
        return ""


def _is_this_machine(address: str) -> bool:
    """Empty where nobody knows it, as behind a socket of this machine's own."""
    try:
        return not address or ipaddress.ip_address(address).is_loopback
    except ValueError:
        return False


_LOOPBACK_NAMES = ("localhost", "localhost.localdomain")


def required_token(settings: ServerSettings) -> str | None:
    """What requests must show. Raises `UserError` if it cannot be read, or if the address needs one and has none."""
    if settings.token is not None:
        return _checked(settings.token.read())
    if not is_loopback(settings.listen.address) and not settings.insecure:
        raise UserError(
            f"{settings.listen.address} can be reached from other machines, so requests need a token: --token-file "
            "FILE, or STTS_TOKEN in the environment; or --insecure to let everybody in"
        )
    return None


def _checked(token: str) -> str:
    """Raises `UserError` for one that is guessed too soon or cannot stand in a header; the text never holds it."""
    if len(token) < 16 or not token.isascii() or not token.isprintable() or " " in token:
        raise UserError("the token should be 16 or more ASCII characters without spaces: openssl rand -hex 24")
    return token


def is_loopback(host: str) -> bool:
    """Whether `host`, a name or an address, is this machine and nothing else."""
    try:
        return ipaddress.ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return host.lower() in _LOOPBACK_NAMES
