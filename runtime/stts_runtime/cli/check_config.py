"""`--check` of `stream`, `serve` and `fleet`: what a configuration would run."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable
from typing import TypeVar

from stts_runtime.cli.show import console
from stts_runtime.cli.text import printable
from stts_runtime.errors import UserError
from stts_runtime.stream.check import CheckedStream, ConfigReport
from stts_runtime.text import counted

_MOST_PROBLEMS = 3
Report = TypeVar("Report", bound=ConfigReport)


def nothing_more(_: ConfigReport) -> Iterable[str]:
    return ()


def show_check(
    check: Callable[[], Report], *, as_json: bool = False, rest: Callable[[Report], Iterable[str]] = nothing_more
) -> None:
    """Prints the report that `check` makes, with the `rest` of its lines. Raises `UserError` if something is wrong,
    which JSON says on stdout too.
    """
    try:
        report = check()
    except UserError as error:
        if as_json:
            print(json.dumps({"ok": False, "problems": [str(error)]}), flush=True)
        raise
    problems = report.problems
    if as_json:
        print(json.dumps({"ok": not problems, "problems": problems, **report.model_dump()}), flush=True)
    else:
        _show(report, rest(report))
    if problems:
        more = [f"and {len(problems) - _MOST_PROBLEMS} more"] if len(problems) > _MOST_PROBLEMS else []
        raise UserError("; ".join([*problems[:_MOST_PROBLEMS], *more]))


def _show(report: ConfigReport, rest: Iterable[str]) -> None:
    engine = report.engine or "as each machine has it"
    _line(f"bundle    {report.bundle} ({report.identity}, from {report.checkpoint}), engine {engine}")
    if windows := report.windows:
        _line(
            f"windows   {windows.frames} frames, {windows.looks_per_second:g} looks a second, keep {windows.keep:g}: "
            f"{', '.join(windows.variants)}"
        )
    for sink in report.sinks:
        _line(f"sink      {sink.name}{_wrong(sink.problem)}")
    if report.metrics:
        _line(f"metrics   http://{report.metrics}/metrics")
    if report.preview:
        _line(f"preview   {report.preview}")
    for line in rest:
        _line(line)
    for stream in report.streams:
        _show_stream(stream)
    for note in report.notes:
        _line(f"note      {note}")
    wrong = sum(one.problem is not None for one in report.streams)
    _line(f"{counted(len(report.streams), 'stream')}, {_able(len(report.streams), wrong)}")


def _able(streams: int, wrong: int) -> str:
    if streams == 1:
        return "which cannot run" if wrong else "which can run"
    return f"{wrong} of them cannot run" if wrong else "all of them can run"


def _show_stream(stream: CheckedStream) -> None:
    found = f"  {stream.found}" if stream.found else ""
    _line(f"stream    {stream.name}  {stream.source}{found}{_wrong(stream.problem)}")
    for question in stream.questions:
        _line(f"            {question}")
    choices = f"choices {', '.join(stream.choices)}; " if stream.choices else ""
    alert = f"alert if {stream.alert}; " if stream.alert else ""
    to = ", ".join(stream.sinks) or "nobody"
    _line(f"            {choices}{alert}when {stream.when}; to {to}")


def _wrong(problem: str | None) -> str:
    return "" if problem is None else f"  WRONG: {problem}"


def _line(text: str) -> None:
    console.print(printable(text), soft_wrap=True)
