"""Writing a folder so that it appears whole or not at all."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from stts_runtime.errors import UserError


@contextmanager
def published(out: Path, replace: bool) -> Iterator[Path]:
    """Yields a fresh folder beside `out` that becomes `out` when the block ends well, and is deleted when it does not.

    Raises `UserError` if `out` exists and `replace` is not set, or if the place cannot be written.
    """
    if out.exists() and not replace:
        raise UserError(f"{out} exists already; choose another --out, or pass --force to replace it")
    try:
        out.parent.mkdir(parents=True, exist_ok=True)
        scratch = Path(tempfile.mkdtemp(prefix=f".{out.name}.partial-", dir=out.parent))
    except OSError as error:
        raise UserError(f"cannot write to {out.parent}: {error.strerror}") from None
    try:
        scratch.chmod(0o755)
        yield scratch
        _swap(scratch, out)
    finally:
        shutil.rmtree(scratch, ignore_errors=True)


def _swap(scratch: Path, out: Path) -> None:
    if not out.exists():
        scratch.rename(out)
        return
    old = scratch.with_name(scratch.name + ".old")
    out.rename(old)
    scratch.rename(out)
    if old.is_dir() and not old.is_symlink():
        shutil.rmtree(old)
    else:
        old.unlink()
