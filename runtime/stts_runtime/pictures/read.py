"""Still pictures through Pillow. The bytes may be anybody's: the format is told by us, Pillow tries that one alone, and
the size is checked before a pixel is decoded.
"""

from __future__ import annotations

import ctypes
import functools
import io
import logging
import struct
import threading
import warnings
import zlib
from collections.abc import Iterator
from contextlib import contextmanager, suppress

import numpy as np
from numpy.typing import NDArray
from PIL import ExifTags, Image, UnidentifiedImageError, _imaging, features

from stts_runtime.opencv import cv2
from stts_runtime.pictures.colours import to_srgb
from stts_runtime.pictures.errors import PictureError, PictureTooLargeError
from stts_runtime.pictures.formats import HEAD_BYTES, NAMES, Format, format_of, name_of_other

MOST_PIXELS = 1 << 28
"""Default limit of width x height: 16384 x 16384."""

_LOCK = threading.Lock()
_DAMAGE = (
    *(OSError, SyntaxError, ValueError, EOFError, LookupError, TypeError, AttributeError, ArithmeticError),
    *(RuntimeError, struct.error, zlib.error, AssertionError),
)
"""All that Pillow raises on damaged content."""
_PNG_DEPTH_AT = 24
_NEW_SUBFILE_TYPE, _DNG_VERSION = 254, 50706
"""Tags of TIFF."""
_UPRIGHT = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
"""By EXIF's orientation."""


def read_picture(content: bytes, most_pixels: int = MOST_PIXELS) -> NDArray[np.uint8]:
    """BGR (H, W, 3) uint8 in sRGB, upright, transparency on white; of an animation or several pages the first.

    Raises `PictureError`, and `PictureTooLargeError` before anything is decoded.
    """
    with _opened(content, most_pixels) as image:
        _scale_transparency(image, content)
        image.load()
        rgb = to_srgb(image)
        # Only now: Pillow turns some formats itself while it loads them.
        method = _UPRIGHT.get(_orientation(image))
        upright = np.asarray(rgb if method is None else rgb.transpose(method))
    return cv2.cvtColor(upright, cv2.COLOR_RGB2BGR).astype(np.uint8, copy=False)


def is_animated(content: bytes, most_pixels: int = MOST_PIXELS) -> bool:
    """Whether there is a second picture. Raises as `read_picture` does."""
    with _opened(content, most_pixels) as image:
        return bool(getattr(image, "is_animated", False))


@contextmanager
def _opened(content: bytes, most_pixels: int) -> Iterator[Image.Image]:
    """Checked and not yet decoded. Raises `PictureError`, also for what Pillow raises in the block."""
    known = _known(content)
    sorry = f"the {known.name} picture is cut off or damaged"
    try:
        with _pillow_alone(most_pixels), Image.open(io.BytesIO(content), formats=[known.name.upper()]) as image:
            if image.width * image.height > most_pixels:
                raise _too_large(most_pixels, f"{image.width} x {image.height}")
            _check_tags(image)
            yield image
    except PictureError:
        raise
    except Image.DecompressionBombError:
        raise _too_large(most_pixels, "more than twice as many") from None
    except UnidentifiedImageError:
        raise PictureError(
            f"{sorry}, or of a kind of {known.name} that is not read; save or send it again, as JPEG or PNG"
        ) from None
    except _DAMAGE:
        raise PictureError(f"{sorry}; save or send it again") from None


def _known(content: bytes) -> Format:
    head = content[:HEAD_BYTES]
    known = format_of(head)
    if known is None:
        what = name_of_other(head) or "not a known kind of picture"
        raise PictureError(_not_read(what))
    if known.name == "AVIF" and not features.check("avif"):
        raise PictureError("Pillow was built without AVIF here: pip install --upgrade --only-binary=:all: pillow")
    return known


def _not_read(what: str) -> str:
    return f"this is {what}, and {NAMES} are read: convert it to one of those"


def _too_large(most_pixels: int, got: str) -> PictureTooLargeError:
    return PictureTooLargeError(f"a picture may have {most_pixels:,} pixels, and this has {got}; take a smaller one")


@contextmanager
def _pillow_alone(most_pixels: int) -> Iterator[None]:
    """One picture at a time, which also bounds the memory: Pillow's limit is the process's, and so are the filters that
    keep its warnings about sloppy files off stderr.
    """
    with _LOCK, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        _keep_off_stderr()
        before, Image.MAX_IMAGE_PIXELS = Image.MAX_IMAGE_PIXELS, most_pixels
        try:
            yield
        finally:
            Image.MAX_IMAGE_PIXELS = before


@functools.cache
def _keep_off_stderr() -> None:
    """Pillow logs damage, which goes to stderr unless handled, and libtiff writes there directly."""
    logging.getLogger("PIL").addHandler(logging.NullHandler())
    with suppress(OSError, AttributeError):
        ctypes.CDLL(_imaging.__file__).TIFFSetErrorHandler(None)


def _check_tags(image: Image.Image) -> None:
    """Raw pictures of many cameras are TIFF, with a thumbnail first."""
    tags = getattr(image, "tag_v2", {})
    if _DNG_VERSION in tags or tags.get(_NEW_SUBFILE_TYPE, 0) & 1:
        raise PictureError(_not_read("a camera's raw picture"))


def _scale_transparency(image: Image.Image, content: bytes) -> None:
    """PNG gives the transparent colour in the file's bits; Pillow compares it to pixels that it has made 8 bits of."""
    key = image.info.get("transparency")
    if image.format != "PNG" or key is None:
        return
    depth = content[_PNG_DEPTH_AT]
    if image.mode == "RGB" and depth == 16:
        image.info["transparency"] = tuple(value >> 8 for value in key)
    elif image.mode == "L" and depth < 8:
        image.info["transparency"] = key * 255 // ((1 << depth) - 1)


def _orientation(image: Image.Image) -> int:
    try:
        return int(image.getexif().get(ExifTags.Base.Orientation, 1))
    except _DAMAGE:
        return 1
