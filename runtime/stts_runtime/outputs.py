"""Files that a command is asked to write: checked before any work is done for them, and written whole or not at all."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from zlib import crc32

from stts_runtime.errors import UserError
from stts_runtime.places import check_writable, unwritable


def check_output(path: Path, suffixes: Sequence[str], source: str | None, bundle: Path) -> None:
    """Raises `UserError` if `path` cannot be written, or would harm what the command reads."""
    check_place(path, suffixes)
    if source is not None and _is_same(path, source):
        raise UserError(f"{path} would overwrite the source")
    if Path(os.path.realpath(bundle)) in Path(os.path.realpath(path)).parents:
        raise UserError(f"{path} would be inside the bundle")


def check_place(path: Path, suffixes: Sequence[str]) -> None:
    """Raises `UserError` if `path` is of the wrong kind, or no file can be written there."""
    if path.suffix.lower() not in suffixes:
        raise UserError(f"{path.name} should end in {' or '.join(suffixes)}")
    check_writable(path)


def _is_same(path: Path, source: str) -> bool:
    try:
        return path.samefile(source)
    except OSError:
        return False


@contextmanager
def written_whole(path: Path) -> Iterator[Path]:
    """Yields a name next to `path` that is renamed to it when the block ends well, and deleted when it does not.

    Raises `UserError` with the path where the disk is full, or cannot be written for another reason.
    """
    # The name itself may be as long as names may be, and its suffix says what is written.
    scratch = path.with_name(f".partial-{os.getpid()}-{crc32(os.fsencode(path.name)):08x}{path.suffix}")
    try:
        yield scratch
        scratch.replace(path)
    except OSError as error:
        raise UserError(unwritable(path, error)) from None
    finally:
        with suppress(OSError):
            scratch.unlink()
