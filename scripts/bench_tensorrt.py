#!/usr/bin/env python3
"""Builds and times TensorRT engines of a released model's size, with random weights; needs the runtime alone.

`scripts/bench_gpu.py tensorrt-graphs FOLDER` writes the graphs on any machine. On the device, `build FOLDER` makes
weights of a seed and compiles the graphs as `stts-runtime compile` does; `time FOLDER` runs the engines, in turns.
"""

from __future__ import annotations

import json
import sys
import time
import zlib
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime, timezone
from functools import partial
from pathlib import Path
from typing import Annotated, Any, Optional

import numpy as np
import typer
from numpy.typing import NDArray

from stts_runtime.budget import TokenBudget
from stts_runtime.bundle.contract import FlavourName
from stts_runtime.cli.entry import run_app
from stts_runtime.compile.child import compile_part
from stts_runtime.compile.choose import lengths_in
from stts_runtime.compile.request import PartRequest
from stts_runtime.device import select_gpu, this_device
from stts_runtime.engines.cuda_memory import Stream, load_cuda
from stts_runtime.engines.tensorrt import TensorRtVision
from stts_runtime.engines.tensorrt_context import LoadedEngine
from stts_runtime.engines.tensorrt_language import TensorRtLanguage
from stts_runtime.errors import SttsError, UserError
from stts_runtime.outputs import check_place
from stts_runtime.prompt import Tokens
from stts_runtime.tensorrt import load_flavour

LANGUAGE = "language"
FLAVOUR: FlavourName = "tensorrt"
_WARM_UPS = 3
_TEXT_TOKEN = 1
_NOISE = np.random.default_rng(0).standard_normal(1 << 22, dtype=np.float32)
_DTYPES = {"F16": np.float16, "F32": np.float32}

app = typer.Typer(help=__doc__, add_completion=False, pretty_exceptions_enable=False)
Folder = Annotated[Path, typer.Argument(help="Folder of the graphs.")]
Parts = Annotated[Optional[list[str]], typer.Option("--part", help="A graph by name, without .onnx; all by default.")]
Gpu = Annotated[int, typer.Option(help="Number of the GPU.")]


@app.command()
def build(
    folder: Folder,
    out: Annotated[Path, typer.Option(help="Records are appended to it, .jsonl.")],
    part: Parts = None,
    gpu: Gpu = 0,
    jobs: Annotated[int, typer.Option(min=1, help="Engines that are built at the same time.")] = 1,
    timing_cache: Annotated[Optional[Path], typer.Option(help="Read and written if given.")] = None,
) -> None:
    """Compiles graphs to engines (.plan next to them)."""
    described_in(folder, part)
    check_place(out, [".jsonl"])
    load_flavour(FLAVOUR)
    for weights in folder.glob("*.safetensors"):
        fill(weights)
    select_gpu(f"cuda:{gpu}")
    refused = False
    with ThreadPoolExecutor(jobs) as pool, out.open("a") as file:
        for record in pool.map(lambda name: built(folder, name, gpu, timing_cache), part or graphs_of(folder)):
            line = json.dumps({**record, "jobs": jobs, **where()})
            print(line, flush=True)
            file.write(line + "\n")
            refused = refused or "refused" in record
    if refused:
        raise typer.Exit(1)


def built(folder: Path, name: str, gpu: int, timing_cache: Path | None) -> dict[str, Any]:
    context = described_in(folder, [name])["context"]
    plan = folder / f"{name}.plan"
    request = PartRequest(
        flavour=FLAVOUR,
        graph=str(folder / f"{name}.onnx"),
        plan=str(plan),
        architectures=None,
        precision="fp16",
        lengths=lengths_in(context) if name == LANGUAGE else None,
        timing_cache=str(timing_cache) if timing_cache else None,
    )
    record = {"what": "build", "part": name, "timing_cache": bool(timing_cache and timing_cache.exists())}
    try:
        done = compile_part(request, lambda _: None, gpu=gpu)
    except SttsError as error:
        return {**record, "refused": str(error)}
    described = done.inspected.model_dump() if done.inspected else None
    return {
        **record,
        "seconds": done.seconds,
        "peak_memory_mb": done.peak_memory_mb,
        "engine_mb": round(plan.stat().st_size / 1e6, 1),
        "flags": done.builder_flags,
        "inspected": described,
    }


@app.command("time")
def time_engines(
    folder: Folder,
    out: Annotated[Path, typer.Option(help="Records are appended to it, .jsonl.")],
    part: Parts = None,
    gpu: Gpu = 0,
    rounds: Annotated[int, typer.Option(min=3)] = 15,
) -> None:
    """Times the engines that were built, each once a round in a new random order."""
    described = described_in(folder, part)
    check_place(out, [".jsonl"])
    select_gpu(f"cuda:{gpu}")
    works: dict[str, Callable[[], object]] = {}
    memory: dict[str, float] = {}
    stream = Stream(load_cuda())
    for name in part or graphs_of(folder):
        before = free_gb(stream)
        works |= dict(works_of(folder, name, stream, described))
        memory[name] = round(before - free_gb(stream), 2)
    with out.open("a") as file:
        for name, samples in interleaved(works, rounds).items():
            part_name = name.split()[0]
            record = {"what": "time", "name": name, **samples, "rounds": rounds, "memory_gb": memory[part_name]}
            line = json.dumps({**record, **where()})
            print(line, flush=True)
            file.write(line + "\n")


