"""`stts-runtime check`: do the engines give what they must?"""

from __future__ import annotations

from collections.abc import Iterable
from itertools import groupby
from pathlib import Path
from typing import Annotated, Optional

import typer

from stts_runtime.cli.options import BundleArgument, JsonOption
from stts_runtime.cli.show import coloured, console, show_verdict
from stts_runtime.cli.steps import steps
from stts_runtime.cli.text import printable
from stts_runtime.engines import EngineName
from stts_runtime.proof.check import CheckRequest, check_bundle
from stts_runtime.proof.finding import CheckReport, Finding, Status


def check_command(
    bundle: BundleArgument,
    engine: Annotated[
        Optional[EngineName], typer.Option(help="Engine to run.", show_default="all that run here")
    ] = None,
    variant: Annotated[
        Optional[list[str]], typer.Option(metavar="NAME", help="Vision variant to run; repeatable.", show_default="all")
    ] = None,
    reference: Annotated[
        Optional[Path],
        typer.Option(
            metavar="FILE",
            help="Compare with a reference from `stts-export verify --write-reference`, .npz.",
            show_default="the bundle's own proof",
        ),
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """Run a bundle's engines on inputs with known results; exit code 1 if a bar is missed."""
    with steps(quiet=as_json) as tell:
        report = check_bundle(CheckRequest(bundle, engine, variant or [], reference), tell)
    if as_json:
        print(report.model_dump_json(), flush=True)
    else:
        _show(report)
    if report.missed:
        raise typer.Exit(1)


def _show(report: CheckReport) -> None:
    for (subject, variant), of_part in groupby(report.findings, key=lambda finding: (finding.subject, finding.variant)):
        _show_part(f"{subject}, {variant or 'language model'}", list(of_part))
    show_verdict(report.findings, f"compared with {report.against}")


def _show_part(name: str, findings: list[Finding]) -> None:
    status = _worst(findings)
    measured = "; ".join(f"{one.stage} {one.measured}" for one in findings if one.status != "not run")
    console.print(f"{coloured(status)} {name}: {printable(measured)}", soft_wrap=True)
    for finding in findings:
        if finding.detail is not None or finding.status == "missed":
            bar = f" (bar {finding.bar})" if finding.bar else ""
            detail = printable(f"{finding.stage}{bar}: {finding.detail or finding.measured}")
            console.print(f"   {finding.status}: {detail}", soft_wrap=True)


def _worst(findings: Iterable[Finding]) -> Status:
    found = {finding.status for finding in findings}
    serious: tuple[Status, ...] = ("missed", "not run")
    return next((status for status in serious if status in found), "ok")
