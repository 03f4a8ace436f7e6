"""What can go wrong with a source, in words for the person on call."""

from __future__ import annotations

import errno
import socket
from typing import TYPE_CHECKING, ClassVar

import av

from stts_runtime.errors import SourceError
from stts_runtime.sources.source import State
from stts_runtime.sources.spec import host_and_port
from stts_runtime.text import redacted

if TYPE_CHECKING:
    import av


class Lost(SourceError):  # noqa: N818 - a state of the world, and mostly no error of ours
    """No connection, or one that ended: trying again may help."""

    state: ClassVar[State] = State.RECONNECTING


class Stalled(Lost):
    """Connected, and nothing comes."""

    state = State.STALLED


class Refused(Lost):
    """Permanent until the configuration or the camera changes."""

    state = State.REFUSED


class Ended(Lost):
    """The other side says that this was all."""


_ANSWERS = {
    "HTTPUnauthorizedError": Refused("the server refused the user name or password (401)"),
    "HTTPForbiddenError": Refused("the server does not let this user in (403)"),
    "HTTPNotFoundError": Refused("the server has nothing under this path (404)"),
    "HTTPBadRequestError": Refused("the server does not understand the request (400)"),
    "HTTPTooManyRequestsError": Lost("the server has too many requests (429)"),
    "HTTPServerError": Lost("the server failed (an answer of 500 or above)"),
    "HTTPOtherClientError": Refused("the server refused the request (an answer of 4xx)"),
    "DecoderNotFoundError": Refused("nothing here decodes the codec of this video"),
    "DemuxerNotFoundError": Refused("FFmpeg was built without this kind of stream"),
    "ProtocolNotFoundError": Refused("FFmpeg was built without this protocol"),
    "EOFError": Ended("the other side ended the stream"),
    "InvalidDataError": Lost("what arrived is not a video that FFmpeg knows"),
}
_SYSTEM = {
    errno.ECONNREFUSED: Lost("nothing listens there (connection refused)"),
    errno.ECONNRESET: Lost("the other side broke the connection"),
    errno.EPIPE: Lost("the other side broke the connection"),
    errno.EHOSTUNREACH: Lost("the host cannot be reached (no route to it)"),
    errno.ENETUNREACH: Lost("the network cannot be reached"),
    errno.ETIMEDOUT: Lost("the host does not answer (connection timed out)"),
    errno.EIO: Lost("the connection failed (input/output error)"),
}


def fault_of(error: av.FFmpegError) -> Lost:
    """FFmpeg's error in plain words, and without the URL that its own text holds."""
    known = _ANSWERS.get(type(error).__name__) or _SYSTEM.get(error.errno or 0)
    # A new one each time: an exception keeps the frames that it passed through.
    return type(known)(*known.args) if known else Lost(f"FFmpeg failed: {error.strerror}")


def check_host(url: str) -> None:
    """Raises `Lost` if the host of `url` does not resolve: FFmpeg calls that an input/output error."""
    host, _ = host_and_port(url)
    try:
        socket.getaddrinfo(host, None)
    except (OSError, UnicodeError):
        # What seems to be the host may be the user, where a / in a password was not written as %2F.
        shown = f"{host} " if host in redacted(url).lower() else ""
        raise Lost(f"the host name {shown}is not known") from None
