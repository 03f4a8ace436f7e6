"""Python modules that may be absent or broken: imported in a process of their own, so that neither harms this one."""

from __future__ import annotations

import json
import re
import signal
import subprocess
import sys
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from stts_runtime.device import Device
from stts_runtime.doctor.report import Fact

_PROBE = Path(__file__).with_name("probe.py")
# A first import from a slow card takes long.
_PATIENCE_SECONDS = 120


@dataclass(frozen=True)
class Module:
    """A module that was looked for."""

    label: str
    """What people call it."""
    version: str | None
    """None unless it loads."""
    failure: str | None = None
    """What its import said; None if it loads, or is not installed."""
    providers: tuple[str, ...] = ()
    """ONNX Runtime's execution providers."""

    @property
    def is_missing(self) -> bool:
        return self.version is None and self.failure is None

    @property
    def because(self) -> str | None:
        """Why it is of no use, as a clause."""
        if self.version is not None:
            return None
        return f"{self.label} is not installed" if self.is_missing else f"{self.label} is {self._failed}"

    def fact(self) -> Fact:
        return Fact.of(self.label, self.version, "not installed" if self.is_missing else self._failed)

    @property
    def _failed(self) -> str:
        return f"installed but does not load ({self.failure})"


def look_for(module: str, label: str) -> Module:
    """Imports `module` as this process would, elsewhere."""
    command = [sys.executable, str(_PROBE), module, json.dumps(sys.path)]
    try:
        done = subprocess.run(command, capture_output=True, timeout=_PATIENCE_SECONDS, check=False)
    except subprocess.TimeoutExpired:
        return Module(label, None, f"its import takes more than {_PATIENCE_SECONDS} s")
    found = _last_message(done.stdout.decode(errors="replace"))
    if found is None:
        return Module(label, None, f"its import ends Python with {_ending(done.returncode)}")
    if "error" not in found:
        return Module(label, found["version"] or "of unknown version", None, tuple(found["providers"]))
    return Module(label, None, None if _is_or_holds(found["missing"], module) else found["error"])


def _last_message(output: str) -> dict[str, Any] | None:
    """The probe's line, which is the last; libraries may have written others."""
    last = output.rstrip().rpartition("\n")[2]
    return json.loads(last) if last.startswith("{") else None


def _ending(code: int) -> str:
    return signal.Signals(-code).name if code < 0 else f"code {code}"


def _is_or_holds(missing: str | None, module: str) -> bool:
    """Whether what is missing is the module itself, rather than something that it imports."""
    return missing is not None and f"{module}.".startswith(f"{missing}.")


def installed_version(*distributions: str) -> str | None:
    """Name and version of the first of these that is installed."""
    return next((f"{name} {found}" for name in distributions if (found := distribution_version(name))), None)


def distribution_version(name: str) -> str | None:
    """Version of what pip calls `name`; None if it is not installed."""
    try:
        return version(name)
    except PackageNotFoundError:
        return None


def numbers(version: str) -> tuple[int, int]:
    """Major and minor; zeros where a version has no numbers."""
    found = re.match(r"(\d+)\.(\d+)", version)
    return (int(found[1]), int(found[2])) if found else (0, 0)


def bindings_obstacle(device: Device, user: Module, bindings: Module, extra: str) -> tuple[str, str | None] | None:
    """Every engine on a GPU is fed through cuda-bindings, whose major version the driver has to know: what is in the
    way, and the command against it.
    """
    matching = f"pip install 'cuda-bindings=={driver_major(device)}.*'" if device.cuda else extra
    if bindings.version is None:
        because = f"{user.label} engines need cuda-bindings, and {bindings.because}"
        return because, matching if bindings.is_missing else None
    if device.cuda and numbers(bindings.version)[0] > driver_major(device):
        because = f"cuda-bindings {bindings.version} is newer than the driver, which is for CUDA {device.cuda}"
        # Elsewhere the wheels of TensorRT may be too new as well, and the driver is what to update.
        return (because, matching) if device.l4t else (f"{because}; update the driver", None)
    return None


def driver_major(device: Device) -> int:
    """Major version of the newest CUDA that the driver can run; 0 without a driver."""
    return numbers(device.cuda or "")[0]
