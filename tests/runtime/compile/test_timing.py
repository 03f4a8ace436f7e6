"""What TensorRT learned on a device is used again, and what is damaged or from another device is not."""

from __future__ import annotations

from pathlib import Path

import pytest

from stts_runtime.compile.timing import attach_timing_cache, save_timing_cache


class Cache:
    def __init__(self, content: bytes) -> None:
        self.content = content

    def combine(self, input_cache: Cache, ignore_mismatch: bool) -> bool:
        """The real one skips what it has already, and takes nothing of another device's."""
        assert not ignore_mismatch
        return input_cache.content == self.content

    def serialize(self) -> bytes:
        return self.content + b"+learned"


class Config:
    """As TensorRT's: content that is no cache makes none, and one of another device is not taken."""

    def create_timing_cache(self, serialized_timing_cache: bytes) -> Cache | None:
        return None if serialized_timing_cache == b"damaged" else Cache(serialized_timing_cache)

    def set_timing_cache(self, cache: Cache, ignore_mismatch: bool) -> bool:
        assert not ignore_mismatch
        return cache.content != b"other device"


@pytest.mark.parametrize(
    ("stored", "saved"),
    [(None, b"+learned"), (b"mine", b"mine+learned"), (b"damaged", b"+learned"), (b"other device", b"+learned")],
)
def test_a_cache_that_fits_is_taken_up(tmp_path: Path, stored: bytes | None, saved: bytes) -> None:
    path = tmp_path / "timing.bin"
    if stored is not None:
        path.write_bytes(stored)
    save_timing_cache(Config(), attach_timing_cache(Config(), path), path)
    assert path.read_bytes() == saved
    assert list(tmp_path.iterdir()) == [path]


def test_tensorrt_that_takes_no_cache_builds_without(tmp_path: Path) -> None:
    class Refuses(Config):
        def set_timing_cache(self, cache: Cache, ignore_mismatch: bool) -> bool:
            return False

    assert attach_timing_cache(Refuses(), tmp_path / "timing.bin") is None
