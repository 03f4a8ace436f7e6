"""What a path on this machine leads to. Nothing is opened, so a pipe without a writer does not block."""

from __future__ import annotations

import os
import re
import stat
from collections.abc import Callable
from pathlib import Path
from urllib.parse import unquote_to_bytes

from stts_runtime.errors import SourceError
from stts_runtime.places import check_folder, look, shown
from stts_runtime.text import redacted

_FILE_URL = re.compile(r"file:/(?:/(?P<host>[^/]*))?(?P<path>.*)", re.IGNORECASE | re.DOTALL)
_HERE = ("", "localhost", "127.0.0.1")
_VIDEO_DEVICE = re.compile(r"/dev/video\d+")
_DEVICE_LINK = re.compile(r"/v4l/by-(id|path)/[^/]+")
"""Also where a container has the host's /dev."""
_VIDEO_MAJOR = 81
"""The major number of V4L2 devices on Linux."""
_NO_DEVICES = ("/dev/fd", "/dev/shm", "/dev/std")  # noqa: S108 - nothing is written there
"""Names under /dev of what is no device of its own."""
_MOST_NAMES = 3

_PIPE = (
    "is a pipe, and recordings are read by seeking in them; save it to a file first and give that, or read a named "
    "pipe as a live stream: gst:filesrc location=PIPE ! decodebin"
)
_OTHER_KINDS: tuple[tuple[Callable[[int], bool], str], ...] = (
    (stat.S_ISFIFO, _PIPE),
    (stat.S_ISSOCK, "is a socket and no video; a camera's stream has an address such as rtsp://HOST/PATH"),
    (stat.S_ISBLK, "is a disk (a block device) and no video; mount it and give a file on it"),
    (stat.S_ISCHR, "is a device and no camera; cameras are /dev/video0 and the like, or links under /dev/v4l/by-id"),
)


def local_path(text: str) -> str:
    """The path that a file:// URL names, percent-decoded; any other text as it is.

    Raises `SourceError` for a file of another machine.
    """
    found = _FILE_URL.fullmatch(text)
    if found is None:
        return text
    if (found["host"] or "").lower() not in _HERE:
        raise SourceError(
            f"{redacted(text)}: what follows file:// names another machine; write file:///PATH for a file of this one"
        )
    return os.fsdecode(unquote_to_bytes("/" + found["path"].lstrip("/")))


def is_camera(path: str) -> bool:
    """Whether `path` is a V4L2 device, a link to one, or a name under /dev that a camera may get when it is plugged in.

    The names under /dev/v4l/by-id and by-path stay the same when the numbers change.
    """
    try:
        if _VIDEO_DEVICE.fullmatch(os.path.realpath(path)):
            return True
        found = Path(path).stat()
    except FileNotFoundError:
        return _is_under_dev(path) or _DEVICE_LINK.search(path) is not None
    except (OSError, ValueError):
        return False
    return stat.S_ISCHR(found.st_mode) and os.major(found.st_rdev) == _VIDEO_MAJOR


def _is_under_dev(path: str) -> bool:
    place = f"{Path(path).absolute()}/"
    return place.startswith("/dev/") and not place.startswith(_NO_DEVICES)


def check_path(path: str) -> None:
    """Raises `SourceError` for what is neither a file nor a folder that may be looked into, and says what it is."""
    if not path or "\0" in path:
        raise SourceError("no file was given")
    if path == "-":
        raise SourceError(f"- (standard input) {_PIPE}")
    mode = look(path, SourceError).st_mode
    for is_kind, words in _OTHER_KINDS:
        if is_kind(mode):
            raise SourceError(f"{shown(path)} {words}")
    if stat.S_ISDIR(mode):
        check_folder(Path(path), SourceError)
        _check_no_devices(path)


def _check_no_devices(path: str) -> None:
    if not _is_under_dev(os.path.realpath(path)):
        return
    names = sorted(entry.name for entry in Path(path).iterdir())
    shown = ", ".join(names[:_MOST_NAMES]) + (", ..." if len(names) > _MOST_NAMES else "")
    raise SourceError(f"{path} is a folder of devices; give one of them: {shown or 'it is empty'}")
