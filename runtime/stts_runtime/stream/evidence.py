"""From a configuration to what keeps pictures and clips of alarms."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from urllib.parse import quote

from stts_runtime.sources.clips import Clips
from stts_runtime.sources.open import open_clips
from stts_runtime.stream.alert_files import LATE
from stts_runtime.stream.alert_store import AlertStore
from stts_runtime.stream.config import Cameras, StreamEntry
from stts_runtime.stream.pipeline import Events
from stts_runtime.stream.witness import ClipWriter, Witness
from stts_runtime.tell import Tell

Link = Callable[[str], str | None]
"""Makes a URL of STREAM/NAME."""


def no_link(_: str) -> None:
    """Where nothing serves the files."""


@contextmanager
def open_alert_files(
    config: Cameras, events: Events, tell: Tell, link: Link = no_link
) -> Iterator[ClipWriter | None]:
    """None where the configuration names no folder. `link` is for one that gives no `url` of its own.

    Raises `UserError` if the folder cannot be used.
    """
    if config.alert_files is None:
        yield None
        return
    given = config.alert_files.url
    links: Link = link if given is None else lambda place: f"{given}/{quote(place)}"
    with closing(AlertStore(config.alert_files, tell)) as store, closing(ClipWriter(store, events.clip, links)) as writer:
        yield writer


def clips_of(config: Cameras, entry: StreamEntry, tell: Tell) -> Clips | None:
    """What clips of the stream's alarms are cut from; if there is nothing, though they are asked for, that is told."""
    alert = config.asking(entry).alert
    if alert is None or alert.clip is None or config.alert_files is None:
        return None
    if entry.masks:
        tell(f"note: {entry.name}: alarms come without a clip: it would be cut as the source sends it, without masks")
        return None
    seconds = alert.clip.before + alert.clip.after + LATE
    clips = open_clips(entry.source, seconds, config.alert_files.buffer_bytes)
    if clips is None:
        tell(f"note: {entry.name}: alarms come without a clip: this kind of source gives pictures and no packets")
    return clips


def witness_of(
    config: Cameras, entry: StreamEntry, writer: ClipWriter | None, clips: Clips | None
) -> Witness | None:
    alert = config.asking(entry).alert
    if alert is None or writer is None or not alert.needs_files:
        return None
    return Witness(entry.name, alert, writer, clips)
