"""What clients send to be looked at: pictures and clips, known by their first bytes and never by their names.

FFmpeg opens whatever it recognises, playlists that name other files and addresses included (HLS, DASH, SDP, lists of
files). So nothing reaches it but containers that hold their own frames; and since it looks for some playlists anywhere
in the text at the start of a file, nothing is let in whose start could be text.
"""

from __future__ import annotations

import base64
import re
from collections.abc import Iterator
from typing import Literal
from urllib.parse import unquote

from stts_runtime import pictures
from stts_runtime.overlay import Image
from stts_runtime.serve.api_errors import ApiError
from stts_runtime.serve.settings import Limits

CLIPS = "MP4, MOV, MKV, WebM, AVI, GIF, FLV, WMV, Ogg, MPEG-TS and MPEG-PS"
HEAD_BYTES = 4096
"""That tell a container: a transport stream shows itself by its packets alone."""

_STARTS = (
    b"\x1a\x45\xdf\xa3",  # MKV, WebM
    b"OggS\0",
    b"\x30\x26\xb2\x75\x8e\x66\xcf\x11\xa6\xd9\0\xaa\0\x62\xce\x6c",  # WMV, ASF
    b"\0\0\1\xba",  # MPEG-PS
)
_SYNC = 0x47
_PACKET_SIZES = (188, 192, 204)
"""As broadcast, with a time stamp (M2TS), with error correction."""
_ENOUGH_PACKETS = 11
"""From here on FFmpeg, too, is certain."""
_LEAST_PACKETS = 3
_LONGEST_TEXT_START = 7
"""`#EXTM3U`"""
_PRINTABLE = frozenset(b"\t\r\n") | frozenset(range(0x20, 0x7F))


Kind = Literal["picture", "clip"]

PICTURES = pictures.NAMES
_READ = f"pictures are read as {PICTURES}, clips as {CLIPS}"
DATA_URL = "a data URL: data:TYPE/SUBTYPE;base64,CONTENT"
_LONGEST_HEAD = 1000
_HEAD = re.compile(r"data:[^,;\"]*(?:;(?:[^,;\"]|\"[^\"]*\")*)*;\s*base64\s*,", re.IGNORECASE)
# Also the alphabet for addresses; what is neither of it nor of the white space that lines are broken with stays wrong.
_ALPHABET = bytes.maketrans(b"-_", b"+/")
_WHITE = b" \t\r\n\f\v"
_PIECE = 1 << 20


def is_data_url(url: str) -> bool:
    return url[:5].lower() == "data:"


def data_url(url: str, limits: Limits, param: str) -> bytes:
    """The content of a `data:...;base64,` URL as the web writes it: in lines, without padding, percent-encoded."""
    head = _HEAD.match(url[:_LONGEST_HEAD])
    if head is None:
        raise ApiError(400, f"{param} should be {DATA_URL}", param)
    content = bytearray()
    try:
        for piece in _decoded(url[head.end() :]):
            content += piece
            if len(content) > limits.upload_bytes:
                raise too_large(limits)
    except ValueError:
        raise ApiError(400, f"the content of {param} is not base64", param) from None
    return bytes(content)


def _decoded(text: str) -> Iterator[bytes]:
    """In pieces: other threads, the streams' one first, go on between them. Raises `ValueError` for what is wrong."""
    if "%" in text:
        text = unquote(text, errors="strict")
    # Padding says nothing that the length does not.
    text, rest = text.rstrip("=" + _WHITE.decode()), b""
    for start in range(0, len(text), _PIECE):
        letters = rest + text[start : start + _PIECE].encode("ascii").translate(_ALPHABET, _WHITE)
        if b"=" in letters:
            raise ValueError("padding before the end")
        whole = len(letters) // 4 * 4
        rest = letters[whole:]
        yield base64.b64decode(letters[:whole], validate=True)
    yield base64.b64decode(rest + b"=" * (-len(rest) % 4), validate=True)


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
    if _is_container(head) and not is_mp4_of_pictures:
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
        raise _api_error(error) from None


def picture(content: bytes, limits: Limits) -> Image:
    """BGR (H, W, 3) uint8, of an animation the first. Its size is checked before it is decoded."""
    if "picture" not in kinds_of(content[:HEAD_BYTES]):
        raise ApiError(400, f"the content is a clip, and image_url takes pictures ({PICTURES}): send it as video_url")
    try:
        return pictures.read_picture(content, limits.pixels)
    except pictures.PictureError as error:
        raise _api_error(error) from None


def check_clip(head: bytes) -> None:
    """Raises `ApiError` unless the content, by its first `HEAD_BYTES`, may be played."""
    if "clip" not in kinds_of(head):
        raise ApiError(400, f"the content is a picture, and video_url takes clips ({CLIPS}): send it as image_url")


def _api_error(error: pictures.PictureError) -> ApiError:
    return ApiError(413 if isinstance(error, pictures.PictureTooLargeError) else 400, str(error))


def _is_container(head: bytes) -> bool:
    """By the first `HEAD_BYTES`, fewer of a smaller file. A picture is none; whether a GIF moves is not looked at."""
    if head[4:8] == b"ftyp":
        # Boxes of that kind are small, so the first bytes of their size are zero.
        return head[:2] == b"\0\0"
    if head.startswith(b"FLV\1"):
        return head[5:9] == b"\0\0\0\x09"
    if head.startswith(b"RIFF"):
        return head[8:12] == b"AVI "
    return head.startswith((b"GIF87a", b"GIF89a", *_STARTS)) or _is_transport_stream(head)


def _is_transport_stream(head: bytes) -> bool:
    """It may have been cut anywhere, so it may begin within a packet."""
    if all(byte in _PRINTABLE for byte in head[:_LONGEST_TEXT_START]):
        return False
    return any(_is_in_step(head, start, size) for size in _PACKET_SIZES for start in range(size))


def _is_in_step(head: bytes, start: int, size: int) -> bool:
    packets = range(start, len(head) - 3, size)[: _ENOUGH_PACKETS + 1]
    if len(packets) < _LEAST_PACKETS or not all(_is_packet(head, at) for at in packets):
        return False
    # A file of few packets begins with a table, and its first bytes hold a zero as no text does.
    return len(packets) >= _ENOUGH_PACKETS or b"\0" in head[:8]


def _is_packet(head: bytes, at: int) -> bool:
    """Its sync byte, and that it says to hold something."""
    return head[at] == _SYNC and head[at + 3] & 0x30 != 0
