"""The folder `engines/` of a bundle: which engines there are, reading and writing them.

Everything in it was made on the device or for it, after the bundle was built, so the manifest knows nothing of it and
the whole folder may be deleted. An engine counts from the moment its passport is there, which is written last and
taken away first: whatever interrupts a build leaves either a whole engine or none.
"""

from __future__ import annotations

import fcntl
import os
import shlex
import shutil
import tempfile
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from pydantic import ValidationError

from stts_runtime.bundle.contract import FLAVOURS, LANGUAGE, FlavourName, variant_of
from stts_runtime.bundle.files import plain_file, record_of
from stts_runtime.bundle.load import ENGINES
from stts_runtime.errors import BundleError, UserError
from stts_runtime.outputs import written_whole
from stts_runtime.passports.passport import PASSPORT_SCHEMA, Passport
from stts_runtime.places import check_makeable, unwritable
from stts_runtime.settings import declared_version, first_problem

_SCRATCH = ".compiling-"
_MAX_PASSPORT_BYTES = 1 << 20


class EngineStore:
    """The compiled engines of the bundle in `bundle`; they are in it, or in `folder`."""

    def __init__(self, bundle: Path, folder: Path | None = None) -> None:
        self.bundle = bundle
        self.folder = folder or bundle / ENGINES

    def has(self, part: str, flavour: FlavourName) -> bool:
        return (self.folder / _passport_name(part, flavour)).is_file()

    def engines(self, parts: Iterable[str]) -> list[tuple[str, FlavourName]]:
        """Parts that have an engine, with its flavour."""
        return [(part, flavour) for part in parts for flavour in FLAVOURS if self.has(part, flavour)]

    def read(self, part: str, flavour: FlavourName) -> Passport:
        """The passport of a part's engine. Raises `BundleError` if there is none, or it is damaged."""
        path = plain_file(self.folder, _passport_name(part, flavour))
        if path.stat().st_size > _MAX_PASSPORT_BYTES:
            raise BundleError(f"{path} is too large to be a passport; delete it and compile the engine again")
        content = path.read_bytes()
        version = declared_version(content)
        if version is not None and version > PASSPORT_SCHEMA:
            raise BundleError(
                f"{path} was written by a newer stts-runtime (schema {version}); this one reads passports up to "
                f"{PASSPORT_SCHEMA}: pip install -U stts-export"
            )
        try:
            return Passport.model_validate_json(content)
        except ValidationError as error:
            raise BundleError(
                f"{path} is damaged ({first_problem(error)}); compile the engine again: "
                f"{again(self.bundle, part, flavour)}"
            ) from None

    def plan(self, passport: Passport) -> Path:
        """The engine itself, size and hash checked."""
        path = plain_file(self.folder, _plan_name(passport.part, passport.flavour))
        if (path.stat().st_size, record_of(path).sha256) != (passport.plan_bytes, passport.plan_sha256):
            raise BundleError(
                f"{path} is damaged: it is not the engine of its passport; copy the bundle again, or compile the "
                f"engine again: {again(self.bundle, passport.part, passport.flavour, passport.architectures)}"
            )
        return path

    @contextmanager
    def scratch(self) -> Iterator[Path]:
        """A folder on the engines' file system, for one process at a time, that is gone when the block ends.

        What an earlier one left behind when it was killed is removed. Raises `UserError` if another is at it, or the
        bundle cannot be written.
        """
        check_makeable(self.folder)
        try:
            self.folder.mkdir(exist_ok=True)
            lock = os.open(self.folder, os.O_RDONLY)
        except OSError as error:
            raise UserError(unwritable(self.folder, error)) from None
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            for leftover in self.folder.glob(f"{_SCRATCH}*"):
                shutil.rmtree(leftover, ignore_errors=True)
            folder = Path(tempfile.mkdtemp(prefix=_SCRATCH, dir=self.folder))
            try:
                yield folder
            finally:
                shutil.rmtree(folder, ignore_errors=True)
                with suppress(OSError):
                    self.folder.rmdir()
        except BlockingIOError:
            raise UserError(f"{self.bundle} is being compiled by another process; wait for it, or stop it") from None
        finally:
            os.close(lock)

    def put(self, passport: Passport, plan: Path) -> None:
        """Takes over the engine `plan`; an older one of the same part and flavour is replaced."""
        path = self.folder / _passport_name(passport.part, passport.flavour)
        path.unlink(missing_ok=True)
        plan.replace(self.folder / _plan_name(passport.part, passport.flavour))
        with written_whole(path) as scratch:
            scratch.write_text(passport.model_dump_json(indent=2) + "\n")


def again(bundle: Path, part: str, flavour: FlavourName, architectures: list[str] | None = None) -> str:
    """The command that compiles a part's engine again."""
    words = ["stts-runtime", "compile", str(bundle), "--engine", flavour]
    # The language model is compiled with whatever variant is asked for, and all that is finished is left alone.
    if part != LANGUAGE:
        words += ["--variant", variant_of(part)]
    # TensorRT-RTX compiles for architectures that are named, TensorRT for the GPU that it runs on.
    if architectures and flavour == "tensorrt-rtx":
        words += ["--arch", ",".join(architectures)]
    return shlex.join(words)


def _passport_name(part: str, flavour: str) -> str:
    return f"{part}.{flavour}.json"


def _plan_name(part: str, flavour: str) -> str:
    return f"{part}.{flavour}.plan"
