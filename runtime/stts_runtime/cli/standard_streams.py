"""Standard output and error as a shell hands them over: closed, full, cut off by `head`, or of an older encoding."""

from __future__ import annotations

import codecs
import errno
import io
import os
import sys
from contextlib import suppress

from stts_runtime.places import reason

CUT_OFF = 128 + 13
"""Exit code of a program whose reader is gone: a shell's for SIGPIPE."""
_ESCAPES = "stts-escapes"


def prepare_streams() -> None:
    """Takes the place of what is closed, so that no file of ours becomes file 0, 1 or 2; and escapes what an encoding
    has no sign for as JSON does.
    """
    for number, mode in ((0, os.O_WRONLY), (1, os.O_RDONLY), (2, os.O_WRONLY)):
        if _is_closed(number):
            # Reading 0 and writing 1 fail then, as on what is closed; so output may be discarded.
            os.open(os.devnull, mode)
    sys.stdout = sys.stdout or _opened(1)
    sys.stderr = sys.stderr or _opened(2)
    codecs.register_error(_ESCAPES, _escaped)
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors=_ESCAPES)


def finish_output() -> None:
    """Hands on what was printed. Raises `OSError` where that is not possible, and then nothing is tried again."""
    try:
        sys.stdout.flush()
    except OSError:
        leave_output()
        raise


def leave_output(number: int = 1) -> None:
    """Python would try again when it ends, and say so at length. 1: standard output, 2: standard error."""
    with suppress(OSError, ValueError):
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, number)
        os.close(nowhere)


def complain(line: str) -> None:
    """A line on standard error; where that is full, the exit code has to do."""
    try:
        print(line, file=sys.stderr, flush=True)
    except OSError:
        leave_output(2)


def sentence(error: OSError) -> str:
    """For an uncaught error of a file or of standard output; only the latter has no name."""
    if error.filename is not None:
        return f"{os.fsdecode(error.filename)}: {reason(error)}"
    if error.errno == errno.EBADF:
        return "standard output cannot be written: it is closed"
    return f"standard output cannot be written: {reason(error)}"


def _is_closed(number: int) -> bool:
    try:
        os.fstat(number)
    except OSError:
        return True
    return False


def _opened(number: int) -> io.TextIOWrapper:
    return open(number, "w", encoding="utf-8", closefd=False)


def _escaped(error: UnicodeError) -> tuple[str, int]:
    assert isinstance(error, UnicodeEncodeError)
    words = error.object[error.start : error.end].encode("utf-16-be", "surrogatepass")
    units = (words[place : place + 2].hex() for place in range(0, len(words), 2))
    return "".join(f"\\u{unit}" for unit in units), error.end
