"""Which clips are let in, told by their first bytes.

FFmpeg opens whatever it recognises, playlists that name other files and addresses included (HLS, DASH, SDP, lists of
files). So nothing reaches it but containers that hold their own frames; and since it looks for some playlists anywhere
in the text at the start of a file, nothing is let in whose start could be text.
"""

from __future__ import annotations

NAMES = "MP4, MOV, MKV, WebM, AVI, GIF, FLV, WMV, Ogg, MPEG-TS and MPEG-PS"
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


def is_container(head: bytes) -> bool:
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
