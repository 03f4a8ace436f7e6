"""What was looked at lately, in bounded memory: made once however many ask for it, the least recently used goes first.

It knows neither clips nor engines: a value is what somebody makes of a key that says all that it depends on.
"""

from __future__ import annotations

import threading
from collections import Counter, OrderedDict
from collections.abc import Callable, Hashable
from typing import Any, Literal, TypeVar

Value = TypeVar("Value")

Kind = Literal["frames", "visual_tokens"]
KINDS: tuple[Kind, ...] = ("frames", "visual_tokens")


class LookCache:
    """Thread-safe."""

    def __init__(self, most_bytes: int) -> None:
        """0 keeps nothing."""
        self._most_bytes = most_bytes
        self._kept: OrderedDict[tuple[Kind, Hashable], tuple[Any, int]] = OrderedDict()
        self._under_way: set[tuple[Kind, Hashable]] = set()
        self._change = threading.Condition()
        self.size_bytes = 0
        self.hits: Counter[Kind] = Counter()
        self.misses: Counter[Kind] = Counter()

    def __len__(self) -> int:
        return len(self._kept)

    def get(
        self, kind: Kind, key: Hashable, make: Callable[[], Value], size_of: Callable[[Value], int]
    ) -> tuple[Value, bool]:
        """The value, and whether it was there. Who asks for what is being made waits for it; if that fails, the next
        tries. Raises what `make` raises, and then nothing is kept.
        """
        full = kind, key
        with self._change:
            self._change.wait_for(lambda: full in self._kept or full not in self._under_way)
            if full in self._kept:
                self.hits[kind] += 1
                self._kept.move_to_end(full)
                value: Value = self._kept[full][0]
                return value, True
            self.misses[kind] += 1
            self._under_way.add(full)
        try:
            value = make()
            self._keep(full, value, size_of(value))
        finally:
            with self._change:
                self._under_way.remove(full)
                self._change.notify_all()
        return value, False

    def drop(self, kind: Kind, key: Hashable) -> None:
        """Of what turned out to be bad."""
        with self._change:
            _, size = self._kept.pop((kind, key), (None, 0))
            self.size_bytes -= size

    def _keep(self, full: tuple[Kind, Hashable], value: object, size: int) -> None:
        if size > self._most_bytes:
            return
        with self._change:
            self._kept[full] = value, size
            self.size_bytes += size
            while self.size_bytes > self._most_bytes:
                _, (_, oldest) = self._kept.popitem(last=False)
                self.size_bytes -= oldest
