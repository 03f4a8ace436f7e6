"""Server-sent events, for clients that read at their own pace: one that is slow loses the oldest, and slows nobody."""

from __future__ import annotations

import asyncio
import threading
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass

_MOST_WAITING = 256
_MOST_POSTED = 4096


@dataclass(frozen=True)
class Event:
    """`data` is one line of JSON."""

    name: str
    data: str


class Subscription:
    """One client's. Used from the event loop alone."""

    def __init__(self) -> None:
        self._waiting: deque[Event] = deque(maxlen=_MOST_WAITING)
        self._arrived = asyncio.Event()
        self.missed = 0
        """How many were dropped because nobody took them; whoever reads them sets it back."""
        self.closed = False

    def put(self, event: Event) -> None:
        self.missed += len(self._waiting) == _MOST_WAITING
        self._waiting.append(event)
        self._arrived.set()

    def close(self) -> None:
        self.closed = True
        self._arrived.set()

    async def take(self, timeout_seconds: float) -> list[Event]:
        """All that waits; empty if nothing came in time, or nothing will come any more."""
        try:
            await asyncio.wait_for(self._arrived.wait(), timeout_seconds)
        except asyncio.TimeoutError:
            return []
        self._arrived.clear()
        taken = list(self._waiting)
        self._waiting.clear()
        return taken


class EventBroker:
    """Passes events from any thread to all subscriptions; publishing costs the same however many there are."""

    def __init__(self) -> None:
        self._subscriptions: set[Subscription] = set()
        self._posted: deque[Event] = deque(maxlen=_MOST_POSTED)
        self._lock = threading.Lock()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._called = False

    @property
    def clients(self) -> int:
        return len(self._subscriptions)

    def subscribe(self) -> Subscription:
        """In the event loop."""
        self._loop = asyncio.get_running_loop()
        subscription = Subscription()
        self._subscriptions.add(subscription)
        return subscription

    def unsubscribe(self, subscription: Subscription) -> None:
        self._subscriptions.discard(subscription)

    def publish(self, event: Event) -> None:
        """From any thread; returns at once."""
        if not self._subscriptions:
            return
        with self._lock:
            self._posted.append(event)
            call, self._called = not self._called, True
        if call:
            self._in_loop(self._hand_out)

    def close(self) -> None:
        """From any thread: every client is told that nothing more comes."""
        self._in_loop(self._close_all)

    def _close_all(self) -> None:
        for subscription in self._subscriptions:
            subscription.close()

    def _in_loop(self, work: Callable[[], None]) -> None:
        if self._loop is not None and not self._loop.is_closed():
            self._loop.call_soon_threadsafe(work)

    def _hand_out(self) -> None:
        with self._lock:
            posted, self._called = list(self._posted), False
            self._posted.clear()
        for event in posted:
            for subscription in self._subscriptions:
                subscription.put(event)
