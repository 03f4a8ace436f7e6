"""A file that lines are appended to, each with a single write.

A line is with the operating system when `append` returns, so it outlives the process. It is on the disk after the next
fsync, which comes at most once a second, when a line is written, and at every change of file: a power cut takes the
lines since then. SIGTERM that is handled leaves whole lines; kill -9 may cut the one that is being written, where it
crosses a page of memory, and a power cut any. That piece is set aside at the next start.
"""

from __future__ import annotations

import os
import re
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from datetime import date, datetime, timezone
from pathlib import Path

from stts_runtime.errors import SinkError, UserError
from stts_runtime.places import unwritable
from stts_runtime.records import Record
from stts_runtime.sinks.config import FileConfig
from stts_runtime.whole_lines import append_whole, open_locked


class Series:
    """The numbered siblings of `path`, of which the newest `keep` stay."""

    def __init__(self, path: Path, keep: int) -> None:
        self._path, self._keep = path, keep
        self._name = re.compile(rf"{re.escape(path.stem)}\.(\d{{6,}}){re.escape(path.suffix)}")

    def files(self) -> list[Path]:
        """Oldest first."""
        numbered = ((self._number(file), file) for file in self._path.parent.iterdir())
        return [file for number, file in sorted(numbered) if number]

    def next(self) -> Path:
        """A name above all that are there."""
        there = self.files()
        number = self._number(there[-1]) + 1 if there else 1
        return self._path.with_name(f"{self._path.stem}.{number:06}{self._path.suffix}")

    @property
    def folder(self) -> Path:
        return self._path.parent

    def prune(self, room_for: int = 0) -> None:
        """Deletes all but the newest, and of those as many as are about to be added."""
        there = self.files()
        for file in there[: max(0, len(there) + room_for - self._keep)]:
            file.unlink(missing_ok=True)

    def _number(self, file: Path) -> int:
        found = self._name.fullmatch(file.name)
        return int(found[1]) if found else 0


_SYNC_PAUSE_SECONDS = 1.0
_BLOCK = 1 << 16
_MODE = 0o640


@dataclass(frozen=True)
class Rotation:
    """A file of `max_bytes`, or of another day (UTC), is moved aside; `keep` of those stay."""

    max_bytes: int
    keep: int
    daily: bool = True


class LineFile:
    """One process at a time. Raises `UserError` if `path` cannot be opened for writing or another process holds it."""

    def __init__(
        self,
        path: Path,
        rotation: Rotation,
        tell: Callable[[str], None],
        clock: Callable[[], float] = time.time,
    ) -> None:
        self.path, self._rotation, self._clock = path, rotation, clock
        self._series = Series(path, rotation.keep)
        self._synced = 0.0
        self._file = open_locked(path, _MODE)
        try:
            self._repair(tell)
            state = os.fstat(self._file)
            self._bytes, self._day = state.st_size, _day(state.st_mtime if state.st_size else clock())
        except BaseException:
            os.close(self._file)
            raise

    def append(self, line: bytes) -> None:
        """`line` is without its end. Raises `SinkError` if it cannot be written, and then nothing of it is there."""
        whole = line + b"\n"
        try:
            self._follow()
            self._rotate_before(len(whole))
            self._write(whole)
        except OSError as error:
            raise SinkError(unwritable(self.path, error)) from None
        except UserError as error:
            raise SinkError(str(error)) from None

    def close(self) -> None:
        if self._file >= 0:
            os.fsync(self._file)
            os.close(self._file)
            self._file = -1

    def _repair(self, tell: Callable[[str], None]) -> None:
        size = os.fstat(self._file).st_size
        whole = _end_of_last_line(self._file, size)
        if whole == size:
            return
        aside = self.path.with_name(f"{self.path.name}.torn")
        with aside.open("ab") as torn:
            torn.write(os.pread(self._file, size - whole, whole) + b"\n")
        os.ftruncate(self._file, whole)
        tell(f"{self.path} ended in half a line, as a power cut or kill -9 leaves it; that was moved to {aside.name}")

    def _follow(self) -> None:
        """Begins anew where somebody moved or deleted the file, as logrotate does: what has no name nobody reads."""
        with suppress(FileNotFoundError):
            if os.path.samestat(self.path.stat(), os.fstat(self._file)):
                return
        fresh = open_locked(self.path, _MODE)
        os.close(self._file)
        self._file, self._bytes = fresh, os.fstat(fresh).st_size

    def _rotate_before(self, more: int) -> None:
        full = self._bytes and self._bytes + more > self._rotation.max_bytes
        today = _day(self._clock())
        if full or (self._rotation.daily and self._bytes and today > self._day):
            self._rotate()
        if today > self._day or _days_between(today, self._day) > 1:
            # A clock that is set back over midnight would have the same day begin twice.
            self._day = today

    def _rotate(self) -> None:
        os.fsync(self._file)
        # It may have been moved away by somebody else, or by us before a failure to open the next.
        with suppress(FileNotFoundError):
            self.path.rename(self._series.next())
        fresh = open_locked(self.path, _MODE)
        os.close(self._file)
        self._file, self._bytes = fresh, 0
        self._series.prune()

    def _write(self, whole: bytes) -> None:
        append_whole(self._file, whole)
        self._bytes += len(whole)
        self._sync_now_and_then()

    def _sync_now_and_then(self) -> None:
        now = time.monotonic()
        if now - self._synced >= _SYNC_PAUSE_SECONDS:
            os.fsync(self._file)
            self._synced = now


def _day(seconds: float) -> str:
    return datetime.fromtimestamp(seconds, timezone.utc).date().isoformat()


def _days_between(one: str, other: str) -> int:
    return abs((date.fromisoformat(one) - date.fromisoformat(other)).days)


def _end_of_last_line(file: int, size: int) -> int:
    """The number of bytes up to and with the last line end."""
    end = size
    while end:
        start = max(0, end - _BLOCK)
        found = os.pread(file, end - start, start).rfind(b"\n")
        if found >= 0:
            return start + found + 1
        end = start
    return 0


class FileSink:
    """See `LineFile` for what is safe when."""

    def __init__(self, config: FileConfig, tell: Callable[[str], None]) -> None:
        self.name = config.name
        self._file = LineFile(Path(config.to), Rotation(config.max_bytes, config.files, config.daily), tell)

    def write(self, record: Record) -> None:
        self._file.append(record.model_dump_json().encode())

    def close(self, seconds: float) -> None:  # noqa: ARG002  # nothing waits here
        self._file.close()
