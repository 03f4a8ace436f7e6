"""Who is told what happens in the pipeline: sinks, metrics, previews."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from stts_runtime.errors import SinkError
from stts_runtime.sinks.sink import Sink
from stts_runtime.stream.channel import Channel, Look
from stts_runtime.stream.record import Record, StreamAnswer
from stts_runtime.tell import Seldom, Tell

if TYPE_CHECKING:
    from stts_runtime.stream.metrics import StreamMetrics
    from stts_runtime.stream.preview import Preview


class Delivery:
    """Hands each stream's records to its sinks. One that fails takes nothing from the others."""

    def __init__(self, sinks: Mapping[str, Sequence[Sink]], tell: Tell, metrics: StreamMetrics | None) -> None:
        """`sinks` by stream."""
        self._sinks, self._metrics = sinks, metrics
        self._say = {sink.name: Seldom(tell) for of_stream in sinks.values() for sink in of_stream}

    def saw(self, channel: Channel, look: Look) -> None:
        """Sinks take words, and no pictures."""

    def said(self, record: Record) -> None:
        for sink in self._sinks[record.stream]:
            self._write(sink, record)

    def _write(self, sink: Sink, record: Record) -> None:
        try:
            sink.write(record)
        except SinkError as error:
            self._say[sink.name](f"{sink.name}: a record was lost: {error}")
            if self._metrics is not None:
                self._metrics.lost(sink.name)


class Measured:
    """What metrics count, told in their words."""

    def __init__(self, metrics: StreamMetrics) -> None:
        self._metrics = metrics
        self._reconnections: dict[str, int] = {}
        self._skipped: dict[str, int] = {}

    def saw(self, channel: Channel, look: Look) -> None:
        self._metrics.frame(channel.name, look.frame.captured)
        for _ in range(channel.source.reconnections - self._reconnections.get(channel.name, 0)):
            self._metrics.reconnected(channel.name)
        for _ in range(channel.skipped - self._skipped.get(channel.name, 0)):
            self._metrics.skipped(channel.name)
        self._reconnections[channel.name] = channel.source.reconnections
        self._skipped[channel.name] = channel.skipped

    def said(self, record: Record) -> None:
        if isinstance(record, StreamAnswer):
            self._metrics.answered(record)
            for cause, count in record.dropped.items():
                self._metrics.dropped(record.stream, cause, count)


class Shown:
    """A video a stream of what was kept, with the latest answer."""

    def __init__(self, previews: Mapping[str, Preview], tell: Tell) -> None:
        self._previews, self._say = previews, Seldom(tell)
        self._answers: dict[str, str] = {}

    def saw(self, channel: Channel, look: Look) -> None:
        seen = look.seen
        text = self._answers.get(channel.name, "")
        try:
            self._previews[channel.name].show(look.frame.image, seen.output.kept, text, seen.seconds)
        except SinkError as error:
            self._say(f"{channel.name}: {error}")

    def said(self, record: Record) -> None:
        if isinstance(record, StreamAnswer):
            self._answers[record.stream] = record.answer
