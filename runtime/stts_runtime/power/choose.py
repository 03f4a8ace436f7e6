"""Which meter a machine has, and why none where there is none."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from stts_runtime.power.joules import NoSourceError
from stts_runtime.power.meter import PowerMeter, PowerSource
from stts_runtime.power.nvml import open_nvml
from stts_runtime.power.rails import SYSFS, open_rails


@dataclass(frozen=True)
class Power:
    """A meter, or why there is none."""

    meter: PowerMeter | None
    no_meter_because: str | None
    """One clause, where there is no meter."""

    @property
    def source(self) -> str | None:
        return None if self.meter is None else self.meter.source


@contextmanager
def open_meter(gpu: bool, sysfs: Path = SYSFS) -> Iterator[Power]:
    """The meter that sees the work: a Jetson's rails see all of it, NVML that of a GPU.

    `gpu` says whether the work runs on the GPU: while the CPU works, NVML would measure an idle GPU.
    """
    source, reason = _first_source(gpu, sysfs)
    try:
        yield Power(None if source is None else PowerMeter(source), reason)
    finally:
        if source is not None:
            source.close()


def _first_source(gpu: bool, sysfs: Path) -> tuple[PowerSource | None, str | None]:
    try:
        return open_rails(sysfs), None
    except NoSourceError as error:
        no_rails = str(error)
    try:
        return open_nvml() if gpu else _refuse_nvml(), None
    except NoSourceError as error:
        return None, f"{no_rails}; {error}"


def _refuse_nvml() -> PowerSource:
    raise NoSourceError("the engines run on the CPU, which NVML does not measure")
