"""What was looked at lately, in bounded memory: made once however many ask for it, the least recently used goes first,
and what nobody has used for long goes too.

It knows neither clips nor engines: a value is what somebody makes of a key that says all that it depends on.
"""

from __future__ import annotations

import math
import threading
from collections import Counter, OrderedDict
from collections.abc import Callable, Hashable
from concurrent.futures import Future
from dataclasses import dataclass
from typing import Any, Literal, TypeVar

from stts_runtime import clock

Value = TypeVar("Value")

Kind = Literal["frames", "visual_tokens"]
KINDS: tuple[Kind, ...] = ("frames", "visual_tokens")


@dataclass
class _Kept:
    value: Any
    size_bytes: int
    used: float
    """On the clock of `clock.now`."""


class LookCache:
    """Thread-safe."""

    def __init__(self, most_bytes: int, most_seconds: float = math.inf) -> None:
        """0 bytes keep nothing. What has not been used for `most_seconds` is let go when something is asked for."""
        self._most_bytes, self._most_seconds = most_bytes, most_seconds
        self._kept: OrderedDict[tuple[Kind, Hashable], _Kept] = OrderedDict()
        """The least recently used first."""
        self._under_way: dict[tuple[Kind, Hashable], Future[Any]] = {}
        self._lock = threading.Lock()
        self.size_bytes = 0
        self.hits: Counter[Kind] = Counter()
        self.misses: Counter[Kind] = Counter()

    def __len__(self) -> int:
        return len(self._kept)

    def get(
        self, kind: Kind, key: Hashable, make: Callable[[], Value], size_of: Callable[[Value], int]
    ) -> tuple[Value, bool]:
        """The value, and whether it was there. Who asks for what is being made waits for it and gets it, kept or not;
        if that fails, the next tries. Raises what `make` raises, and then nothing is kept.
        """
        full = kind, key
        while True:
            with self._lock:
                self._forget(lambda oldest: oldest.used < clock.now() - self._most_seconds)
                if full in self._kept:
                    return self._hit(full), True
                others = self._under_way.get(full)
                if others is None:
                    self.misses[kind] += 1
                    self._under_way[full] = mine = Future[Any]()
                    break
            if others.exception() is None:
                with self._lock:
                    self.hits[kind] += 1
                return others.result(), True
        return self._made(full, mine, make, size_of), False

    def _hit(self, full: tuple[Kind, Hashable]) -> Any:
        self.hits[full[0]] += 1
        self._kept.move_to_end(full)
        kept = self._kept[full]
        kept.used = clock.now()
        return kept.value

    def _made(
        self, full: tuple[Kind, Hashable], mine: Future[Any], make: Callable[[], Value], size_of: Callable[[Value], int]
    ) -> Value:
        try:
            value = make()
            self._keep(full, value, size_of(value))
        except BaseException as error:
            # Who waits tries itself, so it must not be found any more.
            self._no_longer_under_way(full)
            mine.set_exception(error)
            raise
        self._no_longer_under_way(full)
        mine.set_result(value)
        return value

    def _no_longer_under_way(self, full: tuple[Kind, Hashable]) -> None:
        with self._lock:
            del self._under_way[full]

    def drop(self, kind: Kind, key: Hashable) -> None:
        """Of what turned out to be bad."""
        with self._lock:
            kept = self._kept.pop((kind, key), None)
            self.size_bytes -= kept.size_bytes if kept else 0

    def _keep(self, full: tuple[Kind, Hashable], value: object, size: int) -> None:
        if size > self._most_bytes:
            return
        with self._lock:
            self._kept[full] = _Kept(value, size, clock.now())
            self.size_bytes += size
            self._forget(lambda _: self.size_bytes > self._most_bytes)

    def _forget(self, is_over: Callable[[_Kept], bool]) -> None:
        """The oldest, for as long as that is so."""
        while self._kept and is_over(next(iter(self._kept.values()))):
            self.size_bytes -= self._kept.popitem(last=False)[1].size_bytes
