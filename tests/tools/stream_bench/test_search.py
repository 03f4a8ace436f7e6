"""What scripts/bench_streams.py is made of: the search, paced sources, weights that are made where they are needed."""

from __future__ import annotations

import json
import time
from pathlib import Path

import numpy as np
import pytest

from stts_runtime import clock
from stts_runtime.bundle.files import record_of
from stts_runtime.bundle.weight_layout import Stored, lay_out, read_layout
from stts_runtime.errors import UserError
from stts_tools.stream_bench.fill import HEAD_SUFFIX, fill_bundle
from stts_tools.stream_bench.paced import PacedSource, pictures
from stts_tools.stream_bench.search import search
from stts_tools.stream_bench.together import Together
from stts_tools.stream_bench.trial import Outcome


def outcome(streams: int, most: int, missed: float = 0.0) -> Outcome:
    return Outcome(
        streams=streams,
        looks=100,
        missed_percent=missed,
        answers=10,
        in_time_percent=100.0 if streams <= most else 94.9,
        first_token_ms={"p50": 1.0, "p95": 2.0},
        last_token_ms={},
        looked_ms={},
        busy_percent=50.0,
        batches={},
        measured_seconds=1.0,
    )


@pytest.mark.parametrize("most", [0, 2, 5, 14, 30, 31, 64])
@pytest.mark.parametrize("guess", [1, 8, 50])
def test_the_highest_even_number_that_holds_is_found(most: int, guess: int) -> None:
    tried: list[int] = []

    def attempt(count: int) -> Outcome:
        tried.append(count)
        return outcome(count, most)

    (found,) = search({"way": (attempt, guess)}, 64, 10.0, lambda _: None)
    assert (found.streams, found.done) == (most // 2 * 2, True)
    assert all(count % 2 == 0 for count in tried)
    assert len(tried) == len(set(tried)) < 14


def test_ways_take_turns_until_the_time_is_up() -> None:
    order: list[str] = []

    def attempt(name: str, count: int) -> Outcome:
        order.append(name)
        time.sleep(0.02)
        return outcome(count, 30)

    ways = {name: ((lambda count, name=name: attempt(name, count)), 4) for name in "ab"}
    found = search(ways, 64, 0.03, lambda _: None)
    assert order == ["a", "b"]
    assert [one.done for one in found] == [False, False]


def test_more_than_a_hundredth_missed_does_not_hold() -> None:
    assert outcome(2, 2, missed=1.0).holds
    assert not outcome(2, 2, missed=1.01).holds


def test_the_first_guess_is_what_the_times_leave_room_for() -> None:
    times = Together(
        look_ms={1: 20.0, 8: 80.0}, step_ms={1: 5.0, 8: 8.0}, prefill_ms=34.0, window_tokens=1,
        groups_that_differ=0, visual_error=0.0, logits_error=0.0, answers_that_differ=0,
    )  # fmt: skip
    assert times.streams(5.0, 1) == int(0.7 * 5000 / (10 * 20 + 34 + 16 * 5))
    assert times.streams(5.0, 8) == int(0.7 * 5000 / (10 * 10 + 34 + 16 * 1))


def test_a_paced_source_hands_on_the_newest_and_counts_what_nobody_took() -> None:
    made = pictures(84, 3, seed=0)
    source = PacedSource("a", made, clock.now() - 1.2, 0.5)
    frame = source.take(0.0)
    assert frame is not None
    assert frame.seconds == 1.0
    np.testing.assert_array_equal(frame.image, made[2])
    assert (source.shown, source.missed) == (3, 2)
    assert source.take(0.0) is None
    assert PacedSource("a", made, clock.now() + 9, 0.5).take(0.0) is None


def test_weights_are_made_where_they_are_needed(tmp_path: Path) -> None:
    like = {
        "layer.weight": Stored("F16", 2, (64, 256)),
        "input_layernorm.weight": Stored("F32", 4, (256,)),
        "odd": Stored("F16", 2, (3,)),
    }
    (tmp_path / f"vision.safetensors{HEAD_SUFFIX}").write_bytes(lay_out(like)[0])
    (tmp_path / "tokenizer.json").write_text("{}")
    nothing = {"sha256": "0" * 64, "size_bytes": 0}
    manifest = {"files": {"tokenizer.json": nothing, "vision.safetensors": nothing}}
    (tmp_path / "manifest.json").write_text(json.dumps(manifest))
    fill_bundle(tmp_path, lambda _: None)
    path = tmp_path / "vision.safetensors"
    layout, data = read_layout(path)
    placed = layout["layer.weight"]
    values = np.fromfile(path, np.float16, 64 * 256, offset=data + placed.begin).astype(np.float32)
    assert values.std() == pytest.approx(1 / 16, rel=0.05)
    norm = np.fromfile(path, np.float32, 256, offset=data + layout["input_layernorm.weight"].begin)
    assert norm.mean() == pytest.approx(1, abs=0.05)
    files = json.loads((tmp_path / "manifest.json").read_text())["files"]
    assert files["vision.safetensors"] == record_of(path).model_dump()
    with pytest.raises(UserError, match="no weights to make"):
        fill_bundle(tmp_path, lambda _: None)
