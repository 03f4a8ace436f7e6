"""Appending to a file of lines so that each is there whole or not at all, as long as one process writes.

A line is with the operating system when `append_whole` returns, so it outlives the process. A signal that Python
handles leaves whole lines; kill -9 may cut the one that is being written, where it crosses a page of memory.
"""

from __future__ import annotations

import errno
import fcntl
import os
from pathlib import Path

from stts_runtime.errors import UserError
from stts_runtime.places import check_writable, unwritable


def open_locked(path: Path, mode: int) -> int:
    """A descriptor to read and append with; the file is made, with that mode, if it is not there.

    Raises `UserError` if `path` cannot be opened for writing or another process holds it.
    """
    check_writable(path)
    try:
        file = os.open(path, os.O_RDWR | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, mode)
    except OSError as error:
        raise UserError(unwritable(path, error)) from None
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        os.close(file)
        raise UserError(f"{path} is being written by another process; name another file") from None
    return file


def append_whole(file: int, line: bytes) -> None:
    """`line` is with its end. Raises `OSError` if it cannot be written, and then nothing of it is there."""
    before, written = os.fstat(file).st_size, 0
    try:
        written = os.write(file, line)
    finally:
        if written < len(line):
            os.ftruncate(file, before)
    if written < len(line):
        raise OSError(errno.ENOSPC, "the disk is full")
