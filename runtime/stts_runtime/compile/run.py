"""Compiling a bundle part by part: what is finished is kept, what is finished already is not done again."""

from __future__ import annotations

import shlex
import threading
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timezone
from functools import partial
from pathlib import Path
from typing import Protocol, TypeGuard

from stts_runtime.bundle import Bundle
from stts_runtime.bundle.contract import FlavourName
from stts_runtime.bundle.files import record_of
from stts_runtime.compile.child import compile_part
from stts_runtime.compile.choose import Part, architectures_for, check_place, parts_of
from stts_runtime.compile.jobs import run_jobs
from stts_runtime.compile.preflight import Estimate, check_machine, estimate
from stts_runtime.compile.request import Done, PartRequest, Progress
from stts_runtime.compile.trial import Trial
from stts_runtime.device import Device, this_device
from stts_runtime.errors import BundleError
from stts_runtime.passports import EngineStore, Passport, check_device, check_installed, check_passport
from stts_runtime.passports.passport import PASSPORT_SCHEMA
from stts_runtime.tensorrt import Flavour, load_flavour
from stts_runtime.tensorrt.files import cache_file


@dataclass(frozen=True)
class CompileRequest:
    """What to compile; the names are those of the command line."""

    bundle: Path
    flavour: FlavourName
    variants: Sequence[str] = ()
    """Names of variants; none: all. The language model is always among the parts."""
    architectures: Sequence[str] = ()
    jobs: int = 1
    """Parts that are compiled at the same time."""


class Listener(Protocol):
    """Who is told how a build goes. Calls come from several threads, one at a time."""

    def note(self, text: str) -> None:
        """Something that is worth knowing, before it starts or when it is done."""

    def start(self, estimates: Mapping[str, Estimate]) -> None:
        """Before the first: what is to be compiled, and what each part is expected to take."""

    def begin(self, part: str) -> None: ...

    def progress(self, part: str, progress: Progress) -> None: ...

    def end(self, part: str, passport: Passport, reused: bool) -> None: ...


def check_compiler(request: CompileRequest) -> None:
    """Raises `UserError` if this machine cannot compile what is asked for, whatever the bundle holds."""
    check_place(request.flavour, this_device())
    architectures_for(load_flavour(request.flavour), request.architectures, this_device())


def compile_bundle(request: CompileRequest, listener: Listener) -> list[Passport]:
    """Compiles what has no engine that would load as asked; passports of all parts, in order.

    Raises `UserError` for what the user can put right, before the first part where that is possible, and `EngineError`
    with TensorRT's own text if it fails. Parts that were finished stay; the one that was not leaves nothing.
    """
    bundle, device = Bundle.open(request.bundle), this_device()
    check_place(request.flavour, device)
    flavour = load_flavour(request.flavour)
    parts = parts_of(bundle, flavour, request.variants)
    run = _Run(bundle, flavour, device, architectures_for(flavour, request.architectures, device))
    # A graph may read every file of the bundle.
    bundle.verify_all()
    with run.store.scratch() as scratch:
        # Once: it hashes every engine.
        standing = {part.name: run.standing(part) for part in parts}
        missing = [part for part in parts if not run.suffices(standing[part.name])]
        estimates = {part.name: estimate(bundle, part, flavour) for part in missing}
        check_machine(bundle.folder, estimates, jobs=request.jobs)
        if missing and not flavour.tells_progress:
            listener.note(_no_progress(flavour))
        listener.start(estimates)
        listening = _OneAtATime(listener)
        tasks = [partial(run.take, part, standing[part.name], scratch, listening) for part in parts]
        passports = run_jobs(tasks, request.jobs)
    if note := run.trial.note(passports):
        listener.note(note)
    return passports


def _no_progress(flavour: Flavour) -> str:
    return (
        f"{flavour.name} {flavour.version} does not tell how far a build is; on an H200 8.6.0 took 20 to 250 s for "
        "each graph of a small model and 6 to 14 minutes for Molmo2-4B's vision tower, and a Jetson takes several "
        "times longer"
    )


class _OneAtATime:
    """A listener for several threads."""

    def __init__(self, listener: Listener) -> None:
        self._listener, self._lock = listener, threading.Lock()

    def note(self, text: str) -> None:
        with self._lock:
            self._listener.note(text)

    def begin(self, part: str) -> None:
        with self._lock:
            self._listener.begin(part)

    def progress(self, part: str, progress: Progress) -> None:
        with self._lock:
            self._listener.progress(part, progress)

    def end(self, part: str, passport: Passport, reused: bool) -> None:
        with self._lock:
            self._listener.end(part, passport, reused)


