"""What commands share that run until they are told to stop: settings, signals, a log, words for people."""

from __future__ import annotations

import signal
import sys
import threading
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import FrameType
from typing import Any

from pydantic import ValidationError

from stts_runtime.cli.log import Log, LogFormat, LogLevel
from stts_runtime.cli.stray_lines import take_stray_lines
from stts_runtime.errors import UserError
from stts_runtime.mistakes import mistakes
from stts_runtime.stream.config import AnyCameras
from stts_runtime.tell import Tell
from stts_runtime.text import visible

_SIGNALS = (signal.SIGTERM, signal.SIGINT)


def named(sources: Sequence[str]) -> list[dict[str, str]]:
    """One name for each, in the order of the command line."""
    return [{"name": f"stream-{number}", "source": source} for number, source in enumerate(sources, start=1)]


def configured(kind: type[AnyCameras], file: Path | None, given: Mapping[str, Any], tell: Tell) -> AnyCameras:
    """The settings of the options and of the file, if there is one. Raises `UserError` for contradictions."""
    if file is None:
        try:
            return kind.model_validate(given)
        except ValidationError as error:
            raise UserError(mistakes(error, given)) from None
    from stts_runtime.stream.config_file import exposed_passwords, validated
    from stts_runtime.stream.includes import ConfigFiles

    files = ConfigFiles(file)
    config = validated(files, kind, given)
    for warning in exposed_passwords(files):
        tell(f"warning: {warning}")
    return config


def opened_log(kind: LogFormat, least: LogLevel) -> Log:
    """The log of this process; where it is JSON, all that is said on standard error from now on is."""
    log = Log(kind, least)
    if kind is LogFormat.JSON:
        take_stray_lines(log)
    return log


def tell(line: str) -> None:
    """For people, by commands that write no log."""
    # In one piece: print writes the end of a line by itself, and other threads tell too.
    print(f"{visible(line)}\n", end="", file=sys.stderr, flush=True)


def stopped_by_signals(tell: Tell) -> threading.Event:
    """Set by the first signal; a second one ends the program at once."""
    stop, before = threading.Event(), {number: signal.getsignal(number) for number in _SIGNALS}

    def end(number: int, _: FrameType | None) -> None:
        tell(f"{signal.Signals(number).name}: finishing what is under way")
        stop.set()
        for one, handler in before.items():
            signal.signal(one, handler)

    for number in _SIGNALS:
        signal.signal(number, end)
    return stop


def asked_by_sighup() -> threading.Event:
    """Set by each SIGHUP from now on, which ends the program otherwise."""
    asked = threading.Event()
    signal.signal(signal.SIGHUP, lambda *_: asked.set())
    return asked
