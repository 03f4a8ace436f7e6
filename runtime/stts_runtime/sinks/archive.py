"""Records into an archive, where `stts-runtime search` finds them. A record is on the disk when `write` returns."""

from __future__ import annotations

from pathlib import Path

from stts_runtime.archive.entry import Entry
from stts_runtime.archive.writer import ArchiveWriter, Room
from stts_runtime.records import Record
from stts_runtime.sinks.config import ArchiveConfig
from stts_runtime.tell import Tell


class ArchiveSink:
    def __init__(self, config: ArchiveConfig, tell: Tell) -> None:
        self.name = config.name
        self._archive = ArchiveWriter(Path(config.to), Room(config.days, config.max_bytes), tell)

    def write(self, record: Record) -> None:
        self._archive.add([Entry.of(record.model_dump())])

    def close(self, seconds: float) -> None:  # noqa: ARG002  # nothing waits here
        self._archive.close()
