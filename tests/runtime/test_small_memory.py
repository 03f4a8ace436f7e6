"""Memory that was given back to the C library goes back to the system, and threads share what is left."""

from __future__ import annotations

import ctypes
import subprocess
import sys
import threading
import time

import psutil
import pytest

from stts_runtime.small_memory import small_memory

BLOCKS, SIZE = 20_000, 4_000
needs_glibc = pytest.mark.skipif(not hasattr(ctypes.CDLL(None), "malloc_trim"), reason="needs glibc")
THREADS_ALLOCATE = """
import ctypes, threading
from contextlib import nullcontext
from stts_runtime.small_memory import small_memory
libc = ctypes.CDLL(None)
together = threading.Barrier(8)
def allocate():
    together.wait()
    libc.free(ctypes.c_void_p(libc.malloc(10_000)))
    together.wait()
libc.malloc.restype = ctypes.c_void_p
with {block}():
    threads = [threading.Thread(target=allocate) for _ in range(8)]
    for thread in threads: thread.start()
    for thread in threads: thread.join()
libc.malloc_info(0, ctypes.c_void_p.in_dll(libc, "stdout"))
libc.fflush(None)
"""


@needs_glibc
def test_threads_share_two_arenas() -> None:
    def arenas(block: str) -> int:
        command = [sys.executable, "-c", THREADS_ALLOCATE.format(block=block)]
        return subprocess.run(command, capture_output=True, text=True, check=True).stdout.count("<heap ")

    assert arenas("small_memory") <= 2 < arenas("nullcontext")


@needs_glibc
def test_what_lies_free_between_blocks_in_use_goes_back() -> None:
    libc = ctypes.CDLL(None)
    libc.malloc.restype, libc.malloc.argtypes = ctypes.c_void_p, [ctypes.c_size_t]
    libc.free.argtypes = [ctypes.c_void_p]
    blocks = [libc.malloc(SIZE) for _ in range(BLOCKS)]
    for block in blocks:
        ctypes.memset(block, 1, SIZE)
    for block in blocks[: -BLOCKS // 100]:
        libc.free(block)
    held = psutil.Process().memory_info().rss
    with small_memory(seconds=0.01):
        time.sleep(0.3)
    given_back = held - psutil.Process().memory_info().rss
    for block in blocks[-BLOCKS // 100 :]:
        libc.free(block)
    assert given_back > BLOCKS * SIZE / 2


def test_without_glibc_nothing_happens(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("stts_runtime.small_memory.ctypes.CDLL", lambda _: object())
    with small_memory(seconds=0.01):
        assert "trim" not in [thread.name for thread in threading.enumerate()]
