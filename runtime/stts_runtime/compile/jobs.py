"""Several tasks at a time in threads, of which the first that fails ends the others. It knows nothing of compiling."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable
from concurrent.futures import CancelledError, ThreadPoolExecutor, wait
from typing import TypeVar

Result = TypeVar("Result")

_PATIENCE_SECONDS = 0.5


def run_jobs(tasks: Iterable[Callable[[threading.Event], Result]], jobs: int) -> list[Result]:
    """The results, in the order of the tasks; raises what the first task that fails raises.

    Then, and when this thread is interrupted, tasks that wait are not begun, and those that run see their event set;
    all have ended when this returns.
    """
    stop = threading.Event()
    failures: list[BaseException] = []
    with ThreadPoolExecutor(jobs) as pool:
        try:
            # The first tasks run already while the last are handed out: an interrupt may come then too.
            futures = [pool.submit(_run, task, stop, failures) for task in tasks]
            # Python handles a signal in this thread alone, and one that comes just before it sleeps does not wake it.
            while wait(futures, _PATIENCE_SECONDS).not_done:
                pass
        except BaseException:
            stop.set()
            raise
    if failures:
        raise failures[0]
    return [future.result() for future in futures]


def _run(task: Callable[[threading.Event], Result], stop: threading.Event, failures: list[BaseException]) -> Result:
    """Sets `stop` itself if the task fails: the thread that waits might do it after this one began its next task."""
    if stop.is_set():
        raise CancelledError
    try:
        return task(stop)
    except BaseException as error:
        failures.append(error)
        stop.set()
        raise
