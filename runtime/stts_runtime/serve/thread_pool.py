"""Threads for what requests need beside the engines: decoding clips, encoding pictures. The streams go first."""

from __future__ import annotations

import asyncio
import os
import queue
import sys
import threading
from collections.abc import Callable
from concurrent.futures import Future
from typing import Any, TypeVar

_NICENESS = 10
"""Of a thread, as Linux has it; what it starts, such as FFmpeg's own threads, inherits it."""

Result = TypeVar("Result")


class ThreadPool:
    """So many threads; who comes when all are busy waits. A stop does not wait for them."""

    def __init__(self, most: int) -> None:
        self._waiting: queue.SimpleQueue[tuple[Future[Any], Callable[[], Any]]] = queue.SimpleQueue()
        for _ in range(most):
            threading.Thread(target=self._help, name="stts-helper", daemon=True).start()

    async def run(self, work: Callable[[], Result]) -> Result:
        """Raises what `work` raises."""
        future: Future[Result] = Future()
        self._waiting.put((future, work))
        return await asyncio.wrap_future(future)

    def _help(self) -> None:
        if sys.platform == "linux":
            mine = os.getpriority(os.PRIO_PROCESS, 0)
            os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), max(mine, _NICENESS))
        while True:
            future, work = self._waiting.get()
            if not future.set_running_or_notify_cancel():
                continue
            try:
                future.set_result(work())
            except Exception as error:  # noqa: BLE001  # whoever asked gets it
                future.set_exception(error)
