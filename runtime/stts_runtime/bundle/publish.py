"""Writing a folder so that it appears whole or not at all."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from stts_runtime.errors import UserError
from stts_runtime.places import DISK_ERRORS, check_makeable, check_name, is_there, unwritable


@dataclass(frozen=True)
class Replaceable:
    """What may be replaced where something is already: a slip of the hand must not delete anything else."""

    kind: str
    """In words: "a bundle"."""
    knows: Callable[[Path], bool]
    """Whether a folder is one."""
    force: bool
    """Whether the user asked for it."""


@contextmanager
def published(out: Path, replaceable: Replaceable | None = None) -> Iterator[Path]:
    """Yields a fresh folder next to `out` that becomes `out` when the block ends well, and is deleted when it does not.

    Raises `UserError` if `out` exists and may not be replaced, or the place cannot be written, or no more of it.
    """
    check_free(out, replaceable)
    check_makeable(out.absolute().parent)
    missing = [parent for parent in out.absolute().parents if not parent.exists()]
    try:
        try:
            out.absolute().parent.mkdir(parents=True, exist_ok=True)
            scratch = Path(tempfile.mkdtemp(prefix=f".{out.stem[:40]}.partial-", dir=out.absolute().parent))
        except OSError as error:
            raise UserError(unwritable(out, error)) from None
        try:
            scratch.chmod(0o755)
            yield scratch
            check_free(out, replaceable)
            _swap(scratch, out)
        except OSError as error:
            if error.errno not in DISK_ERRORS:
                raise
            raise UserError(unwritable(out, error)) from None
        finally:
            shutil.rmtree(scratch, ignore_errors=True)
    except BaseException:
        _remove_empty(missing)
        raise


def check_free(out: Path, replaceable: Replaceable | None = None) -> None:
    """Raises `UserError` if `out` exists and may not be replaced."""
    if not out.name:
        raise UserError(f"{str(out)!r} names no folder to write")
    check_name(out)
    if not is_there(out):
        return
    if replaceable is None:
        raise UserError(f"{out} exists already; choose another place")
    if out.is_symlink() or not replaceable.knows(out):
        raise UserError(f"{out} exists already and is not {replaceable.kind}; choose another place")
    if not replaceable.force:
        raise UserError(f"{out} exists already; choose another place, or replace it with --force")
    if out.is_mount():
        raise UserError(f"{out} is a volume, which cannot be replaced as a whole; choose a folder on it")


def check_apart(out: Path, source: Path) -> None:
    """Raises `UserError` if one is in the other: what is written may replace nothing that is read."""
    there, here = Path(os.path.realpath(out)), Path(os.path.realpath(source))
    if there == here or there in here.parents or here in there.parents:
        raise UserError(f"--out {out} and {source} must not contain each other")


def _swap(scratch: Path, out: Path) -> None:
    if not out.exists():
        scratch.rename(out)
        return
    old = scratch.with_name(scratch.name + ".old")
    out.rename(old)
    scratch.rename(out)
    shutil.rmtree(old)


def _remove_empty(folders: list[Path]) -> None:
    """Removes parents that were made for nothing, innermost first."""
    for folder in folders:
        with suppress(OSError):
            folder.rmdir()
