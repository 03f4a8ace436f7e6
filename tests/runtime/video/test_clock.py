"""The one rule for time: what a recording's stamps say, and what is made of wrong ones."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from stts_runtime.video.clock import Clock, read_clock
from stts_runtime.video.window import due_frames

_NONE = float("nan")


def clock_of(*stamps: float, reordered: bool = False, may_jump: bool = False, nominal: float = 0.2) -> Clock:
    return read_clock(np.array(stamps), reordered, may_jump, nominal)


def tens(count: int, start: float = 0.0) -> list[float]:
    """Stamps of `count` frames at ten a second."""
    return [start + number / 10 for number in range(count)]


def shown(clock: Clock) -> list[float]:
    seconds: list[float] = clock.seconds.tolist()
    return seconds


@pytest.mark.parametrize("stamp", [0.0, _NONE])
def test_frames_without_usable_stamps_follow_the_nominal_rate(stamp: float) -> None:
    clock = clock_of(*[stamp] * 4)
    assert shown(clock) == pytest.approx([0, 0.2, 0.4, 0.6])
    assert clock.duration_seconds == pytest.approx(0.8)


def test_a_repeated_or_backward_stamp_does_not_discard_the_others() -> None:
    clock = clock_of(0.1, 0.14, 0.18, 3.1, 3.1, 9.1, 9.08, 9.14)
    assert shown(clock) == pytest.approx([0, 0.04, 0.08, 3, 3, 9, 9, 9.04])
    assert clock.duration_seconds == pytest.approx(9.08), "the last frame lasts as long as most do"
    assert clock.notes == ()


@given(st.lists(st.floats(0.001, 1000), min_size=1, max_size=60), st.floats(-1e5, 1e5))
def test_stamps_that_ascend_are_kept_whatever_their_gaps(gaps: list[float], start: float) -> None:
    stamps = start + np.cumsum([0.0, *gaps])
    clock = clock_of(*stamps.tolist())
    np.testing.assert_allclose(clock.seconds, stamps - stamps[0], atol=1e-6)
    assert clock.notes == ()


@given(st.lists(st.one_of(st.just(_NONE), st.floats(-1e9, 1e9)), min_size=1, max_size=60), st.booleans(), st.booleans())
def test_whatever_a_file_says_time_begins_at_0_and_never_falls(
    stamps: list[float], reordered: bool, may_jump: bool
) -> None:
    clock = clock_of(*stamps, reordered=reordered, may_jump=may_jump)
    assert clock.seconds[0] == 0
    assert all(before <= after < np.inf for before, after in itertools.pairwise(shown(clock)))
    assert sorted(clock.order.tolist()) == list(range(len(stamps)))


@given(st.integers(1, 3), st.integers(20, 80), st.floats(30, 1e6), st.data())
def test_a_few_stray_stamps_are_placed_between_their_neighbours(
    count: int, at: int, off: float, data: st.DataObject
) -> None:
    stamps = tens(100)
    for number in range(at, at + count):
        stamps[number] += off * data.draw(st.sampled_from([1, -1]))
    clock = clock_of(*stamps)
    np.testing.assert_allclose(clock.seconds, tens(100), atol=1e-6)
    assert len(clock.notes) == 1
    assert "fit" in clock.notes[0]


def test_a_missing_stamp_is_filled_without_a_word() -> None:
    clock = clock_of(*tens(10)[:4], _NONE, *tens(10)[5:])
    assert shown(clock) == pytest.approx(tens(10))
    assert clock.notes == ()


def test_frames_that_are_decoded_out_of_order_are_shown_in_order() -> None:
    clock = clock_of(*[0, 0.3, 0.1, 0.2, 0.6, 0.4, 0.5] * 1, reordered=True)
    assert clock.order.tolist() == [0, 2, 3, 1, 5, 6, 4]
    assert shown(clock) == pytest.approx(tens(7))


@given(st.lists(st.floats(0.001, 1000), min_size=1, max_size=60), st.integers(1, 4))
def test_pauses_between_frames_that_are_decoded_out_of_order_are_kept(gaps: list[float], group: int) -> None:
    """A frame after a pause is decoded before those shown ahead of it."""
    seconds = np.cumsum([0.0, *gaps])
    decoded = [0]
    for start in range(1, len(seconds), group):
        ahead = list(range(start, min(start + group, len(seconds))))
        decoded += [ahead[-1], *ahead[:-1]]
    clock = clock_of(*seconds[decoded].tolist(), reordered=True)
    np.testing.assert_allclose(clock.seconds, seconds, atol=1e-6)
    assert np.array(decoded)[clock.order].tolist() == list(range(len(seconds)))
    assert clock.notes == ()


@pytest.mark.parametrize("reordered", [False, True])
def test_a_clock_that_starts_anew_goes_on_by_one_frame(reordered: bool) -> None:
    clock = clock_of(*tens(40, 7.0), *tens(40), reordered=reordered)
    assert shown(clock) == pytest.approx(tens(80))
    assert clock.notes == ("its clock jumps at 4.0 s: what follows was taken to come directly after what was before",)


def test_a_jump_is_a_pause_but_where_recordings_are_joined() -> None:
    stamps = [*tens(40), *tens(40, 5000.0)]
    assert clock_of(*stamps).duration_seconds == pytest.approx(5004)
    joined = clock_of(*stamps, may_jump=True)
    assert shown(joined) == pytest.approx(tens(80))
    assert "jumps at 4.0 s" in joined.notes[0]


def test_a_last_frame_after_a_long_pause_is_believed_and_one_after_ten_hours_is_not() -> None:
    assert clock_of(*tens(40), 60.0).seconds[-1] == 60
    assert clock_of(*tens(40), 36_000.0).duration_seconds < 5


def test_one_frame_lasts_as_long_as_the_nominal_rate_says() -> None:
    assert clock_of(3.0).duration_seconds == pytest.approx(0.2)


@given(st.lists(st.floats(0, 3), min_size=1, max_size=50), st.sampled_from([0.5, 2.0, 30.0]))
def test_the_frames_that_are_due_are_those_a_stream_looks_at(gaps: list[float], rate: float) -> None:
    seconds = np.cumsum([0.0, *gaps])
    looked, due = [], 0.0
    for number, second in enumerate(seconds.tolist()):
        if second >= due:
            looked.append(number)
            due = max(due + 1 / rate, second)
    assert due_frames(seconds, rate).tolist() == looked
