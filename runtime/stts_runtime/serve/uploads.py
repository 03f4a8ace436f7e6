"""Uploaded clips and pictures: files with names of ours in a folder of ours, which go away by themselves.

No word of a request becomes part of a path.
"""

from __future__ import annotations

import os
import secrets
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from hashlib import sha256
from pathlib import Path
from typing import BinaryIO

from stts_runtime import clock
from stts_runtime.places import reason
from stts_runtime.serve import media
from stts_runtime.serve.api_errors import ApiError
from stts_runtime.serve.settings import Limits
from stts_runtime.text import visible
from stts_runtime.video import Most, VideoFile

_CHUNK = 1 << 20
_INSUFFICIENT_STORAGE = 507
_NAME_LENGTH = 100
PREFIX = "file-"


@dataclass(eq=False)
class Upload:
    """A file that was looked into. One that can be both, an animated GIF, is a clip unless a picture is asked for."""

    id: str
    name: str
    """As the client called it, for people; without control characters."""
    path: Path
    size_bytes: int
    sha256: bytes
    """Of the file."""
    clip: VideoFile | None
    """Its video; None of a picture."""
    is_picture: bool
    """Whether it can be looked at as a picture."""
    created: int = field(default_factory=lambda: int(time.time()))
    used: float = field(default_factory=clock.now)


class Uploads:
    """Thread-safe. Methods block while they write and look into files."""

    def __init__(self, folder: Path, limits: Limits) -> None:
        """`folder` is empty and belongs to this object; whoever made it removes it."""
        self._folder, self._limits = folder, limits
        self._kept: dict[str, Upload] = {}
        self._lock = threading.Lock()

    def add(self, content: BinaryIO, name: str) -> Upload:
        """Raises `ApiError` or `SourceError` for what is too large, or neither clip nor picture."""
        number = PREFIX + secrets.token_hex(12)
        shown = visible(name)[:_NAME_LENGTH] or "upload"
        path = self._folder / number
        try:
            with _disk_told():
                size, digest = self._write(path, content)
            upload = Upload(number, shown, path, size, digest, *self._look_into(path, shown))
        except BaseException:
            path.unlink(missing_ok=True)
            raise
        with self._lock:
            self._forget_old(room_for=1)
            self._kept[number] = upload
        return upload

    def get(self, number: str, param: str | None = None) -> Upload:
        with self._lock:
            self._forget_old()
            upload = self._kept.get(number)
            if upload is None:
                raise ApiError(404, "no such file; it may have been deleted after a while, upload it again", param)
            upload.used = clock.now()
            return upload

    def all(self) -> list[Upload]:
        with self._lock:
            self._forget_old()
            return list(self._kept.values())

    def delete(self, number: str) -> None:
        self.get(number)
        with self._lock:
            if upload := self._kept.pop(number, None):
                upload.path.unlink(missing_ok=True)

    @contextmanager
    def opened(self, content: bytes, name: str) -> Iterator[VideoFile]:
        """A clip that came within a request, for as long as the block lasts."""
        media.check_clip(content[: media.HEAD_BYTES])
        path = self._folder / secrets.token_hex(12)
        try:
            with _disk_told():
                path.write_bytes(content)
            yield self._clip(path, name)
        finally:
            path.unlink(missing_ok=True)

    def _write(self, path: Path, content: BinaryIO) -> tuple[int, bytes]:
        """Bytes, and their SHA-256."""
        size, digest = 0, sha256()
        with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as file:
            while chunk := content.read(_CHUNK):
                size += len(chunk)
                if size > self._limits.upload_bytes:
                    raise media.too_large(self._limits)
                file.write(chunk)
                digest.update(chunk)
        return size, digest.digest()

    def _look_into(self, path: Path, name: str) -> tuple[VideoFile | None, bool]:
        """The clip, and whether it is a picture. Whatever the file claims to be is decoded, as far as is needed."""
        with path.open("rb") as file:
            kinds = media.kinds_of(file.read(media.HEAD_BYTES))
        if "picture" not in kinds:
            return self._clip(path, name), False
        content = path.read_bytes()
        if media.kind_of(content, self._limits) == "clip":
            return self._clip(path, name), True
        media.picture(content, self._limits)
        return None, True

    def _clip(self, path: Path, name: str) -> VideoFile:
        limits = self._limits
        most = Most(limits.clip_frames, limits.clip_seconds, limits.pixels, limits.decoding_seconds)
        return VideoFile(str(path), most, name)

    def _forget_old(self, room_for: int = 0) -> None:
        now = clock.now()
        by_use = sorted(self._kept.values(), key=lambda upload: upload.used)
        too_many = len(by_use) + room_for - self._limits.uploads
        for place, upload in enumerate(by_use):
            if place < too_many or now - upload.used > self._limits.upload_seconds:
                del self._kept[upload.id]
                upload.path.unlink(missing_ok=True)


@contextmanager
def _disk_told() -> Iterator[None]:
    """A full disk is no fault of the client's, and of ours only as far as we can say what it is."""
    try:
        yield
    except OSError as error:
        raise ApiError(_INSUFFICIENT_STORAGE, f"the server cannot keep what was sent: {reason(error)}") from None
