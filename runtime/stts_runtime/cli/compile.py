"""`stts-runtime compile`: the bundle's graphs become TensorRT engines, with progress that people can live with."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import TracebackType
from typing import Annotated, Optional

import typer
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TaskID, TextColumn, TimeElapsedColumn

from stts_runtime.bundle.contract import FlavourName
from stts_runtime.cli.options import BundleArgument, DeviceOption, JsonOption
from stts_runtime.cli.show import console, errors, show_note
from stts_runtime.cli.steps import HEARTBEAT_SECONDS
from stts_runtime.compile.preflight import Estimate, memory_needed
from stts_runtime.compile.request import Progress as Step
from stts_runtime.compile.run import CompileRequest, compile_bundle
from stts_runtime.device import select_gpu
from stts_runtime.passports import Passport
from stts_runtime.progress import in_words

ArchOption = Annotated[
    Optional[str],
    typer.Option(help="GPU architectures to compile for, with tensorrt-rtx: sm86,sm89.", show_default="this GPU's"),
]


def split_architectures(arch: Optional[str]) -> list[str]:
    return [name.strip().lower() for name in (arch or "").split(",") if name.strip()]


def compile_command(
    bundle: BundleArgument,
    engine: Annotated[FlavourName, typer.Option(help="tensorrt for this device; tensorrt-rtx also ahead of time.")],
    variant: Annotated[
        Optional[list[str]], typer.Option(metavar="NAME", help="Variant to compile; repeatable.", show_default="all")
    ] = None,
    arch: ArchOption = None,
    jobs: Annotated[int, typer.Option(min=1, max=64, help="Parts to compile at the same time; each needs memory.")] = 1,
    device: DeviceOption = None,
    as_json: JsonOption = False,
) -> None:
    """Compile a bundle's graphs for this device, or ahead of time for others.

    Engines that are already up to date are kept.
    """
    select_gpu(device)
    request = CompileRequest(bundle, engine, variant or [], split_architectures(arch), jobs)
    with Listener(quiet=as_json, jobs=jobs) as listener:
        passports = compile_bundle(request, listener)
    if as_json:
        print(json.dumps({"bundle": str(bundle), "engines": [passport.model_dump() for passport in passports]}))
    else:
        size = sum(passport.plan_bytes for passport in passports) / 1e6
        console.print(f"{bundle}: {len(passports)} {engine} engines, {size:.1f} MB", soft_wrap=True)


class Listener:
    """Shows a build: bars with TensorRT's own phases on a terminal, else a line now and then; nothing if `quiet`."""

    def __init__(
        self,
        quiet: bool = False,
        bars: Optional[bool] = None,
        now: Callable[[], float] = time.monotonic,
        jobs: int = 1,
    ) -> None:
        self._quiet, self._now, self._jobs = quiet, now, jobs
        self._show_bars = not quiet and (errors.is_terminal if bars is None else bars)
        columns = TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn()
        self._bars = Progress(*columns, console=errors, transient=True, disable=not self._show_bars)
        self._all: Optional[TaskID] = None
        self._parts: dict[str, _Part] = {}

    def __enter__(self) -> Listener:
        self._bars.start()
        return self

    def __exit__(
        self, kind: Optional[type[BaseException]], error: Optional[BaseException], trace: Optional[TracebackType]
    ) -> None:
        self._bars.stop()

    def note(self, text: str) -> None:
        if not self._quiet:
            show_note(text)

    def start(self, estimates: Mapping[str, Estimate]) -> None:
        if not estimates:
            return
        memory = memory_needed(estimates, self._jobs) / 1000
        disk = sum(one.disk_mb for one in estimates.values()) / 1000
        needs = f"about {memory:.1f} GB of memory, {disk:.2f} GB of disk, {_expected_time(estimates, self._jobs)}"
        self._say(f"{len(estimates)} parts to compile: {needs}")
        self._all = self._bars.add_task("parts", total=len(estimates))

    def begin(self, part: str) -> None:
        began = self._now()
        self._parts[part] = _Part(self._bars.add_task(part, total=None), began, spoke=began)
        if not self._show_bars:
            self._say(f"{part}: compiling")

    def progress(self, part: str, progress: Step) -> None:
        shown = self._parts[part]
        told = f"{progress.phase}, {progress.step} of {progress.steps}, after " if progress.steps else ""
        if told:
            phase = f"  {part}: {progress.phase}"
            self._bars.update(shown.task, description=phase, total=progress.steps, completed=progress.step)
        if not self._show_bars and self._now() - shown.spoke >= HEARTBEAT_SECONDS:
            shown.spoke = self._now()
            seconds = f"{shown.spoke - shown.began:.0f} s"
            self._say(f"{part}: {told}{seconds}" if told else f"{part}: {seconds} passed")

    def end(self, part: str, passport: Passport, reused: bool) -> None:
        shown = self._parts.pop(part, None)
        if shown is not None:
            self._bars.remove_task(shown.task)
        if not reused and self._all is not None:
            self._bars.advance(self._all)
        size = f"{passport.plan_bytes / 1e6:.1f} MB for {', '.join(passport.architectures)}"
        took = f"{passport.seconds:.1f} s, {passport.peak_memory_mb / 1000:.2f} GB of memory at most"
        self._say(f"{part}: {'kept' if reused else took}, {size}{_came_out(passport)}")

    def _say(self, line: str) -> None:
        if not self._quiet:
            console.print(line, soft_wrap=True, markup=False)


@dataclass
class _Part:
    """A part that is being compiled, as it is shown."""

    task: TaskID
    began: float
    spoke: float
    """When there was a line about it; both in seconds."""


def _came_out(passport: Passport) -> str:
    """In what the engine computes, where the builder chose it."""
    if passport.inspected is None or not passport.inspected.outputs:
        return ""
    counts = ", ".join(f"{count} {name}" for name, count in passport.inspected.outputs.items())
    return f"; {passport.builder_flags}: {passport.inspected.layers} layers, outputs {counts}"


def _expected_time(estimates: Mapping[str, Estimate], jobs: int) -> str:
    seconds = [one.seconds for one in estimates.values() if one.seconds is not None]
    if len(seconds) < len(estimates):
        return "and a time that depends on the device"
    # The longest one is the least that it can take.
    total = max(sum(seconds) / jobs, *seconds)
    return in_words(total)
