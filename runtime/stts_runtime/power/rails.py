"""Power of a Jetson: what its INA3221 and INA238 sensors say in sysfs, and its counters of over-current events.

It measures the board or the module with everything on it. Clocks that are held back for heat it does not see.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

from stts_runtime.power.joules import Integrated, NoSourceError
from stts_runtime.power.meter import LONGEST_GAP_SECONDS, Joules

SYSFS = Path("/sys")

# Rails that all power comes in by: of the board (Thor), of the module (Orin NX and Nano).
_INPUTS = ("VIN", "VDD_IN")
# Where nothing measures the input, the supplies of a module, none of which feeds another: AGX Orin, and Thor without
# its carrier board's sensor. Despite its name VIN_SYS_5V0 is one of them and not their sum: on AGX Orin it is the 5 V
# side, which GPU and CPU do not draw from (https://github.com/rbonghi/jetson_stats/issues/344).
_SUPPLIES = (("VDD_GPU_SOC", "VDD_CPU_CV", "VIN_SYS_5V0"), ("VDD_GPU", "VDD_CPU_SOC_MSS", "VIN_SYS_5V0"))

_COUNTER = re.compile(r"(oc\d+)_event_cnt")


@dataclass(frozen=True)
class Rail:
    """One channel of a sensor."""

    label: str
    millivolts: Path
    milliamperes: Path

    def watts(self) -> float | None:
        millivolts, milliamperes = _number(self.millivolts), _number(self.milliamperes)
        return None if millivolts is None or milliamperes is None else millivolts * milliamperes / 1e6


class RailSource:
    """Rails added up, and event counters next to them."""

    def __init__(self, rails: list[Rail], counters: dict[str, Path]) -> None:
        """Raises `NoSourceError` if a rail cannot be read. Counters that cannot be read are left out."""
        self._rails = rails
        self._counters = {name: path for name, path in counters.items() if _number(path) is not None}
        self._counts: dict[str, int] = {}
        self._counts = self._read_counters()
        labels = " + ".join(rail.label for rail in rails)
        if self._watts() is None:
            raise NoSourceError(f"{labels} cannot be read")
        throttling = "throttling by over-current events only" if self._counters else "throttling not told"
        self.name = f"{labels} in sysfs (power, sampled; {throttling})"

    def begin(self) -> Joules:
        return Integrated(self._watts, LONGEST_GAP_SECONDS)

    def throttling(self) -> set[str]:
        """Counters that rose since the last call; which number counts what differs between boards."""
        before, self._counts = self._counts, self._read_counters()
        return {f"over-current or under-voltage ({name})" for name in before if self._counts[name] > before[name]}

    def close(self) -> None:
        """Nothing is held between samples."""

    def _watts(self) -> float | None:
        watts = [rail.watts() for rail in self._rails]
        read = [value for value in watts if value is not None]
        return sum(read) if len(read) == len(watts) else None

    def _read_counters(self) -> dict[str, int]:
        # One that cannot be read now did not rise.
        read = {name: _number(path) for name, path in self._counters.items()}
        return {name: self._counts.get(name, 0) if count is None else count for name, count in read.items()}


def open_rails(sysfs: Path = SYSFS) -> RailSource:
    """Raises `NoSourceError` on anything but a Jetson, and on one whose rails are not known to be a total."""
    folders = sorted((sysfs / "class/hwmon").glob("hwmon*"))
    rails = {rail.label: rail for folder in folders for rail in _rails(folder)}
    if not rails:
        raise NoSourceError(f"no power sensor of a Jetson in {sysfs / 'class/hwmon'}")
    for labels in (*((label,) for label in _INPUTS), *_SUPPLIES):
        if rails.keys() >= set(labels):
            return RailSource([rails[label] for label in labels], _counters(folders))
    raise NoSourceError(f"of the rails {', '.join(sorted(rails))} it is not known what makes a total")


def _rails(folder: Path) -> list[Rail]:
    """INA3221: three channels, each with a label, and a fourth label that is of no rail. INA238: one, the chip's."""
    if not _text(folder / "name").startswith("ina"):
        return []
    labels = {path.name[2:].partition("_")[0]: _text(path) for path in folder.glob("in*_label")}
    if not labels and _text(folder / "label"):
        labels = {"1": _text(folder / "label")}
    return [
        Rail(label, folder / f"in{channel}_input", folder / f"curr{channel}_input")
        for channel, label in labels.items()
        if (folder / f"curr{channel}_input").exists()
    ]


def _counters(folders: list[Path]) -> dict[str, Path]:
    found = ((_COUNTER.fullmatch(path.name), path) for folder in folders for path in folder.glob("oc*_event_cnt"))
    return {match[1]: path for match, path in found if match}


def _text(path: Path) -> str:
    try:
        return path.read_text(errors="replace").replace("\0", "").strip()
    except OSError:
        return ""


def _number(path: Path) -> int | None:
    try:
        return int(_text(path))
    except ValueError:
        return None
