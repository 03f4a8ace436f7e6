"""How an evaluation gets through its clips: what a journal holds already, then the others, which are written there."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from typing import TypeVar

from stts_calib.accuracy.journal import Circumstances, Journal
from stts_calib.accuracy.seen import Seen

C = TypeVar("C", bound=Circumstances)
S = TypeVar("S", bound=Seen)


def seen_clips(
    journal: Journal[C, S], count: int, watch: Callable[[Sequence[int]], Iterator[S]], on_clip: Callable[[int], None]
) -> Iterator[tuple[S, float]]:
    """Each of clips 0 to `count` - 1 with the seconds that it took; `watch` is given the numbers that are missing.

    `on_clip` is called with the number of clips done: first with what the journal holds, before engines are loaded.
    """
    held = [line for line in journal.lines if line.seen.clip < count]
    yield from ((line.seen, line.seconds) for line in held)
    on_clip(len(held))
    missing = sorted(set(range(count)) - {line.seen.clip for line in held})
    if not missing:
        return
    before = time.perf_counter()
    for done, seen in enumerate(watch(missing), len(held) + 1):
        now = time.perf_counter()
        if seen.is_final:
            journal.append(seen, now - before)
        yield seen, now - before
        before = now
        on_clip(done)
