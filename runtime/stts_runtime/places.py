"""A place that a user named: whether something is there, what it is, and whether it may be read or written.

The one module that asks the file system about that, so that every mistake with a path is one sentence with the path.
Nothing is read, and a pipe without a writer does not block.
"""

from __future__ import annotations

import errno
import os
import stat
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

from stts_runtime.errors import UserError
from stts_runtime.text import redacted

if TYPE_CHECKING:
    from av.error import FFmpegError

_SHOWN = 240
"""Characters of a path that a sentence has room for."""
_WORDS = {
    errno.ENAMETOOLONG: "the name is too long",
    errno.ELOOP: "it is a link that leads back to itself",
    errno.ENOTDIR: "what is before the last / is a file, not a folder",
    errno.ENOSPC: "the disk is full",
    errno.EDQUOT: "the disk quota is used up",
    errno.EROFS: "the file system is read-only",
    errno.EFBIG: "the file would be larger than is allowed here",
    errno.ENXIO: "it is a socket or a device",
}
"""Where the system's own words do not say what to put right."""
DISK_ERRORS = frozenset((errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EROFS, errno.EIO))
"""What a disk may turn out to be while it is written, whatever was looked at before."""
_KINDS = (
    (stat.S_ISDIR, "a folder"),
    (stat.S_ISREG, "a file"),
    (stat.S_ISFIFO, "a pipe"),
    (stat.S_ISSOCK, "a socket"),
    (stat.S_ISCHR, "a device"),
    (stat.S_ISBLK, "a disk (a block device)"),
)


def shown(path: str | os.PathLike[str]) -> str:
    """A path for people: its end where all of it would fill the screen, escapes for what is no text, and of an address
    that stands where a path belongs no credentials.
    """
    text = redacted(os.fspath(path).encode("utf-8", "backslashreplace").decode())
    return text if len(text) <= _SHOWN else f"...{text[-_SHOWN:]}"


_ANNEX = ".git/annex/"


def reason(error: OSError | FFmpegError) -> str:
    """What the system said of a path, in a few words; who we are where we may not."""
    if error.errno in (errno.EACCES, errno.EPERM):
        return f"permission denied for user {os.geteuid()}"
    return _WORDS.get(error.errno or 0) or (error.strerror or str(error) or "input/output error").lower()


def unusable(path: str | os.PathLike[str], error: OSError, missing: str = "no such file") -> str:
    """A sentence for an error with a path that is read."""
    if isinstance(error, FileNotFoundError):
        if target := _broken(path):
            annex = f"; it is git-annex's: git annex get {shown(path)}" if _ANNEX in os.fspath(target) else ""
            return f"{shown(path)} is a link to {shown(target)}, which is not there{annex}"
        return f"{missing}: {shown(path)}"
    return f"{shown(path)} cannot be read: {reason(error)}"


def unwritable(path: str | os.PathLike[str], error: OSError | FFmpegError) -> str:
    """A sentence for an error with a path that is written."""
    return f"{shown(path)} cannot be written: {reason(error)}"


def _broken(path: str | os.PathLike[str]) -> Path | None:
    """What a link leads to that is the path itself or a folder before it; None where there is none that is broken."""
    links = (place for place in (Path(path), *Path(path).parents) if place.is_symlink())
    return next((link.readlink() for link in links if not link.exists()), None)


def check_here() -> None:
    """Raises `UserError` if the current folder was deleted: paths next to it, and libraries that ask for it, fail."""
    try:
        Path.cwd()
    except FileNotFoundError:
        raise UserError("the folder that this runs in was deleted; cd into another one") from None


def check_name(path: str | os.PathLike[str], error: type[UserError] = UserError) -> None:
    """Raises `error` for what can be no path, or none that records and messages could name."""
    text = os.fspath(path)
    if not text or "\0" in text:
        raise error(f"no path was given: {shown(path)!r}")
    try:
        text.encode()
    except UnicodeEncodeError:
        raise error(f"the name {shown(path)!r} is not valid UTF-8; rename it") from None


def look(
    path: str | os.PathLike[str], error: type[UserError] = UserError, missing: str = "no such file"
) -> os.stat_result:
    """What is there, links followed. Raises `error` with `missing` if nothing is, or with why that is unknown."""
    check_name(path, error)
    try:
        return Path(path).stat()
    except OSError as found:
        raise error(unusable(path, found, missing)) from None


def is_there(path: Path, error: type[UserError] = UserError) -> bool:
    """Whether something is there. Raises `error` if that cannot be determined, rather than assuming that it is not."""
    try:
        path.lstat()
    except FileNotFoundError:
        return False
    except OSError as found:
        raise error(unusable(path, found)) from None
    return True


def kind_of(mode: int) -> str:
    """In words: "a folder"."""
    return next((words for is_kind, words in _KINDS if is_kind(mode)), "no file")


def check_file(path: Path, error: type[UserError] = UserError, wanted: str = "a file") -> None:
    """Raises `error` unless a file is there that may be read."""
    mode = look(path, error).st_mode
    if not stat.S_ISREG(mode):
        raise error(f"{shown(path)} is {kind_of(mode)}, and it should be {wanted}")
    _check_access(path, os.R_OK, error)


def check_folder(
    path: Path, error: type[UserError] = UserError, wanted: str = "a folder", missing: str = "no such folder"
) -> None:
    """Raises `error` unless a folder is there that may be looked into."""
    mode = look(path, error, missing).st_mode
    if not stat.S_ISDIR(mode):
        raise error(f"{shown(path)} is {kind_of(mode)}, and it should be {wanted}")
    _check_access(path, os.R_OK | os.X_OK, error)


def check_writable(path: Path) -> None:
    """Raises `UserError` unless a file can be made there, or the one that is there may be written."""
    check_name(path)
    _check_makeable(path)
    _check_parent(path.absolute().parent)
    try:
        mode = path.lstat().st_mode
    except FileNotFoundError:
        return
    except OSError as error:
        raise UserError(unwritable(path, error)) from None
    if stat.S_ISLNK(mode):
        mode = look(path).st_mode
    if not stat.S_ISREG(mode):
        raise UserError(f"{shown(path)} is {kind_of(mode)} and not a plain file; name another")
    if not _may(path, os.W_OK):
        raise UserError(f"{shown(path)} may not be written by user {os.geteuid()}; name another")


def check_makeable(folder: Path) -> None:
    """Raises `UserError` unless a folder is there that may be written into, or one can be made there."""
    check_name(folder)
    _check_makeable(folder)
    for place in (folder.absolute(), *folder.absolute().parents):
        if is_there(place):
            _check_parent(place)
            return


def _check_makeable(path: Path) -> None:
    """The system tells only of a name that is too long where the folder is there."""
    longest = max(len(os.fsencode(part)) for part in path.absolute().parts)
    if longest > 255 or len(os.fsencode(path.absolute())) > 4095:
        raise UserError(f"{shown(path)} cannot be written: {_WORDS[errno.ENAMETOOLONG]}")


def _check_parent(folder: Path) -> None:
    """Raises `UserError` unless files can be made in `folder`, which is tried: only that tells of read-only disks."""
    check_folder(folder)
    try:
        tempfile.TemporaryFile(dir=folder).close()
    except OSError as error:
        raise UserError(f"{shown(folder)} cannot be written into: {reason(error)}") from None


def _check_access(path: Path, mode: int, error: type[UserError]) -> None:
    if not _may(path, mode):
        raise error(f"{shown(path)} cannot be read: permission denied for user {os.geteuid()}")


def _may(path: Path, mode: int) -> bool:
    return os.access(path, mode, effective_ids=os.access in os.supports_effective_ids)
