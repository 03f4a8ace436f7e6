#!/usr/bin/env python3
"""Checks the decode kernels in the cuda engine, on a GPU: answers compared with ONNX Runtime's, a long run, faults.

    PYTHONPATH=runtime:calib:tools python3 scripts/check_decode.py BUNDLE... --out decode-engine.json

Bundles are of the shipped checkpoint, with graphs for `cuda` (`stts-export build --target cuda`, `calibrate`). What
went wrong stands in the JSON with its error, and the exit code is 1.
"""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import Annotated, Any, Optional

import typer

from stts_runtime.bundle import Bundle
from stts_tools.decode_bench.engine import (
    FAULTS,
    LONG_RUN,
    Asked,
    compare_answers,
    compare_logits,
    fault,
    loaded,
    long_run,
    questions,
    read_questions,
    step_milliseconds,
    write_questions,
)
from stts_tools.decode_bench.run import attempt

_GROWN = 1 << 20
"""Bytes of device memory: less is other processes' noise."""

app = typer.Typer(add_completion=False, pretty_exceptions_enable=False)


def _checked(bundle: Bundle, asked: list[Asked], tokens: int) -> dict[str, Any]:
    """Checks one bundle, part by part."""
    language: dict[bool, Any] = {}
    seconds = {}
    for kernels in (False, True):
        begin = time.perf_counter()
        language[kernels] = attempt(lambda: loaded(bundle, kernels))  # noqa: B023
        seconds["kernels" if kernels else "onnxruntime"] = round(time.perf_counter() - begin, 2)
    failed = [one for one in language.values() if isinstance(one, dict)]
    if failed:
        return {"refused": failed[0]["error"]}
    ways = {"onnxruntime": language[False], "kernels": language[True]}
    return {
        "seconds_to_load": seconds,
        "answers": attempt(lambda: compare_answers(bundle, asked)),
        "logits": attempt(lambda: compare_logits(bundle)),
        "ms_a_token": {name: attempt(lambda: step_milliseconds(one)) for name, one in ways.items()},  # noqa: B023
        "long_run": attempt(lambda: long_run(language[True], tokens)),
    }


def _is_right(results: dict[str, Any]) -> bool:
    if "refused" in results:
        return False
    texts, logits, run = results["answers"], results["logits"], results["long_run"]
    return (
        texts.get("differ") == []
        and logits.get("disagreement", "failed") is None
        and logits["from_exact"]["kernels"]["worst"] <= logits["bar_from_exact"]
        and run.get("same_text") is True
        and max(run["device_grown"], run["host_grown"] // 64) < _GROWN
    )


@app.command(help=__doc__)
def main(
    bundles: Annotated[list[Path], typer.Argument(metavar="BUNDLE...", help="Of the shipped checkpoint.")],
    clips: Annotated[
        Optional[Path], typer.Option(help="What --write-clips wrote, for a machine without OpenCV, .npz.")
    ] = None,
    write_clips: Annotated[Optional[Path], typer.Option(help="Only write clips and questions to this file.")] = None,
    tokens: Annotated[int, typer.Option(min=1, help="Of the long run.")] = LONG_RUN,
    out: Annotated[Path, typer.Option(help="Report, .json.")] = Path("decode-engine.json"),
) -> None:
    results: dict[str, Any] = {}

    def note(name: str, value: Any) -> None:
        results[name] = value
        out.write_text(json.dumps(results, indent=1))
        print(f"{name}: {json.dumps(value)}", flush=True)

    opened = [Bundle.open(path) for path in bundles]
    manifest = opened[0].manifest
    frames = manifest.variants[opened[0].choose(None, None, None)].frames
    asked = questions(frames, manifest.vision.image_size) if clips is None else read_questions(clips)
    if write_clips is not None:
        write_questions(write_clips, asked)
        return
    for bundle in opened:
        note(bundle.folder.name, attempt(lambda: _checked(bundle, asked, tokens)))  # noqa: B023
    right = all(_is_right(one) for one in results.values())
    for name in FAULTS:
        note(name, attempt(lambda: fault(opened[0], name, asked[:1])))  # noqa: B023
        right = right and results[name].get("kernels") is False and results[name]["same_answers"]
    raise typer.Exit(0 if right else 1)


if __name__ == "__main__":
    app()
