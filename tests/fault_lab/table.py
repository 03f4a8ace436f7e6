"""What was found, as a table and as JSON."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path

from rich.console import Console
from rich.table import Table

from stts_tools.measured import measured, write_measured
from tests.fault_lab.faults import Finding


def show(findings: dict[str, Finding], console: Console) -> None:
    table = Table("fault", "state", "reason", "noticed s", "recovered s", "dropped", title="fault lab")
    for name, found in findings.items():
        dropped = ", ".join(f"{count} {cause}" for cause, count in found.drops.items() if count)
        times = (f"{value:.1f}" if value is not None else "-" for value in _times(found))
        table.add_row(name, found.state.value, found.reason, *times, dropped or "-")
    console.print(table)


def write(findings: dict[str, Finding], path: Path) -> None:
    faults = {name: asdict(found) for name, found in findings.items()}
    write_measured({**measured(faults=faults), "command": f"scripts/fault_lab {path}"}, path)


def _times(found: Finding) -> tuple[float | None, float | None]:
    return found.noticed_seconds, found.recovered_seconds
