"""A folder of pictures and clips, named by stream and time, in which nothing is older or more than is allowed.

`.written.jsonl` lists what was written here: that alone is ever deleted or handed out. A file is listed first, then
written beside its name and renamed, so that whatever ends the process leaves it whole or not at all.
"""

from __future__ import annotations

import json
import os
import threading
from contextlib import suppress
from dataclasses import asdict, dataclass
from datetime import datetime
from pathlib import Path

from stts_runtime import clock
from stts_runtime.errors import SinkError, UserError
from stts_runtime.places import check_makeable, reason, shown, unwritable
from stts_runtime.stream.alert_files import AlertFiles
from stts_runtime.tell import Tell
from stts_runtime.whole_lines import append_whole, open_locked

_MODE = 0o640


@dataclass(frozen=True)
class _Entry:
    file: str
    """STREAM/NAME."""
    bytes: int
    at: float
    """Seconds since 1970."""


class AlertStore:
    """Thread-safe; one process at a time."""

    def __init__(self, settings: AlertFiles, tell: Tell) -> None:
        """Raises `UserError` if the folder cannot be written into, or another process writes there."""
        self.settings, self._tell = settings, tell
        self.folder = settings.folder.absolute()
        self._list = self.folder / ".written.jsonl"
        self._lock = threading.Lock()
        self._is_failing = False
        try:
            check_makeable(self.folder)
            self.folder.mkdir(parents=True, exist_ok=True, mode=0o750)
            self._file = open_locked(self._list, _MODE)
        except OSError as error:
            raise UserError(f"{shown(self.folder)} is no folder for alert_files: {reason(error)}") from None
        self._entries = self._read()
        self.prune()

    def free_name(self, stream: str, moment: datetime) -> str:
        """Of a picture and a clip of that moment (UTC), without suffix: `gate-20261129T201503.412Z`."""
        plain = f"{stream}-{moment:%Y%m%dT%H%M%S}.{moment.microsecond // 1000:03}Z"
        names = [plain, *(f"{plain}-{number}" for number in range(2, 1000))]
        with self._lock:
            taken = {one.rpartition(".")[0] for one in self._entries}
        return next((name for name in names if f"{stream}/{name}" not in taken), names[-1])

    def write(self, stream: str, name: str, content: bytes) -> Path:
        """Writes it whole; the oldest go to make room.

        Raises `SinkError` if it cannot be written, and says so once until it can be again.
        """
        path = self.folder / stream / name
        try:
            with self._lock:
                self._write(path, f"{stream}/{name}", content)
        except OSError as error:
            words = unwritable(path, error)
            self._say_failing(words)
            raise SinkError(words) from None
        if self._is_failing:
            self._is_failing = False
            self._tell("pictures and clips of alarms are written again")
        return path

    def find(self, stream: str, name: str) -> Path | None:
        """A file that was written here and is there."""
        path = self.folder / stream / name
        with self._lock:
            is_ours = f"{stream}/{name}" in self._entries
        return path if is_ours and path.is_file() and not path.is_symlink() else None

    def prune(self) -> None:
        """Deletes what is older, and the oldest of what is more, than is allowed."""
        with self._lock:
            self._prune(0)

    def close(self) -> None:
        with self._lock, suppress(OSError):
            os.close(self._file)

    def _say_failing(self, words: str) -> None:
        if not self._is_failing:
            self._is_failing = True
            self._tell(f"{words}; alarms go on without pictures and clips until it can be")

    def _write(self, path: Path, place: str, content: bytes) -> None:
        if len(content) > self.settings.max_bytes:
            raise OSError(f"{len(content):,} bytes are more than max_bytes")
        self._prune(len(content))
        path.parent.mkdir(exist_ok=True, mode=0o750)
        entry = _Entry(place, len(content), clock.wall().timestamp())
        append_whole(self._file, _line(entry))
        scratch = _scratch(path)
        try:
            with scratch.open("wb") as file:
                file.write(content)
                file.flush()
                os.fsync(file.fileno())
            scratch.replace(path)
        except BaseException:
            with suppress(OSError):
                scratch.unlink()
            raise
        self._entries[place] = entry

    def _prune(self, more_bytes: int) -> None:
        oldest_at = clock.wall().timestamp() - self.settings.keep_for
        size = sum(one.bytes for one in self._entries.values()) + more_bytes
        gone = []
        for entry in self._entries.values():
            if entry.at >= oldest_at and size <= self.settings.max_bytes:
                break
            size -= entry.bytes
            gone.append(entry)
        for entry in gone:
            self._delete(entry)
        if gone:
            # What is listed and not there does no harm.
            with suppress(OSError, UserError):
                self._rewrite()

    def _delete(self, entry: _Entry) -> None:
        """Unless somebody else has put something into its place."""
        path = self.folder / entry.file
        with suppress(OSError):
            if path.lstat().st_size == entry.bytes and not path.is_symlink():
                path.unlink()
        del self._entries[entry.file]

    def _read(self) -> dict[str, _Entry]:
        content = self._list.read_bytes()
        # Half a line, as a power cut leaves it, is of a file that was not written yet.
        os.ftruncate(self._file, content.rfind(b"\n") + 1)
        entries: dict[str, _Entry] = {}
        for line in content.splitlines():
            with suppress(ValueError, TypeError):
                entry = _Entry(**json.loads(line))
                entries[entry.file] = entry
        for place in [one for one in entries if not (self.folder / one).is_file()]:
            with suppress(OSError):
                _scratch(self.folder / place).unlink()
            del entries[place]
        return entries

    def _rewrite(self) -> None:
        scratch = _scratch(self._list)
        fresh = open_locked(scratch, _MODE)
        try:
            os.ftruncate(fresh, 0)
            append_whole(fresh, b"".join(map(_line, self._entries.values())))
            os.fsync(fresh)
            scratch.replace(self._list)
        except BaseException:
            os.close(fresh)
            raise
        os.close(self._file)
        self._file = fresh


def _scratch(path: Path) -> Path:
    return path.with_name(f".partial-{path.name}")


def _line(entry: _Entry) -> bytes:
    return json.dumps(asdict(entry)).encode() + b"\n"
