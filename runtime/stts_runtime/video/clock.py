"""From a file's time stamps to the seconds at which its pictures are shown. The one rule for every recording.

It sees numbers alone and knows no container. Stamps are trusted as long as they can be: what is wrong with them is
mended with as little change as possible, and said.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Times = NDArray[np.float64]

Mask = NDArray[np.bool_]
Numbers = NDArray[np.int64]

_MOST_REORDERED = 16
"""Pictures that any codec decodes before one that is shown earlier."""
_SLIPS = 2
"""The same where the codec reorders nothing: a stamp may repeat or slip back now and then."""
_COMPARED = 40
"""Stamps on each side that say whether one is out of order."""
_NEIGHBOURS = 8
_MOST_STRAYS = 4
"""In a row. This many neighbours of a stray stamp may be just as wrong."""
_STRAY_SECONDS = 1.0
_HOLE_STEPS = 1.5
"""A gap from which a picture is missing."""
_LONE_END_SECONDS = 6 * 3600.0
_LONE_END_LENGTHS = 10.0
"""The first and last stamps have neighbours on one side only, and a still scene may end with a long pause."""
_REORDERED_SHARE = 0.05
_REORDERED_STEPS = 3
_RESTART_SECONDS = 2.0
_RESTART_STEPS = 32
JUMP_SECONDS = 10.0
"""A longer step forward is no hole in the film but a clock that was set again, where that can be."""
_UNUSABLE_SHARE = 0.5


@dataclass(frozen=True)
class Clock:
    """Packets in the order in which their pictures are shown, and when."""

    order: Numbers
    """Numbers of the packets, counted in decoding order."""
    seconds: Times
    """(F,), from 0, never falling."""
    step_seconds: float
    """How long most pictures are shown."""
    notes: tuple[str, ...] = ()

    @property
    def duration_seconds(self) -> float:
        """To the end of the last picture, which lasts as long as most do."""
        return float(self.seconds[-1] + self.step_seconds) if len(self.seconds) else 0.0


def read_clock(stamps: Times, reordered: bool, may_jump: bool, nominal_step: float) -> Clock:
    """`stamps` are seconds in decoding order, NaN where there is none.

    `reordered`: the codec shows pictures in another order than it decodes them. `may_jump`: the container is one whose
    clock jumps where recordings were joined (transport streams), so a jump is no pause. `nominal_step` in seconds.
    """
    everything = np.arange(len(stamps))
    if not _usable(stamps, reordered):
        return Clock(everything, everything.astype(np.float64) * nominal_step, nominal_step)
    reordered = reordered or _steps_back(stamps[np.isfinite(stamps)])
    slips = _MOST_REORDERED if reordered else _SLIPS
    stray = _strays(stamps, slips)
    mended = _place(stamps, stray, reordered)
    starts = _starts(mended, slips, may_jump, _median_step(np.diff(np.sort(mended)), nominal_step))
    runs = [slice(*pair) for pair in zip(starts, [*starts[1:], len(mended)], strict=True)]
    order = np.concatenate([_in_order(mended[run], reordered) + run.start for run in runs])
    shown = [np.maximum.accumulate(mended[order[run]]) for run in runs]
    step = _median_step(np.concatenate([np.diff(one) for one in shown]), nominal_step)
    seconds = _joined(shown, step)
    restarts = [float(seconds[run.start]) for run in runs[1:]]
    return Clock(order, seconds, step, (*_stray_note(stamps, stray), *_restart_note(restarts)))


def _usable(stamps: Times, reordered: bool) -> bool:
    known = stamps[np.isfinite(stamps)]
    if len(known) < max(2, _UNUSABLE_SHARE * len(stamps)):
        return False
    steps = np.diff(known)
    return _share(steps == 0 if reordered else steps <= 0) <= _UNUSABLE_SHARE


def _strays(stamps: Times, slips: int) -> Mask:
    """Stamps that are out of order by more than `slips` and far from their neighbours, and those that are missing."""
    stray = ~np.isfinite(stamps)
    for _ in range(_MOST_STRAYS + 1):
        numbers = np.flatnonzero(~stray)
        if len(numbers) <= 2 * _MOST_STRAYS:
            break
        known = stamps[numbers]
        distance = _distance(known)
        found = (_out_of_order(known) > slips) & (distance > _STRAY_SECONDS) | _lone_ends(known, distance, slips)
        if not found.any() or found.mean() > _UNUSABLE_SHARE:
            break
        stray[numbers[found]] = True
    return stray


def _around(stamps: Times, before: int, after: int, fill: float) -> Times:
    """(P, before + 1 + after): each stamp among those around it, `fill` beyond the ends."""
    padded = np.concatenate([np.full(before, fill), stamps, np.full(after, fill)])
    return np.lib.stride_tricks.sliding_window_view(padded, before + 1 + after)


def _out_of_order(stamps: Times) -> Numbers:
    """How many later packets have earlier stamps, or how many earlier ones later stamps."""
    later = (_around(stamps, 0, _COMPARED, np.inf) < stamps[:, None]).sum(axis=1)
    earlier = (_around(stamps, _COMPARED, 0, -np.inf) > stamps[:, None]).sum(axis=1)
    worse: Numbers = np.maximum(later, earlier)
    return worse


def _distance(stamps: Times) -> Times:
    """Seconds to the nearest neighbour that cannot be a stray of the same row."""
    apart = np.abs(_around(stamps, _NEIGHBOURS, _NEIGHBOURS, np.inf) - stamps[:, None])
    # The stamp itself is one of them.
    nearest: Times = np.partition(apart, _MOST_STRAYS, axis=1)[:, _MOST_STRAYS]
    return nearest


def _lone_ends(stamps: Times, distance: Times, ends: int) -> Mask:
    """Among the first and last stamps, those that lie longer than a long pause from all others."""
    lone = distance > _LONE_END_SECONDS
    lone[ends:-ends] = False
    if lone.any() and not lone.all():
        lone &= distance > _LONE_END_LENGTHS * float(np.ptp(stamps[~lone]))
    return lone


def _place(stamps: Times, stray: Mask, reordered: bool) -> Times:
    """Stray stamps between their neighbours: where the order is known there, else in the widest gap around."""
    everything, mended = np.arange(len(stamps)), stamps.copy()
    if not reordered:
        return np.interp(everything, everything[~stray], stamps[~stray])
    mended[stray] = np.nan
    for number in np.flatnonzero(stray).tolist():
        near = mended[max(0, number - _COMPARED) : number + _COMPARED + 1]
        mended[number] = _hole(np.sort(near[np.isfinite(near)]), number, len(stamps))
    return mended


def _hole(near: Times, number: int, count: int) -> float:
    """Where a stamp is missing among `near`, which ascend: in the widest gap where all others are there, or before or
    after them if packet `number` is one of the first or last of all `count`.
    """
    if len(near) < 2:
        return float(near.sum())
    is_first, is_last, quarter = number < _MOST_REORDERED, number >= count - _MOST_REORDERED, len(near) // 4
    # Towards the middle of the film some of those shown next to one another are decoded farther away.
    start, stop = 0 if is_first else quarter, len(near) - 1 - (0 if is_last else quarter)
    gaps = np.diff(near)
    step, widest = float(np.median(gaps)), start + int(np.argmax(gaps[start:stop]))
    if (is_first or is_last) and gaps[widest] < _HOLE_STEPS * step:
        return float(near[0] - step if is_first else near[-1] + step)
    return float(near[widest] + near[widest + 1]) / 2


def _steps_back(stamps: Times) -> bool:
    """Whether so many steps go back that it is the order of decoding and no mistake."""
    back = np.diff(stamps) < 0
    return int(back.sum()) >= _REORDERED_STEPS and _share(back) > _REORDERED_SHARE


def _starts(stamps: Times, slips: int, may_jump: bool, step: float) -> list[int]:
    """Where the clock starts again: 0, and every packet that is far before the latest one, or far after it where the
    clock may jump, if so are the packets that follow it.
    """
    back = max(_RESTART_SECONDS, _RESTART_STEPS * step)
    jump = JUMP_SECONDS + back if may_jump else np.inf
    highest = _around(stamps, 0, slips, np.inf).max(axis=1)
    lowest = _around(stamps, 0, slips, -np.inf).min(axis=1)
    starts, latest = [0], -np.inf
    for number, (stamp, high, low) in enumerate(zip(stamps.tolist(), highest.tolist(), lowest.tolist(), strict=True)):
        is_back = stamp < latest - back and high < latest
        if number and (is_back or (stamp > latest + jump and low > latest)):
            starts.append(number)
            latest = stamp
        latest = max(latest, stamp)
    return starts


def _in_order(stamps: Times, reordered: bool) -> Numbers:
    return np.argsort(stamps, kind="stable") if reordered else np.arange(len(stamps))


def _joined(runs: list[Times], step: float) -> Times:
    """One run after the other, a picture's time apart, the first from 0."""
    joined, end = [], 0.0
    for run in runs:
        joined.append(run - run[0] + end)
        end = float(joined[-1][-1]) + step
    seconds: Times = np.concatenate(joined)
    return seconds


def _median_step(steps: Times, nominal: float) -> float:
    forward = steps[steps > 0]
    return float(np.median(forward)) if len(forward) else nominal


def _share(mask: Mask) -> float:
    return float(mask.mean()) if len(mask) else 0.0


def _stray_note(stamps: Times, stray: Mask) -> list[str]:
    wrong = stamps[stray & np.isfinite(stamps)]
    if not len(wrong):
        return []
    if len(wrong) == 1:
        return [f"the time stamp of 1 frame ({wrong[0]:.1f} s) does not fit its neighbours: it was placed between them"]
    return [f"the time stamps of {len(wrong)} frames do not fit their neighbours: they were placed between them"]


def _restart_note(restarts: list[float]) -> list[str]:
    if not restarts:
        return []
    places = ", ".join(f"{seconds:.1f}" for seconds in restarts[:3]) + (", ..." if len(restarts) > 3 else "")
    return [f"its clock jumps at {places} s: what follows was taken to come directly after what was before"]
