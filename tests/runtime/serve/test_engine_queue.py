"""What becomes of questions that the end of the server interrupts."""

from __future__ import annotations

import threading
from collections.abc import Sequence

from stts_runtime.answering import OnToken
from stts_runtime.errors import UserError
from stts_runtime.serve.engine_queue import BusyError, Job
from tests.support.courses import at_once, plainly


def given_up(on_token: OnToken) -> None:
    raise UserError("given up" if on_token([]) else "stopped")


def go_on(_: Sequence[int]) -> bool:
    return True


def test_work_that_fails_since_the_server_stops_says_that_it_stops() -> None:
    stop = threading.Event()
    before, after = Job(plainly(given_up), go_on), Job(plainly(given_up), go_on)
    assert before.begin(at_once(), stop)
    stop.set()
    assert after.begin(at_once(), stop)
    assert str(before.future.exception()) == "given up"
    error = after.future.exception()
    assert isinstance(error, BusyError)
    assert error.closing
