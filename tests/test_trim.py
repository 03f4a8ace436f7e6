"""Memory that was given back to the C library goes back to the system."""

import ctypes
import threading
import time

import psutil
import pytest

from stts_runtime.stream.trim import trimmed

BLOCKS, SIZE = 20_000, 4_000


@pytest.mark.skipif(not hasattr(ctypes.CDLL(None), "malloc_trim"), reason="needs glibc")
def test_what_lies_free_between_blocks_in_use_goes_back():
    libc = ctypes.CDLL(None)
    libc.malloc.restype, libc.malloc.argtypes = ctypes.c_void_p, [ctypes.c_size_t]
    libc.free.argtypes = [ctypes.c_void_p]
    blocks = [libc.malloc(SIZE) for _ in range(BLOCKS)]
    for block in blocks:
        ctypes.memset(block, 1, SIZE)
    for block in blocks[: -BLOCKS // 100]:
        libc.free(block)
    held = psutil.Process().memory_info().rss
    with trimmed(seconds=0.01):
        time.sleep(0.3)
    given_back = held - psutil.Process().memory_info().rss
    for block in blocks[-BLOCKS // 100 :]:
        libc.free(block)
    assert given_back > BLOCKS * SIZE / 2


def test_without_glibc_nothing_happens(monkeypatch):
    monkeypatch.setattr("stts_runtime.stream.trim.ctypes.CDLL", lambda _: object())
    with trimmed(seconds=0.01):
        assert "trim" not in [thread.name for thread in threading.enumerate()]
