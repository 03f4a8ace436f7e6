"""What commands share that run until they are told to stop."""

from __future__ import annotations

import signal
import sys
import threading
from collections.abc import Sequence
from types import FrameType

from stts_runtime.visible import visible

_SIGNALS = (signal.SIGTERM, signal.SIGINT)


def named(sources: Sequence[str]) -> list[dict[str, str]]:
    """One name for each, in the order of the command line."""
    return [{"name": f"stream-{number}", "source": source} for number, source in enumerate(sources, start=1)]


def stopped_by_signals() -> threading.Event:
    """Set by the first signal; a second one ends the program at once."""
    stop, before = threading.Event(), {number: signal.getsignal(number) for number in _SIGNALS}

    def end(number: int, _: FrameType | None) -> None:
        tell(f"{signal.Signals(number).name}: finishing what is under way")
        stop.set()
        for one, handler in before.items():
            signal.signal(one, handler)

    for number in _SIGNALS:
        signal.signal(number, end)
    return stop


def tell(line: str) -> None:
    """For people."""
    print(visible(line), file=sys.stderr, flush=True)
