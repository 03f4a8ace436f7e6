"""Still pictures: turns, transparency, depth and colours come out as a viewer shows them, and damage as one error."""

from __future__ import annotations

import io
import struct
import threading
import warnings
import zlib
from contextlib import suppress
from typing import Any

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image, ImageCms

from stts_runtime.pictures import FORMATS, PictureError, PictureTooLargeError, is_animated, read_picture

# Away from the edges of the range, where profiles clip.
SCENE = cv2.resize(
    np.random.default_rng(7).integers(60, 196, (5, 7, 3), dtype=np.uint8), (84, 60), interpolation=cv2.INTER_CUBIC
).astype(np.uint8)
"""RGB (60, 84, 3)."""
PICTURE = Image.fromarray(SCENE)
RAMP = np.arange(0x10000, dtype=np.uint16).reshape(256, 256)


def stored(image: Image.Image, kind: str = "PNG", **options: Any) -> bytes:
    content = io.BytesIO()
    image.save(content, kind, **options)
    return content.getvalue()


def read(content: bytes) -> NDArray[np.uint8]:
    """RGB."""
    bgr = read_picture(content)
    assert bgr.dtype == np.uint8
    assert bgr.flags.c_contiguous
    return bgr[..., ::-1]


def difference(one: NDArray[np.uint8], other: NDArray[np.uint8]) -> int:
    assert one.shape == other.shape
    return int(np.abs(one.astype(int) - other).max())


def png(width: int, height: int, depth: int, colour: int, rows: bytes, key: bytes) -> bytes:
    """With a transparent colour, of depths that Pillow does not write."""

    def chunk(name: bytes, body: bytes) -> bytes:
        return struct.pack(">I", len(body)) + name + body + struct.pack(">I", zlib.crc32(name + body))

    header = struct.pack(">IIBBBBB", width, height, depth, colour, 0, 0, 0)
    chunks = [chunk(b"IHDR", header), chunk(b"tRNS", key), chunk(b"IDAT", zlib.compress(rows)), chunk(b"IEND", b"")]
    return b"\x89PNG\r\n\x1a\n" + b"".join(chunks)


@pytest.mark.parametrize("kind", ["PNG", "BMP", "TIFF", "JPEG"])
def test_plain_pictures_are_those_of_opencv_to_the_bit(kind: str) -> None:
    for mode in ("RGB", "L"):
        content = stored(PICTURE.convert(mode), kind)
        expected = cv2.imdecode(np.frombuffer(content, np.uint8), cv2.IMREAD_COLOR)
        assert expected is not None
        # Two builds of one JPEG library; only PNG, BMP and TIFF are exact by their nature.
        assert difference(read_picture(content), expected.astype(np.uint8)) <= (2 if kind == "JPEG" else 0)


@pytest.mark.parametrize("kind", [one.name.upper() for one in FORMATS])
def test_every_format_of_the_list_is_read(kind: str) -> None:
    expected = PICTURE.convert("P", palette=Image.Palette.ADAPTIVE).convert("RGB") if kind == "GIF" else PICTURE
    found = read(stored(expected, kind))
    assert np.abs(found.astype(int) - np.asarray(expected)).mean() < 4


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP", "AVIF", "TIFF"])
@pytest.mark.parametrize("orientation", range(1, 9))
def test_all_eight_orientations_come_out_upright(kind: str, orientation: int) -> None:
    # What a camera stores is the inverse of what a viewer does; the turns by 90 degrees are each other's.
    method = {
        2: Image.Transpose.FLIP_LEFT_RIGHT,
        3: Image.Transpose.ROTATE_180,
        4: Image.Transpose.FLIP_TOP_BOTTOM,
        5: Image.Transpose.TRANSPOSE,
        6: Image.Transpose.ROTATE_90,
        7: Image.Transpose.TRANSVERSE,
        8: Image.Transpose.ROTATE_270,
    }.get(orientation)
    exif = Image.Exif()
    exif[0x0112] = orientation
    held = PICTURE if method is None else PICTURE.transpose(method)
    found = read(stored(held, kind, exif=exif, **({} if kind in ("PNG", "TIFF") else {"quality": 95})))
    assert found.shape == SCENE.shape
    assert np.abs(found.astype(int) - SCENE).mean() < 3


