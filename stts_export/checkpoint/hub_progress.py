"""How far a download is: what huggingface_hub takes as a class of progress bars, told in lines."""

from __future__ import annotations

from typing import Any

from stts_runtime import clock
from stts_runtime.progress import in_words
from stts_runtime.tell import Tell

_PAUSE_SECONDS = 10.0
"""Shortest time between two lines."""


class Progress:
    """Counts bytes over several files and several tries."""

    def __init__(self, what: str, total_bytes: int, tell: Tell) -> None:
        self._what, self._total, self._tell = what, total_bytes, tell
        self._found = self._done = 0
        self._started = self._said = clock.now()

    def find(self, found_bytes: int) -> None:
        """So much of a file was here from an earlier try: it is done, and says nothing of how fast the rest comes."""
        self._found += found_bytes

    def count(self, received_bytes: float) -> None:
        self._done += int(received_bytes)
        now = clock.now()
        if now - self._said >= _PAUSE_SECONDS and self._done > 0:
            self._said = now
            self._tell(self._line(now - self._started))

    def _line(self, seconds: float) -> str:
        rate = self._done / seconds
        done = self._found + self._done
        return (
            f"{self._what}: {done / 1e9:.2f} of {self._total / 1e9:.2f} GB, {rate / 1e6:.1f} MB/s, "
            f"about {in_words(max(0, self._total - done) / rate)} left"
        )

    @property
    def bar(self) -> type[Any]:
        """A class of bars that show nothing and count here; one is made for every file."""
        return type("Bar", (_Bar,), {"progress": self})


class _Bar:
    """What huggingface_hub uses of tqdm's bars."""

    progress: Progress

    def __init__(self, *_: object, initial: int = 0, **__: object) -> None:
        """Takes all that describes a bar; `initial` is where a file goes on."""
        self.progress.find(initial)

    def __enter__(self) -> _Bar:
        return self

    def __exit__(self, *_: object) -> None:
        """There is nothing to close."""

    def update(self, n: float | None = 1) -> None:
        self.progress.count(n or 0)

    def update_transfer(self, n: float | None = 1) -> None:
        """Ignores transfers that will be counted again as a file."""

    def set_postfix_str(self, *_: object, **__: object) -> None:
        """Nothing is shown."""

    set_transfer_postfix_str = set_description = refresh = close = set_postfix_str
