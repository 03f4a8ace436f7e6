"""What clients send to be looked at: pictures and clips, known by their first bytes and never by their names.

FFmpeg opens whatever it recognises, playlists that name other files and addresses included. So nothing reaches it but
containers that hold their own frames.
"""

from __future__ import annotations

import base64
import binascii
import re
import struct
from typing import Literal

import cv2
import numpy as np

from stts_runtime.overlay import Image
from stts_runtime.serve.problems import Problem
from stts_runtime.serve.settings import Limits

Kind = Literal["picture", "clip"]

PICTURES = "JPEG, PNG or WebP"
CLIPS = "MP4, MOV, MKV, WebM or AVI"
_DATA_URL = re.compile(r"data:[\w.+-]+/[\w.+-]+(?:;[\w=.+-]+)*;base64,", re.ASCII)
_ENOUGH_TO_KNOW = 64
_PIECE = 1 << 20


def data_url(url: str, limits: Limits, param: str) -> bytes:
    """The content of a `data:...;base64,` URL."""
    head = _DATA_URL.match(url)
    if head is None:
        raise Problem(400, "a data URL should be data:TYPE/SUBTYPE;base64,CONTENT", param)
    if (len(url) - head.end()) * 3 // 4 > limits.upload_bytes + 2:
        raise too_large(limits)
    try:
        # In pieces: other threads, the streams' one first, go on between them.
        pieces = range(head.end(), len(url), _PIECE)
        return b"".join(base64.b64decode(url[start : start + _PIECE], validate=True) for start in pieces)
    except binascii.Error:
        raise Problem(400, "the content of the data URL is not base64", param) from None


def too_large(limits: Limits) -> Problem:
    return Problem(413, f"a clip or picture may have {limits.upload_bytes:,} bytes; send a smaller one")


def kind_of(head: bytes) -> Kind:
    """By the first 64 bytes. Raises `Problem` for what is neither."""
    if head.startswith((b"\xff\xd8\xff", b"\x89PNG\r\n\x1a\n")) or _is_riff(head, b"WEBP"):
        return "picture"
    if head[4:8] == b"ftyp" or head.startswith(b"\x1a\x45\xdf\xa3") or _is_riff(head, b"AVI "):
        return "clip"
    raise Problem(400, f"the content is neither a picture ({PICTURES}) nor a clip ({CLIPS}); send one of those")


def picture(content: bytes, limits: Limits) -> Image:
    """BGR (H, W, 3) uint8. Its size is known before it is decoded: a small file may be a huge picture."""
    if kind_of(content[:_ENOUGH_TO_KNOW]) != "picture":
        raise Problem(400, f"the content is a clip, and {PICTURES} was expected: send it as video_url")
    size = _size(content)
    if size is None:
        raise Problem(400, "the picture is damaged: it does not say its size")
    check_pixels(*size, limits)
    try:
        image = cv2.imdecode(np.frombuffer(content, np.uint8), cv2.IMREAD_COLOR)
    except cv2.error:
        image = None
    if image is None:
        raise Problem(400, f"the picture cannot be decoded; send {PICTURES}")
    return image.astype(np.uint8, copy=False)


def check_pixels(width: int, height: int, limits: Limits) -> None:
    if width * height > limits.pixels:
        raise Problem(
            413, f"a picture may have {limits.pixels:,} pixels, and this has {width} x {height}; send a smaller one"
        )


def _is_riff(head: bytes, form: bytes) -> bool:
    return head.startswith(b"RIFF") and head[8:12] == form


def _size(content: bytes) -> tuple[int, int] | None:
    """Width and height as the header says; None if it ends too soon."""
    try:
        if content.startswith(b"\x89PNG"):
            return struct.unpack_from(">II", content, 16)
        return _webp_size(content) if content.startswith(b"RIFF") else _jpeg_size(content)
    except (struct.error, IndexError):
        return None


def _webp_size(content: bytes) -> tuple[int, int] | None:
    form = content[12:16]
    if form == b"VP8X":
        return _uint24(content, 24) + 1, _uint24(content, 27) + 1
    if form == b"VP8L":
        (bits,) = struct.unpack_from("<I", content, 21)
        return (bits & 0x3FFF) + 1, (bits >> 14 & 0x3FFF) + 1
    if form == b"VP8 ":
        width, height = struct.unpack_from("<HH", content, 26)
        return width & 0x3FFF, height & 0x3FFF
    return None


def _uint24(content: bytes, at: int) -> int:
    return content[at] | content[at + 1] << 8 | content[at + 2] << 16


def _jpeg_size(content: bytes) -> tuple[int, int] | None:
    """Of the first frame header (SOF), behind any number of other segments."""
    at = 2
    while content[at] == 0xFF:
        marker = content[at + 1]
        if 0xC0 <= marker <= 0xCF and marker not in (0xC4, 0xC8, 0xCC):
            height, width = struct.unpack_from(">HH", content, at + 5)
            return width, height
        at += 2 + struct.unpack_from(">H", content, at + 2)[0]
    return None