def test_transparency_lies_on_white() -> None:
    alpha = np.linspace(0, 255, 84).astype(np.uint8)[None].repeat(60, axis=0)
    expected = np.rint(SCENE * (alpha[..., None] / 255) + 255 - alpha[..., None]).astype(np.uint8)
    content = stored(Image.fromarray(np.dstack([SCENE, alpha])))
    assert difference(read(content), expected) <= 1
    grey = np.asarray(PICTURE.convert("L"))
    expected_grey = np.rint(grey * (alpha / 255) + 255 - alpha).astype(np.uint8)
    content = stored(Image.merge("LA", [Image.fromarray(grey), Image.fromarray(alpha)]))
    assert difference(read(content)[..., 1], expected_grey) <= 1


@pytest.mark.parametrize("kind", ["PNG", "GIF"])
def test_a_transparent_colour_of_a_palette_is_white(kind: str) -> None:
    indexed = Image.new("P", (4, 4), 1)
    indexed.putpalette([0, 0, 0, 200, 10, 10])
    indexed.paste(0, (0, 0, 2, 4))
    found = read(stored(indexed, kind, transparency=0))
    assert found[0].tolist() == [[255] * 3] * 2 + [[200, 10, 10]] * 2


@pytest.mark.parametrize(
    ("content", "row"),
    [
        (png(2, 1, 8, 2, bytes([0, 9, 8, 7, 1, 2, 3]), struct.pack(">3H", 9, 8, 7)), [[255] * 3, [1, 2, 3]]),
        (png(2, 1, 8, 0, bytes([0, 9, 1]), struct.pack(">H", 9)), [[255] * 3, [1] * 3]),
        (png(2, 1, 2, 0, bytes([0, 0b0110_0000]), struct.pack(">H", 1)), [[255] * 3, [170] * 3]),
        (png(8, 1, 1, 0, bytes([0, 0b0111_1111]), struct.pack(">H", 0)), [[255] * 3] * 8),
        (png(2, 1, 16, 0, struct.pack(">BHH", 0, 0x1234, 0x1235), struct.pack(">H", 0x1234)), [[255] * 3, [0x12] * 3]),
        (
            png(
                2,
                1,
                16,
                2,
                struct.pack(">B6H", 0, 0x900, 0x800, 0x700, 0x100, 0, 0),
                struct.pack(">3H", 0x900, 0x800, 0x700),
            ),
            [[255] * 3, [1, 0, 0]],
        ),
    ],
)
def test_a_transparent_colour_is_white_at_every_depth(content: bytes, row: list[list[int]]) -> None:
    assert read(content)[0].tolist() == row


@pytest.mark.parametrize("kind", ["JPEG", "TIFF"])
def test_cmyk_has_its_colours(kind: str) -> None:
    content = stored(PICTURE.convert("CMYK"), kind, **({"quality": 98} if kind == "JPEG" else {}))
    assert np.abs(read(content).astype(int) - SCENE).mean() < 3


def test_sixteen_bits_become_their_upper_eight() -> None:
    expected = np.dstack([(RAMP >> 8).astype(np.uint8)] * 3)
    grey = Image.fromarray(RAMP)
    for content in (stored(grey), stored(grey, "TIFF"), stored(grey, "TIFF", compression="tiff_lzw")):
        np.testing.assert_array_equal(read(content), expected)
    for channels in (3, 4):
        deep = np.dstack([RAMP] * 3 + [np.full_like(RAMP, 0xFFFF)] * (channels - 3))
        np.testing.assert_array_equal(read(cv2.imencode(".png", deep)[1].tobytes()), expected)


def test_of_sixteen_bits_white_may_be_zero() -> None:
    content = stored(Image.fromarray(RAMP), "TIFF", tiffinfo={262: 0})
    np.testing.assert_array_equal(read(content)[..., 0], 255 - (RAMP >> 8).astype(np.uint8))


def test_of_32_bits_the_values_must_have_a_meaning() -> None:
    expected = (RAMP >> 8).astype(np.uint8)
    wide = Image.fromarray(RAMP.astype(np.int32))
    np.testing.assert_array_equal(read(stored(wide, "TIFF"))[..., 0], expected)
    shares = Image.fromarray((expected / 255).astype(np.float32))
    np.testing.assert_array_equal(read(stored(shares, "TIFF"))[..., 0], expected)
    for values in (
        RAMP.astype(np.int32) * 2,
        -RAMP.astype(np.int32),
        RAMP.astype(np.float32),
        np.full((2, 2), np.nan, "f4"),
    ):
        with pytest.raises(
            PictureError, match=r"values from .* are read, as black to white: save it with 8 or 16 bits"
        ):
            read_picture(stored(Image.fromarray(values), "TIFF"))


