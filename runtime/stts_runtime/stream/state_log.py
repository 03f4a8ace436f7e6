"""What happens to streams, for the log: changes of state, and on request answers."""

from __future__ import annotations

from stts_runtime.records import AlertClip, Record, StreamAnswer
from stts_runtime.sinks.config import ScreenConfig
from stts_runtime.sources.source import State
from stts_runtime.stream.channel import Channel, Look
from stts_runtime.stream.config import Cameras
from stts_runtime.tell import Tell, tell_event

_LEVELS = {State.STALLED: "warning", State.RECONNECTING: "warning", State.REFUSED: "error"}


class StateLog:
    """A listener of the pipeline."""

    def __init__(self, tell: Tell) -> None:
        self._tell = tell

    def saw(self, channel: Channel, look: Look) -> None:
        """Too often for a log."""

    def said(self, record: Record) -> None:
        if isinstance(record, StreamAnswer):
            text = f"{record.stream}: answer {record.number} to {record.question!r}: {record.answer!r}"
            fields = {"number": record.number, "question": record.question, "answer": record.answer}
            tell_event(self._tell, "debug", text, stream=record.stream, **fields)
            return
        if isinstance(record, AlertClip):
            return
        if (bundle := record.bundle) is not None:
            text = f"{record.stream}: {bundle.folder} ({bundle.identity}) answers from number {bundle.from_number} on"
            tell_event(self._tell, "info", text, stream=record.stream, **bundle.model_dump())
            return
        level = _LEVELS.get(State(record.state), "info")
        text = f"{record.stream}: {record.state}: {record.reason}"
        tell_event(self._tell, level, text, stream=record.stream, state=record.state, reason=record.reason)


def state_logs(config: Cameras, tell: Tell) -> list[StateLog]:
    """Empty where the screen shows the records anyway."""
    shown = any(isinstance(sink, ScreenConfig) for sink in config.all_sinks)
    return [] if shown else [StateLog(tell)]
