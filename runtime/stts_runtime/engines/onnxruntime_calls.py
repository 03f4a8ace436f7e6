"""ONNX Runtime as an optional package: its import, and its exceptions as ours."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from stts_runtime.errors import MissingExtraError, SttsError, UserError

# Whatever it has to say comes back as an exception.
SILENT = 4

_REMEDY = "stop other programs, or use fewer frames, a lower keep or a smaller --max-context"
_MEMORY_IS_FULL = ("Failed to allocate memory", "out of memory", "CUDA failure 2:")


def onnxruntime_for(engines: str, extra: str) -> Any:
    """Raises `MissingExtraError` if there is none."""
    try:
        import onnxruntime
    except ImportError:
        raise MissingExtraError(
            f"onnxruntime is not installed, and the bundle's {engines} engines run on it: "
            f"pip install 'stts-export[{extra}]'"
        ) from None
    return onnxruntime


@contextmanager
def foreign_errors_as(
    error_type: type[SttsError], what: str, full_memory: Callable[[], UserError] | None = None
) -> Iterator[None]:
    """Turns ONNX Runtime's own exceptions into ours; a full memory, which `full_memory` has words for if it is not the
    host's, is the user's to mend.
    """
    try:
        yield
    except _foreign_errors() as error:
        message = (str(error).strip().splitlines() or [type(error).__name__])[0]
        if any(words in str(error) for words in _MEMORY_IS_FULL):
            full = full_memory() if full_memory else "the memory is full; " + _REMEDY
            raise UserError(f"{what}: {full} (ONNX Runtime says: {message})") from error
        raise error_type(f"{what}: ONNX Runtime says: {message}") from error


def _foreign_errors() -> tuple[type[Exception], ...]:
    """What ONNX Runtime raises: classes of its own, which have no common base, and what its binding raises."""
    from onnxruntime.capi import onnxruntime_pybind11_state as state

    own = [kind for kind in vars(state).values() if isinstance(kind, type) and issubclass(kind, Exception)]
    return (*own, RuntimeError, ValueError)
