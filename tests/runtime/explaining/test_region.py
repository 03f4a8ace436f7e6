"""Regions: what is read, what is refused, and which groups they cover."""

from __future__ import annotations

import re

import numpy as np
import pytest

from stts_runtime.errors import UserError
from stts_runtime.explaining import Region, as_regions
from stts_runtime.video import Window

TIMES = np.array([0.0, 1.0, 2.0])
WINDOW = Window("street.mp4", 2.0, TIMES, np.zeros((3, 12, 12, 3), np.uint8), aspect=2.0, height=100)
"""Seen as 200 x 100 pixels."""
SIDE = 4


def cells(text: str) -> list[list[int]]:
    """The groups that are covered, frame by frame."""
    return [np.flatnonzero(row).tolist() for row in Region.parse(text).groups(WINDOW, SIDE)]


def test_shares_and_pixels_of_the_source_name_the_same_groups() -> None:
    assert cells("0.5,0.25,0.25,0.5") == cells("100,25,50,50") == [[6, 10]] * 3


def test_any_part_of_a_group_counts_and_a_border_does_not() -> None:
    assert cells("0.26,0,0.01,0.01")[0] == [1]
    assert cells("0.2,0,0.1,0.1")[0] == [0, 1]
    assert cells("0.25,0,0.25,0.25")[0] == [1]
    # 0.1 + 0.2 is a hair above 0.3, and three tenths of a picture end where they end.
    window = Window("x", 2.0, TIMES, WINDOW.frames, 1.0)
    assert np.flatnonzero(Region(0.1, 0, 0.2, 0.1).groups(window, 10)[0]).tolist() == [1, 2]


def test_a_hair_has_a_group_too() -> None:
    assert cells("0.5,0,0.0000000001,0.1")[0] == [2]
    assert cells("1,0,0.0000000001,0.1")[0] == [3]


@pytest.mark.parametrize("region", [Region(-0.3, 0, 0.2, 0.2), Region(0, 0, 1, np.nan), Region(np.nan, 0, 0.5, 0.5)])
def test_numbers_that_no_text_could_hold_are_refused(region: Region) -> None:
    with pytest.raises(UserError, match="should have numbers from 0 on"):
        region.groups(WINDOW, SIDE)


def test_the_whole_picture_is_every_group() -> None:
    assert Region.parse("0,0,1,1").groups(WINDOW, SIDE).all()


def test_a_moment_means_the_nearest_frame() -> None:
    assert cells("0,0,0.1,0.1@1.4") == [[], [0], []]
    assert cells("0,0,0.1,0.1@1.6s") == [[], [], [0]]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("0.1,0.2,0.3", "a region is X,Y,WIDTH,HEIGHT"),
        ("-0.1,0,0.5,0.5", "a region is X,Y,WIDTH,HEIGHT"),
        ("0,0,nan,1", "a region is X,Y,WIDTH,HEIGHT"),
        ("", "a region is X,Y,WIDTH,HEIGHT"),
        ("0,0,0,0.5", "is empty: its width and height should be above 0"),
        ("0.6,0,0.5,0.5", "ends at 1.1,0.5, outside of the picture, which ends at 1,1"),
        ("150,0,60,50", "ends at 210,50, outside of the picture, which ends at 200,100, the pixels of street.mp4"),
        ("0,0,1,1@2.5", "is about second 2.5, and the frames are of second 0 to 2"),
    ],
)
def test_what_is_no_region_is_refused_with_what_is_allowed(text: str, message: str) -> None:
    with pytest.raises(UserError, match=re.escape(message)):
        cells(text)


def test_python_takes_texts_and_regions_and_nothing_else() -> None:
    assert as_regions("0,0,1,1") == as_regions([Region(0, 0, 1, 1)]) == [Region(0, 0, 1, 1)]
    with pytest.raises(UserError, match=re.escape("a region should be text such as 0.4,0.5,0.2,0.3@4.5, or a Region")):
        as_regions([(0, 0, 1, 1)])
