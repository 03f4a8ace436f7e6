"""Records on standard output: JSON lines for programs, short lines for people.

The one sink that may wait: whoever pipes the output into something slow asks for that.
"""

from __future__ import annotations

import errno
import sys
from typing import Literal, TextIO

from stts_runtime.errors import SinkError
from stts_runtime.places import reason
from stts_runtime.records import AlertClip, Record, StreamEvent
from stts_runtime.text import visible

_FOR_EVER = (errno.EPIPE, errno.EBADF)
"""Nobody will ever read it again: the program ends, as others do."""


class ScreenSink:
    name = "stdout"

    def __init__(self, form: Literal["json", "text"], stream: TextIO | None = None) -> None:
        self._form, self._stream = form, stream or sys.stdout

    def write(self, record: Record) -> None:
        line = record.model_dump_json() if self._form == "json" else text_line(record)
        try:
            self._stream.write(line + "\n")
            self._stream.flush()
        except OSError as error:
            if error.errno in _FOR_EVER:
                raise
            raise SinkError(f"standard output cannot be written: {reason(error)}") from None

    def close(self, seconds: float) -> None:
        """Nothing waits here."""


def text_line(record: Record) -> str:
    """One line without control characters: when, which stream, and what it says."""
    if isinstance(record, StreamEvent):
        return visible(f"{record.created}  {record.stream}  {record.state}: {record.reason}")
    if isinstance(record, AlertClip):
        what = record.reason if record.clip is None else record.clip.path
        return visible(f"{record.created}  {record.stream}  clip of alarm {record.number}: {what}")
    age = record.age_ms.at_last_token / 1000
    answer = " ".join(record.answer.split())
    if record.alert is not None and record.alert.change is not None:
        answer = f"alarm {record.alert.number} {record.alert.change}: {record.alert.rule}, {answer}"
    why = f"at {record.times_seconds[-1]:.1f} s: {record.trigger}; {age:.2f} s after the frame"
    return visible(f"{record.created}  {record.stream}  {answer}  ({why})")
