"""Imports one module and prints what it is, as one JSON line: `python probe.py MODULE SYS_PATH_AS_JSON`.

It runs as a process of its own (`modules`): a native library that does not fit the machine can end the process that
loads it, and writes to whatever terminal it finds.
"""

from __future__ import annotations

import importlib
import json
import os
import sys
from types import TracebackType


def main(module: str, path: str) -> None:
    sys.excepthook = _tell_error
    sys.path[:] = json.loads(path)
    loaded = importlib.import_module(module)
    providers: list[str] = getattr(loaded, "get_available_providers", list)()
    _tell({"version": _version(module), "providers": providers})
    # Nothing that a library does while it is taken down is of interest.
    os._exit(0)


def _version(module: str) -> str | None:
    """Version of the module, or of the nearest enclosing package that has one."""
    while module:
        version = getattr(sys.modules[module], "__version__", None)
        if version is not None:
            return str(version)
        module = module.rpartition(".")[0]
    return None


def _tell_error(kind: type[BaseException], error: BaseException, _: TracebackType | None) -> None:
    missing = error.name if isinstance(error, ModuleNotFoundError) else None
    _tell({"error": " ".join(f"{kind.__name__}: {error}".split()), "missing": missing})


def _tell(message: dict[str, object]) -> None:
    print("\n" + json.dumps(message), flush=True)


if __name__ == "__main__":
    main(*sys.argv[1:])