def test_one_bit_and_lab_have_their_colours() -> None:
    dots = PICTURE.convert("1")
    np.testing.assert_array_equal(read(stored(dots, "TIFF", compression="group4")), np.asarray(dots.convert("RGB")))
    lab = ImageCms.profileToProfile(
        PICTURE, ImageCms.createProfile("sRGB"), ImageCms.createProfile("LAB"), outputMode="LAB"
    )
    assert lab is not None
    assert np.abs(read(stored(lab, "TIFF")).astype(int) - SCENE).mean() < 2


def test_an_embedded_profile_is_obeyed_and_a_damaged_one_ignored() -> None:
    srgb = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    names = b"\0s\0R\0G\0B", b"\0G\0B\0R\0x"
    tags = [srgb.index(b"rXYZ"), srgb.index(b"gXYZ"), srgb.index(b"bXYZ")]
    swapped = bytearray(srgb.replace(*names))
    # A profile whose channels are blue, red and green, as test pictures for browsers have.
    for tag, name in zip(tags, (b"gXYZ", b"bXYZ", b"rXYZ"), strict=True):
        swapped[tag : tag + 4] = name
    shuffled = Image.fromarray(SCENE[..., [2, 0, 1]])
    assert difference(read(stored(shuffled, icc_profile=bytes(swapped))), SCENE) <= 2
    for harmless in (srgb, b"no profile at all", srgb.replace(*names)[:200]):
        np.testing.assert_array_equal(read(stored(PICTURE, icc_profile=harmless)), SCENE)


@pytest.mark.parametrize("kind", ["GIF", "WEBP", "PNG", "AVIF", "TIFF", "MPO"])
def test_the_first_picture_of_several_is_taken(kind: str) -> None:
    first, second = (Image.new("RGB", (64, 64), colour) for colour in ((200, 40, 40), (40, 200, 40)))
    moving = stored(first, kind, save_all=True, append_images=[second])
    assert np.abs(read(moving).astype(int) - (200, 40, 40)).max() <= 6
    assert is_animated(moving)
    assert not is_animated(stored(first, "JPEG" if kind == "MPO" else kind))


@pytest.mark.parametrize("kind", [one.name.upper() for one in FORMATS])
def test_a_picture_that_is_cut_off_is_never_half_grey(kind: str, capfd: pytest.CaptureFixture[str]) -> None:
    whole = stored(PICTURE, kind, **({"compression": "tiff_lzw"} if kind == "TIFF" else {}))
    expected = read_picture(whole)
    for share in range(1, 20):
        with pytest.raises(PictureError, match="is cut off or damaged"):
            read_picture(whole[: max(20, len(whole) * share // 20)])
    # Some formats end with what no pixel needs.
    for missing in (1, 8, 12):
        with suppress(PictureError):
            np.testing.assert_array_equal(read_picture(whole[:-missing]), expected)
    assert capfd.readouterr() == ("", "")


def test_damage_of_any_kind_is_one_error_and_nothing_is_written(capfd: pytest.CaptureFixture[str]) -> None:
    generator = np.random.default_rng(3)
    kinds = [stored(PICTURE, one.name.upper()) for one in FORMATS] + [stored(PICTURE, "TIFF", compression="jpeg")]
    for number in range(800):
        content = bytearray(kinds[number % len(kinds)])
        for at in generator.integers(0, min(len(content), 400), 3):
            content[at] = generator.integers(256)
        try:
            assert read_picture(bytes(content), 100_000).ndim == 3
        except PictureError:
            continue
    assert capfd.readouterr() == ("", "")


def test_too_many_pixels_are_refused_before_they_are_decoded() -> None:
    huge = png(60_000, 60_000, 8, 2, b"", bytes(6))
    with pytest.raises(PictureTooLargeError, match="more than twice as many"):
        read_picture(huge)
    with pytest.raises(PictureTooLargeError, match="may have 5,039 pixels, and this has 84 x 60"):
        read_picture(stored(PICTURE), 5039)
    assert read_picture(stored(PICTURE), 5040).shape == SCENE.shape


def test_pillows_limit_and_the_filters_of_warnings_are_left_as_they_were() -> None:
    limit, filters = Image.MAX_IMAGE_PIXELS, list(warnings.filters)
    content = stored(PICTURE, "JPEG")
    threads = [threading.Thread(target=lambda: [read_picture(content) for _ in range(20)]) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert (limit, filters) == (Image.MAX_IMAGE_PIXELS, list(warnings.filters))


def test_a_thumbnail_of_a_raw_picture_is_not_taken_for_it() -> None:
    for tags in ({254: 1}, {50706: b"\1\4\0\0"}):
        with pytest.raises(PictureError, match="a camera's raw picture, and JPEG, PNG"):
            read_picture(stored(PICTURE, "TIFF", tiffinfo=tags))
