"""`stts-runtime doctor`: what this machine can run, and what to install for the rest."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Optional

import typer
from rich.table import Table

from stts_runtime.cli.options import JsonOption
from stts_runtime.cli.show import console
from stts_runtime.cli.text import printable
from stts_runtime.device import this_device
from stts_runtime.doctor import Fact, Report, Target, examine
from stts_runtime.places import check_folder


def doctor_command(
    bundle: Annotated[
        Optional[Path],
        typer.Argument(
            metavar="BUNDLE", help="Bundle to look at, and whose disk to measure.", show_default="this folder"
        ),
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """List the targets that this machine can run, and what to install for the others."""
    if bundle is not None:
        check_folder(bundle, wanted="a bundle, or another folder on its disk")
    report = examine(bundle or Path(), this_device())
    if as_json:
        print(report.model_dump_json(), flush=True)
    else:
        _show(report)


def _show(report: Report) -> None:
    console.print(_targets(report.targets))
    # Below the table and never wrapped: they are there to be copied.
    for target in report.targets:
        if target.command is not None:
            console.print(f"  for {target.name}: [bold]{printable(target.command)}[/bold]", soft_wrap=True)
    console.print(_facts(report.facts))


def _targets(targets: list[Target]) -> Table:
    table = Table("target", "", "why", title="targets")
    for target in targets:
        table.add_row(target.name, _state(target), printable(target.because))
    return table


def _state(target: Target) -> str:
    if target.ready:
        return "[green]ready[/green]"
    return "[yellow]compiles only[/yellow]" if target.can_compile else "not ready"


def _facts(facts: list[Fact]) -> Table:
    table = Table("fact", "", title="this machine")
    for fact in facts:
        absent = f"[dim]- {printable(fact.because or '')}[/dim]"
        table.add_row(fact.name, absent if fact.value is None else printable(fact.value))
    return table
