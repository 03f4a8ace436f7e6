"""Progress of a run over several sources, on a terminal."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from rich.table import Column
from rich.text import Text

from stts_runtime.cli.show import console, errors
from stts_runtime.cli.text import one_line
from stts_runtime.text import visible

_SPEED_SECONDS = 600.0
"""Over which the time that is left is estimated: a source may take minutes."""


class SourceProgress:
    """Prints answers and errors so that they do not cross the progress bar, which is on stderr."""

    def __init__(self, progress: Progress, total: int, done: int) -> None:
        self._progress, self._done = progress, done - 1
        self._task = progress.add_task("", total=total, completed=done)
        self._share_terminal = not progress.disable and sys.stdout.isatty()

    @property
    def console(self) -> Console:
        """For what belongs on stdout: where that is the terminal of the bar, the console that draws the bar."""
        return errors if self._share_terminal else console

    def begin(self, source: str) -> None:
        self._done += 1
        self._progress.update(self._task, completed=self._done, description=visible(source))

    def line(self, text: str) -> None:
        """A line for programs, on stdout."""
        if self._share_terminal:
            errors.print(Text(text), soft_wrap=True)
        else:
            print(text, flush=True)

    def error(self, message: str) -> None:
        print(f"error: {one_line(message)}", file=sys.stderr, flush=True)


@contextmanager
def source_progress(total: int, done: int) -> Iterator[SourceProgress]:
    """A bar if there are several sources and stderr is a terminal; `done` of them need nothing more."""
    columns = (
        MofNCompleteColumn(),
        BarColumn(bar_width=20),
        TimeRemainingColumn(),
        TextColumn("{task.description}", markup=False, table_column=Column(no_wrap=True, overflow="ellipsis")),
    )
    progress = Progress(
        *columns,
        console=errors,
        transient=True,
        redirect_stdout=False,
        speed_estimate_period=_SPEED_SECONDS,
        disable=total < 2 or not errors.is_terminal,
    )
    with progress:
        yield SourceProgress(progress, total, done)
