"""How every command of both programs ends: one line on stderr and an exit code, never a traceback.

Exit codes: 0 done, 1 our fault, 2 the input's fault, 130 interrupted, 128 + the signal if terminated.
"""

from __future__ import annotations

import errno
import os
import signal
import sys
from types import FrameType, TracebackType

import typer
from typer.exceptions import TyperException

from stts_runtime.cli.standard_streams import CUT_OFF, complain, finish_output, leave_output, sentence
from stts_runtime.cli.text import one_line
from stts_runtime.errors import SttsError
from stts_runtime.places import DISK_ERRORS, check_here

TRACEBACK_VARIABLE = "STTS_TRACEBACK"

# Typer's newer versions put it before what they say of a choice.
_FROM_PYDANTIC = "Value error, "

_OF_THE_PLACE = DISK_ERRORS | {errno.EACCES, errno.EPERM, errno.EBADF}
"""What a disk or an output may turn out to be at any moment, whatever was looked at before."""

# Typer turns Ctrl-C into this code by itself, wherever it gets there first.
_INTERRUPTED = 130


def run_app(app: typer.Typer, program: str) -> int:
    """Runs a command line and returns its exit code."""
    sys.excepthook = _one_line
    signals = _end_on_signals()
    try:
        check_here()
        code = typer.main.get_command(app).main(prog_name=program, standalone_mode=False)
        finish_output()
    except BaseException as ended:  # noqa: BLE001  # raised again where it is unknown
        code = 128 + signals[0] if signals else _exit_code(ended, program)
    if code == _INTERRUPTED:
        return _fail("interrupted", _INTERRUPTED)
    return code if isinstance(code, int) else 0


def _end_on_signals() -> list[int]:
    """Lets signals unwind like exceptions, so that temporary folders are removed, and lists those that came.

    The list outlives the exception: `torch.export` makes an error of its own of a Ctrl-C in the middle of a trace.
    What was ignored from the start stays so: under `nohup` a command outlives its terminal.
    """
    came: list[int] = []

    def end(number: int, _: FrameType | None) -> None:
        came.append(number)
        if number == signal.SIGINT:
            raise KeyboardInterrupt
        raise SystemExit(_fail(f"ended by {signal.Signals(number).name}", 128 + number))

    for stop in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        if signal.getsignal(stop) is not signal.SIG_IGN:
            signal.signal(stop, end)
    return came


def _exit_code(ended: BaseException, program: str) -> int:
    """Says in one line what ended a command. Raises what should not have come this far."""
    if isinstance(ended, (KeyboardInterrupt, typer.Abort)):
        return _INTERRUPTED
    # Typer makes an exit of a broken pipe that it sees first.
    if isinstance(ended.__context__ if isinstance(ended, SystemExit) else ended, BrokenPipeError):
        # Who reads our output has seen enough, as `head` has.
        leave_output()
        return CUT_OFF
    if isinstance(ended, (SttsError, TyperException, OSError, MemoryError)):
        return _refused(ended, program)
    raise ended


def _refused(error: Exception, program: str) -> int:
    """Says what was wrong. Raises what should not have come this far."""
    if isinstance(error, SttsError):
        return _fail(str(error), error.exit_code)
    if isinstance(error, TyperException):
        context = getattr(error, "ctx", None)
        command = program if context is None else context.command_path
        message = error.format_message().replace(_FROM_PYDANTIC, "")
        return _fail(f"{message} (see {command} --help)", error.exit_code)
    if isinstance(error, MemoryError):
        return _fail("not enough memory; use fewer frames or a smaller model, or close other programs", 2)
    if not isinstance(error, OSError) or error.errno not in _OF_THE_PLACE or os.environ.get(TRACEBACK_VARIABLE):
        raise error
    leave_output()
    return _fail(sentence(error), 2)


def _fail(message: str, code: int) -> int:
    complain(f"error: {one_line(message)}")
    return code


def _one_line(kind: type[BaseException], error: BaseException, trace: TracebackType | None) -> None:
    if os.environ.get(TRACEBACK_VARIABLE):
        sys.__excepthook__(kind, error, trace)
        return
    message = one_line(f"{kind.__name__}: {error}")
    print(f"internal error: {message} (set {TRACEBACK_VARIABLE}=1 to see where)", file=sys.stderr)
