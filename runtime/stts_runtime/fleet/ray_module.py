"""Ray as a module: whether it is there and new enough, and so that it is quiet.

It tells nobody how it is used, and says nothing on our output. What is done with it is in `cluster`.
"""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from importlib import import_module
from types import ModuleType

from stts_runtime.errors import MissingExtraError

_OLDEST = (2, 50)
_INSTALL = "pip install 'stts-export[fleet]'"
_QUIET = {
    "RAY_USAGE_STATS_ENABLED": "0",
    "RAY_USAGE_STATS_PROMPT_ENABLED": "0",
    # Of Ray's own threads in this process, which write to stderr past everything.
    "RAY_BACKEND_LOG_LEVEL": "fatal",
}


def ray_module() -> ModuleType:
    """Ray with all that it uses here. Raises `MissingExtraError` where it is not installed, or too old."""
    for name, value in _QUIET.items():
        os.environ.setdefault(name, value)
    try:
        # By name, so that nobody's types are read but ours.
        ray = import_module("ray")
    except ImportError:
        raise MissingExtraError(f"ray is not installed, and a fleet needs it: {_INSTALL}") from None
    if _version(ray.__version__) < _OLDEST:
        oldest = ".".join(map(str, _OLDEST))
        raise MissingExtraError(f"ray {ray.__version__} is too old, a fleet needs {oldest} or newer: {_INSTALL}")
    for name in ("ray.exceptions", "ray.util.scheduling_strategies"):
        import_module(name)
    # It prints what becomes of machines on standard output, where records go, and has no switch for that.
    vars(import_module("ray._private.worker"))["print_to_stdstream"] = _nothing
    return ray


@contextmanager
def quiet_stderr() -> Iterator[None]:
    """For what Ray's C++ writes past Python as it starts. What is wrong comes as an exception."""
    sys.stderr.flush()
    before, nowhere = os.dup(2), os.open(os.devnull, os.O_WRONLY)
    try:
        os.dup2(nowhere, 2)
        yield
    finally:
        os.dup2(before, 2)
        os.close(before)
        os.close(nowhere)


def _nothing(*_: object, **__: object) -> None:
    """In place of what Ray prints: the fleet says itself what becomes of its machines."""


def _version(text: str) -> tuple[int, ...]:
    return tuple(int(part) for part in re.findall(r"\d+", text)[:2])
