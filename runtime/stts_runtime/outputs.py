"""Files that a command is asked to write: checked before any work is done for them, and written whole or not at all."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from stts_runtime.errors import UserError


def check_output(path: Path, suffixes: Sequence[str], source: str | None, bundle: Path) -> None:
    """Raises `UserError` if `path` cannot be written, or would harm what the command reads."""
    check_place(path, suffixes)
    if source is not None and _is_same(path, source):
        raise UserError(f"{path} would overwrite the source")
    if bundle.resolve() in path.resolve().parents:
        raise UserError(f"{path} would lie inside the bundle")


def check_place(path: Path, suffixes: Sequence[str]) -> None:
    """Raises `UserError` if `path` is of the wrong kind, or is no place for a file."""
    if path.suffix.lower() not in suffixes:
        raise UserError(f"{path.name} should end in {' or '.join(suffixes)}")
    if path.exists() and not path.is_file():
        raise UserError(f"{path} is not a plain file; name another")
    if not path.absolute().parent.is_dir():
        raise UserError(f"no such folder: {path.absolute().parent}")


def _is_same(path: Path, source: str) -> bool:
    try:
        return path.samefile(source)
    except OSError:
        return False


@contextmanager
def written_whole(path: Path) -> Iterator[Path]:
    """Yields a name beside `path` that is renamed to it when the block ends well, and deleted when it does not."""
    scratch = path.with_name(f".partial-{os.getpid()}-{path.name}")
    try:
        yield scratch
        scratch.replace(path)
    finally:
        scratch.unlink(missing_ok=True)
