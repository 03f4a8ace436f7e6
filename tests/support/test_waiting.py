"""Waiting that fails says where threads are."""

from __future__ import annotations

import threading
import time

import pytest

from tests.support import waiting


def hang_here(go_on: threading.Event) -> None:
    go_on.wait()


def test_of_a_thread_that_hangs_it_is_said_where() -> None:
    go_on = threading.Event()
    thread = threading.Thread(target=hang_here, args=(go_on,), name="hanging")
    thread.start()
    try:
        with pytest.raises(pytest.fail.Exception, match=r"(?s)hanging ran on .* still ran .*in hang_here"):
            waiting.ended(thread, seconds=0.1)
        with pytest.raises(pytest.fail.Exception, match=r"(?s)so far: \['a line'\].*in hang_here"):
            waiting.until(lambda: False, seconds=0.1, said=["a line"])
    finally:
        go_on.set()
    waiting.ended(thread)


def test_a_thread_that_ends_late_is_not_said_to_hang(monkeypatch: pytest.MonkeyPatch) -> None:
    go_on, written = threading.Event(), waiting.stacks
    thread = threading.Thread(target=hang_here, args=(go_on,), name="late")
    thread.start()

    def stacks() -> str:
        go_on.set()
        thread.join()
        return written()

    monkeypatch.setattr(waiting, "stacks", stacks)
    with pytest.raises(pytest.fail.Exception, match=r"late ran on for 0\.1 s and ended while this was written"):
        waiting.ended(thread, seconds=0.1)


def test_a_clock_that_went_on_alone_takes_no_patience(monkeypatch: pytest.MonkeyPatch) -> None:
    hours = iter(range(0, 10**9, 3600))
    monkeypatch.setattr(time, "monotonic", lambda: float(next(hours)))
    looks = iter([False, False, True])
    waiting.until(lambda: next(looks))
