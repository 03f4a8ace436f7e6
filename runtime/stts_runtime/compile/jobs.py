"""Several tasks at a time in threads, of which the first that fails ends the others. It knows nothing of compiling."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from concurrent.futures import FIRST_EXCEPTION, Future, ThreadPoolExecutor, wait
from typing import TypeVar

Result = TypeVar("Result")


def run_jobs(tasks: Sequence[Callable[[threading.Event], Result]], jobs: int) -> list[Result]:
    """The results, in the order of the tasks; raises what the first task that fails raises.

    Then, and when this thread is interrupted, tasks that wait are not begun, and those that run see their event set;
    all have ended when this returns.
    """
    stop = threading.Event()
    with ThreadPoolExecutor(jobs) as pool:
        futures = [pool.submit(task, stop) for task in tasks]
        try:
            wait(futures, return_when=FIRST_EXCEPTION)
            failure = _first_failure(futures)
        except BaseException:
            _give_up(futures, stop)
            raise
        if failure is not None:
            _give_up(futures, stop)
            raise failure
    return [future.result() for future in futures]


def _first_failure(futures: Sequence[Future[Result]]) -> BaseException | None:
    return next((error for future in futures if future.done() and (error := future.exception()) is not None), None)


def _give_up(futures: Sequence[Future[Result]], stop: threading.Event) -> None:
    stop.set()
    for future in futures:
        future.cancel()
