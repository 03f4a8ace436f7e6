"""Which box looks at which stream. It knows names and numbers alone.

Who stands first in the file is served first. A stream stays where it is unless its box is gone, bears less than it
has, or is so much fuller than another that moving one evens it out.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass


@dataclass(frozen=True)
class Placement:
    boxes: Mapping[str, str]
    """Of each stream that is served."""
    waiting: Sequence[str]
    """Streams for which there is no room, in the order of the file."""

    def of(self, box: str) -> list[str]:
        return [stream for stream, at in self.boxes.items() if at == box]


def place(streams: Sequence[str], bears: Mapping[str, int], before: Mapping[str, str]) -> Placement:
    """`bears` says how many streams each box takes, at least one; `before` where streams are now."""
    served = streams[: sum(bears.values())]
    at: dict[str, str] = {}
    load: Counter[str] = Counter()
    for stream in served:
        box = before.get(stream)
        if box is not None and box in bears and load[box] < bears[box]:
            at[stream] = box
            load[box] += 1
    for stream in served:
        if stream not in at:
            at[stream] = _emptiest(bears, load)
            load[at[stream]] += 1
    if served:
        _even_out(at, bears, load)
    return Placement({stream: at[stream] for stream in served}, streams[len(served) :])


def _emptiest(bears: Mapping[str, int], load: Counter[str]) -> str:
    """By the share that is taken once one more is there."""
    return min((box for box in bears if load[box] < bears[box]), key=lambda box: ((load[box] + 1) / bears[box], box))


def _even_out(at: dict[str, str], bears: Mapping[str, int], load: Counter[str]) -> None:
    """Moves the last of the fullest, one by one, as long as that box stays the fuller one of the two."""
    while any(load[box] < bears[box] for box in bears):
        fullest = max(bears, key=lambda box: (load[box] / bears[box], box))
        emptiest = _emptiest(bears, load)
        if load[fullest] / bears[fullest] <= (load[emptiest] + 1) / bears[emptiest]:
            return
        stream = [name for name, box in at.items() if box == fullest][-1]
        at[stream] = emptiest
        load[fullest] -= 1
        load[emptiest] += 1
