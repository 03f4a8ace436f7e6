"""`stts-runtime compile`: the bundle's graphs become TensorRT engines, with progress that people can live with."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Mapping
from types import TracebackType
from typing import Annotated, Optional

import typer
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TaskID, TextColumn, TimeElapsedColumn

from stts_runtime.cli.options import BundleArgument, JsonOption
from stts_runtime.cli.show import console, errors, show_note
from stts_runtime.compile.preflight import Estimate
from stts_runtime.compile.request import Progress as Step
from stts_runtime.compile.run import CompileRequest, compile_bundle
from stts_runtime.compile.trial import trial_note
from stts_runtime.passports import Passport
from stts_runtime.tensorrt import FlavourName

_HEARTBEAT_SECONDS = 30.0
"""Longest silence where there is no terminal for a bar."""

ArchOption = Annotated[
    Optional[str], typer.Option(help="For tensorrt-rtx: GPU architectures such as sm86,sm89. Default: this GPU's.")
]


def split_architectures(arch: Optional[str]) -> list[str]:
    return [name.strip().lower() for name in (arch or "").split(",") if name.strip()]


def compile_command(
    bundle: BundleArgument,
    engine: Annotated[FlavourName, typer.Option(help="TensorRT of this device, or TensorRT-RTX ahead of time.")],
    variant: Annotated[
        Optional[list[str]], typer.Option(metavar="NAME", help="Variant to compile, repeatable. Default: all.")
    ] = None,
    arch: ArchOption = None,
    as_json: JsonOption = False,
) -> None:
    """Compiles a bundle's graphs for this device, or ahead of time for others; what is finished is not done again."""
    request = CompileRequest(bundle, engine, variant or [], split_architectures(arch))
    with Listener(quiet=as_json) as listener:
        passports = compile_bundle(request, listener)
    if as_json:
        print(json.dumps({"bundle": str(bundle), "engines": [passport.model_dump() for passport in passports]}))
    else:
        size = sum(passport.plan_bytes for passport in passports) / 1e6
        console.print(f"{bundle}: {len(passports)} {engine} engines, {size:.1f} MB", soft_wrap=True)
        if note := trial_note(bundle, passports):
            show_note(note)


class Listener:
    """Shows a build: bars with TensorRT's own phases on a terminal, else a line now and then; nothing if `quiet`."""

    def __init__(
        self, quiet: bool = False, bars: Optional[bool] = None, now: Callable[[], float] = time.monotonic
    ) -> None:
        self._quiet, self._now = quiet, now
        self._show_bars = not quiet and (errors.is_terminal if bars is None else bars)
        columns = TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn()
        self._bars = Progress(*columns, console=errors, transient=True, disable=not self._show_bars)
        self._all: Optional[TaskID] = None
        self._phase: Optional[TaskID] = None
        self._part, self._began, self._spoke = "", 0.0, 0.0

    def __enter__(self) -> Listener:
        self._bars.start()
        return self

    def __exit__(
        self, kind: Optional[type[BaseException]], error: Optional[BaseException], trace: Optional[TracebackType]
    ) -> None:
        self._bars.stop()

    def start(self, estimates: Mapping[str, Estimate]) -> None:
        if not estimates:
            return
        memory = max(one.memory_mb for one in estimates.values()) / 1000
        disk = sum(one.disk_mb for one in estimates.values()) / 1000
        needs = f"about {memory:.1f} GB of memory, {disk:.2f} GB of disk, {_expected_time(estimates)}"
        self._say(f"{len(estimates)} parts to compile: {needs}")
        self._all = self._bars.add_task("parts", total=len(estimates))

    def begin(self, part: str) -> None:
        self._part, self._began = part, self._now()
        self._phase = self._bars.add_task(part, total=None)
        if not self._show_bars:
            self._say(f"{part}: compiling")

    def progress(self, progress: Step) -> None:
        if self._phase is not None:
            phase = f"  {progress.phase}"
            self._bars.update(self._phase, description=phase, total=progress.steps, completed=progress.step)
        if not self._show_bars and self._now() - self._spoke >= _HEARTBEAT_SECONDS:
            seconds = self._now() - self._began
            self._say(f"{self._part}: {progress.phase}, {progress.step} of {progress.steps}, after {seconds:.0f} s")

    def end(self, part: str, passport: Passport, reused: bool) -> None:
        if self._phase is not None:
            self._bars.remove_task(self._phase)
            self._phase = None
        if not reused and self._all is not None:
            self._bars.advance(self._all)
        size = f"{passport.plan_bytes / 1e6:.1f} MB for {', '.join(passport.architectures)}"
        took = f"{passport.seconds:.1f} s, {passport.peak_memory_mb / 1000:.2f} GB of memory at most"
        self._say(f"{part}: {'kept' if reused else took}, {size}")

    def _say(self, line: str) -> None:
        self._spoke = self._now()
        if not self._quiet:
            console.print(line, soft_wrap=True, markup=False)


def _expected_time(estimates: Mapping[str, Estimate]) -> str:
    seconds = [one.seconds for one in estimates.values()]
    if None in seconds:
        return "and a time that we have not measured"
    total = sum(one for one in seconds if one is not None)
    return f"{total:.0f} s" if total < 120 else f"{total / 60:.0f} minutes"
