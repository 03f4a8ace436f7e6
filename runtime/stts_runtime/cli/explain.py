"""`stts-runtime explain`: what the scorer makes of a clip, and which keep would have kept a region."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Optional

import typer
from rich.table import Table

from stts_runtime.cli.help import OUTPUT
from stts_runtime.cli.options import (
    BudgetOption,
    BundleArgument,
    DeviceOption,
    EngineOption,
    FramesOption,
    JsonOption,
    VariantKeepOption,
)
from stts_runtime.cli.show import console, show_note
from stts_runtime.cli.text import printable
from stts_runtime.device import gpu_of, select_gpu
from stts_runtime.explaining import ExplanationRecord, as_regions
from stts_runtime.explaining.explanation import ARRAYS_SUFFIX
from stts_runtime.explaining.heat import SUFFIXES
from stts_runtime.explaining.record import RegionRecord
from stts_runtime.model import load
from stts_runtime.outputs import check_output
from stts_runtime.session import Clip, Wanted
from stts_runtime.video import check_source


def explain_command(
    bundle: BundleArgument,
    source: Annotated[str, typer.Argument(metavar="VIDEO", help="Video file.")],
    region: Annotated[
        Optional[list[str]],
        typer.Option(
            metavar="X,Y,W,H[@SECONDS]",
            help="Region whose keep ratio is wanted, in fractions of the picture or in pixels; repeatable.",
        ),
    ] = None,
    keep: VariantKeepOption = None,
    budget: BudgetOption = None,
    frames: FramesOption = None,
    out: Annotated[
        Optional[Path],
        typer.Option(metavar="FILE", help="Write a heat map of the scores, .png or .jpg.", rich_help_panel=OUTPUT),
    ] = None,
    arrays: Annotated[
        Optional[Path],
        typer.Option(
            metavar="FILE", help="Write scores, kept groups and motion as arrays, .npz.", rich_help_panel=OUTPUT
        ),
    ] = None,
    engine: EngineOption = None,
    device: DeviceOption = None,
    as_json: JsonOption = False,
) -> None:
    """Show how a clip was scored, how much of what moves is kept, and which keep ratio would keep a region.

    Use it to choose a keep ratio for a camera. No question is asked, and the language model is not loaded.
    """
    select_gpu(gpu_of(device))
    check_source(source)
    for path, suffixes in ((out, SUFFIXES), (arrays, (ARRAYS_SUFFIX,))):
        if path is not None:
            check_output(path, suffixes, source, bundle)
    regions = as_regions(region or [])
    model = load(bundle, engine, device)
    explanation = model.explain(Clip.open(model.bundle, source, Wanted(keep, budget, frames)), regions=regions)
    record = explanation.record()
    if as_json:
        print(record.model_dump_json(), flush=True)
    else:
        _show(record)
    if arrays is not None:
        explanation.write_arrays(arrays)
    if out is not None:
        explanation.write_picture(out)
    for name, path in (("picture", out), ("arrays", arrays)):
        if path is not None and not as_json:
            console.print(f"{name}: {path}", soft_wrap=True, markup=False)


def _show(record: ExplanationRecord) -> None:
    motion = record.motion
    console.print(
        f"[bold]{printable(record.source)}[/bold]  {record.window.frames} frames over "
        f"{record.window.duration_seconds:.1f} s, {record.variant}: kept {record.visual_kept} of {record.visual_in} "
        "visual tokens",
        soft_wrap=True,
    )
    console.print(
        f"  moves     {motion.moving_groups} of {motion.moving_groups + motion.still_groups} groups after the first "
        f"frame: those whose pixels change by more than {motion.least_change:.1f} of 255 levels",
        soft_wrap=True,
    )
    console.print(_table(record))
    for region in record.regions:
        _show_region(region, record)
    for note in record.notes:
        show_note(printable(note))


def _table(record: ExplanationRecord) -> Table:
    regions = [f"of {printable(one.region)}" for one in record.regions]
    table = Table("variant", "visual tokens", "of what moves", "of the rest", *regions, title="kept, percent")
    for one in record.variants:
        shares = [one.moving_kept, one.still_kept, *one.regions_kept]
        cells = ["-" if share is None else f"{100 * share:.1f}" for share in shares]
        table.add_row(one.variant, f"{one.visual_tokens} of {record.visual_in}", *cells)
    return table


def _show_region(region: RegionRecord, record: ExplanationRecord) -> None:
    times = region.times_seconds
    when = f"in the frame at {times[0]:g} s" if len(times) == 1 else f"in {len(times)} frames"
    console.print(
        f"[bold]region {printable(region.region)}[/bold]  {region.groups} groups {when}, {region.kept} of them kept by "
        f"{record.variant}",
        soft_wrap=True,
    )
    per_frame = "one of them" if len(times) == 1 else "one of them in each frame"
    for what, variant, keep in (
        ("all of them", region.smallest_variant, region.smallest_keep),
        (per_frame, region.smallest_variant_part, region.smallest_keep_part),
    ):
        console.print(f"  {what}: {variant or 'no variant'}; by the scores keep {keep:g} would do", soft_wrap=True)
