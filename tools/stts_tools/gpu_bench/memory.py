"""How much of the GPU's memory something takes, and took at the most while it was made."""

from __future__ import annotations

import threading
from types import TracebackType

import torch

_SECONDS = 0.001


class MemoryWatch:
    """Inside the block, looks at the device's free memory all the time."""

    def __enter__(self) -> MemoryWatch:
        self._before = self._lowest = _free()
        self._done = threading.Event()
        self._thread = threading.Thread(target=self._watch, daemon=True)
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._done.set()
        self._thread.join()
        self._after = _free()

    def taken(self) -> int:
        """Bytes that are held at the end of the block and were free before."""
        return self._before - self._after

    def most(self) -> int:
        return self._before - min(self._lowest, self._after)

    def _watch(self) -> None:
        while not self._done.wait(_SECONDS):
            self._lowest = min(self._lowest, _free())


def _free() -> int:
    free, _all = torch.cuda.mem_get_info()
    return int(free)
