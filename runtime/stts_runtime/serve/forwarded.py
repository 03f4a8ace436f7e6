"""A request as it was before a proxy: `X-Forwarded-For` and `-Host` of proxies that are trusted.

From any other address these headers are what a client likes to claim, and are not read.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Sequence
from dataclasses import dataclass

from starlette.datastructures import Headers
from starlette.types import Scope

Network = ipaddress.IPv4Network | ipaddress.IPv6Network

_OF_PROXIES = ("x-forwarded-for", "x-forwarded-host", "x-forwarded-proto", "x-real-ip", "forwarded", "via")


@dataclass(frozen=True)
class Outside:
    """A request as its client sent it."""

    client: str
    """Its address; empty if it is not known."""
    host: str
    """With the port, as browsers write it."""
    is_whole: bool = True
    """False where a proxy says that it passed the request on, in headers that are not believed or not read."""


def from_outside(scope: Scope, trusted: Sequence[Network]) -> Outside:
    headers = Headers(scope=scope)
    peer = (scope.get("client") or ("", 0))[0]
    host = headers.get("host", "")
    if not _is_trusted(peer, trusted):
        return Outside(peer, host, not any(name in headers for name in _OF_PROXIES))
    # Proxies append: the last entry is what the nearest one saw, and those before it may be made up.
    client = peer
    for step in reversed(_entries(headers, "x-forwarded-for")):
        client = _without_port(step) or step
        if not _is_trusted(client, trusted):
            break
    hosts = _entries(headers, "x-forwarded-host")
    return Outside(client, hosts[-1] if hosts else host, "x-forwarded-for" in headers or "forwarded" not in headers)


def _entries(headers: Headers, name: str) -> list[str]:
    return [entry for line in headers.getlist(name) for entry in map(str.strip, line.split(",")) if entry]


def _without_port(step: str) -> str:
    """`192.0.2.1:5123` and `[2001:db8::1]:5123` are written too."""
    if step.startswith("["):
        return step[1:].partition("]")[0]
    return step.partition(":")[0] if step.count(":") == 1 else step


def _is_trusted(address: str, trusted: Sequence[Network]) -> bool:
    try:
        parsed = ipaddress.ip_address(address)
    except ValueError:
        return False
    if isinstance(parsed, ipaddress.IPv6Address) and parsed.ipv4_mapped is not None:
        parsed = parsed.ipv4_mapped
    return any(parsed in network for network in trusted)
