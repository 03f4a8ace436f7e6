"""Running the child process that compiles one part."""

from __future__ import annotations

import signal
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import IO

from pydantic import TypeAdapter

from stts_runtime.compile.request import Done, Failed, Message, PartRequest, Progress
from stts_runtime.errors import EngineError, UserError

_MESSAGES: TypeAdapter[Progress | Done | Failed] = TypeAdapter(Message)
# Not `python -m`, which would look for modules in the current directory first: whatever lies there must not run.
_START = "import sys; sys.path[:] = sys.argv[1:]; from stts_runtime.compile.worker import main; main()"
_LAST_WORDS = 400


def _command() -> list[str]:
    return [sys.executable, "-c", _START, *sys.path]


def compile_part(request: PartRequest, tell: Callable[[Progress], None]) -> Done:
    """Compiles one part in a child process of its own.

    Raises `EngineError` with TensorRT's text, or with what ended the child. The child ends with this call, however it
    ends: an interrupted build leaves no process and no file behind.
    """
    # A session of its own: Ctrl-C reaches this process alone, which then ends the child.
    # What it says beside its messages goes to a file: nobody reads a pipe meanwhile, and a full one would stop it.
    with tempfile.TemporaryFile("w+", errors="replace") as said:
        child = subprocess.Popen(
            _command(),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=said,
            text=True,
            start_new_session=True,
        )
        return _heard(child, request, tell, said)


def _heard(child: subprocess.Popen[str], request: PartRequest, tell: Callable[[Progress], None], said: IO[str]) -> Done:
    assert child.stdin is not None
    assert child.stdout is not None
    try:
        child.stdin.write(request.model_dump_json() + "\n")
        child.stdin.flush()
        for line in child.stdout:
            message = _MESSAGES.validate_json(line)
            if isinstance(message, Done):
                return message
            if isinstance(message, Failed):
                raise UserError(message.message) if message.users_fault else EngineError(message.message)
            tell(message)
        code = child.wait()
        said.seek(0)
        raise EngineError(_what_ended(code, said.read(), Path(request.graph).name))
    except BaseException:
        Path(request.plan).unlink(missing_ok=True)
        raise
    finally:
        child.kill()
        child.wait()
        child.stdin.close()
        child.stdout.close()


def _what_ended(code: int, said: str, graph: str) -> str:
    if code == -signal.SIGKILL:
        return (
            f"compiling {graph} was killed by the system, which is what happens when memory runs out; close other "
            "programs or add swap"
        )
    how = f"was ended by {signal.Signals(-code).name}" if code < 0 else f"ended with code {code}"
    last = " ".join(said.split())[-_LAST_WORDS:]
    return f"compiling {graph} {how}: {last or 'no reason given'}"
