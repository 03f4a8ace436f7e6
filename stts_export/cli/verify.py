"""`stts-export verify`: is the bundle what the checkpoint is?"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Optional

import typer

import stts_export
from stts_runtime.cli.options import BundleArgument, JsonOption
from stts_runtime.cli.steps import steps
from stts_runtime.hub_id import as_typed

if TYPE_CHECKING:
    from stts_export import VerifyReport


def verify_command(
    bundle: BundleArgument,
    checkpoint: Annotated[
        Path,
        typer.Option(
            metavar="PATH",
            parser=as_typed,
            help="Checkpoint that the bundle was built from: folder, or OWNER/NAME on the hub.",
        ),
    ],
    frames_from: Annotated[
        Optional[Path],
        typer.Option(metavar="VIDEO", help="Compare on frames of this video.", show_default="made-up frames"),
    ] = None,
    variant: Annotated[
        Optional[list[str]],
        typer.Option(metavar="NAME", help="Vision variant to compare; repeatable.", show_default="all"),
    ] = None,
    ask: Annotated[str, typer.Option(metavar="QUESTION", help="Question to answer.")] = "What happens in this video?",
    max_tokens: Annotated[int, typer.Option(min=1, max=1024, help="Length limit of the answer, in tokens.")] = 16,
    write_reference: Annotated[
        Optional[Path],
        typer.Option(
            metavar="FILE", help="Write what the checkpoint computes, for `stts-runtime check` on a device, .npz."
        ),
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """Compare a bundle with its checkpoint, stage by stage; exit code 1 if a bar is missed.

    The report is stored in the bundle as engines/verify.json.
    """
    with steps(quiet=as_json) as tell:
        report = stts_export.verify(
            bundle,
            checkpoint,
            frames_from=frames_from,
            variant=variant or None,
            ask=ask,
            max_tokens=max_tokens,
            write_reference=write_reference,
            on_step=tell,
        )
    if as_json:
        print(report.model_dump_json(), flush=True)
    else:
        _show(report)
    if report.missed:
        raise typer.Exit(1)


def _show(report: VerifyReport) -> None:
    from rich.table import Table

    from stts_runtime.cli.show import coloured, console, show_verdict
    from stts_runtime.cli.text import printable

    table = Table("subject", "variant", "stage", "measured", "bar", "")
    for finding in report.findings:
        measured = printable(finding.measured)
        table.add_row(
            finding.subject, finding.variant or "", finding.stage, measured, finding.bar or "", coloured(finding.status)
        )
    console.print(table)
    for finding in report.findings:
        if finding.detail and finding.status != "ok":
            where = " ".join(filter(None, (finding.subject, finding.variant, finding.stage)))
            console.print(f"{finding.status}: {where}: {printable(finding.detail)}", soft_wrap=True)
    show_verdict(report.findings, f"frames: {report.frames_from}")
