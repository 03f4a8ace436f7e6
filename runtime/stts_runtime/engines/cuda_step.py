"""Single tokens through kernels of our own (`cuda_decode`) over the weights and caches that the `cuda` engine has.

Not used unless `STTS_CUDA_DECODE=kernels` asks for it. Where it cannot be used the reason is kept, and ONNX Runtime
runs single tokens as it runs all else.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from stts_runtime.bundle.manifest import Precision
from stts_runtime.bundle.onnx_file import read_onnx
from stts_runtime.cuda_decode import KERNELS, VARIABLE
from stts_runtime.cuda_decode.driver import Driver, load_driver
from stts_runtime.cuda_decode.layer import Caches, LayerWeights, Workspace, partial_floats
from stts_runtime.cuda_decode.step import CHOOSING_BLOCKS, DecoderWeights, Ends, StepKernels
from stts_runtime.engines.cuda_memory import DeviceArray, PinnedArray, RepeatedWork, Stream
from stts_runtime.engines.cuda_weights import Weights, stored_arrays
from stts_runtime.engines.decoder_fit import FittedDecoder, LayerArrays, Misfit, device_weights, fitted_decoder
from stts_runtime.errors import SttsError

_INT32, _INT64, _FLOAT32 = np.dtype(np.int32), np.dtype(np.int64), np.dtype(np.float32)
_ATTEMPTS = 1


@dataclass(frozen=True)
class StepChoice:
    """What runs single tokens: our kernels, or ONNX Runtime for a reason (a clause)."""

    step: CudaStep | None
    because: str
    asked_for: bool = True

    def refused(self, because: str) -> StepChoice:
        return replace(self, step=None, because=because)

    @property
    def note(self) -> str | None:
        """That kernels were asked for and are not used; None if there is nothing to say."""
        if self.step is not None or not self.asked_for:
            return None
        return f"ONNX Runtime runs single tokens, and not the decode kernels: {self.because}"


def choose_step(
    graph: Path,
    weights: Mapping[str, DeviceArray],
    caches: Mapping[str, DeviceArray],
    outputs: StepOutputs,
    stream: Stream,
) -> StepChoice:
    """Never raises for what our kernels cannot do."""
    if os.environ.get(VARIABLE) != KERNELS:
        return StepChoice(None, f"{VARIABLE}={KERNELS} is not set", asked_for=False)
    try:
        fitted = fitted_decoder(read_onnx(graph), weights)
        return StepChoice(CudaStep(fitted, caches, outputs, stream, load_driver()), "it fits")
    except (Misfit, SttsError, OSError, AttributeError) as error:
        # The last two: a damaged file of kernels, and a cuda-bindings that lacks a call.
        return StepChoice(None, str(error))


def misfit_of(graph: Path, weights: Path) -> str | None:
    """Why the kernels do not run a decoder, as far as its files tell without a device; None if they do."""
    try:
        arrays, _ = stored_arrays(weights)
        fitted_decoder(read_onnx(graph), Weights(arrays))
    except (Misfit, SttsError) as error:
        return str(error)
    return None


@dataclass(frozen=True)
class StepOutputs:
    """Where results go: logits (1, vocabulary) float32 and the next token (1,) int64."""

    logits: DeviceArray
    next_token: DeviceArray


class CudaStep:
    """One token of one sequence at a time."""

    def __init__(
        self,
        fitted: FittedDecoder,
        caches: Mapping[str, DeviceArray],
        outputs: StepOutputs,
        stream: Stream,
        driver: Driver,
    ) -> None:
        """`caches` (1, KV, slots, D) by name. Raises `SttsError` where device or driver do not take the kernels."""
        self._stream, self._kept = stream, [fitted, caches, outputs]
        self.precision: Precision = "fp16" if fitted.activation == "half" else "bf16"
        """Of activations."""
        stream.cuda.make_current()
        self._kernels = StepKernels(driver, stream.cuda.gpu, fitted.shape, fitted.kind, fitted.activation)
        self._slots = next(iter(caches.values())).shape[-2]
        self._numbers = self._zeros((3,), _INT32)
        self._host = PinnedArray(stream.cuda, (3,), _INT32)
        self._workspace, self._ends = self._workspaces(fitted, outputs)
        self._weights = self._decoder_weights(fitted)
        self._caches = [
            Caches.of([(caches[f"key.{number}"].address, caches[f"value.{number}"].address)])
            for number in range(fitted.shape.layers)
        ]
        self._run = RepeatedWork(stream, self._enqueue, attempts=_ATTEMPTS)

    def __call__(self, token: int, position: int, slot: int) -> None:
        """Appends the token to slot `slot`; logits and the next token are there once the stream was synchronised."""
        self._host.values[:] = token, position, slot
        self._stream.upload_pinned(self._numbers, self._host)
        self._stream.cuda.make_current()
        self._run()

    def _enqueue(self) -> None:
        stream = int(self._stream.handle)
        self._kernels.enqueue(stream, 1, self._weights, self._caches, self._slots, self._workspace, self._ends)

    def _workspaces(self, fitted: FittedDecoder, outputs: StepOutputs) -> tuple[Workspace, Ends]:
        shape, sixteen = fitted.shape, np.dtype(np.uint16)
        arrays = {
            "x": self._zeros((shape.width,), _FLOAT32),
            "raw": self._zeros((shape.raw_channels,), _FLOAT32),
            "attended": self._zeros((shape.channels,), sixteen),
            "hidden": self._zeros((shape.mlp_width,), sixteen),
            "partial": self._zeros((partial_floats(shape, self._kernels.layer.splits, 1),), _FLOAT32),
            "tickets": self._zeros((shape.kv_heads,), _INT32),
        }
        best, tickets = self._zeros((CHOOSING_BLOCKS, 2), _FLOAT32), self._zeros((1,), _INT32)
        token, position, slot = (self._numbers.address + _INT32.itemsize * number for number in range(3))
        work = Workspace(**{name: array.address for name, array in arrays.items()}, positions=position, slots=slot)
        ends = Ends(token, outputs.logits.address, best.address, tickets.address, outputs.next_token.address)
        return work, ends

    def _decoder_weights(self, fitted: FittedDecoder) -> DecoderWeights:
        tables = {name: self._zeros(table.shape, _FLOAT32) for name, table in fitted.tables.items()}
        for name, table in fitted.tables.items():
            self._stream.upload(tables[name], table)

        def layer(arrays: LayerArrays) -> LayerWeights:
            matrices = (arrays.qkv, arrays.output, arrays.gate, arrays.up, arrays.down)
            qkv, output, gate, up, down = (device_weights(*one, fitted.kind) for one in matrices)
            input_norm, mlp_norm, q_norm, k_norm = (norm.address for norm in arrays.norms)
            cos, sin = (tables[name].address for name in arrays.tables)
            return LayerWeights(qkv, output, gate, up, down, input_norm, mlp_norm, q_norm, k_norm, cos, sin)

        return DecoderWeights(
            fitted.base.address,
            fitted.extra.address,
            fitted.base.shape[0],
            fitted.norm.address,
            device_weights(fitted.head, None, "dense"),
            tuple(map(layer, fitted.layers)),
        )

    def _zeros(self, shape: tuple[int, ...], dtype: np.dtype[Any]) -> DeviceArray:
        array = self._stream.zeros(shape, dtype.itemsize, dtype)
        self._kept.append(array)
        return array
