"""What was promised: records that came from boxes and were handed to sinks, and by which number each stream goes on."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from stts_runtime.fleet.config import FleetConfig
from stts_runtime.records import Record, StreamAnswer, StreamEvent, now
from stts_runtime.sources.source import State
from stts_runtime.stream.orders import Labels
from stts_runtime.stream.pipeline import Listener
from stts_runtime.stream.standing import FRESH, Standing


class Ledger:
    """Used from one thread. Sinks that keep records on the disk have them there when `take` returns."""

    def __init__(self, listeners: Sequence[Listener]) -> None:
        self._listeners = listeners
        self._standings: dict[str, Standing] = {}

    def standing(self, stream: str) -> Standing:
        """By which a box goes on where others stopped. What was not taken here was never given a number."""
        return self._standings.get(stream, FRESH)

    def forget(self, stream: str) -> None:
        """It is no longer in the configuration."""
        self._standings.pop(stream, None)

    def take(self, records: Sequence[Record]) -> None:
        for record in records:
            if isinstance(record, StreamAnswer) and record.number:
                self._note(record)
            for listener in self._listeners:
                listener.said(record)

    def say(self, config: FleetConfig, stream: str, reason: str) -> StreamEvent:
        """That nobody looks at a stream for now, and why."""
        entry = next(one for one in config.streams if one.name == stream)
        labels = Labels(site=config.asking(entry).site)
        state = State.RECONNECTING.value
        event = StreamEvent(stream=stream, created=now(), state=state, reason=reason, **labels.of_event())
        self.take([event])
        return event

    def _note(self, answer: StreamAnswer) -> None:
        before = self.standing(answer.stream)
        alarms = before.alarms if answer.alert is None else {**before.alarms, answer.question: answer.alert}
        self._standings[answer.stream] = replace(before, answers=answer.number, alarms=alarms)
