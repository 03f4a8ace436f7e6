"""Which box gets which stream."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from stts_runtime.fleet.placement import place

NAMES = [f"c{number}" for number in range(12)]


def test_streams_are_spread_by_what_boxes_bear() -> None:
    found = place(NAMES, {"a": 8, "b": 4}, {})
    assert (len(found.of("a")), len(found.of("b"))) == (8, 4)
    assert not found.waiting


def test_the_last_of_the_file_wait_where_there_is_no_room() -> None:
    found = place(NAMES, {"a": 4, "b": 5}, {})
    assert list(found.waiting) == NAMES[9:]
    assert set(found.boxes) == set(NAMES[:9])


def test_streams_of_a_box_that_is_gone_go_to_the_others_and_no_other_stream_moves() -> None:
    bears = {"a": 6, "b": 6, "c": 6}
    before = place(NAMES, bears, {}).boxes
    after = place(NAMES, {"a": 6, "b": 6}, before).boxes
    assert {stream: box for stream, box in after.items() if before[stream] != "c"} == {
        stream: box for stream, box in before.items() if box != "c"
    }
    assert len(after) == 12


def test_who_stands_first_in_the_file_is_served_though_another_ran_before() -> None:
    before = place(NAMES, {"a": 6, "b": 6}, {}).boxes
    after = place(NAMES, {"a": 6}, before)
    assert set(after.boxes) == set(NAMES[:6])


def test_a_box_that_joins_takes_some_and_only_those_move() -> None:
    before = place(NAMES, {"a": 6, "b": 6}, {}).boxes
    after = place(NAMES, {"a": 6, "b": 6, "c": 6}, before)
    assert len(after.of("c")) == 4
    assert all(box in ("c", before[stream]) for stream, box in after.boxes.items())


def test_without_boxes_all_wait() -> None:
    assert list(place(NAMES, {}, {"c0": "a"}).waiting) == NAMES


@given(
    st.integers(0, 30),
    st.dictionaries(st.sampled_from("abcde"), st.integers(1, 9)),
    st.dictionaries(st.sampled_from([f"c{number}" for number in range(30)]), st.sampled_from("abcdef")),
)
def test_no_box_has_more_than_it_bears_and_a_second_look_moves_nothing(
    count: int, bears: dict[str, int], before: dict[str, str]
) -> None:
    streams = [f"c{number}" for number in range(count)]
    found = place(streams, bears, before)
    assert all(len(found.of(box)) <= most for box, most in bears.items())
    assert [*found.boxes, *found.waiting] == streams
    assert len(found.boxes) == min(count, sum(bears.values()))
    assert place(streams, bears, found.boxes) == found
