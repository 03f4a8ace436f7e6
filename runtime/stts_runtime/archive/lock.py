"""Who writes an archive: a file next to it that its one writer holds, and that says how the last one ended."""

from __future__ import annotations

import fcntl
import os
from pathlib import Path

from stts_runtime.errors import UserError
from stts_runtime.places import check_writable, shown, unwritable

_MODE = 0o640
_OPEN, _CLOSED = b"open  \n", b"closed\n"


class WriterLock:
    """Raises `UserError` if `path` cannot be written, or another process writes it."""

    def __init__(self, path: Path) -> None:
        check_writable(path)
        # Not the archive itself: SQLite's own locks of a file go when anybody in the process closes it.
        self._place = path.with_name(f"{path.name}.lock")
        try:
            self._file = os.open(self._place, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, _MODE)
        except OSError as error:
            raise UserError(unwritable(self._place, error)) from None
        try:
            fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            os.close(self._file)
            raise UserError(
                f"{shown(path)} is being written by another process, or by another sink with other settings: one "
                "writes it, and any number may search it"
            ) from None
        before = os.pread(self._file, len(_OPEN), 0)
        self.is_known, self.was_closed = before != b"", before == _CLOSED
        """Whether it was written before; and whether the last writer ended as it should."""

    def begin(self) -> None:
        """From here on an end without `close` is one that was not meant."""
        self._say(_OPEN)

    def close(self) -> None:
        """All that was written is whole."""
        self._say(_CLOSED)
        os.close(self._file)

    def abandon(self) -> None:
        """The file is not ours, so nothing is left next to it."""
        if not self.is_known:
            self._place.unlink(missing_ok=True)
        os.close(self._file)

    def _say(self, state: bytes) -> None:
        os.pwrite(self._file, state, 0)
        os.fsync(self._file)
