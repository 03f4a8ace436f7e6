"""The child process that compiles one part; `child.py` starts it.

A process of its own, so that the peak of memory is the largest part and not their sum, and so that a build that is
killed takes nothing with it. The request comes as the first line of standard input; messages go to standard output.
The child ends when its standard input does: a parent that dies leaves no build behind.
"""

from __future__ import annotations

import os
import re
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path

from stts_runtime.compile.builder import build_plan
from stts_runtime.compile.inspect import inspect_plan
from stts_runtime.compile.request import Done, Failed, PartRequest, Progress
from stts_runtime.errors import SttsError, UserError
from stts_runtime.tensorrt import load_flavour


def main() -> None:
    request = PartRequest.model_validate_json(sys.stdin.readline())
    threading.Thread(target=_end_with_parent, daemon=True).start()
    # TensorRT writes to standard output by itself where it likes; messages go to a copy that it does not know.
    messages = os.fdopen(os.dup(1), "w", buffering=1)
    os.dup2(2, 1)

    def tell(message: Progress | Done | Failed) -> None:
        messages.write(message.model_dump_json() + "\n")

    started = time.monotonic()
    try:
        tell(_compile(request, tell, started))
    except (SttsError, OSError) as error:
        tell(Failed(message=str(error), users_fault=isinstance(error, UserError)))


def _compile(request: PartRequest, tell: Callable[[Progress], None], started: float) -> Done:
    flavour = load_flavour(request.flavour)
    built = build_plan(flavour, request, tell)
    seconds = round(time.monotonic() - started, 1)
    return Done(
        seconds=seconds,
        # Before the engine is loaded, which a build does not need.
        peak_memory_mb=_peak_memory_mb(),
        warnings=built.warnings,
        note=built.note,
        builder_flags=built.flags,
        inspected=None if flavour.compiles_without_gpu else inspect_plan(flavour, Path(request.plan)),
    )


def _peak_memory_mb() -> float:
    """From /proc: `ru_maxrss` would count what the parent held when it started this process."""
    (kilobytes,) = re.findall(r"^VmHWM:\s+(\d+) kB$", Path("/proc/self/status").read_text(), re.MULTILINE)
    return round(int(kilobytes) * 1024 / 1e6, 0)


def _end_with_parent() -> None:
    sys.stdin.read()
    os._exit(1)
