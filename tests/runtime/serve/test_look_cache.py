"""What was looked at lately: made once, in bounded memory, and nothing wrong is ever kept."""

from __future__ import annotations

import threading
import time
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

from stts_runtime.serve.look_cache import LookCache
from stts_runtime.serve.looks import ReadLook
from stts_runtime.video import Window


def sized(value: int) -> int:
    return value


@pytest.mark.parametrize(("room", "kept"), [(100, 10), (0, 0)], ids=["kept", "not kept"])
def test_however_many_ask_at_the_same_time_it_is_made_once(room: int, kept: int) -> None:
    cache, made = LookCache(room), []
    all_there = threading.Barrier(8)

    def make() -> int:
        made.append(threading.get_ident())
        time.sleep(0.2)
        return 10

    def ask(_: int) -> tuple[int, bool]:
        all_there.wait(10)
        return cache.get("frames", "a", make, sized)

    with ThreadPoolExecutor(8) as pool:
        found = list(pool.map(ask, range(8)))
    assert len(made) == 1
    assert sorted(found) == [(10, False), *[(10, True)] * 7]
    assert (cache.misses["frames"], cache.hits["frames"], cache.size_bytes) == (1, 7, kept)


def test_the_least_recently_used_goes_first() -> None:
    cache = LookCache(100)
    for key in "ab":
        cache.get("frames", key, lambda: 40, sized)
    assert cache.get("frames", "a", lambda: 0, sized) == (40, True)
    cache.get("frames", "c", lambda: 40, sized)
    assert (len(cache), cache.size_bytes) == (2, 80)
    assert [cache.get("frames", key, lambda: 40, sized)[1] for key in "acb"] == [True, True, False]
    assert cache.size_bytes <= 100


def test_what_nobody_uses_for_long_goes_with_the_next_question(monkeypatch: pytest.MonkeyPatch) -> None:
    cache, now = LookCache(100, most_seconds=60), [0.0]
    monkeypatch.setattr("stts_runtime.clock.now", lambda: now[0])
    for key in "ab":
        cache.get("frames", key, lambda: 10, sized)
    now[0] = 50.0
    assert cache.get("frames", "a", lambda: 10, sized)[1]
    now[0] = 70.0
    assert cache.get("frames", "a", lambda: 10, sized)[1]
    assert (len(cache), cache.size_bytes) == (1, 10), "b has gone"


def test_what_is_larger_than_all_room_is_not_kept_and_empties_nothing() -> None:
    cache = LookCache(100)
    cache.get("frames", "a", lambda: 40, sized)
    assert cache.get("frames", "b", lambda: 101, sized) == (101, False)
    assert (len(cache), cache.size_bytes) == (1, 40)
    assert LookCache(0).get("frames", "a", lambda: 1, sized) == (1, False)


def test_what_failed_leaves_nothing_and_the_next_tries_itself() -> None:
    cache, began, go_on = LookCache(100), threading.Event(), threading.Event()

    def fail() -> int:
        began.set()
        go_on.wait(5)
        raise ValueError("half a clip")

    with ThreadPoolExecutor(2) as pool:
        failing = pool.submit(cache.get, "frames", "a", fail, sized)
        assert began.wait(5)
        waiting = pool.submit(cache.get, "frames", "a", lambda: 10, sized)
        go_on.set()
        with pytest.raises(ValueError, match="half a clip"):
            failing.result()
        assert waiting.result() == (10, False)
    cache.drop("frames", "a")
    assert (len(cache), cache.size_bytes) == (0, 0)
    cache.drop("frames", "a")


def test_kinds_are_apart() -> None:
    cache = LookCache(100)
    cache.get("frames", "a", lambda: 10, sized)
    assert cache.get("visual_tokens", "a", lambda: 20, sized) == (20, False)


def look(frames: np.ndarray, times: list[float], variant: str = "clip-t2-k0.5", source: str = "a") -> ReadLook:
    return ReadLook(Window(source, 1.0, np.array(times), frames, 1.0), variant, [])


def test_another_variant_frame_order_or_time_stamp_is_another_look_and_another_name_is_not() -> None:
    frames = np.random.default_rng(0).integers(0, 255, (2, 4, 4, 3), dtype=np.uint8)
    changed = frames.copy()
    changed[1, 3, 3, 2] ^= 1
    one = look(frames, [0, 1]).key
    others = [
        look(frames, [0, 1], "clip-t2-k0.7").key,
        look(frames[::-1], [0, 1]).key,
        look(frames, [0, 1.05]).key,
        look(changed, [0, 1]).key,
        look(frames.reshape(1, 8, 4, 3), [0]).key,
    ]
    assert len({one, *others}) == 1 + len(others)
    assert look(frames.copy(), [0, 1], source="b").key == one
