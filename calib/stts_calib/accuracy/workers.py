"""Watches clips in this process, or spread over several with one thread each."""

from __future__ import annotations

import multiprocessing
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from functools import partial
from pathlib import Path

import cv2

from stts_calib.accuracy.exam import Exam
from stts_calib.accuracy.seen import ClipSeen
from stts_calib.accuracy.watcher import Watcher
from stts_runtime.bundle import Bundle
from stts_runtime.engines import cpu_threads
from stts_runtime.errors import UserError

_watchers: dict[tuple[Path, Exam], Watcher] = {}
"""A worker's own, loaded with its first clip."""


def watch_clips(bundle: Bundle, exam: Exam, clips: Sequence[int], jobs: int) -> Iterator[ClipSeen]:
    """In the order of `clips`, whoever is done first. Raises `UserError` if a worker is killed."""
    if jobs == 1:
        yield from map(Watcher(bundle, exam).watch, clips)
        return
    with ProcessPoolExecutor(jobs, multiprocessing.get_context("spawn"), cv2.setNumThreads, (1,)) as pool:
        try:
            yield from pool.map(partial(_watch, bundle.folder, exam), clips)
        except BrokenProcessPool:
            raise UserError("a worker was killed, perhaps for want of memory; fewer --jobs need less") from None


def _watch(bundle: Path, exam: Exam, clip: int) -> ClipSeen:
    if (bundle, exam) not in _watchers:
        with cpu_threads(1):
            _watchers[bundle, exam] = Watcher(Bundle.open(bundle), exam)
    return _watchers[bundle, exam].watch(clip)
