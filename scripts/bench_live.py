#!/usr/bin/env python3
"""What a live window costs by the frame, and what the novelty gate skips and misses on synthetic scenes.

Example: bench_live.py out/tiny --out live.json
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import typer
from rich.console import Console
from rich.progress import track
from rich.table import Table

from stts_calib.clips import Clip, ClipSet, Split
from stts_runtime.bundle import Bundle
from stts_runtime.cli.entry import run_app
from stts_runtime.cli.options import BundleArgument
from stts_runtime.engines import load_incremental, load_vision
from stts_runtime.outputs import check_place
from stts_runtime.stream.orders import Gate
from stts_runtime.stream.watcher import novelty
from stts_tools.measured import measured, write_measured

app = typer.Typer(add_completion=False, pretty_exceptions_enable=False)
console = Console(stderr=True)

LOOKS_PER_SECOND = 2
SEEN_WITHIN_SECONDS = 2.0
"""An answer so soon after somebody appeared has not missed it."""
THRESHOLDS = (0.05, 0.1, 0.15, 0.2, 0.25, 0.3, 0.4, 0.5)


@app.command(help=__doc__)
def bench(
    bundle: BundleArgument,
    out: Annotated[Path, typer.Option(help="JSON to write.")],
    rounds: Annotated[int, typer.Option(min=3)] = 30,
    clips: Annotated[int, typer.Option(min=1, help="Test clips, each a stream of its own.")] = 200,
    clip_set: Annotated[ClipSet, typer.Option("--set", help="Of which set.")] = ClipSet.plain,
) -> None:
    check_place(out, [".json"])
    opened = Bundle.open(bundle)
    live, scorer = opened.manifest.live, opened.manifest.scorer
    content = measured(
        scorer=None if scorer is None else scorer.model_dump(),
        novelty=None if live is None else live.novelty.model_dump(),
        clip_set=clip_set.value,
        milliseconds=costs(opened, rounds),
        gate=gates(opened, clips, clip_set),
    )
    write_measured(content, out)
    show(content)


def costs(bundle: Bundle, rounds: int) -> dict[str, dict[str, float]]:
    """Milliseconds of a new frame, and of its whole window computed again, all in turns."""
    keep = bundle.manifest.default_keep
    live, frames = load_incremental(bundle, keep), _frames(bundle)
    size = bundle.manifest.vision.image_size
    pixels = np.random.default_rng(0).integers(0, 256, (frames, size, size, 3), dtype=np.uint8)
    before = live.run(pixels[0], None, key=True).pooled
    works: dict[str, Callable[[], object]] = {
        "a new frame": lambda: live.run(pixels[1], before, key=False),
        "a new key frame": lambda: live.run(pixels[1], before, key=True),
    }
    for name, variant in bundle.manifest.variants.items():
        if variant.frames == frames and not variant.is_control:
            engine = load_vision(bundle, name)
            works[f"the window again, {name}"] = lambda engine=engine: engine.run(pixels)  # type: ignore[misc]
    return interleaved(works, rounds)


def interleaved(works: dict[str, Callable[[], object]], rounds: int) -> dict[str, dict[str, float]]:
    order, generator = list(works), np.random.default_rng(0)
    samples: dict[str, list[float]] = {name: [] for name in order}
    for number in range(-2, rounds):
        for name in generator.permutation(order).tolist():
            started = time.perf_counter()
            works[name]()
            if number >= 0:
                samples[name].append(1000 * (time.perf_counter() - started))
    return {
        name: {"median": round(float(np.median(one)), 3), "lowest": round(min(one), 3), "highest": round(max(one), 3)}
        for name, one in samples.items()
    }


def gates(bundle: Bundle, clips: int, clip_set: ClipSet) -> list[dict[str, float]]:
    """By threshold: the share of looks above it, of those after which nothing was asked, and who appeared without an
    answer soon.
    """
    live, size = load_incremental(bundle, bundle.manifest.default_keep), bundle.manifest.vision.image_size
    streams = [
        (clip := Clip.make(Split.test, number, clip_set), _novelties(live, clip, size))
        for number in track(range(clips), "looking at synthetic scenes", console=console)
    ]
    return [_gate(streams, threshold) for threshold in THRESHOLDS]


def _novelties(live: Any, clip: Clip, size: int) -> list[float]:
    """Novelty of every frame of a clip but the first, which is all new."""
    times = np.arange(15 * LOOKS_PER_SECOND + 1) / LOOKS_PER_SECOND
    before, found = None, []
    for number, picture in enumerate(clip.pictures(times.tolist(), size)):
        output = live.run(picture, before, key=number == 0)
        before = output.pooled
        found.append(novelty(output.change))
    return found[1:]


def _gate(streams: list[tuple[Clip, list[float]]], threshold: float) -> dict[str, float]:
    gate, looks, above, asked, appeared, missed = Gate(above=threshold), 0, 0, 0, 0, 0
    for clip, novelties in streams:
        answers = [
            look / LOOKS_PER_SECOND for look, newest in enumerate(novelties, start=1) if gate.reason(newest, pause=1.0)
        ]
        looks, asked = looks + len(novelties), asked + len(answers)
        above += sum(newest > threshold for newest in novelties)
        for actor in clip.scene.actors:
            appeared += 1
            # A second before `appears_at` nothing of an actor is to be seen.
            soon = actor.appears_at - 1, actor.appears_at + SEEN_WITHIN_SECONDS
            missed += not any(soon[0] <= moment <= soon[1] for moment in answers)
    return {
        "novelty_above": threshold,
        "looks": looks,
        "above_percent": round(100 * above / looks, 1),
        "skipped_percent": round(100 * (1 - asked / looks), 1),
        "appeared": appeared,
        "missed": missed,
        "missed_percent": round(100 * missed / appeared, 1),
    }


def _frames(bundle: Bundle) -> int:
    """Frames of the longest live window; `load_incremental` has seen that there is one."""
    assert bundle.manifest.live is not None
    return bundle.manifest.live.frames


def show(content: dict[str, Any]) -> None:
    table = Table("vision", "ms", "lowest", "highest")
    for name, times in content["milliseconds"].items():
        table.add_row(name, *(f"{times[key]:.1f}" for key in ("median", "lowest", "highest")))
    console.print(table)
    table = Table("novelty above", "looks above", "looks skipped", "appearances missed")
    for row in content["gate"]:
        missed = f"{row['missed']} of {row['appeared']} ({row['missed_percent']} %)"
        percents = (f"{row[key]} %" for key in ("above_percent", "skipped_percent"))
        table.add_row(f"{row['novelty_above']:g}", *percents, missed)
    console.print(table)


if __name__ == "__main__":
    sys.exit(run_app(app, "bench_live.py"))
