"""Progress of a long command."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from rich.status import Status

from stts_runtime import clock
from stts_runtime.cli.show import errors
from stts_runtime.cli.standard_streams import complain
from stts_runtime.cli.text import printable
from stts_runtime.progress import Clock, Progress
from stts_runtime.tell import TellStep
from stts_runtime.text import visible

HEARTBEAT_SECONDS = 30.0
"""Longest silence where there is no terminal."""


@contextmanager
def steps(quiet: bool = False) -> Iterator[TellStep]:
    """Each step is a line of the output that stays, unless `quiet`; a terminal shows the one under way, how far it has
    got and how long the rest will take.

    Where stderr is no terminal, that is a line there now and then, unless `quiet`.
    """
    with errors.status("starting") as status:
        yield Steps(quiet, status)


class Steps:
    """A `TellStep` that shows what it is told."""

    def __init__(self, quiet: bool, status: Status, now: Clock = clock.now) -> None:
        self._quiet, self._status, self._now = quiet, status, now
        self._step = ""
        self._progress: Progress | None = None
        self._is_estimated = False
        self._said = now()

    def __call__(self, step: str, done: int = 0, of: int = 0) -> None:
        is_new = step != self._step or not (done or of)
        if is_new:
            self._step, self._progress = step, None
        if of and self._progress is None:
            self._progress = Progress({step: of}, done, self._now)
        line = f"{step}: {self._progress.reached(done)}" if self._progress else f"{step}: {done}" if done else step
        self._status.update(printable(line))
        if self._quiet:
            return
        if is_new:
            self._is_estimated = False
            print(visible(line), flush=True)
        elif not errors.is_terminal and (self._is_first_estimate() or self._now() - self._said > HEARTBEAT_SECONDS):
            complain(visible(line))
        else:
            return
        self._said = self._now()

    def _is_first_estimate(self) -> bool:
        """Whether this is the first estimate for a step that takes longer than the pauses between lines."""
        seconds = self._progress.seconds_left if self._progress else None
        is_first = not self._is_estimated and seconds is not None and seconds > HEARTBEAT_SECONDS
        self._is_estimated |= is_first
        return is_first
