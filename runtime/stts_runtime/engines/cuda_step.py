"""Single tokens through kernels of our own (`cuda_decode`) over the weights and caches that the `cuda` engine has.

Where they cannot be used the reason is kept, and ONNX Runtime runs single tokens as it runs all else; so it does where
`STTS_CUDA_DECODE=onnxruntime` says that it shall.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from stts_runtime.bundle.manifest import Precision
from stts_runtime.bundle.onnx_file import read_onnx
from stts_runtime.cuda_decode import ONNX_RUNTIME, VARIABLE, wanted
from stts_runtime.cuda_decode.driver import Driver, UnfitDeviceError, load_driver
from stts_runtime.cuda_decode.layer import Caches, LayerWeights, Workspace, partial_floats
from stts_runtime.cuda_decode.step import CHOOSING_BLOCKS, DecoderWeights, Ends, StepKernels
from stts_runtime.engines.cuda_memory import DeviceArray, PinnedArray, RepeatedWork, Stream
from stts_runtime.engines.cuda_weights import Weights, stored_arrays
from stts_runtime.engines.decoder_fit import FittedDecoder, LayerArrays, Misfit, device_weights, fitted_decoder
from stts_runtime.errors import SttsError
from stts_runtime.references.bars import ROUNDING

_INT32, _INT64, _FLOAT32 = np.dtype(np.int32), np.dtype(np.int64), np.dtype(np.float32)
_ATTEMPTS = 1
_FOUR_BITS_APART = 2
"""ONNX Runtime adds products of 4-bit blocks up in 16 bits: its logits of the shipped checkpoint are up to 1.2e-2 from
exact ones and the kernels' 4.2e-3 (benchmarks/h200/decode-exact.json), for a bar of 1e-2.
"""


@dataclass(frozen=True)
class StepChoice:
    """What runs single tokens: our kernels, or ONNX Runtime for a reason (a clause)."""

    step: CudaStep | None
    because: str
    worth_telling: bool = False
    """A user should know the reason: something is wrong, or the kernels were asked for by name."""

    def refused(self, because: str) -> StepChoice:
        return replace(self, step=None, because=because, worth_telling=True)

    @property
    def note(self) -> str | None:
        """That the kernels are not used although they should be; None if there is nothing to say."""
        if self.step is not None or not self.worth_telling:
            return None
        return f"ONNX Runtime runs single tokens, and not the decode kernels: {self.because}"


def choose_step(
    graph: Path,
    weights: Mapping[str, DeviceArray],
    caches: Sequence[Mapping[str, DeviceArray]],
    outputs: StepOutputs,
    stream: Stream,
) -> StepChoice:
    """`caches` of each sequence that shares a step. Never raises for what our kernels cannot do.

    Raises `UserError` if the environment's word is none.
    """
    kernels, said = wanted()
    if not kernels:
        return StepChoice(None, f"{VARIABLE}={ONNX_RUNTIME} is set")
    try:
        fitted = fitted_decoder(read_onnx(graph), weights)
        return StepChoice(CudaStep(fitted, caches, outputs, stream, load_driver()), "it fits")
    except (Misfit, UnfitDeviceError) as error:
        return StepChoice(None, str(error), worth_telling=said)
    except (SttsError, OSError, AttributeError) as error:
        # The last two: a damaged file of kernels, and a cuda-bindings that lacks a call.
        return StepChoice(None, str(error), worth_telling=True)


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
    """Where results go, of B sequences: logits (B, vocabulary) float32 and next tokens (B,) int64."""

    logits: DeviceArray
    next_token: DeviceArray


class CudaStep:
    """One token of each of B sequences at a time; weights are read once for all of them."""

    def __init__(
        self,
        fitted: FittedDecoder,
        caches: Sequence[Mapping[str, DeviceArray]],
        outputs: StepOutputs,
        stream: Stream,
        driver: Driver,
    ) -> None:
        """`caches` of each sequence, (1, KV, slots, D) by name.

        Raises `UnfitDeviceError` where the device does not run the kernels, another `SttsError` where the driver does
        not.
        """
        self._stream, self._kept = stream, [fitted, caches, outputs]
        self.precision: Precision = "fp16" if fitted.activation == "half" else "bf16"
        """Of activations."""
        self.apart = ROUNDING[self.precision].logits * (_FOUR_BITS_APART if fitted.kind == "int4" else 1)
        """How far its logits may be from ONNX Runtime's; its own bar is against logits without rounding."""
        stream.cuda.make_current()
        self._kernels = StepKernels(driver, stream.cuda.gpu, fitted.shape, fitted.kind, fitted.activation)
        self.sequences = len(caches)
        if self.sequences > self._kernels.most_sequences:
            most = self._kernels.most_sequences
            raise UnfitDeviceError(
                f"{self.sequences} sequences are to share a step, and on this GPU at most {most} can"
            )
        self._slots = next(iter(caches[0].values())).shape[-2]
        self._numbers = self._zeros((3, self.sequences), _INT32)
        self._host = PinnedArray(stream.cuda, (3, self.sequences), _INT32)
        self._workspace, self._ends = self._workspaces(fitted, outputs)
        self._weights = self._decoder_weights(fitted)
        self._caches = [
            Caches.of([(one[f"key.{number}"].address, one[f"value.{number}"].address) for one in caches])
            for number in range(fitted.shape.layers)
        ]
        self._run = RepeatedWork(stream, self._enqueue, attempts=_ATTEMPTS)

    def __call__(self, tokens: Sequence[int], positions: Sequence[int], slots: Sequence[int]) -> None:
        """Appends each sequence's token to its slot; results are there once the stream was synchronised."""
        self._host.values[:] = tokens, positions, slots
        self._stream.upload_pinned(self._numbers, self._host)
        self._stream.cuda.make_current()
        self._run()

    def _enqueue(self) -> None:
        stream = int(self._stream.handle)
        self._kernels.enqueue(
            stream, self.sequences, self._weights, self._caches, self._slots, self._workspace, self._ends
        )

    def _workspaces(self, fitted: FittedDecoder, outputs: StepOutputs) -> tuple[Workspace, Ends]:
        shape, sixteen, count = fitted.shape, np.dtype(np.uint16), self.sequences
        arrays = {
            "x": self._zeros((count, shape.width), _FLOAT32),
            "raw": self._zeros((count, shape.raw_channels), _FLOAT32),
            "attended": self._zeros((count, shape.channels), sixteen),
            "hidden": self._zeros((count, shape.mlp_width), sixteen),
            "partial": self._zeros((partial_floats(shape, self._kernels.layer.splits, count),), _FLOAT32),
            "tickets": self._zeros((count, shape.kv_heads), _INT32),
        }
        best, tickets = self._zeros((count, CHOOSING_BLOCKS, 2), _FLOAT32), self._zeros((count,), _INT32)
        token, position, slot = (self._numbers.address + _INT32.itemsize * count * number for number in range(3))
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
