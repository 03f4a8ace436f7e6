"""Running the child process that compiles one part."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import tempfile
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from queue import Empty, SimpleQueue
from typing import IO

from pydantic import TypeAdapter

from stts_runtime.compile.request import Done, Failed, Message, PartRequest, Progress
from stts_runtime.device import hide_other_gpus
from stts_runtime.errors import EngineError, UserError

_MESSAGES: TypeAdapter[Progress | Done | Failed] = TypeAdapter(Message)
# Not `python -m`, which would look for modules in the current directory first: whatever is there must not run.
_START = "import sys; sys.path[:] = sys.argv[1:]; from stts_runtime.compile.worker import main; main()"
_LAST_WORDS = 400
_PATIENCE_SECONDS = 0.5
"""How soon an abandoned child is stopped, and how often a silent one counts as progress."""
_NOTHING_TOLD = Progress(phase="compiling", depth=0, step=0, steps=0)


class StoppedError(Exception):
    """A part was given up since it was no longer wanted."""


def _command() -> list[str]:
    return [sys.executable, "-c", _START, *sys.path]


def _environment(gpu: int) -> dict[str, str]:
    # Kernels are loaded when they are needed; TensorRT 8.6 warns about everything else.
    return {"CUDA_MODULE_LOADING": "LAZY", **os.environ, **hide_other_gpus(gpu)}


def compile_part(
    request: PartRequest, tell: Callable[[Progress], None], stop: threading.Event | None = None, gpu: int = 0
) -> Done:
    """Compiles one part in a child process of its own, on a GPU by its number.

    While TensorRT says nothing, the last that it told is told again. Raises `EngineError` with TensorRT's text, or with
    what ended the child, and `StoppedError` once `stop` is set. The child ends with this call, however it ends: an
    interrupted build leaves no process and no file.
    """
    stop = stop or threading.Event()
    # A session of its own: Ctrl-C reaches this process alone, which then ends the child.
    # What it says besides its messages goes to a file: a pipe that is not read meanwhile would fill up and stop it.
    with tempfile.TemporaryFile("w+", errors="replace") as said, _child(gpu, said) as child:
        try:
            return _follow(child, request, tell, stop, said)
        except BaseException:
            Path(request.plan).unlink(missing_ok=True)
            raise


@contextmanager
def _child(gpu: int, said: IO[str]) -> Iterator[subprocess.Popen[str]]:
    child = subprocess.Popen(
        _command(),
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=said,
        text=True,
        start_new_session=True,
        env=_environment(gpu),
    )
    assert child.stdin is not None
    try:
        yield child
    finally:
        child.kill()
        child.wait()
        # Closing tries again to write a request that the child did not live to read.
        with suppress(BrokenPipeError):
            child.stdin.close()


def _follow(
    child: subprocess.Popen[str],
    request: PartRequest,
    tell: Callable[[Progress], None],
    stop: threading.Event,
    said: IO[str],
) -> Done:
    assert child.stdin is not None
    # A child that has ended already is explained below, like one that ends later.
    with suppress(BrokenPipeError):
        child.stdin.write(request.model_dump_json() + "\n")
        child.stdin.flush()
    last = _NOTHING_TOLD
    for line in _lines(child):
        if stop.is_set():
            raise StoppedError
        message = last if line is None else _MESSAGES.validate_json(line)
        if isinstance(message, Done):
            return message
        if isinstance(message, Failed):
            raise UserError(message.message) if message.users_fault else EngineError(message.message)
        last = message
        tell(message)
    code = child.wait()
    said.seek(0)
    raise EngineError(_what_ended(code, said.read(), Path(request.graph).name))


def _lines(child: subprocess.Popen[str]) -> Iterator[str | None]:
    """What the child writes, and None for every time that it is silent for long."""
    lines: SimpleQueue[str] = SimpleQueue()
    reader = threading.Thread(target=_read, args=(child, lines), daemon=True)
    reader.start()
    while True:
        try:
            line = lines.get(timeout=_PATIENCE_SECONDS)
        except Empty:
            yield None
            continue
        if not line:
            return
        yield line


def _read(child: subprocess.Popen[str], lines: SimpleQueue[str]) -> None:
    """Ends with the child, which closes the other end."""
    assert child.stdout is not None
    with child.stdout:
        for line in child.stdout:
            lines.put(line)
    lines.put("")


def _what_ended(code: int, said: str, graph: str) -> str:
    if code == -signal.SIGKILL:
        return (
            f"compiling {graph} was killed by the system, which is what happens when memory runs out; close other "
            "programs or add swap"
        )
    how = f"was ended by {signal.Signals(-code).name}" if code < 0 else f"ended with code {code}"
    last = " ".join(said.split())[-_LAST_WORDS:]
    return f"compiling {graph} {how}: {last or 'no reason given'}"
