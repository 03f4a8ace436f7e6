#!/usr/bin/env python3
"""How many live streams one machine watches, with and without batches.

A number of streams holds if at most 1 % of its looks are missed and 95 % of first tokens come within 500 ms. Sources
are paced and made up, two looks a second; every stream is asked each five seconds and answers in exactly 16 tokens.
`run` looks for the highest number, in steps of 2, both ways by turns. For a released model's size on a GPU,
`graphs FOLDER` exports a bundle without weights on any machine, and `fill FOLDER` makes random ones there.

Example: bench_streams.py run out/live --out streams.json
"""

from __future__ import annotations

import sys
from functools import partial
from pathlib import Path
from typing import Annotated, Any

import typer

from stts_runtime.answering import AnswerPool, Conversation
from stts_runtime.bundle import Bundle
from stts_runtime.cli.entry import run_app
from stts_runtime.cli.options import BundleArgument, EngineOption, JsonOption
from stts_runtime.engines import LanguageSlots, choose_engine, load_incremental, load_slots
from stts_runtime.engines.frames import IncrementalVision
from stts_runtime.outputs import check_place
from stts_runtime.prompt import PromptBuilder
from stts_runtime.stream.watcher import Engines
from stts_tools.measured import measured, write_measured
from stts_tools.stream_bench.fill import fill_bundle
from stts_tools.stream_bench.paced import pictures
from stts_tools.stream_bench.search import search, shown
from stts_tools.stream_bench.together import compare
from stts_tools.stream_bench.trial import Plan, try_streams

app = typer.Typer(help=__doc__, add_completion=False, pretty_exceptions_enable=False)
Folder = Annotated[Path, typer.Argument(help="Folder of the bundle.")]

OFF, ON = "one at a time", "batches"
_PICTURES = 32
_ALONE_EVERY = 1.0
"""Seconds between two answers of one stream alone, so that there are enough of them."""


@app.command()
def run(
    bundle: BundleArgument,
    out: Annotated[Path, typer.Option(help="JSON to write.")],
    engine: EngineOption = None,
    every: Annotated[float, typer.Option(min=0.5, help="Seconds between two answers of a stream.")] = 5.0,
    seconds: Annotated[float, typer.Option(min=2, help="Measured for each number of streams.")] = 15.0,
    batch: Annotated[int, typer.Option(min=2, help="The most that go together.")] = 8,
    most: Annotated[int, typer.Option(min=2, help="The most streams that are tried.")] = 256,
    alone: Annotated[int, typer.Option(min=0, help="Rounds in which one stream alone is measured, both ways.")] = 2,
    within: Annotated[float, typer.Option(min=1, help="Seconds after which no other number is tried.")] = 600.0,
    as_json: JsonOption = False,
) -> None:
    """Compares what goes together with the same alone, then looks for the most streams that hold."""
    check_place(out, [".json"])
    opened = Bundle.open(bundle)
    name = choose_engine(opened, engine).name
    engines, slots = _loaded(opened, name, batch)
    made = pictures(opened.manifest.vision.image_size, _PICTURES, seed=0)
    plan, quick = Plan(made, every, seconds), Plan(made, _ALONE_EVERY, seconds)
    together, ways = compare(engines, slots, plan), _ways(engines, slots)
    _say(together.model_dump_json())
    rows: list[dict[str, Any]] = []
    for number in range(alone):
        # Each way comes first by turns.
        for way, of_way in list(ways.items())[:: -1 if number % 2 else 1]:
            outcome = try_streams(of_way, 1, quick)
            rows.append({"way": way, **outcome.model_dump()})
            _say(f"alone, {way}: {shown(outcome)}")
    sizes = {OFF: 1, ON: max(slots.sizes)}
    tries = {
        way: (partial(try_streams, of_way, plan=plan), together.streams(every, sizes[way]))
        for way, of_way in ways.items()
    }
    found = search(tries, most, within, _say)
    content = measured(
        bundle=opened.folder.resolve().name,
        checkpoint=opened.manifest.checkpoint,
        engine=name,
        answer_every_seconds=every,
        measured_seconds=seconds,
        batch=batch,
        together=together.model_dump(),
        alone=rows,
        ways=[one.model_dump() for one in found],
    )
    write_measured(content, out)
    if as_json:
        print(out.read_text())
        return
    for one in found:
        print(f"{one.way}: {one.streams} streams{'' if one.done else ' and perhaps more, time was up'}")


@app.command()
def check(
    bundle: BundleArgument,
    out: Annotated[Path, typer.Option(help="JSON to write.")],
    engine: EngineOption = None,
    batch: Annotated[int, typer.Option(min=2, help="The most that go together.")] = 8,
) -> None:
    """Compares frames and answers that go together with the same alone, and times both."""
    check_place(out, [".json"])
    opened = Bundle.open(bundle)
    engines, slots = _loaded(opened, choose_engine(opened, engine).name, batch)
    made = pictures(opened.manifest.vision.image_size, _PICTURES, seed=0)
    found = compare(engines, slots, Plan(made, every=1.0, seconds=1.0))
    write_measured(measured(bundle=opened.folder.resolve().name, batch=batch, **found.model_dump()), out)
    print(found.model_dump_json(indent=1))


@app.command()
def graphs(
    folder: Folder,
    size: Annotated[str, typer.Option(help="As in scripts/random_checkpoint.py.")] = "molmo2-4b",
    frames: Annotated[int, typer.Option(min=2, help="Of a window.")] = 16,
    keep: Annotated[float, typer.Option(help="Between key frames.")] = 0.5,
    batch: Annotated[int, typer.Option(min=1)] = 8,
) -> None:
    """Exports a bundle for `cuda` without its weights: a few MB."""
    from stts_tools.stream_bench.graphs import export_stream_bundle  # noqa: PLC0415  # it takes torch

    export_stream_bundle(size, folder, frames, keep, batch, _say)


@app.command()
def fill(folder: Folder) -> None:
    """Makes the weights of such a bundle, at random."""
    fill_bundle(folder, _say)


def _loaded(bundle: Bundle, engine: Any, batch: int) -> tuple[Engines, LanguageSlots]:
    """An answer never ends by itself."""
    slots, prompts = load_slots(bundle, batch, engine), PromptBuilder.of(bundle)
    vision = load_incremental(bundle, bundle.manifest.default_keep, engine, batch)
    _say(f"{engine}: frames by {vision.sizes}, answers by {slots.sizes}")
    answers = AnswerPool([Conversation(one, prompts, ()) for one in slots.engines], slots)
    return Engines(bundle, vision, answers), slots


def _ways(engines: Engines, slots: LanguageSlots) -> dict[str, Engines]:
    """The same engines, used both ways."""
    assert isinstance(engines.vision, IncrementalVision)
    alone = AnswerPool(engines.answers.conversations[:1], LanguageSlots(slots.engines[:1]))
    return {OFF: Engines(engines.bundle, engines.vision.one_by_one(), alone), ON: engines}


def _say(line: str) -> None:
    print(line, file=sys.stderr, flush=True)


if __name__ == "__main__":
    sys.exit(run_app(app, "bench_streams.py"))
