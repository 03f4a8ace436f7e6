"""One line for people when something begins, and not for every record that it happens to."""

from __future__ import annotations

import time

from stts_runtime.tell import Tell


class Seldom:
    """Passes a text on at most once in `pause_seconds`."""

    def __init__(self, tell: Tell, pause_seconds: float = 60.0) -> None:
        self._tell, self._pause = tell, pause_seconds
        self._last: float | None = None

    def __call__(self, text: str) -> None:
        now = time.monotonic()
        if self._last is None or now - self._last >= self._pause:
            self._last = now
            self._tell(text)
