"""What the first bytes of a file promise: how long it should be, and whether an index came with it.

Only the outermost structure of MP4, AVI and Matroska is read. FFmpeg reads damaged files without a word; these few
numbers tell a file that was cut off from one that is merely short.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

_BOXES = frozenset(
    b"ftyp moov mdat moof mfra free skip wide uuid meta udta sidx ssix styp prft emsg pdin pnot PICT".split()
)
_MOST_BOXES = 100_000
_OPEN_LENGTH = 0xFFFFFFF0
"""From here on the length of an AVI is what a recorder writes that does not know it yet."""
_HEAD_BYTES = 512
_TEXT = bytes(range(32, 127)) + b"\t\r\n" + bytes(range(128, 256))
"""Of ASCII and UTF-8."""
_EBML = b"\x1a\x45\xdf\xa3"
_SEGMENT = b"\x18\x53\x80\x67"


@dataclass(frozen=True)
class Layout:
    size_bytes: int
    head: bytes = b""
    """Its first bytes."""
    promised_bytes: int | None = None
    """What the container says the file should have; None where it says nothing."""
    lacks_index: bool = False
    """An MP4 or MOV whose index (`moov`), written last, is not there: its recording was interrupted."""

    @property
    def is_text(self) -> bool:
        """Such as a playlist, which would have FFmpeg open the files and addresses that it names."""
        return bool(self.head) and not self.head.translate(None, _TEXT)

    @property
    def is_cut_off(self) -> bool:
        return self.promised_bytes is not None and self.promised_bytes > self.size_bytes


def read_layout(path: Path) -> Layout:
    """Raises `OSError` where the file cannot be read."""
    size = path.stat().st_size
    with path.open("rb") as file:
        head = file.read(_HEAD_BYTES)
        if head[:4] == b"RIFF":
            return Layout(size, head, _riff_end(head))
        if head[:4] == _EBML:
            return Layout(size, head, _segment_end(file))
        if head[4:8] in _BOXES:
            return _boxes_layout(file, size, head)
    return Layout(size, head)


def _riff_end(head: bytes) -> int | None:
    length: int = struct.unpack("<I", head[4:8])[0] if len(head) >= 8 else _OPEN_LENGTH
    return length + 8 if length < _OPEN_LENGTH else None


def _boxes_layout(file: BinaryIO, size: int, head: bytes) -> Layout:
    kinds, end = set(), 0
    for kind, box_end in _boxes(file, size):
        kinds.add(kind)
        end = box_end
    return Layout(size, head, end, lacks_index=b"mdat" in kinds and not kinds & {b"moov", b"moof"})


def _boxes(file: BinaryIO, size: int) -> Iterator[tuple[bytes, int]]:
    """Kind and end of each box at the top level, as far as the file goes."""
    at = 0
    for _ in range(_MOST_BOXES):
        file.seek(at)
        head = file.read(16)
        if len(head) < 8:
            return
        length, kind = struct.unpack(">I4s", head[:8])
        if length == 1 and len(head) == 16:
            (length,) = struct.unpack(">Q", head[8:])
        if length == 0:
            yield kind, size
            return
        if length < 8 or kind not in _BOXES:
            # What follows the last box is no business of the container's.
            return
        at += length
        yield kind, at


def _segment_end(file: BinaryIO) -> int | None:
    """Of a Matroska or WebM file; None where a live recorder left the length open."""
    at = 0
    for _ in range(2):
        file.seek(at)
        head = file.read(12)
        number = head[:4]
        length, used = _variable_length(head[4:])
        if length is None:
            return None
        at += 4 + used + length
        if number == _SEGMENT:
            return at
    return None


def _variable_length(content: bytes) -> tuple[int | None, int]:
    """EBML's number of variable length and the bytes it takes; all ones mean unknown."""
    if not content or content[0] == 0:
        return None, 0
    used = 9 - content[0].bit_length()
    if len(content) < used:
        return None, 0
    mask = (1 << 7 * used) - 1
    value = int.from_bytes(content[:used], "big") & mask
    return (None if value == mask else value), used
