"""Optional parts of the runtime: what to say when one is not installed."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from stts_runtime.errors import MissingExtraError


@contextmanager
def stream_extra(module: str, users: str) -> Iterator[None]:
    """Around the import of a `module` of the `stream` extra; `users` (plural) cannot work without it.

    Raises `MissingExtraError` in place of `ImportError`.
    """
    try:
        yield
    except ImportError:
        raise MissingExtraError(
            f"{module} is not installed, and {users} need it: pip install 'stts-export[stream]'"
        ) from None


@contextmanager
def serve_extra() -> Iterator[None]:
    """Around the import of the server. Raises `MissingExtraError` naming what is missing of the `serve` extra."""
    try:
        yield
    except ModuleNotFoundError as error:
        raise MissingExtraError(
            f"{error.name} is not installed, and the page and the API need it: pip install 'stts-export[serve]'"
        ) from None
