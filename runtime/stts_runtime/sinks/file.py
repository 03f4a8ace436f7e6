"""Records in a file of JSON lines that does not grow for ever."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from stts_runtime.sinks.config import FileConfig
from stts_runtime.sinks.line_file import LineFile, Rotation
from stts_runtime.stream.record import Record


class FileSink:
    """See `LineFile` for what is safe when."""

    def __init__(self, config: FileConfig, tell: Callable[[str], None]) -> None:
        self.name = config.name
        self._file = LineFile(Path(config.to), Rotation(config.max_bytes, config.files, config.daily), tell)

    def write(self, record: Record) -> None:
        self._file.append(record.model_dump_json().encode())

    def close(self, seconds: float) -> None:  # noqa: ARG002  # nothing waits here
        self._file.close()
