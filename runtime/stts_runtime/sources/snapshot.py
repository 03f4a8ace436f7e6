"""Telling a camera's snapshot address from its stream where FFmpeg fails: at a picture whose length is not given."""

from __future__ import annotations

import base64
import urllib.request
from contextlib import closing
from http.client import HTTPException, HTTPResponse
from urllib.parse import SplitResult, unquote, urlsplit

from stts_runtime import clock
from stts_runtime.sources.faults import Refused

HINT = "give the camera's stream, which is mostly an rtsp:// address (the camera's manual has it)"
_LARGEST_PICTURE, _CHUNK = 1 << 26, 1 << 16
_HEADERS = {"User-Agent": "stts-runtime"}


def one_picture() -> Refused:
    return Refused(f"this is one picture and no stream: {HINT}")


def sends_one_picture(url: str, seconds: float) -> bool:
    """Whether the server sends a picture (`Content-Type: image/...`) and no more, all within `seconds`.

    False also if it does not answer: the caller knows of a fault already, and this one is not needed.
    """
    parts, deadline = urlsplit(url), clock.now() + seconds
    try:
        request = urllib.request.Request(_without_user(parts), headers=_HEADERS)  # noqa: S310
        if user := _authorization(parts):
            # Where a redirection leads they do not go along.
            request.add_unredirected_header("Authorization", user)
        with closing(urllib.request.urlopen(request, timeout=seconds)) as answer:  # noqa: S310 - http(s) alone
            return answer.headers.get_content_maintype() == "image" and _ends(answer, deadline)
    except (OSError, HTTPException, ValueError):
        return False


def _ends(answer: HTTPResponse, deadline: float) -> bool:
    left = _LARGEST_PICTURE
    while left > 0 and clock.now() < deadline:
        if not (chunk := answer.read1(_CHUNK)):
            return True
        left -= len(chunk)
    return False


def _without_user(parts: SplitResult) -> str:
    return parts._replace(netloc=parts.netloc.rpartition("@")[2], fragment="").geturl()


def _authorization(parts: SplitResult) -> str | None:
    if parts.username is None:
        return None
    user = f"{unquote(parts.username)}:{unquote(parts.password or '')}"
    return "Basic " + base64.b64encode(user.encode()).decode()
