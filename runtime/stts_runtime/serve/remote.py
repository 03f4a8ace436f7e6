"""Clips and pictures from addresses that a request names, where the operator allows that.

Whoever asks must not reach through us what only we can reach: the address that was really connected to has to be a
public one, whatever name led there, and redirections are not followed.
"""

from __future__ import annotations

import http.client
import ipaddress
from urllib.parse import urlsplit

from stts_runtime import clock
from stts_runtime.serve.api_errors import ApiError
from stts_runtime.serve.media import too_large
from stts_runtime.serve.settings import Limits

_CONNECT_SECONDS = 5.0
_WHOLE_SECONDS = 30.0
_CHUNK = 1 << 16


def fetched(url: str, limits: Limits, param: str) -> bytes:
    """The content behind an http(s) URL. Blocks. The URL is in no message: it may hold a token."""
    connection, path = _connection(url, param)
    try:
        connection.connect()
        _check_public(connection)
        connection.request("GET", path, headers={"User-Agent": "stts-runtime", "Accept": "image/*, video/*"})
        response = connection.getresponse()
        if response.status != 200:
            raise ApiError(400, f"the address answered {response.status}, and 200 was expected", param)
        return _whole(response, limits, param)
    except (OSError, http.client.HTTPException):
        raise ApiError(400, "the address could not be reached, or broke off", param) from None
    finally:
        connection.close()


def _connection(url: str, param: str) -> tuple[http.client.HTTPConnection, str]:
    try:
        parts = urlsplit(url)
        host, port = parts.hostname, parts.port
    except ValueError:
        host, port = None, None
    if not host or parts.scheme not in ("http", "https") or parts.username is not None:
        raise ApiError(400, "an address should be http(s)://HOST/PATH, without user and password", param)
    kind = http.client.HTTPSConnection if parts.scheme == "https" else http.client.HTTPConnection
    return kind(host, port, timeout=_CONNECT_SECONDS), (parts.path or "/") + (f"?{parts.query}" if parts.query else "")


def _check_public(connection: http.client.HTTPConnection) -> None:
    """The same words as for an address that does not answer: who asks learns nothing about our network."""
    address = ipaddress.ip_address(connection.sock.getpeername()[0].partition("%")[0])
    if isinstance(address, ipaddress.IPv6Address) and address.ipv4_mapped is not None:
        address = address.ipv4_mapped
    if not address.is_global or address.is_multicast:
        raise ConnectionRefusedError


def _whole(response: http.client.HTTPResponse, limits: Limits, param: str) -> bytes:
    content, deadline = bytearray(), clock.now() + _WHOLE_SECONDS
    while chunk := response.read1(_CHUNK):
        content += chunk
        if len(content) > limits.upload_bytes:
            raise too_large(limits)
        if clock.now() > deadline:
            raise ApiError(400, f"the address took longer than {_WHOLE_SECONDS:.0f} s", param)
    return bytes(content)
