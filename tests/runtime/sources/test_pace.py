"""Streams that arrive in bursts: when their pictures are handed on, and how such streams are told from even ones."""

from __future__ import annotations

import itertools
import time
from collections.abc import Callable, Iterator

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from stts_runtime.sources import Frame, LiveSettings, open_source
from stts_runtime.sources.pace import BurstWatch, Pace
from tests.fault_lab.small_servers import hls_stream

_STEP = 0.04


def _handed_on(available: Iterator[tuple[float, float]], slow: float = 0.0) -> list[float]:
    """When a reader hands on each of these pictures (stamp, and the moment from which the server has it), if each
    costs `slow` seconds of its own time."""
    pace, clock, moments = Pace(), 100.0, []
    for stamp, there in available:
        now = max(clock, there)
        clock = max(now, pace.due(stamp, now, now - clock)) + slow
        moments.append(clock)
    return moments


def _segments(
    seconds: float, count: int, ahead: int, late: dict[int, float] | None = None
) -> Iterator[tuple[float, float]]:
    """Pictures of segments that are published whole, when their last picture was taken; `ahead` are there at first."""
    for segment in range(count):
        there = 100.0 + max(0, segment - ahead + 1) * seconds + (late or {}).get(segment, 0.0)
        for picture in range(round(seconds / _STEP)):
            yield 5000.0 + segment * seconds + picture * _STEP, there


def test_segments_become_even_from_the_first_picture_on() -> None:
    moments = _handed_on(_segments(2.0, 10, ahead=3))
    assert moments[0] == 100.0
    np.testing.assert_allclose(np.diff(moments), _STEP, atol=1e-6)


def test_a_server_that_has_nothing_in_reserve_is_waited_for_once() -> None:
    """Each segment comes 0.3 s after its moment: once the pictures are put off by that, they are even."""
    late = dict.fromkeys(range(1, 20), 0.3)
    gaps = np.diff(_handed_on(_segments(2.0, 20, ahead=1, late=late)))
    assert gaps[49] == pytest.approx(_STEP + 0.3, abs=1e-6)
    assert np.delete(gaps, 49).max() < _STEP + 0.03
    assert gaps.min() > 0.9 * _STEP


def test_what_a_network_held_up_is_made_good_without_a_jump() -> None:
    moments = _handed_on(_segments(2.0, 300, ahead=3, late={10: 7.0, 11: 5.0, 12: 3.0, 13: 1.0}))
    offsets = np.array(moments) - np.arange(len(moments)) * _STEP
    assert offsets.max() - offsets[0] == pytest.approx(3.0, abs=0.2), "the reserve was 4 s"
    assert offsets[-1] == pytest.approx(offsets[0], abs=0.01)
    assert np.diff(offsets[600:]).min() > -0.02 * _STEP


def test_the_server_cannot_put_pictures_off_for_ever() -> None:
    """A stream at two thirds of its speed, which is waited for at each picture."""
    pace = Pace()
    late = [number * 1.5 - pace.due(float(number), number * 1.5, 0.5) for number in range(100)]
    assert late[15] == pytest.approx(0, abs=0.2)
    assert late[-1] == pytest.approx(99 * 0.5 - 10, abs=1.5)


def test_a_reader_that_was_too_slow_catches_up() -> None:
    pace = Pace()
    assert pace.due(0.0, 100.0, 0.0) == 100.0
    dues = [pace.due(number * _STEP, 160.0, 0.0) for number in range(1, 100)]
    np.testing.assert_allclose(dues, [100.0 + number * _STEP for number in range(1, 100)])


@pytest.mark.parametrize("stamp", [-3.0, 9.0, 40.0, 90_000.0])
def test_stamps_that_jump_are_a_new_beginning(stamp: float) -> None:
    pace = Pace()
    pace.due(10.0, 100.0, 0.0)
    assert pace.due(stamp, 101.0, 0.0) == 101.0
    assert pace.due(stamp + 1.0, 101.0, 0.0) == 102.0


def _found(pictures: list[tuple[float, float]]) -> list[int]:
    watch = BurstWatch()
    return [number for number, (stamp, arrived) in enumerate(pictures) if watch.saw(stamp, arrived)]


def _bursts(seconds: float, count: int) -> list[tuple[float, float]]:
    each = round(seconds / _STEP)
    return [(n * _STEP, n // each * seconds + n % each * 0.001) for n in range(count * each)]


def test_bursts_are_found_at_the_third_and_pictures_begin_one() -> None:
    assert _found(_bursts(2.0, 4)) == [100, 150]


@given(st.lists(st.floats(0.0, 0.5), min_size=50, max_size=200), st.sampled_from([0.04, 0.2, 1.0, 5.0]))
def test_even_streams_are_never_taken_for_bursts(jitter: list[float], step: float) -> None:
    arrived = list(itertools.accumulate((n * step + late for n, late in enumerate(jitter)), max))
    assert not _found([(n * step, at) for n, at in enumerate(arrived)])


def test_what_a_server_sends_at_the_start_and_a_network_that_hangs_are_no_bursts() -> None:
    """The pictures since the last key frame, 10 s of them, at once; then an even stream that is held up twice."""
    start = [(n * _STEP, n * 0.001) for n in range(250)]
    even = [(n * _STEP, (n - 250) * _STEP + 0.3) for n in range(250, 2000)]
    held_up = [(stamp, max(at, 20.0) if 17 < at < 20 else max(at, 42.0) if 40 < at < 42 else at) for stamp, at in even]
    assert not _found(start + held_up)


def test_stamps_that_say_nothing_of_time_are_no_bursts() -> None:
    """A camera that sends five pictures every ten seconds, whose stamps count them."""
    assert not _found([(n * _STEP, n // 5 * 10.0 + n % 5 * 0.001) for n in range(100)])


def test_segments_over_http_are_looked_at_at_the_pace_of_the_camera() -> None:
    """Segments of a second: in each quarter of a second there is a picture, and its time is that of the clock."""
    with hls_stream(segment_seconds=1.0) as url:
        source = open_source(url, settings=LiveSettings(stall_seconds=3.0))
        try:
            taken = _taken(source.take, 4.0)
        finally:
            source.close()
    (first, began), quarters = taken[0], {int(4 * (at - taken[0][1])) for _, at in taken}
    assert len(quarters) >= 14
    assert max(abs((seconds - first) - (at - began)) for seconds, at in taken) < 0.5
    assert source.drops["corrupt"] == 0


def _taken(take: Callable[[float], Frame | None], seconds: float) -> list[tuple[float, float]]:
    """Times on the source's line and on our clock, from the first frame on."""
    taken: list[tuple[float, float]] = []
    while not taken or time.monotonic() - taken[0][1] < seconds:
        frame = take(3.0)
        assert frame is not None
        taken.append((frame.seconds, time.monotonic()))
    return taken
