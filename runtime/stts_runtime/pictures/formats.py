"""Which still pictures are read, told by their first bytes and never by their names. The list of formats is here once:
messages, the suffixes of a folder and the page take it from here.
"""

from __future__ import annotations

from dataclasses import dataclass

HEAD_BYTES = 1024
"""That tell a format."""


@dataclass(frozen=True)
class Format:
    name: str
    """As people write it, and as Pillow calls it in capitals."""
    media_type: str
    suffixes: tuple[str, ...]


FORMATS = (
    Format("JPEG", "image/jpeg", (".jpg", ".jpeg", ".jpe", ".jfif")),
    Format("PNG", "image/png", (".png", ".apng")),
    Format("WebP", "image/webp", (".webp",)),
    Format("AVIF", "image/avif", (".avif",)),
    Format("GIF", "image/gif", (".gif",)),
    Format("BMP", "image/bmp", (".bmp",)),
    Format("TIFF", "image/tiff", (".tif", ".tiff")),
)
NAMES = ", ".join(one.name for one in FORMATS[:-1]) + f" and {FORMATS[-1].name}"
SUFFIXES = frozenset(suffix for one in FORMATS for suffix in one.suffixes)

_BY_NAME = {one.name: one for one in FORMATS}
_STARTS = (
    (b"\xff\xd8\xff", "JPEG"),
    (b"\x89PNG\r\n\x1a\n", "PNG"),
    (b"GIF87a", "GIF"),
    (b"GIF89a", "GIF"),
    # The last two are BigTIFF.
    (b"II*\0", "TIFF"),
    (b"MM\0*", "TIFF"),
    (b"II+\0", "TIFF"),
    (b"MM\0+", "TIFF"),
)
_BMP_HEADER_SIZES = (12, 40, 52, 56, 64, 108, 124)

_OTHER_STARTS = (
    (b"\0\0\0\x0cjP  ", "a JPEG 2000 picture"),
    (b"\xff\x4f\xff\x51", "a JPEG 2000 picture"),
    (b"\0\0\0\x0cJXL ", "a JPEG XL picture"),
    (b"\xff\x0a", "a JPEG XL picture"),
    (b"8BPS", "a Photoshop document"),
    (b"%PDF", "a PDF document"),
    (b"%!PS", "a PostScript document"),
    (b"FUJIFILMCCD-RAW", "a camera's raw picture (RAF)"),
    (b"IIRO", "a camera's raw picture (ORF)"),
    (b"IIU\0", "a camera's raw picture (RW2)"),
    (b"\0\0\1\0", "an icon (ICO)"),
    (b"\x76\x2f\x31\x01", "an OpenEXR picture"),
    (b"<svg", "an SVG drawing"),
    (b"<html", "a web page"),
    (b"<!doctype html", "a web page"),
)
_HEIF = {b"mif1", b"mif2", b"msf1", b"miaf"}
_HEIC = {b"heic", b"heix", b"heim", b"heis", b"hevc", b"hevx", b"hevm", b"hevs"}
_AVIF = {b"avif", b"avis"}


def format_of(head: bytes) -> Format | None:
    """By the first `HEAD_BYTES`; None for everything that is not read as a picture."""
    for start, name in _STARTS:
        if head.startswith(start) and head[8:10] != b"CR":
            return _BY_NAME[name]
    if head.startswith(b"RIFF") and head[8:12] == b"WEBP":
        return _BY_NAME["WebP"]
    if head.startswith(b"BM") and int.from_bytes(head[14:18], "little") in _BMP_HEADER_SIZES:
        return _BY_NAME["BMP"]
    return _BY_NAME["AVIF"] if _heif_kind(head) == "AVIF" else None


def name_of_other(head: bytes) -> str | None:
    """What is not read but known, such as "a HEIC picture"; None for what is not known, or is read."""
    if (kind := _heif_kind(head)) is not None:
        return None if kind == "AVIF" else f"a {kind} picture"
    if head[4:11] == b"ftypcrx":
        return "a camera's raw picture (CR3)"
    if head.startswith(b"II*\0") and head[8:10] == b"CR":
        return "a camera's raw picture (CR2)"
    text = head.lstrip(b"\xef\xbb\xbf \t\r\n").lower()
    for start, name in _OTHER_STARTS:
        if head.startswith(start) or text.startswith(start):
            return name
    return "an SVG drawing" if text.startswith(b"<?xml") and b"<svg" in text else None


def _heif_kind(head: bytes) -> str | None:
    """AVIF and HEIC are the same container as MP4: the brands tell them apart. "HEIF" is one with another codec."""
    if head[4:8] != b"ftyp":
        return None
    major, size = head[8:12], int.from_bytes(head[:4], "big")
    brands = {major, *(head[at : at + 4] for at in range(16, min(size, len(head)), 4))}
    if major in _AVIF or (major in _HEIF and brands & _AVIF):
        return "AVIF"
    if major in _HEIC or (major in _HEIF and brands & _HEIC):
        return "HEIC"
    return "HEIF" if major in _HEIF else None
