"""From a configuration to what keeps pictures and clips of alarms."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from urllib.parse import quote

from stts_runtime.errors import SourceError
from stts_runtime.sources.clips import Clips
from stts_runtime.sources.open import has_packets, open_clips
from stts_runtime.stream.alert_files import LATE
from stts_runtime.stream.alert_store import AlertStore
from stts_runtime.stream.alerts import AlertRule
from stts_runtime.stream.clip_writer import ClipWriter
from stts_runtime.stream.config import Cameras, StreamEntry
from stts_runtime.stream.pipeline import Events
from stts_runtime.stream.witness import Archive, Witness
from stts_runtime.tell import Tell

Link = Callable[[str], str | None]
"""Makes a URL of STREAM/NAME."""


def no_link(_: str) -> None:
    """Where nothing serves the files."""


@contextmanager
def open_alert_files(config: Cameras, events: Events, tell: Tell, link: Link = no_link) -> Iterator[Archive | None]:
    """None where the configuration names no folder. `link` is for one that gives no `url` of its own.

    Raises `UserError` if the folder cannot be used.
    """
    if config.alert_files is None:
        yield None
        return
    for note in clip_notes(config):
        tell(f"note: {note}")
    given = config.alert_files.url
    links: Link = link if given is None else lambda place: f"{given}/{quote(place)}"
    with (
        closing(AlertStore(config.alert_files, tell)) as store,
        closing(ClipWriter(events.clip, store.prune)) as writer,
    ):
        yield Archive(store, writer, events.clip, links)


def clips_of(entry: StreamEntry, alert: AlertRule | None, archive: Archive | None) -> Clips | None:
    """What clips of the stream's alarms are cut from; None where none are asked for, or there can be none."""
    if alert is None or alert.clip is None or archive is None or entry.masks:
        return None
    return open_clips(entry.source, alert.clip.before + alert.clip.after + LATE, archive.store.settings.buffer_bytes)


def clip_notes(config: Cameras) -> list[str]:
    """Streams whose alarms should have a clip and get none, each with the reason."""
    return [
        f"{entry.name}: alarms come without a clip: {reason}"
        for entry in config.streams
        if (alert := config.asking(entry).alert) is not None
        and alert.clip is not None
        and (reason := _why_no_clip(entry)) is not None
    ]


def _why_no_clip(entry: StreamEntry) -> str | None:
    if entry.masks:
        return "it would be cut as the source sends it, without the masks"
    try:
        return None if has_packets(entry.source) else "this kind of source gives pictures and no packets"
    except SourceError:
        # Whoever opens the source says it.
        return None


def witness_of(stream: str, alert: AlertRule | None, archive: Archive | None, clips: Clips | None) -> Witness | None:
    if alert is None or archive is None or not alert.needs_files:
        return None
    return Witness(stream, alert, archive, clips)
