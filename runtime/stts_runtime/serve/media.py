"""What clients send to be looked at: pictures and clips, known by their first bytes and never by their names."""

from __future__ import annotations

import base64
import binascii
import re
from typing import Literal

from stts_runtime import pictures
from stts_runtime.overlay import Image
from stts_runtime.serve import containers
from stts_runtime.serve.api_errors import ApiError
from stts_runtime.serve.settings import Limits

Kind = Literal["picture", "clip"]

PICTURES = pictures.NAMES
CLIPS = containers.NAMES
_READ = f"pictures are read as {PICTURES}, clips as {CLIPS}"
HEAD_BYTES = containers.HEAD_BYTES
_DATA_URL = re.compile(r"data:[\w.+-]+/[\w.+-]+(?:;[\w=.+-]+)*;base64,", re.ASCII)
_PIECE = 1 << 20


def data_url(url: str, limits: Limits, param: str) -> bytes:
    """The content of a `data:...;base64,` URL."""
    head = _DATA_URL.match(url)
    if head is None:
        raise ApiError(400, "a data URL should be data:TYPE/SUBTYPE;base64,CONTENT", param)
    if (len(url) - head.end()) * 3 // 4 > limits.upload_bytes + 2:
        raise too_large(limits)
    try:
        # In pieces: other threads, the streams' one first, go on between them.
        pieces = range(head.end(), len(url), _PIECE)
        return b"".join(base64.b64decode(url[start : start + _PIECE], validate=True) for start in pieces)
    except binascii.Error:
        raise ApiError(400, "the content of the data URL is not base64", param) from None


def too_large(limits: Limits) -> ApiError:
    return ApiError(413, f"a clip or picture may have {limits.upload_bytes:,} bytes; send a smaller one")


def kinds_of(head: bytes) -> frozenset[Kind]:
    """What the content may be looked at as, by its first `HEAD_BYTES`: a GIF is both. Raises `ApiError` for neither."""
    if not head:
        raise ApiError(400, "the content is empty, and so neither a picture nor a clip")
    kinds: set[Kind] = set()
    if pictures.format_of(head) is not None:
        kinds.add("picture")
    other = pictures.name_of_other(head)
    # AVIF and HEIC are pictures in the container of MP4.
    is_mp4_of_pictures = head[4:8] == b"ftyp" and (kinds or other)
    if containers.is_container(head) and not is_mp4_of_pictures:
        kinds.add("clip")
    if kinds:
        return frozenset(kinds)
    if other:
        raise ApiError(400, f"the content is {other}, which is not read here; {_READ}: convert it to one of those")
    raise ApiError(400, f"the content is neither a picture nor a clip that is known; {_READ}: send one of those")


def kind_of(content: bytes, limits: Limits) -> Kind:
    """Where nobody says what it should be: a GIF that moves is a clip. Raises `ApiError` for what is neither."""
    kinds = kinds_of(content[:HEAD_BYTES])
    if len(kinds) == 1:
        return next(iter(kinds))
    try:
        return "clip" if pictures.is_animated(content, limits.pixels) else "picture"
    except pictures.PictureError as error:
        raise _problem(error) from None


def picture(content: bytes, limits: Limits) -> Image:
    """BGR (H, W, 3) uint8, of an animation the first. Its size is checked before it is decoded."""
    if "picture" not in kinds_of(content[:HEAD_BYTES]):
        raise ApiError(400, f"the content is a clip, and image_url takes pictures ({PICTURES}): send it as video_url")
    try:
        return pictures.read_picture(content, limits.pixels)
    except pictures.PictureError as error:
        raise _problem(error) from None


def check_clip(head: bytes) -> None:
    """Raises `ApiError` unless the content, by its first `HEAD_BYTES`, may be played."""
    if "clip" not in kinds_of(head):
        raise ApiError(400, f"the content is a picture, and video_url takes clips ({CLIPS}): send it as image_url")


def _problem(error: pictures.PictureError) -> ApiError:
    return ApiError(413 if isinstance(error, pictures.PictureTooLargeError) else 400, str(error))
