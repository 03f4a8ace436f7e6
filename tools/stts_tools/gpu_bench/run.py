"""The benchmark itself: engines compared with the same modules in torch and with transformers' Molmo2.

Engines and modules use the same weights in the same memory; transformers' model has weights of its own.
"""

from __future__ import annotations

import platform
from datetime import datetime, timezone
from importlib.metadata import version
from importlib.util import find_spec

import torch

from stts_runtime.device import this_device
from stts_runtime.tell import Tell
from stts_tools.gpu_bench.context import Context, forget
from stts_tools.gpu_bench.decode_stage import decode_rows
from stts_tools.gpu_bench.language_stage import language_rows
from stts_tools.gpu_bench.quantized_stage import quantized_rows
from stts_tools.gpu_bench.report import GpuReport, Row
from stts_tools.gpu_bench.settings import GraphFolder
from stts_tools.gpu_bench.vision_stage import vision_rows


def run_bench(folder: GraphFolder, rounds: int, command: str, tell: Tell) -> GpuReport:
    """Raises `UserError` if the folder is not one of graphs."""
    # Here, since a GPU machine that times the engines alone may be without transformers.
    from stts_tools.gpu_bench.answer_stage import answer_rows  # noqa: PLC0415
    from stts_tools.gpu_bench.molmo2_side import Molmo2Side  # noqa: PLC0415

    context = Context(folder, rounds, tell)
    rows = [*vision_rows(context), *language_rows(context)]
    forget()
    rows += answer_rows(context, Molmo2Side(context.model, context.dtype))
    return _report(context, rows, command)


def run_engine_bench(folder: GraphFolder, rounds: int, command: str, tell: Tell) -> GpuReport:
    """The engines alone. Raises `UserError` if the folder is not one of graphs."""
    context = Context(folder, rounds, tell, beside_torch=False)
    return _report(context, [*vision_rows(context), *language_rows(context)], command)


def run_quantized_bench(folder: GraphFolder, rounds: int, command: str, tell: Tell) -> GpuReport:
    """The language model in 4, 8 and 16 bits. Raises `UserError` if the folder is not one of graphs."""
    context = Context(folder, rounds, tell)
    return _report(context, list(quantized_rows(context)), command)


def run_decode_bench(folder: GraphFolder, rounds: int, command: str, tell: Tell) -> GpuReport:
    """Single tokens, with the decode kernels and without. Raises `UserError` if the folder is not one of graphs."""
    context = Context(folder, rounds, tell, beside_torch=False)
    return _report(context, list(decode_rows(context)), command)


def _report(context: Context, rows: list[Row], command: str) -> GpuReport:
    device = this_device()
    assert device.gpu is not None
    return GpuReport(
        created=datetime.now(timezone.utc).isoformat(timespec="seconds"),
        command=command,
        gpu=device.gpu.name,
        driver=device.driver or "unknown",
        versions=_versions(),
        size=context.settings.size,
        precision=context.settings.precision,
        rounds=context.rounds,
        rates=context.rates,
        rows=rows,
        memory=context.memory,
        notes=context.notes,
        decode=context.decode,
    )


def _versions() -> dict[str, str]:
    names = ("torch", "onnxruntime-gpu", "transformers")
    installed = {name: version(name) for name in names if find_spec(name.removesuffix("-gpu"))}
    return {**installed, "python": platform.python_version(), "cudnn": str(torch.backends.cudnn.version())}
