"""Masks: what they cover in frames of any size, that nothing else ever has the frame before, and mistakes in them."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from pydantic import TypeAdapter, ValidationError

from stts_runtime.mistakes import mistakes
from stts_runtime.sources.source import Frame, State, Status
from stts_runtime.stream.masks import Mask, MaskedSource, Masks, covered, masked

SQUARE = [[0.25, 0.25], [0.75, 0.25], [0.75, 0.75], [0.25, 0.75]]


class White:
    """A source of white frames of sizes that change."""

    name, live, reconnections = "white", True, 3
    status = Status(State.LIVE, "", 0.0)

    def __init__(self, *sizes: tuple[int, int]) -> None:
        self.frames = [Frame(np.full((*size, 3), 255, np.uint8), float(at), 9.0) for at, size in enumerate(sizes)]
        self._left = list(self.frames)
        self.asked_to_close, self.closed, self.drops = False, False, {"late": 2}

    def take(self, timeout_seconds: float) -> Frame | None:
        return self._left.pop(0) if self._left else None

    def ask_to_close(self) -> None:
        self.asked_to_close = True

    def close(self) -> None:
        self.closed = True


def area(**form: Any) -> float:
    return float(covered([Mask(**form)], 300, 400).mean())


@pytest.mark.parametrize(
    ("form", "expected"),
    [
        ({"rectangle": [0.25, 0.25, 0.5, 0.5]}, 0.25),
        ({"rectangle": [0, 0, 1, 1]}, 1.0),
        ({"polygon": SQUARE}, 0.25),
        ({"polygon": [[0, 0], [1, 0], [1, 1]]}, 0.5),
        # Twice around, and a bow tie: what is enclosed is covered.
        ({"polygon": SQUARE + SQUARE}, 0.25),
        ({"polygon": [[0, 0], [1, 1], [1, 0], [0, 1]]}, 0.5),
    ],
)
def test_a_mask_covers_what_it_encloses(form: dict[str, Any], expected: float) -> None:
    assert expected <= area(**form) < expected + 0.02


@pytest.mark.parametrize("size", [(48, 64), (50, 51), (1080, 1920)])
def test_every_pixel_that_a_mask_touches_is_covered(size: tuple[int, int]) -> None:
    height, width = size
    hidden = covered([Mask(rectangle=(0.1, 0.2, 0.35, 0.41))], height, width)
    rows = slice(int(0.2 * height), int(np.ceil(0.61 * height)))
    columns = slice(int(0.1 * width), int(np.ceil(0.45 * width)))
    assert hidden[rows, columns].all()
    assert hidden.sum() < (rows.stop - rows.start + 5) * (columns.stop - columns.start + 5)


def test_frames_come_with_masks_painted_over_whatever_their_size() -> None:
    source = White((40, 60), (40, 60), (90, 120))
    seen = MaskedSource(source, [Mask(rectangle=(0, 0, 0.5, 1.0))])
    for given in source.frames:
        frame = seen.take(0.0)
        assert frame is not None
        width = given.image.shape[1]
        assert (frame.image[:, : width // 2] == 0).all()
        assert (frame.image[:, width // 2 + 2 :] == 255).all()
        assert frame.image.shape == given.image.shape
        assert (frame.seconds, frame.captured) == (given.seconds, given.captured)
    assert seen.take(0.0) is None
    seen.ask_to_close()
    assert source.asked_to_close
    assert not source.closed
    seen.close()
    assert source.closed
    assert (seen.name, seen.live, seen.reconnections, seen.drops) == ("white", True, 3, {"late": 2})


def test_without_masks_the_source_is_the_source() -> None:
    source = White()
    assert masked(source, ()) is source


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ([{"polygon": [[0, 0], [1, 1]]}], "a polygon should have at least 3 points, got 2"),
        ([{"polygon": [[0, 0], [1, 1], [1, 1.5]]}], "points are fractions of the frame, from 0 to 1, got [1, 1.5]"),
        ([{"polygon": [[0, 0], [1, 1], [-0.1, 1]]}], "got [-0.1, 1]"),
        ([{"polygon": [0, 0, 1, 1]}], "it should be a list of points"),
        ([{"polygon": [[0, 0], [1, float("nan")], [1, 1]]}], "fractions of the frame, from 0 to 1, got [1, nan]"),
        ([{"polygon": [[0, 0], [1, float("inf")], [1, 1]]}], "fractions of the frame, from 0 to 1, got [1, inf]"),
        ([{"polygon": [[0.1, 0.3], [0.2, 0.6], [0.3, 0.9]]}], "encloses nothing, since all its points lie on one line"),
        ([{"polygon": [[0.5, 0.5], [0.5, 0.5], [0.5, 0.5]]}], "encloses nothing"),
        ([{"polygon": [[0.1, 0.2], [0.1, 0.2], [0.8, 0.2]]}], "encloses nothing"),
        ([{"rectangle": [0.5, 0, 0.6, 0.1]}], "should lie within 0 to 1 and not be empty, got [0.5, 0, 0.6, 0.1]"),
        ([{"rectangle": [0, 0, 0, 0.1]}], "not be empty"),
        ([{"rectangle": [0, 0, float("nan"), 0.1]}], "not be empty, got [0, 0, nan, 0.1]"),
        ([{"rectangle": [0, 0, 10, 10]}], "fractions of the frame"),
        # Of YAML, whose whole numbers have no end.
        ([{"polygon": [[0, 0], [1, 10**400], [1, 1]]}], "from 0 to 1, got [1, 1.79769e+308]"),
        ([{"rectangle": [0.5, 0, 10**400, 0.5]}], "not be empty, got [0.5, 0, 1.79769e+308, 0.5]"),
        ([{"rectangle": [-(10**400), 0, 1, 1]}], "not be empty, got [-1.79769e+308, 0, 1, 1]"),
        ([{"polygon": []}], "a polygon should have at least 3 points, got 0"),
        ([{"rectangle": [0, 0, 1]}], "it should be [x, y, width, height]"),
        ([{"rectangle": [0, 0, True, 1]}], "it should be [x, y, width, height]"),
        ([{"rectangle": [0, 0, 1, 1], "polygon": SQUARE}], "it should be rectangle: [x, y, width, height] or polygon"),
        ([{}], "it should be rectangle"),
        ([{"circle": 1}], "no such setting: circle; there are polygon, rectangle"),
        ({"rectangle": [0, 0, 1, 1]}, "it should be a list, even of one"),
    ],
)
def test_mistakes_are_one_clear_line(given: Any, message: str) -> None:
    with pytest.raises(ValidationError) as found:
        TypeAdapter(Masks).validate_python(given)
    assert message in mistakes(found.value)
    assert "\n" not in mistakes(found.value)