class _Run:
    """One compilation of one bundle."""

    def __init__(self, bundle: Bundle, flavour: Flavour, device: Device, architectures: list[str]) -> None:
        self.bundle, self.flavour, self.device, self.architectures = bundle, flavour, device, architectures
        self.store, self.trial = EngineStore(bundle.folder), Trial(bundle, device)

    def suffices(self, standing: Passport | None) -> TypeGuard[Passport]:
        """Whether an engine that stands was made for all that is asked for."""
        return standing is not None and set(self.architectures) <= set(standing.architectures)

    def standing(self, part: Part) -> Passport | None:
        """The passport of the part's engine, if it is right for this bundle and software, whatever it was made for."""
        if not self.store.has(part.name, self.flavour.name):
            return None
        try:
            passport = self.store.read(part.name, self.flavour.name)
            check_passport(self.bundle, part.name, self.flavour.name, passport)
            check_installed(self.bundle.folder, passport, self.flavour, self.device.platform)
            if not self.flavour.compiles_without_gpu:
                check_device(self.bundle.folder, passport, self.device)
            self.store.plan(passport)
        except BundleError:
            return None
        return passport if passport.lowering == part.lowering and passport.lengths == part.lengths else None

    def take(
        self, part: Part, standing: Passport | None, scratch: Path, listener: _OneAtATime, stop: threading.Event
    ) -> Passport:
        """The passport of the part's engine, which is compiled if it has to be. Raises `StoppedError` after `stop`."""
        if self.suffices(standing):
            listener.end(part.name, standing, reused=True)
            return standing
        listener.begin(part.name)
        plan = scratch / f"{part.name}.plan"
        # What the part was compiled for already costs nothing, and would be lost.
        architectures = list(dict.fromkeys([*(standing.architectures if standing else []), *self.architectures]))
        request, tell = self._request(part, plan, architectures), partial(listener.progress, part.name)
        done = compile_part(request, tell, stop, self.device.gpu.number if self.device.gpu else 0)
        if done.note is not None:
            listener.note(done.note)
        passport = self.trial.passed(self._passport(part, plan, done, architectures), plan)
        self.store.put(passport, plan)
        listener.end(part.name, passport, reused=False)
        return passport

    def _request(self, part: Part, plan: Path, architectures: list[str]) -> PartRequest:
        ahead, gpu = self.flavour.compiles_without_gpu, self.device.gpu
        timing = None if ahead or gpu is None else cache_file(self.flavour, gpu, "timing")
        return PartRequest(
            flavour=self.flavour.name,
            graph=str((self.bundle.folder / part.graph.graph).resolve()),
            plan=str(plan.resolve()),
            architectures=architectures if ahead else None,
            precision=part.graph.precision,
            lengths=part.lengths,
            timing_cache=None if timing is None else str(timing),
        )

    def _passport(self, part: Part, plan: Path, done: Done, architectures: list[str]) -> Passport:
        files, written = self.bundle.manifest.files, record_of(plan)
        return Passport(
            schema_version=PASSPORT_SCHEMA,
            part=part.name,
            flavour=self.flavour.name,
            version=self.flavour.version,
            platform=self.device.platform,
            architectures=architectures,
            driver=self.device.driver,
            l4t=self.device.l4t,
            lowering=part.lowering,
            precision=part.graph.precision,
            wide=part.graph.wide,
            lengths=part.lengths,
            graph_sha256=files[part.graph.graph].sha256,
            weights_sha256=files[part.graph.weights].sha256,
            plan_sha256=written.sha256,
            plan_bytes=written.size_bytes,
            created=datetime.now(timezone.utc).isoformat(timespec="seconds"),
            seconds=done.seconds,
            peak_memory_mb=done.peak_memory_mb,
            command=self._command(),
            builder_flags=done.builder_flags,
            inspected=done.inspected,
        )

    def _command(self) -> str:
        words = ["stts-runtime", "compile", self.bundle.folder.resolve().name, "--engine", self.flavour.name]
        if self.flavour.compiles_without_gpu:
            words += ["--arch", ",".join(self.architectures)]
        return shlex.join(words)
