"""Where questions wait for the engines. The pipeline's thread, and no other, answers them, beside those of streams.

What a question needs by itself, a look at its clip and the prefill, stops everything else. Behind it the streams have
the engines for as long as that took: half of the time is theirs, whatever is asked.

It knows neither HTTP nor engines: a question is a course that answers take there.
"""

from __future__ import annotations

import math
import threading
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

from stts_runtime import clock
from stts_runtime.answering import AnswerPool, Calls, Conversation, OnToken

_SMOOTHING = 0.2
_LONGEST_RETRY_SECONDS = 60

Result = TypeVar("Result")


class BusyError(Exception):
    """No slot is free, or none is given any more."""

    def __init__(self, message: str, retry_seconds: int, closing: bool = False) -> None:
        super().__init__(message)
        self.retry_seconds, self.closing = retry_seconds, closing


@dataclass(frozen=True)
class Work(Generic[Result]):
    """What answers a question."""

    course: Callable[[Conversation, OnToken], Calls[Result]]
    prefers: Callable[[Conversation], bool] = lambda _: False
    """Whether this conversation has something of it already."""


class Job(Generic[Result]):
    """A question that waits, is being answered, or was. Whoever asked may give it up at any time."""

    def __init__(self, work: Work[Result], on_token: OnToken) -> None:
        self.future: Future[Result] = Future()
        self._work, self._on_token, self._given_up = work, on_token, False

    def give_up(self) -> None:
        """One that waits is never begun; one that runs ends with its next token."""
        self._given_up = True
        self.future.cancel()

    def begin(self, answers: AnswerPool, stop: threading.Event) -> bool:
        """In the pipeline's thread; whether there was anything to do. Ends with its next token once `stop` is set."""
        if not self.future.set_running_or_notify_cancel():
            return False

        def going_on(ids: Sequence[int]) -> bool:
            return not stop.is_set() and self._going_on(ids)

        def done(result: Result) -> None:
            if stop.is_set():
                self.future.set_exception(_closing())
            else:
                self.future.set_result(result)

        def failed(error: Exception) -> None:
            # Work that was stopped may say so by an error of its own.
            self.future.set_exception(_closing() if stop.is_set() else error)

        course = self._work.course
        answers.begin(lambda conversation: course(conversation, going_on), done, failed, self._work.prefers)
        return True

    def refuse(self) -> None:
        """Before it was begun."""
        if self.future.set_running_or_notify_cancel():
            self.future.set_exception(_closing())

    def _going_on(self, ids: Sequence[int]) -> bool:
        return not self._given_up and self._on_token(ids)


class Slot:
    """Leave to prepare and ask one question; given back when it is answered, or when the block ends without asking."""

    def __init__(self, queue: EngineQueue) -> None:
        self._queue, self._asked = queue, False

    def ask(self, work: Work[Result], on_token: OnToken) -> Job[Result]:
        """Raises `BusyError` if the server is stopping."""
        job = Job(work, on_token)
        self._queue.put(job)
        self._asked = True
        job.future.add_done_callback(lambda _: self._queue.give_back(job))
        return job

    def __enter__(self) -> Slot:
        return self

    def __exit__(self, *_: object) -> None:
        if not self._asked:
            self._queue.give_back()


class EngineQueue:
    """At most `slots` questions are open at a time. Thread-safe; `passed`, `begin_one` and `wait` are the
    pipeline's.
    """

    def __init__(self, slots: int, stop: threading.Event, shared: bool = False) -> None:
        """Once `stop` is set, what is being answered ends with its next token. `shared`: there are streams."""
        self._slots, self._stop, self._shared = slots, stop, shared
        self._resting_until = 0.0
        self._open = 0
        self._closed = False
        self._waiting: deque[Job[Any]] = deque()
        self._change = threading.Condition()
        self._mean_seconds = 1.0
        self.last_round = clock.now()
        """When the pipeline came by, which it does every round."""

    @property
    def open(self) -> int:
        return self._open

    def reserve(self) -> Slot:
        """Raises `BusyError` if none is free."""
        with self._change:
            if self._closed:
                raise _closing()
            if self._open >= self._slots:
                raise BusyError(f"{self._open} questions are open, and no more may be; ask again later", self._retry())
            self._open += 1
        return Slot(self)

    def give_back(self, job: Job[Any] | None = None) -> None:
        """A slot, and with it a question that was given up while it waited: it holds a whole clip."""
        with self._change:
            self._open -= 1
            if job is not None and job in self._waiting:
                self._waiting.remove(job)

    def put(self, job: Job[Any]) -> None:
        with self._change:
            if self._closed:
                raise _closing()
            self._waiting.append(job)
            self._change.notify_all()

    def passed(self) -> None:
        self.last_round = clock.now()

    def begin_one(self, answers: AnswerPool) -> bool:
        began = clock.now()
        with self._change:
            job = self._waiting.popleft() if self._waiting and began >= self._resting_until else None
        if job is None:
            return False
        if job.begin(answers, self._stop):
            self._resting_until = 2 * clock.now() - began if self._shared else 0.0
            job.future.add_done_callback(lambda _: self._took(clock.now() - began))
        return True

    def _took(self, seconds: float) -> None:
        self._mean_seconds += _SMOOTHING * (seconds - self._mean_seconds)

    def wait(self, seconds: float) -> None:
        rest = self._resting_until - clock.now()
        with self._change:
            if rest > 0:
                self._change.wait(min(rest, seconds))
            else:
                self._change.wait_for(lambda: self._waiting or self._closed, seconds)

    def close(self) -> None:
        """Nothing is taken any more, and what waits is refused."""
        with self._change:
            self._closed = True
            waiting, self._waiting = list(self._waiting), deque()
            self._change.notify_all()
        for job in waiting:
            job.refuse()

    def _retry(self) -> int:
        share = 2 if self._shared else 1
        return min(_LONGEST_RETRY_SECONDS, math.ceil(self._open * self._mean_seconds * share))


def _closing() -> BusyError:
    return BusyError("the server is stopping", 5, closing=True)
