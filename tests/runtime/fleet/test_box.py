"""A box without a cluster: it does what it is told, numbers go on, and it ends where nobody comes any more."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from stts_runtime.errors import UserError
from stts_runtime.fleet import box as boxes
from stts_runtime.fleet.box import VERSION, Box
from stts_runtime.fleet.config import FleetConfig
from stts_runtime.records import Record, StreamAnswer, StreamEvent
from stts_runtime.stream.standing import Standing
from tests.support.places import DATA

pytestmark = pytest.mark.onnxruntime


class Driven:
    """A box that is heard as a fleet does it."""

    def __init__(self, clip: Path) -> None:
        self.ended = threading.Event()
        self.box = Box(self.ended.set)
        streams = [{"name": name, "source": f"loop:{clip}"} for name in ("one", "two")]
        content: dict[str, Any] = {"bundle": DATA / "bundle-v7", "questions": ["Who?"], "streams": streams}
        self.config = FleetConfig.model_validate({**content, "max_tokens": 2, "engine": "cpu"})
        self.records: list[Record] = []
        self._safe = 0

    def load(self, lost_after: float = 30.0) -> int:
        return self.box.load(self.config.part([], "north"), None, lost_after, VERSION)

    def order(self, *streams: str, standings: dict[str, Standing] | None = None, leaving: str = "moves") -> None:
        left = {name: leaving for name in self.config.names if name not in streams}
        self.box.order(self.config.part(streams, "north"), standings or {}, left)

    def hear(self, until: Callable[[], object], seconds: float = 15) -> None:
        deadline = time.monotonic() + seconds
        while not until():
            assert time.monotonic() < deadline, self.records
            parcel = self.box.exchange(self._safe, False)
            self.records += parcel.records
            self._safe = parcel.last

    def numbers(self, stream: str) -> list[int]:
        return [one.number for one in self.records if isinstance(one, StreamAnswer) and one.stream == stream]

    def reasons(self, stream: str) -> list[str]:
        return [one.reason for one in self.records if isinstance(one, StreamEvent) and one.stream == stream]


@pytest.fixture
def driven(clip: Path) -> Iterator[Driven]:
    one = Driven(clip)
    yield one
    if not one.ended.is_set():
        one.box.stop()


def test_it_measures_what_it_bears_and_goes_on_with_numbers(driven: Driven) -> None:
    assert driven.load() >= 1
    driven.order("one", standings={"one": Standing(answers=7)})
    driven.hear(lambda: len(driven.numbers("one")) >= 2)
    assert driven.numbers("one")[:2] == [8, 9]
    driven.order("two")
    driven.hear(lambda: driven.numbers("two"))
    assert "moves" in driven.reasons("one")
    assert [one.name for one in driven.box.records()] == ["two"]
    with pytest.raises(UserError, match="one is being moved"):
        driven.box.ask("one", "Who?", 2)
    assert driven.box.ask("two", "Who?", 2).number == 0
    assert driven.box.picture("two", "kept", "small") is not None
    assert 'stts_answers_total{stream="two"}' in driven.box.metrics()


def test_it_ends_where_nobody_comes_for_so_long(driven: Driven, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(boxes, "_POLL_SECONDS", 0.05)
    driven.load(lost_after=0.3)
    driven.box.exchange(0, False)
    assert driven.ended.wait(5)
    driven.box.stop()


def test_another_version_is_refused_by_name(driven: Driven) -> None:
    with pytest.raises(UserError, match=r"and 9\.9 was expected: install the same there"):
        driven.box.load(driven.config.part([], "north"), None, 30.0, "9.9")
    driven.ended.set()
