"""What programs that run for long say on stderr: lines with a time and a level, for people or as JSON."""

from __future__ import annotations

import json
import re
import sys
from enum import Enum
from typing import Annotated, Any

import typer

from stts_runtime import clock
from stts_runtime.cli.help import OPERATION
from stts_runtime.text import visible

# How lines of the parts begin that know of no levels.
_WORD = re.compile(r"(note|warning|error): ")
_LEVELS = ("debug", "info", "warning", "error")


class LogFormat(str, Enum):
    TEXT = "text"
    JSON = "json"


class LogLevel(str, Enum):
    DEBUG = "debug"
    INFO = "info"
    WARNING = "warning"
    ERROR = "error"


LogFormatOption = Annotated[
    LogFormat, typer.Option("--log-format", help="Format of the log on stderr.", rich_help_panel=OPERATION)
]
LogLevelOption = Annotated[
    LogLevel, typer.Option("--log-level", help="Lowest level to log.", rich_help_panel=OPERATION)
]


class Log:
    """Takes lines as `Tell` does, and events with fields. Thread-safe. It writes to what is standard error by now."""

    def __init__(self, kind: LogFormat = LogFormat.TEXT, least: LogLevel = LogLevel.INFO) -> None:
        self._kind, self._least, self._out = kind, _LEVELS.index(least.value), sys.stderr

    def __call__(self, line: str) -> None:
        self.line(line, otherwise="info")

    def line(self, line: str, *, otherwise: str) -> None:
        """Its first word may be its level; `otherwise` is the level of one without."""
        found = _WORD.match(line)
        self._write(found[1] if found else otherwise, line[found.end() :] if found else line, {})

    def event(self, level: str, text: str, **fields: Any) -> None:
        """`fields` are told in JSON alone: `text` says all of it too."""
        self._write(level, text, fields)

    def _write(self, word: str, text: str, fields: dict[str, Any]) -> None:
        """`word` is a level, or note, which is an info."""
        level = "info" if word == "note" else word
        if _LEVELS.index(level) < self._least:
            return
        time = clock.wall().isoformat(timespec="milliseconds").replace("+00:00", "Z")
        if self._kind is LogFormat.JSON:
            line = json.dumps({"time": time, "level": level, "message": text, **fields})
        else:
            line = f"{time} {word}: {visible(text)}"
        # In one piece: print writes the end of a line by itself, and other threads tell too.
        print(f"{line}\n", end="", file=self._out, flush=True)
