"""Several frames, and tokens of several answers, at once: each is what it would be alone."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from stts_runtime.bundle import Bundle
from stts_runtime.engines import EngineName, FrameInput, LanguageSlots, load_incremental, load_language, load_slots
from stts_runtime.engines.slots import Rows
from stts_runtime.errors import EngineError
from stts_runtime.prompt import Tokens
from tests.support.fake_onnxruntime import FakeOnnxRuntime, fake_gpu
from tests.support.stand_ins import LanguageStandIn


@pytest.fixture
def fake(monkeypatch: pytest.MonkeyPatch) -> Iterator[FakeOnnxRuntime]:
    with fake_gpu(monkeypatch) as module:
        yield module


def tokens(ids: Sequence[int], start: int) -> Tokens:
    return Tokens(np.array(ids, dtype=np.int64), np.arange(start, start + len(ids)), start + len(ids))


def prompt(slot: int) -> list[int]:
    """Of another length for each."""
    return list(range(1 + slot, 9 + 3 * slot))


def continued(engine: Any, ids: Sequence[int], count: int) -> tuple[list[int], list[NDArray[np.float32]]]:
    """Greedy tokens after a prompt and the logits of each, one call a token."""
    engine.rewind(0)
    chosen, logits = [engine.forward(tokens(ids, 0))], []
    for number in range(count):
        chosen.append(engine.forward(tokens(chosen[-1:], len(ids) + number)))
        logits.append(engine.logits().copy())
    return chosen, logits


def check_together(bundle: Bundle, engine: EngineName, most: int, bar: float) -> None:
    """Answers of all slots with others beside them, of which one ends sooner and another comes later."""
    wanted = {slot: continued(load_language(bundle, engine), prompt(slot), 8) for slot in range(most)}
    slots = load_slots(bundle, most, engine)
    assert len(slots.engines) == most
    chosen = {slot: [slots.engines[slot].forward(tokens(prompt(slot), 0))] for slot in range(most)}
    for step in range(10):
        # The last one comes two steps later, and the first is done after six.
        going = [slot for slot in range(most) if (slot < most - 1 or step >= 2) and (slot or step < 6)]
        going = [slot for slot in going if len(chosen[slot]) <= 8]
        places = {slot: len(prompt(slot)) + len(chosen[slot]) - 1 for slot in going}
        for slot, token in slots.forward({slot: tokens(chosen[slot][-1:], places[slot]) for slot in going}).items():
            chosen[slot].append(token)
            logits, expected = slots.engines[slot].logits(), wanted[slot][1][len(chosen[slot]) - 2]
            assert np.linalg.norm(logits - expected) <= bar * np.linalg.norm(expected)
    for slot, ids in chosen.items():
        assert ids == wanted[slot][0][: len(ids)]


@pytest.mark.onnxruntime
def test_answers_decode_together_as_they_would_alone(micro_bundle: Bundle) -> None:
    check_together(micro_bundle, "cpu", 4, 1e-4)


@pytest.mark.onnxruntime
def test_so_they_do_on_the_cuda_engine(targets_bundle: Bundle, fake: FakeOnnxRuntime) -> None:
    check_together(targets_bundle, "cuda", 2, 1e-2)


def check_frames(bundle: Bundle, engine: EngineName, most: int, bar: float) -> None:
    generator, vision = np.random.default_rng(0), load_incremental(bundle, 0.5, engine, most)
    assert max(vision.sizes) == most
    frames = generator.integers(0, 256, (2 * most + 2, 84, 84, 3), dtype=np.uint8)
    before = vision.run(frames[0], None, key=True).pooled
    # A batch, one more, and key frames in between.
    looks = [FrameInput(frame, before, key=number in (1, 3)) for number, frame in enumerate(frames[1:])]
    alone = [vision.run(look.frame, look.previous, key=look.key) for look in looks]
    for one, other in zip(alone, vision.run_many(looks), strict=True):
        np.testing.assert_array_equal(other.kept, one.kept)
        for name in ("visual_tokens", "scores", "pooled", "change"):
            got, wanted = (np.asarray(getattr(output, name), np.float32) for output in (other, one))
            assert np.linalg.norm(got - wanted) <= bar * np.linalg.norm(wanted)


@pytest.mark.onnxruntime
def test_frames_of_several_streams_are_seen_as_each_alone(micro_bundle: Bundle) -> None:
    check_frames(micro_bundle, "cpu", 4, 1e-4)


@pytest.mark.onnxruntime
def test_so_they_are_on_the_cuda_engine(targets_bundle: Bundle, fake: FakeOnnxRuntime) -> None:
    check_frames(targets_bundle, "cuda", 2, 1e-2)


@pytest.mark.onnxruntime
def test_no_more_go_together_than_are_asked_for(micro_bundle: Bundle) -> None:
    assert load_incremental(micro_bundle, 0.5, "cpu", 3).sizes == [1, 2]
    assert load_slots(micro_bundle, 3).sizes == [1, 2]
    assert load_slots(micro_bundle, 1).sizes == [1]


class Slot(LanguageStandIn):
    def stepped(self, logits: object) -> None:
        self.length += 1


class Step:
    """Says of each row which token it got, and remembers what ran."""

    def __init__(self, size: int) -> None:
        self.size = size
        self.runs: list[Rows] = []

    def __call__(self, rows: Rows) -> NDArray[np.int64]:
        self.runs.append(rows)
        return rows.token_ids

    def logits(self, row: int) -> NDArray[np.float32]:
        return np.zeros(1, np.float32)


def slots_of(lengths: Sequence[int], sizes: Sequence[int], context: int = 20) -> tuple[LanguageSlots, list[Step]]:
    engines, steps = [Slot(context) for _ in lengths], [Step(size) for size in sizes]
    for engine, length in zip(engines, lengths, strict=True):
        engine.length = length
    return LanguageSlots(engines, steps), steps


def singles(slots: LanguageSlots, numbers: Sequence[int]) -> Mapping[int, Tokens]:
    return {slot: tokens([10 + slot], slots.engines[slot].length) for slot in numbers}


def test_the_smallest_step_over_all_runs_and_slots_in_between_keep_what_they_hold() -> None:
    slots, (two, four) = slots_of([3, 5, 7, 9], [2, 4])
    assert slots.forward(singles(slots, [0, 2])) == {0: 10, 2: 12}
    (rows,) = four.runs
    assert not two.runs
    assert rows.token_ids.tolist() == [10, 0, 12, 0]
    assert rows.slots.tolist() == [3, 5, 7, 9], "what is not asked for goes where the next token will overwrite it"
    assert [engine.length for engine in slots.engines] == [4, 5, 8, 9]


def test_one_alone_and_several_tokens_run_by_themselves() -> None:
    slots, (two,) = slots_of([3, 5], [2])
    slots.forward(singles(slots, [1]))
    slots.forward({0: tokens([1, 2], 3), 1: tokens([3], 6)})
    assert not two.runs
    assert [engine.length for engine in slots.engines] == [5, 7]


def test_a_full_slot_in_between_has_the_others_run_one_by_one() -> None:
    slots, (four,) = slots_of([3, 20, 7, 9], [4])
    slots.forward(singles(slots, [0, 2]))
    assert not four.runs
    assert [engine.length for engine in slots.engines] == [4, 20, 8, 9]


def test_a_full_slot_that_is_asked_is_refused() -> None:
    slots, _ = slots_of([3, 20], [2])
    with pytest.raises(EngineError, match="do not fit a context of 20"):
        slots.forward(singles(slots, [0, 1]))
