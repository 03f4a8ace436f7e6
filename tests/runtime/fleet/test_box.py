"""A box without a cluster: it does what it is told, numbers go on, and it ends where nobody comes any more."""

from __future__ import annotations

import re
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from stts_runtime.errors import UserError
from stts_runtime.fleet import box as boxes
from stts_runtime.fleet.box import VERSION, Box, Obeyed
from stts_runtime.fleet.config import FleetConfig
from stts_runtime.records import Record, StreamAnswer, StreamEvent
from stts_runtime.stream.standing import Standing
from tests.support.copied_bundle import BUNDLE, copied, spoiled

pytestmark = pytest.mark.onnxruntime


class Driven:
    """A box that is heard as a fleet does it."""

    def __init__(self, clip: Path) -> None:
        self.ended = threading.Event()
        self.box = Box(self.ended.set)
        streams = [{"name": name, "source": f"loop:{clip}"} for name in ("one", "two")]
        content: dict[str, Any] = {"bundle": BUNDLE, "questions": ["Who?"], "streams": streams}
        self.config = FleetConfig.model_validate({**content, "max_tokens": 2, "engine": "cpu"})
        self.records: list[Record] = []
        self._safe = 0

    def load(self, lost_after: float = 30.0) -> int:
        return self.box.load(self.config.part([], "north"), None, lost_after, VERSION)

    def order(
        self, *streams: str, revision: int = 0, standings: dict[str, Standing] | None = None, **changes: Any
    ) -> Obeyed:
        left = dict.fromkeys(set(self.config.names) - set(streams), "moves")
        part = self.config.part(streams, "north").model_copy(update=changes)
        return self.box.order(part, revision, standings or {}, left)

    def identities(self) -> set[str]:
        """Of the bundle, as whoever scrapes sees it."""
        return set(re.findall(r'stts_build_info{bundle="(\w+)"', self.box.metrics()))

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


def test_a_bundle_that_cannot_take_over_keeps_no_stream_from_being_given(driven: Driven, tmp_path: Path) -> None:
    driven.load()
    driven.order("one")
    driven.hear(lambda: driven.numbers("one"))
    before = driven.identities()
    bad = Path(spoiled(tmp_path / "bad"))
    kept = driven.order("one", "two", revision=1, bundle=bad, max_tokens=3).kept
    assert kept is not None
    assert "fails its check" in kept
    driven.hear(lambda: driven.numbers("two"))
    assert driven.identities() == before
    # Nor is it loaded again for every stream that moves.
    assert driven.order("two", revision=1, bundle=bad, max_tokens=3).kept is None
    assert driven.order("two", revision=2, bundle=bad, max_tokens=3).kept is not None
    assert driven.order("two", revision=3, bundle=Path(copied(tmp_path / "next"))).kept is None
    assert driven.identities().isdisjoint(before)
    driven.hear(lambda: len(driven.numbers("two")) > 2)
    assert driven.numbers("two") == list(range(1, len(driven.numbers("two")) + 1))


def test_another_version_is_refused_by_name(driven: Driven) -> None:
    with pytest.raises(UserError, match=r"and 9\.9 was expected: install the same there"):
        driven.box.load(driven.config.part([], "north"), None, 30.0, "9.9")
    driven.ended.set()
