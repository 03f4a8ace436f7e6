"""Watches clips in this process, or spread over several with one thread each. It knows nothing of what is asked."""

from __future__ import annotations

import multiprocessing
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from functools import partial
from pathlib import Path
from typing import Any, Protocol, TypeVar

import cv2

from stts_calib.accuracy.seen import Seen
from stts_runtime.bundle import Bundle
from stts_runtime.engines import cpu_threads
from stts_runtime.errors import UserError

E = TypeVar("E")
S = TypeVar("S", bound=Seen)
S_co = TypeVar("S_co", bound=Seen, covariant=True)


class Watches(Protocol[S_co]):
    """One process's engines. What it sees of a clip does not depend on the clips before."""

    def watch(self, number: int) -> S_co: ...


_watchers: dict[tuple[Path, Any], Watches[Any]] = {}
"""A worker's own, loaded with its first clip."""


def watch_clips(
    make: Callable[[Bundle, E], Watches[S]], bundle: Bundle, exam: E, clips: Sequence[int], jobs: int
) -> Iterator[S]:
    """In the order of `clips`, whoever is done first. `make` loads engines for an exam; both go to other processes.

    Raises `UserError` if a worker is killed.
    """
    if jobs == 1:
        yield from map(make(bundle, exam).watch, clips)
        return
    with ProcessPoolExecutor(jobs, multiprocessing.get_context("spawn"), cv2.setNumThreads, (1,)) as pool:
        try:
            yield from pool.map(partial(_watch, make, bundle.folder, exam), clips)
        except BrokenProcessPool:
            raise UserError("a worker was killed, perhaps for want of memory; fewer --jobs need less") from None


def _watch(make: Callable[[Bundle, E], Watches[S]], bundle: Path, exam: E, clip: int) -> S:
    if (bundle, exam) not in _watchers:
        with cpu_threads(1):
            _watchers[bundle, exam] = make(Bundle.open(bundle), exam)
    seen: S = _watchers[bundle, exam].watch(clip)
    return seen
