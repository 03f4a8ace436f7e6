"""From a file's time stamps to the seconds at which its pictures are shown. The one rule for every recording.

It sees numbers alone and knows no container. Stamps are trusted as long as they can be: what is wrong with them is
mended with as little change as possible, and said.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from stts_runtime.video.sampling import Times

Mask = NDArray[np.bool_]
Numbers = NDArray[np.int64]

_NEIGHBOURS = 4
"""On each side of a stamp: so many strays in a row are recognised."""
_STRAY_SPREADS = 20.0
_STRAY_SECONDS = 1.0
_LONE_END_SECONDS = 3600.0
_LONE_END_LENGTHS = 10.0
"""The first or last stamp has neighbours on one side only, and a still scene may end with a long pause."""
_REORDERED_SHARE = 0.05
_REORDERED_STEPS = 3
_RESTART_SECONDS = 2.0
_RESTART_STEPS = 32
_JUMP_SECONDS = 10.0
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
    stray = _strays(stamps)
    mended = np.interp(everything, everything[~stray], stamps[~stray])
    reordered = reordered or _steps_back(mended)
    starts = _starts(mended, may_jump, _median_step(np.sort(mended), nominal_step))
    runs = [slice(*pair) for pair in zip(starts, [*starts[1:], len(mended)], strict=True)]
    order = np.concatenate([_in_order(mended[run], reordered) + run.start for run in runs])
    shown = [np.maximum.accumulate(mended[order[run]]) for run in runs]
    step = _median_step(np.concatenate([np.diff(one) for one in shown]), nominal_step, steps=True)
    seconds = _joined(shown, step)
    restarts = [float(seconds[run.start]) for run in runs[1:]]
    return Clock(order, seconds, step, (*_stray_note(stamps, stray), *_restart_note(restarts)))


def _usable(stamps: Times, reordered: bool) -> bool:
    known = stamps[np.isfinite(stamps)]
    if len(known) < max(2, _UNUSABLE_SHARE * len(stamps)):
        return False
    steps = np.diff(known)
    return _share(steps == 0 if reordered else steps <= 0) <= _UNUSABLE_SHARE


def _strays(stamps: Times) -> Mask:
    """Stamps that fit neither side while their neighbours fit one another, and those that are missing."""
    stray = ~np.isfinite(stamps)
    for _ in range(_NEIGHBOURS + 1):
        numbers = np.flatnonzero(~stray)
        found = _out_of_line(stamps[numbers])
        if not found.any() or found.mean() > _UNUSABLE_SHARE:
            break
        stray[numbers[found]] = True
    return stray


def _out_of_line(stamps: Times) -> Mask:
    if len(stamps) < 2 * _NEIGHBOURS + 1:
        return np.zeros(len(stamps), dtype=np.bool_)
    width = 2 * _NEIGHBOURS + 1
    windows = np.lib.stride_tricks.sliding_window_view(stamps, width)
    # At both ends the window stays inside.
    windows = windows[np.clip(np.arange(len(stamps)) - _NEIGHBOURS, 0, len(windows) - 1)]
    middle = np.median(windows, axis=1)
    off = np.abs(stamps - middle)
    spread = np.median(np.abs(windows - middle[:, None]), axis=1)
    found: Mask = off > _STRAY_SPREADS * spread + _STRAY_SECONDS
    between = (np.roll(stamps, 1) <= stamps) & (stamps <= np.roll(stamps, -1))
    found[1:-1] &= ~between[1:-1]
    for end, rest in ((0, stamps[1:]), (-1, stamps[:-1])):
        far = max(_LONE_END_SECONDS, _LONE_END_LENGTHS * float(np.ptp(rest)))
        found[end] &= off[end] > far
    return found


def _steps_back(stamps: Times) -> bool:
    """Whether so many steps go back that it is the order of decoding and no mistake."""
    back = np.diff(stamps) < 0
    return int(back.sum()) >= _REORDERED_STEPS and _share(back) > _REORDERED_SHARE


def _starts(stamps: Times, may_jump: bool, step: float) -> list[int]:
    """Where the clock starts anew: 0, and every packet far before the latest one, or after a jump."""
    back = max(_RESTART_SECONDS, _RESTART_STEPS * step)
    starts, latest = [0], -np.inf
    jump = _JUMP_SECONDS + back if may_jump else np.inf
    for number, stamp in enumerate(stamps.tolist()):
        if number and (stamp < latest - back or stamp > latest + jump):
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


def _median_step(values: Times, nominal: float, steps: bool = False) -> float:
    gaps = values if steps else np.diff(values)
    forward = gaps[gaps > 0]
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
    return [f"the clock starts anew at {places} s: what follows was taken to come directly after what was before"]
