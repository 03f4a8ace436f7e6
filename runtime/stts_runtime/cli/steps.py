"""What a long command is doing, for whoever waits for it."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager

from stts_runtime.cli.show import errors
from stts_runtime.cli.text import printable
from stts_runtime.tell import TellStep
from stts_runtime.text import visible

_HEARTBEAT_SECONDS = 30.0
"""Longest silence where there is no terminal."""


@contextmanager
def steps(quiet: bool = False) -> Iterator[TellStep]:
    """Each step is a line of the output that stays, unless `quiet`; a terminal shows the one under way, and how far.

    Nothing of it goes to stderr where that is no terminal: an error is the only line there.
    """
    said = time.monotonic()
    with errors.status("starting") as status:

        def tell(step: str, done: int = 0, of: int = 0) -> None:
            nonlocal said
            line = f"{step}: {done} of {of}" if of else f"{step}: {done}" if done else step
            status.update(printable(line))
            silent = time.monotonic() - said
            if not quiet and (not done or (silent > _HEARTBEAT_SECONDS and not errors.is_terminal)):
                print(visible(line), flush=True)
                said = time.monotonic()

        yield tell
