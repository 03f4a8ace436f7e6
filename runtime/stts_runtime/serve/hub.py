"""What the page and the API know of the streams: the newest picture, the last answers, the state, in bounded memory.

A listener of the pipeline: its thread leaves references here and goes on. Everything that costs time, such as JPEG,
happens when somebody asks, in their thread, once a picture however many ask.
"""

from __future__ import annotations

import threading
from collections import deque
from dataclasses import dataclass
from typing import Protocol

from pydantic import BaseModel

from stts_runtime import clock
from stts_runtime.overlay import Image
from stts_runtime.records import AlertClip, Record, StreamAnswer
from stts_runtime.serve.events import Event, EventBroker
from stts_runtime.serve.pictures import Size, View, live_jpeg
from stts_runtime.sources.source import State
from stts_runtime.stream.channel import Channel, Look
from stts_runtime.stream.watcher import SeenFrame

_LOOKS = 120
"""A minute at two looks a second."""
_ANSWERS = 20
_ALARMS = 20


class LookRecord(BaseModel):
    """One look at a frame, as the graphs of the page show it."""

    stream: str
    number: int
    """Counts the stream's looks from 1."""
    seconds: float
    """On the stream's own time line."""
    novelty: float
    lag_ms: float
    """Age of the frame when it had been looked at."""
    kept: int
    groups: int
    is_key: bool


class StreamRecord(BaseModel):
    """All that is known of a stream now."""

    name: str
    source: str
    """Without credentials."""
    live: bool
    state: State
    reason: str
    since_seconds: float
    """How long it has been in this state."""
    reconnections: int
    questions: list[str]
    """Its own, which it answers by itself."""
    group: str | None
    """Of the configuration."""
    asks_above: float | None
    """The novelty above which it answers them; None if novelty has no say."""
    looked_seconds_ago: float | None
    """Since its newest look; None before the first."""
    looks: list[LookRecord]
    answers: list[StreamAnswer]
    alarms: list[StreamAnswer]
    """The newest answers that raised one."""
    clips: list[AlertClip]
    """The newest of alarms."""
    box: str | None = None
    """Which box of a fleet looks at it."""


@dataclass(frozen=True, eq=False)
class _Newest:
    number: int
    image: Image
    seen: SeenFrame
    looked: float
    """On the clock of `clock.now`."""


class StreamView:
    """One stream's. Written by the pipeline's thread, read by others."""

    def __init__(self, channel: Channel, group: str | None) -> None:
        self.channel, self.group = channel, group
        self._newest: _Newest | None = None
        self._looks: deque[LookRecord] = deque(maxlen=_LOOKS)
        self._answers: deque[StreamAnswer] = deque(maxlen=_ANSWERS)
        self._alarms: deque[StreamAnswer] = deque(maxlen=_ALARMS)
        self._clips: deque[AlertClip] = deque(maxlen=_ALARMS)
        self._changing = threading.Lock()
        self._encoding = threading.Lock()
        self._encoded: dict[tuple[View, Size], tuple[int, bytes]] = {}

    def saw(self, look: Look) -> LookRecord:
        kept, number = look.seen.output.kept, 1 if self._newest is None else self._newest.number + 1
        record = LookRecord(
            stream=self.channel.name,
            number=number,
            seconds=round(look.frame.seconds, 3),
            novelty=round(look.seen.novelty, 4),
            lag_ms=round((clock.now() - look.frame.captured) * 1000, 1),
            kept=int(kept.sum()),
            groups=kept.size,
            is_key=look.seen.is_key,
        )
        with self._changing:
            self._looks.append(record)
        self._newest = _Newest(number, look.frame.image, look.seen, clock.now())
        return record

    @property
    def has_picture(self) -> bool:
        return self._newest is not None

    def said(self, answer: StreamAnswer) -> None:
        with self._changing:
            self._answers.append(answer)
            if answer.alert is not None and answer.alert.change == "raised":
                self._alarms.append(answer)

    def clipped(self, clip: AlertClip) -> None:
        with self._changing:
            self._clips.append(clip)

    def picture(self, view: View, size: Size) -> tuple[int, bytes] | None:
        """The number of the newest look and its JPEG; None before the first. Blocks while it is encoded."""
        with self._encoding:
            newest = self._newest
            if newest is None:
                return None
            encoded = self._encoded.get((view, size))
            if encoded is None or encoded[0] != newest.number:
                output = newest.seen.output
                encoded = newest.number, live_jpeg(newest.image, output.kept, output.scores, view, size)
                self._encoded[view, size] = encoded
            return encoded

    def record(self) -> StreamRecord:
        source = self.channel.source
        status, newest, now = source.status, self._newest, clock.now()
        with self._changing:
            looks, answers = list(self._looks), list(self._answers)
            alarms, clips = list(self._alarms), list(self._clips)
        return StreamRecord(
            name=self.channel.name,
            source=source.name,
            live=source.live,
            state=status.state,
            reason=status.reason,
            since_seconds=round(now - status.since, 1),
            reconnections=source.reconnections,
            questions=list(self.channel.questions),
            group=self.group,
            asks_above=self.channel.asks_above,
            looked_seconds_ago=None if newest is None else round(now - newest.looked, 1),
            looks=looks,
            answers=answers,
            alarms=alarms,
            clips=clips,
        )


class Publisher(Protocol):
    def publish(self, event: Event) -> None:
        """Returns at once."""
        ...


class Hub:
    """A listener of the pipeline."""

    def __init__(self, events: Publisher | None = None) -> None:
        """`events` gets what happens in place of a broker of its own."""
        self.events = EventBroker()
        self._publisher = events or self.events
        self.streams: dict[str, StreamView] = {}

    def watch(self, channel: Channel, group: str | None) -> None:
        """Before the pipeline runs, or between two rounds; others may look at the streams meanwhile."""
        self.streams = {**self.streams, channel.name: StreamView(channel, group)}

    def forget(self, stream: str) -> None:
        """As `watch`."""
        self.streams = {name: view for name, view in self.streams.items() if name != stream}

    def saw(self, channel: Channel, look: Look) -> None:
        record = self.streams[channel.name].saw(look)
        self._publisher.publish(Event("look", record.model_dump_json()))

    def said(self, record: Record) -> None:
        if isinstance(record, StreamAnswer):
            if view := self.streams.get(record.stream):
                view.said(record)
            self._publisher.publish(Event("answer", record.model_dump_json()))
        elif isinstance(record, AlertClip):
            if view := self.streams.get(record.stream):
                view.clipped(record)
            self._publisher.publish(Event("clip", record.model_dump_json()))
        else:
            self._publisher.publish(Event("state", record.model_dump_json()))
