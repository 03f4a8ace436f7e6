"""`stts-export calibrate`: smaller engines that still choose the same tokens."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal, Optional

import typer

from stts_export.extras import check_calib_extra
from stts_runtime.cli.help import OUTPUT
from stts_runtime.cli.options import BundleArgument, JsonOption
from stts_runtime.cli.steps import steps
from stts_runtime.outputs import check_output, written_whole
from stts_runtime.text import counted

if TYPE_CHECKING:
    from stts_calib.calibrate import CalibrationRequest
    from stts_calib.comparison import QuantizationReport


FORMATS = "Formats"
BARS = "Bars"

FramesFromOption = Annotated[
    list[str],
    typer.Option(
        metavar="SOURCE", help="Video, camera or stream to calibrate on; repeatable. Or an .npz of --save-frames."
    ),
]
RangesOption = Annotated[
    Literal["minmax", "entropy", "percentile"],
    typer.Option(help="How activation ranges are determined.", rich_help_panel=FORMATS),
]
VisionOption = Annotated[
    Literal["auto", "none", "int8", "fp8"],
    typer.Option(
        help="Format of the vision tower; auto: int8 if that is faster here. fp8 is for TensorRT.",
        rich_help_panel=FORMATS,
    ),
]
LanguageOption = Annotated[
    Literal["auto", "none", "int4", "int8", "fp8"],
    typer.Option(
        help="Format of the language model; auto: int4 or int8 if that is faster here. fp8 is for cuda.",
        rich_help_panel=FORMATS,
    ),
]
ScalesOption = Annotated[
    Literal["rtn", "awq"],
    typer.Option(
        help="Scales of 4-bit weights: round to nearest, or a search by NVIDIA ModelOpt.", rich_help_panel=FORMATS
    ),
]
IouOption = Annotated[
    float,
    typer.Option(min=0, max=1, help="Lowest intersection over union of the kept sets, 0 to 1.", rich_help_panel=BARS),
]
PointsOption = Annotated[
    float, typer.Option(min=0, help="Largest loss of accuracy, in percentage points.", rich_help_panel=BARS)
]
ReportOption = Annotated[
    Optional[Path], typer.Option(metavar="FILE", help="Write the report here, too, .json.", rich_help_panel=OUTPUT)
]


def calibrate_command(
    bundle: BundleArgument,
    frames_from: FramesFromOption,
    out: Annotated[Path, typer.Option(metavar="FOLDER", help="Bundle to write.")],
    count: Annotated[int, typer.Option(min=4, help="Windows of frames to calibrate on.")] = 16,
    ranges: RangesOption = "minmax",
    vision: VisionOption = "auto",
    language: LanguageOption = "auto",
    scales: ScalesOption = "rtn",
    clips: Annotated[int, typer.Option(min=2, help="Synthetic clips to compare both bundles on.")] = 250,
    least_iou: IouOption = 0.98,
    most_points: PointsOption = 1.0,
    save_frames: Annotated[
        Optional[Path],
        typer.Option(metavar="FILE", help="Store the frames for a later run, .npz.", rich_help_panel=OUTPUT),
    ] = None,
    report: ReportOption = None,
    plot: Annotated[
        Optional[Path], typer.Option(metavar="FILE", help="Write a plot of the report, .png.", rich_help_panel=OUTPUT)
    ] = None,
    force: Annotated[
        bool, typer.Option("--force", help="Write the bundle even if a bar is missed.", rich_help_panel=BARS)
    ] = False,
    as_json: JsonOption = False,
) -> None:
    """Quantize a bundle for all its targets, and refuse the result if it is worse or slower (exit code 1).

    Accuracy is meaningful only for checkpoints trained on synthetic clips; the kept sets are compared for any.
    """
    check_calib_extra("quantizing a bundle")
    for place, suffix in ((save_frames, ".npz"), (report, ".json"), (plot, ".png")):
        if place is not None:
            check_output(place, (suffix,), None, bundle)
    from stts_calib.calibrate import CalibrationRequest
    from stts_calib.comparison import Bars

    request = CalibrationRequest(
        bundle,
        out,
        frames_from,
        count=count,
        ranges=ranges,
        vision=vision,
        language=language,
        scales=scales,
        clips=clips,
        bars=Bars(least_iou=least_iou, most_points=most_points),
        save_frames=save_frames,
        force=force,
    )
    _run(request, report, plot, as_json)


def _run(request: CalibrationRequest, report: Path | None, plot: Path | None, as_json: bool) -> None:
    """The report is handed out whether the bundle is worth it or not."""
    from stts_calib.calibrate import NotWorthItError, calibrate

    try:
        with steps(quiet=as_json) as tell:
            made = calibrate(request, tell)
    except NotWorthItError as error:
        _hand_out(error.report, report, plot, as_json)
        raise
    _hand_out(made, report, plot, as_json)


def _hand_out(made: QuantizationReport, report: Path | None, plot: Path | None, as_json: bool) -> None:
    # First what it found: a disk may be full.
    if as_json:
        print(made.model_dump_json(), flush=True)
    else:
        _show(made)
    if report is not None:
        with written_whole(report) as scratch:
            scratch.write_text(made.model_dump_json(indent=1) + "\n")
    if plot is not None:
        from stts_calib.comparison.plot import write_quantization_plot

        write_quantization_plot(plot, made)


def _show(made: QuantizationReport) -> None:
    from rich.table import Table

    from stts_runtime.cli.show import console

    formats = ", ".join(f"{part} {form or 'as it was'}" for part, form in made.formats.items())
    console.print(
        f"{formats}; {made.size_mb.before:.1f} -> {made.size_mb.after:.1f} MB, resident "
        f"{made.resident_mb.before:.0f} -> {made.resident_mb.after:.0f} MB; {counted(made.questions, 'question')}",
        soft_wrap=True,
    )
    table = Table("variant", "kept IoU", "accuracy", "points", "vision ms", "prefill ms", "decode ms", "answer ms", "")
    for one in made.variants:
        times = (one.vision_ms, one.prefill_ms, one.decode_ms, one.total_ms)
        table.add_row(
            one.variant,
            f"{one.kept_iou:.4f}",
            f"{one.accuracy_before.value:.1f} -> {one.accuracy_after.value:.1f}",
            f"{one.points.value:+.2f} ({one.points.low:+.2f} to {one.points.high:+.2f})",
            *(f"{pair.before:.1f} -> {pair.after:.1f}" for pair in times[:2]),
            f"{one.decode_ms.before:.2f} -> {one.decode_ms.after:.2f}",
            f"{one.total_ms.before:.1f} -> {one.total_ms.after:.1f}",
            f"{one.total_ms.ratio:.2f}x",
        )
    console.print(table)
    if not made.timed:
        console.print("the processor does not compute in these formats: times say nothing about the engines")
    for target, forms in made.written.items():
        held = ", ".join(f"{part} {form or 'as it was'}" for part, form in forms.items())
        console.print(f"target {target}: {held}")
    for target, reason in made.left_out.items():
        console.print(f"target {target}: left out, since {reason}", soft_wrap=True)
    for trial in made.tried:
        console.print(f"tried: {trial.part} in {trial.format}, {trial.times_faster:.2f}x")
    for failure in made.failures:
        console.print(f"[red]missed[/red]  {failure}", soft_wrap=True)
