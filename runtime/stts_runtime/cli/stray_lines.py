"""Where the log is JSON, what others say on standard error is JSON too: libraries, warnings, and errors nobody caught.

It takes what is written through Python. What a library in C writes there by itself, as a driver may, stays as it is.
"""

from __future__ import annotations

import atexit
import io
import logging
import re
import sys
import threading
import traceback
import warnings
from types import TracebackType
from typing import Any

from stts_runtime.cli.log import Log

_LEVELS = ("debug", "info", "warning", "error")
"""From `logging`'s 10 up, in tens; what is above is an error too."""
_LINE_ENDS = re.compile(r"[\r\n]+")


def take_stray_lines(log: Log) -> None:
    """From now on, and to the end of the process. `log` was made before, and goes on writing where it did."""
    taken = _Taken(log, sys.stderr)
    atexit.register(taken.finish)
    sys.stderr = taken

    def uncaught(kind: type[BaseException], error: BaseException | None, trace: TracebackType | None) -> None:
        if not issubclass(kind, SystemExit):
            _tell_error(log, "internal error", error or kind(), trace)

    def unraisable(what: sys.UnraisableHookArgs) -> None:
        _tell_error(log, "exception ignored", what.exc_value or what.exc_type(), what.exc_traceback)

    sys.excepthook = uncaught
    sys.unraisablehook = unraisable
    threading.excepthook = lambda what: uncaught(what.exc_type, what.exc_value, what.exc_traceback)

    def warned(message: Warning | str, category: type[Warning], filename: str, lineno: int, *_: Any, **__: Any) -> None:
        log.event("warning", f"{category.__name__}: {message}", source=f"{filename}:{lineno}")

    warnings.showwarning = warned
    logging.getLogger().addHandler(_Handler(log))


def _tell_error(log: Log, about: str, error: BaseException, trace: TracebackType | None) -> None:
    whole = "".join(traceback.format_exception(type(error), error, trace))
    text = f"{about}: {type(error).__name__}: {error}"
    log.event("error", text, thread=threading.current_thread().name, traceback=whole)


class _Taken(io.TextIOBase):
    """In place of standard error: every line of every thread an event, when its end has come."""

    def __init__(self, log: Log, instead: Any) -> None:
        """`instead` is the file that was standard error."""
        self._log, self._instead = log, instead
        self._begun: dict[int, str] = {}

    @property
    def encoding(self) -> str:  # type: ignore[override]  # a class has it as a variable
        return str(self._instead.encoding)

    def writable(self) -> bool:
        return True

    def fileno(self) -> int:
        return int(self._instead.fileno())

    def flush(self) -> None:
        self._instead.flush()

    def write(self, text: str) -> int:
        # Of a thread only its own beginning: print writes the end of a line by itself.
        thread = threading.get_ident()
        *lines, rest = _LINE_ENDS.split(self._begun.pop(thread, "") + text)
        if rest:
            self._begun[thread] = rest
        self._tell(lines)
        return len(text)

    def finish(self) -> None:
        """Lines that never ended."""
        lines, self._begun = list(self._begun.values()), {}
        self._tell(lines)

    def _tell(self, lines: list[str]) -> None:
        for line in lines:
            if line.strip():
                self._log.line(line, otherwise="warning")


class _Handler(logging.Handler):
    """Of the root logger: what libraries log that has no handler of theirs."""

    def __init__(self, log: Log) -> None:
        super().__init__()
        self._log = log

    def emit(self, record: logging.LogRecord) -> None:
        level = _LEVELS[max(0, min(record.levelno // 10 - 1, 3))]
        trace = {"traceback": self.format(record)} if record.exc_info else {}
        self._log.event(level, record.getMessage(), logger=record.name, **trace)
