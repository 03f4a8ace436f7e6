"""From any of Pillow's modes to 8-bit sRGB without transparency. It knows no file and no limit."""

from __future__ import annotations

import io
from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageCms

from stts_runtime.pictures.errors import PictureError

_BITS_PER_SAMPLE, _PHOTOMETRIC = 258, 262
"""Tags of TIFF."""
_WHITE_IS_ZERO = 0


def to_srgb(image: Image.Image) -> Image.Image:
    """A loaded picture as RGB: transparency on white, 16 bits by their upper 8, colours by the embedded profile.

    Raises `PictureError` for 32-bit values outside of the range that has a meaning.
    """
    colours, alpha = _split(image)
    rgb = _by_profile(colours, image.info.get("icc_profile"))
    if alpha is None:
        return rgb
    white = Image.new("RGB", rgb.size, "white")
    white.paste(rgb, mask=alpha)
    return white


def _split(image: Image.Image) -> tuple[Image.Image, Image.Image | None]:
    """8-bit colours, and how opaque they are if the picture says so."""
    if image.mode.startswith("I;16"):
        return _from_16_bits(image)
    if image.mode in _FROM_32_BITS:
        return _from_32_bits(image), None
    if image.has_transparency_data:
        rgba = image.convert("RGBA")
        return rgba.convert("RGB"), rgba.getchannel("A")
    if image.mode in ("1", "P", "YCbCr", "RGBX"):
        return image.convert("RGB"), None
    return image, None


def _from_16_bits(image: Image.Image) -> tuple[Image.Image, Image.Image | None]:
    """Not `convert`, which takes all above 255 for white."""
    values, tags = np.asarray(image), getattr(image, "tag_v2", {})
    key = image.info.get("transparency")
    alpha = None if key is None else Image.fromarray((values != key).astype(np.uint8) * 255)
    grey = (values >> (int(tags.get(_BITS_PER_SAMPLE, (16,))[0]) - 8)).astype(np.uint8)
    return Image.fromarray(255 - grey if tags.get(_PHOTOMETRIC) == _WHITE_IS_ZERO else grey), alpha


def _from_32_bits(image: Image.Image) -> Image.Image:
    most, to_8_bits = _FROM_32_BITS[image.mode]
    values = np.asarray(image)
    low, high = values.min(), values.max()
    if not (low >= 0 and high <= most):
        raise PictureError(
            f"the picture has 32 bits a pixel and values from {low:g} to {high:g}; 0 to {most:,} are read, as black "
            "to white: save it with 8 or 16 bits"
        )
    return Image.fromarray(to_8_bits(values))


_FROM_32_BITS: dict[str, tuple[int, Callable[[NDArray[np.generic]], NDArray[np.uint8]]]] = {
    "F": (1, lambda values: np.rint(values.astype(np.float64) * 255).astype(np.uint8)),
    "I": (0xFFFF, lambda values: (values.astype(np.int64) >> 8).astype(np.uint8)),
}
"""The value of white, and how to scale: fractions are shares of white, integers are widened 16-bit values."""


def _by_profile(image: Image.Image, embedded: bytes | None) -> Image.Image:
    """Phones embed Display P3, printers CMYK profiles. One that does not fit the picture, or is damaged, is ignored;
    most embedded ones are sRGB itself and change nothing.
    """
    try:
        if image.mode == "LAB":
            return _transform(image, ImageCms.ImageCmsProfile(ImageCms.createProfile("LAB")))
        if embedded:
            profile = ImageCms.ImageCmsProfile(io.BytesIO(embedded))
            if "srgb" not in ImageCms.getProfileDescription(profile).lower():
                return _transform(image, profile)
    except (ImageCms.PyCMSError, OSError):
        pass
    return image if image.mode == "RGB" else image.convert("RGB")


def _transform(image: Image.Image, profile: ImageCms.ImageCmsProfile) -> Image.Image:
    rgb = ImageCms.profileToProfile(image, profile, ImageCms.createProfile("sRGB"), outputMode="RGB")
    assert rgb is not None
    return rgb
