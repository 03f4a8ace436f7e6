"""Running the child process that compiles one part."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

from pydantic import TypeAdapter

from stts_runtime.compile.request import Done, Failed, Message, PartRequest, Progress
from stts_runtime.errors import EngineError

_MESSAGES: TypeAdapter[Progress | Done | Failed] = TypeAdapter(Message)
_COMMAND = (sys.executable, "-m", "stts_runtime.compile.worker")
_KILLED = -9
_LAST_WORDS = 400


def compile_part(request: PartRequest, tell: Callable[[Progress], None]) -> Done:
    """Compiles one part in a child process of its own.

    Raises `EngineError` with TensorRT's text, or with what ended the child. The child ends with this call, however it
    ends: an interrupted build leaves no process and no file behind.
    """
    # A session of its own: Ctrl-C reaches this process alone, which then ends the child.
    child = subprocess.Popen(
        _COMMAND,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    assert child.stdin is not None
    assert child.stdout is not None
    assert child.stderr is not None
    try:
        child.stdin.write(request.model_dump_json() + "\n")
        child.stdin.flush()
        for line in child.stdout:
            message = _MESSAGES.validate_json(line)
            if isinstance(message, Done):
                return message
            if isinstance(message, Failed):
                raise EngineError(message.message)
            tell(message)
        raise EngineError(_what_ended(child.wait(), child.stderr.read(), Path(request.graph).name))
    except BaseException:
        Path(request.plan).unlink(missing_ok=True)
        raise
    finally:
        child.kill()
        child.wait()
        for stream in (child.stdin, child.stdout, child.stderr):
            stream.close()


def _what_ended(code: int, said: str, graph: str) -> str:
    if code == _KILLED:
        return (
            f"compiling {graph} was killed by the system, which is what happens when memory runs out; close other "
            "programs, add swap, or build the bundle with fewer --frames or a smaller --max-context"
        )
    last = " ".join(said.split())[-_LAST_WORDS:]
    return f"compiling {graph} ended with code {code}: {last or 'no reason given'}"
