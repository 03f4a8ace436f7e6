#!/usr/bin/env python3
"""Times one layer of packed attention in ONNX Runtime on the CPU: seats against sliding windows and whole frames.

The three compute the same attention over the same kept tokens. `whole` is what the layer costs unpruned; `windows` is
the textbook static packing (query blocks of a ninth of a frame, each seeing every token that can belong to its
frames); `seats` is what this package exports. Prints a table and, as the last line, JSON.
"""

from __future__ import annotations

import json
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Annotated

import numpy as np
import onnx_ir as ir
import torch
import torch.nn.functional as F
import typer
from torch import Tensor, nn

from stts_export.graphs.count import count_multiplications
from stts_export.graphs.to_onnx import to_onnx
from stts_export.lowering import LOWERINGS
from stts_export.modules.operators import attention
from stts_export.modules.packing import packed_attention
from stts_runtime.budget import TokenBudget
from stts_runtime.cli.entry import run_app
from stts_runtime.engines.onnxruntime_session import onnxruntime_for
from stts_tools.measured import measured

app = typer.Typer(add_completion=False, pretty_exceptions_enable=False)
PATCHES, HEADS, CHANNELS = 9, 2, 160


def window_mask(frame_K: Tensor, groups: int) -> Tensor:
    """(blocks, 1, queries, keys) bool: equal frames. All layers share it, so it is no part of what is timed."""
    kept, size = frame_K.shape[0], -(-groups // 9)
    blocks, reach = -(-kept // size), size + 2 * groups - 2
    index_bw = torch.arange(blocks)[:, None] * size + torch.arange(reach)
    frame_bw = F.pad(frame_K, (groups - 1, blocks * size - kept + groups - 1), value=-1)[index_bw]
    frame_bs = F.pad(frame_K, (0, blocks * size - kept), value=-1).reshape(blocks, size)
    seen = frame_bs[:, :, None] == frame_bw[:, None, :]
    return seen.repeat_interleave(PATCHES, 1).repeat_interleave(PATCHES, 2)[:, None]


def windows(q_MC: Tensor, k_MC: Tensor, v_MC: Tensor, mask: Tensor, kept: int, groups: int) -> Tensor:
    """Every query block sees the tokens up to a frame before and after it, masked to equal frames."""
    size, blocks = -(-groups // 9), mask.shape[0]
    padding = (groups - 1, blocks * size - kept + groups - 1)
    index_bw = torch.arange(blocks)[:, None] * size + torch.arange(size + 2 * groups - 2)

    def keys(x_MC: Tensor) -> Tensor:
        padded = F.pad(x_MC.reshape(kept, -1), (0, 0, *padding))
        return padded.index_select(0, index_bw.flatten()).reshape(blocks, -1, CHANNELS)

    queries = F.pad(q_MC.reshape(kept, -1), (0, 0, 0, blocks * size - kept)).reshape(blocks, -1, CHANNELS)
    attended = torch.onnx.ops.attention(queries, keys(k_MC), keys(v_MC), mask, q_num_heads=HEADS, kv_num_heads=HEADS)[0]
    return attended.reshape(-1, CHANNELS)[: kept * PATCHES]


class Layer(nn.Module):
    """One way of attending, as a module to export."""

    def __init__(self, attend: Callable[..., Tensor]) -> None:
        super().__init__()
        self.attend = attend

    def forward(self, *inputs: Tensor) -> Tensor:
        return self.attend(*inputs)


def ways(frames: int, groups: int, kept: int, seed: int) -> dict[str, tuple[Callable[..., Tensor], tuple[Tensor, ...]]]:
    generator = torch.Generator().manual_seed(seed)
    chosen = torch.cat((torch.arange(groups), groups + torch.randperm((frames - 1) * groups, generator=generator)))
    frame = chosen[:kept].sort().values // groups
    packed = tuple(torch.randn(kept * PATCHES, CHANNELS, generator=generator) for _ in range(3))
    whole = tuple(torch.randn(frames, groups * PATCHES, CHANNELS, generator=generator) for _ in range(3))
    return {
        "whole": (lambda q, k, v: attention(q, k, v, HEADS), whole),
        "windows": (lambda q, k, v, m: windows(q, k, v, m, kept, groups), (*packed, window_mask(frame, groups))),
        "seats": (lambda q, k, v, f: packed_attention(q, k, v, f, frames, groups, HEADS), (*packed, frame)),
    }


@app.command(help=__doc__)
def bench(
    frames: Annotated[int, typer.Option()] = 16,
    groups: Annotated[int, typer.Option(help="Groups of 9 patches in a frame.")] = 36,
    keep: Annotated[float, typer.Option()] = 0.5,
    rounds: Annotated[int, typer.Option()] = 50,
) -> None:
    budget = TokenBudget(frames, groups, keep)
    onnxruntime = onnxruntime_for("timed", "cpu")
    sessions, feeds, work, results = {}, {}, {}, {}
    times: dict[str, list[float]] = {}
    with tempfile.TemporaryDirectory() as folder:
        for name, (attend, inputs) in ways(frames, groups, budget.kept, seed=0).items():
            names = ["q", "k", "v", "layout"][: len(inputs)]
            model = to_onnx(Layer(attend), inputs, names, ["out"], LOWERINGS["cpu"])
            ir.save(model, Path(folder, name))
            options = onnxruntime.SessionOptions()
            options.add_session_config_entry("session.intra_op.allow_spinning", "0")
            sessions[name] = onnxruntime.InferenceSession(str(Path(folder, name)), options)
            feeds[name] = {key: tensor.numpy() for key, tensor in zip(names, inputs, strict=True)}
            work[name], times[name] = count_multiplications(model).total.fixed, []
    for number in range(rounds + 3):
        for name, session in sessions.items():
            start = time.perf_counter()
            (results[name],) = session.run(None, feeds[name])
            if number >= 3:
                times[name].append((time.perf_counter() - start) * 1000)
    np.testing.assert_allclose(results["seats"], results["windows"], atol=1e-5)
    medians = {name: round(float(np.median(values)), 3) for name, values in times.items()}
    for name, value in medians.items():
        print(f"{name:8} {value:7.2f} ms  {work[name] / work['whole']:.2f} of the multiplications of whole frames")
    settings = {"frames": frames, "groups": groups, "keep": keep, "rounds": rounds, "channels": CHANNELS}
    print(json.dumps(measured(**settings, median_ms=medians, multiplications=work)))


if __name__ == "__main__":
    sys.exit(run_app(app, "bench_packing.py"))
