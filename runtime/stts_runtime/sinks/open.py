"""A sink, a place where records go, and from what the user wrote to the one that it means."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable
from pathlib import Path
from typing import Protocol

from stts_runtime.places import check_makeable, check_writable
from stts_runtime.records import Record
from stts_runtime.sinks.archive import ArchiveSink
from stts_runtime.sinks.config import (
    ArchiveConfig,
    FileConfig,
    MqttConfig,
    ScreenConfig,
    SinkConfig,
    WebhookConfig,
    parse_sink,
)
from stts_runtime.sinks.line_file import FileSink, LineFile, Rotation
from stts_runtime.sinks.screen import ScreenSink
from stts_runtime.sinks.spool import Spool
from stts_runtime.sinks.spooled import Courier, SpooledSink
from stts_runtime.tell import Tell


class Sink(Protocol):
    """`write` is called from the pipeline's thread and never waits for the other side."""

    name: str
    """Without credentials."""

    def write(self, record: Record) -> None:
        """Raises `SinkError` only if the record cannot be kept at all (a full disk); it is then counted as lost."""
        ...

    def close(self, seconds: float) -> None:
        """Hands on what is waiting, for at most so long; what is left stays on the disk for the next start."""
        ...


_REFUSED = Rotation(max_bytes=16_000_000, keep=1, daily=False)


def open_sink(spec: str | SinkConfig, state: Callable[[], Path], tell: Tell) -> Sink:
    """`state` gives the folder for spools, and is asked only for a sink that has one; `tell` gets single lines for
    people, without credentials, from any thread.

    Raises `UserError` for what cannot work, `MissingExtraError` for a library that is not there.
    """
    config = parse_sink(spec) if isinstance(spec, str) else spec
    if isinstance(config, ScreenConfig):
        return ScreenSink(config.format)
    if isinstance(config, FileConfig):
        return FileSink(config, tell)
    if isinstance(config, ArchiveConfig):
        return ArchiveSink(config, tell)
    return _spooled(config, state(), tell)


def check_sink(config: SinkConfig, state: Callable[[], Path]) -> None:
    """Raises what `open_sink` would, as far as it is known without opening it. Secrets are read, nothing is sent."""
    if isinstance(config, FileConfig | ArchiveConfig):
        check_writable(Path(config.to))
    elif not isinstance(config, ScreenConfig):
        _courier(config).close()
        check_makeable(state())


def _spooled(config: WebhookConfig | MqttConfig, state: Path, tell: Tell) -> SpooledSink:
    courier = _courier(config)
    place = state / _file_name(config.name)
    spool = Spool(place.with_name(f"{place.name}.spool"), config.spool_bytes, tell)
    try:
        refused = LineFile(place.with_name(f"{place.name}.refused.jsonl"), _REFUSED, tell)
    except BaseException:
        spool.close()
        raise
    return SpooledSink(config.name, spool, courier, refused, tell, attaches=config.attach is not None)


def _courier(config: WebhookConfig | MqttConfig) -> Courier:
    if isinstance(config, MqttConfig):
        from stts_runtime.sinks.mqtt import Mqtt

        return Mqtt(config)
    from stts_runtime.sinks.webhook import Webhook

    return Webhook(config)


def _file_name(name: str) -> str:
    """Tells names apart that differ in signs alone. `name` has no credentials, so neither has this."""
    plain = re.sub(r"[^A-Za-z0-9]+", "-", name).strip("-")[:60]
    return f"{plain}-{hashlib.sha256(name.encode()).hexdigest()[:8]}"