def works_of(
    folder: Path, name: str, stream: Stream, described: dict[str, Any]
) -> Iterator[tuple[str, Callable[[], object]]]:
    loaded = LoadedEngine(load_flavour(FLAVOUR), folder / f"{name}.plan", stream)
    if name != LANGUAGE:
        yield vision_work(loaded, name, described)
        return
    language = TensorRtLanguage(loaded, described["image_patch_id"], "tensorrt-8", caches_in_place=False)
    for window, tokens in described["prefixes"].items():
        yield f"{name} prefill {window} ({tokens} tokens)", partial(run_tokens, language, 0, tokens)
    for length in (min(772, described["context"] // 2), max(described["prefixes"].values())):
        yield f"{name} token after {length}", partial(run_tokens, language, length, 1)


def vision_work(loaded: LoadedEngine, name: str, described: dict[str, Any]) -> tuple[str, Callable[[], object]]:
    budget = next(one for one in budgets_of(described) if one.name == name)
    vision = TensorRtVision(loaded, budget, "tensorrt-8")
    shape = loaded.shape("frames")
    vision.run(np.random.default_rng(0).integers(0, 256, shape, dtype=np.uint8))

    def run() -> None:
        vision.enqueue()
        loaded.stream.synchronize()

    return f"{name} vision", run


def run_tokens(language: TensorRtLanguage, start: int, count: int) -> None:
    language.rewind(start)
    language.forward(Tokens(np.full(count, _TEXT_TOKEN), np.arange(start, start + count), start + count))


def budgets_of(described: dict[str, Any]) -> list[TokenBudget]:
    return [TokenBudget(frames, described["groups"], keep) for frames, keep in described["windows"]]


def described_in(folder: Path, parts: list[str] | None) -> dict[str, Any]:
    """What the folder's graphs are for. Raises `UserError` if it is no such folder, or lacks a part."""
    try:
        described: dict[str, Any] = json.loads((folder / "graphs.json").read_text())
    except (OSError, ValueError) as error:
        raise UserError(f"{folder} is not a folder of graphs: {error}") from None
    unknown = sorted(set(parts or []) - set(graphs_of(folder)))
    if unknown:
        raise UserError(f"{folder} has no graph {unknown[0]!r}; it has {', '.join(graphs_of(folder))}")
    return described


def graphs_of(folder: Path) -> list[str]:
    return sorted(path.stem for path in folder.glob("*.onnx"))


def interleaved(works: dict[str, Callable[[], object]], rounds: int) -> dict[str, dict[str, float]]:
    """Milliseconds of each: median, lowest and highest."""
    generator = np.random.default_rng(0)
    samples: dict[str, list[float]] = {name: [] for name in works}
    for number in range(-_WARM_UPS, rounds):
        for name in generator.permutation(list(works)).tolist():
            started = time.perf_counter()
            works[name]()
            if number >= 0:
                samples[name].append((time.perf_counter() - started) * 1e3)
    return {name: summary(values) for name, values in samples.items()}


def summary(values: list[float]) -> dict[str, float]:
    found = {"median_ms": np.median(values), "lowest_ms": min(values), "highest_ms": max(values)}
    return {name: round(float(value), 3) for name, value in found.items()}


def free_gb(stream: Stream) -> float:
    return float(stream.cuda.call("cudaMemGetInfo")[0]) / 1e9


def where() -> dict[str, str]:
    gpu = this_device().gpu
    if gpu is None:
        raise UserError("no NVIDIA GPU was found; what is measured here runs on one")
    now = datetime.now(timezone.utc).isoformat(timespec="seconds")
    return {"gpu": gpu.name, "tensorrt": load_flavour(FLAVOUR).version, "created": now}


# Weights


def fill(path: Path) -> None:
    """Appends the values to a weight file that ends with its header; the same for the same names everywhere."""
    content = path.open("rb")
    header_bytes = int.from_bytes(content.read(8), "little")
    header = json.loads(content.read(header_bytes))
    size = max(one["data_offsets"][1] for one in header.values())
    if path.stat().st_size == 8 + header_bytes + size:
        return
    with path.open("r+b") as file:
        for name, one in sorted(header.items(), key=lambda item: item[1]["data_offsets"]):
            file.seek(8 + header_bytes + one["data_offsets"][0])
            file.write(values(name, one["shape"]).astype(_DTYPES[one["dtype"]]).tobytes())


def values(name: str, shape: list[int]) -> NDArray[np.float32]:
    """Noise of the scale that initial weights have; norms about one."""
    noise = np.resize(np.roll(_NOISE, zlib.crc32(name.encode()) % len(_NOISE)), int(np.prod(shape))).reshape(shape)
    if name.endswith("norm.weight") or ".layer_norm" in name or "layernorm" in name:
        return noise * 0.1 + (0.0 if name.endswith("bias") else 1.0)
    if len(shape) == 2 and "embed" not in name:
        return noise / float(np.sqrt(shape[1]))
    return noise * 0.1


if __name__ == "__main__":
    sys.exit(run_app(app, "bench_tensorrt.py"))
