"""Decode kernels of our own (`cuda_decode`), loaded for a decoder's weights that the `cuda` engine has on the device.

Where they cannot be used the reason is kept, and ONNX Runtime runs single tokens as it runs all else; so it does where
`STTS_CUDA_DECODE=onnxruntime` says that it shall.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from stts_runtime.bundle.manifest import Precision
from stts_runtime.bundle.onnx_file import read_onnx
from stts_runtime.cuda_decode import ONNX_RUNTIME, VARIABLE, wanted
from stts_runtime.cuda_decode.driver import Driver, UnfitDeviceError, load_driver
from stts_runtime.cuda_decode.layer import LayerWeights
from stts_runtime.cuda_decode.step import DecoderWeights, StepKernels
from stts_runtime.engines.cuda_memory import DeviceArray, Stream
from stts_runtime.engines.cuda_weights import Weights, stored_arrays
from stts_runtime.engines.decoder_fit import FittedDecoder, LayerArrays, Misfit, device_weights, fitted_decoder
from stts_runtime.errors import SttsError
from stts_runtime.references.bars import ROUNDING

_FLOAT32 = np.dtype(np.float32)
_FOUR_BITS_APART = 2
"""ONNX Runtime adds products of 4-bit blocks up in 16 bits: its logits of the shipped checkpoint are up to 1.2e-2 from
exact ones and the kernels' 4.2e-3 (benchmarks/h200/decode-exact.json), for a bar of 1e-2.
"""


@dataclass(frozen=True)
class StepChoice:
    """What runs single tokens: our kernels, or ONNX Runtime for a reason (a clause)."""

    kernels: CudaKernels | None
    because: str
    worth_telling: bool = False
    """A user should know the reason: something is wrong, or the kernels were asked for by name."""

    def refused(self, because: str) -> StepChoice:
        return replace(self, kernels=None, because=because, worth_telling=True)

    @property
    def note(self) -> str | None:
        """That the kernels are not used although they should be; None if there is nothing to say."""
        if self.kernels is not None or not self.worth_telling:
            return None
        return f"ONNX Runtime runs single tokens, and not the decode kernels: {self.because}"


ONNX_RUNTIME_ALONE = StepChoice(None, "no kernels were asked for")


def choose_kernels(graph: Path, weights: Mapping[str, DeviceArray], stream: Stream) -> StepChoice:
    """Never raises for what our kernels cannot do. Raises `UserError` if the environment's word is none."""
    kernels, said = wanted()
    if not kernels:
        return StepChoice(None, f"{VARIABLE}={ONNX_RUNTIME} is set")
    try:
        fitted = fitted_decoder(read_onnx(graph), weights)
        return StepChoice(CudaKernels(fitted, stream, load_driver()), "it fits")
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


class CudaKernels:
    """Kernels and weights of a decoder: what all steps over it share, whatever sequences they are for."""

    def __init__(self, fitted: FittedDecoder, stream: Stream, driver: Driver) -> None:
        """Raises `UnfitDeviceError` where the device does not run the kernels, another `SttsError` where the driver
        does not.
        """
        self.shape, self.stream = fitted.shape, stream
        self.precision: Precision = "fp16" if fitted.activation == "half" else "bf16"
        """Of activations."""
        self.apart = ROUNDING[self.precision].logits * (_FOUR_BITS_APART if fitted.kind == "int4" else 1)
        """How far its logits may be from ONNX Runtime's; its own bar is against logits without rounding."""
        stream.cuda.make_current()
        self.launches = StepKernels(driver, stream.cuda.gpu, fitted.shape, fitted.kind, fitted.activation)
        tables = {name: stream.zeros(table.shape, 4, _FLOAT32) for name, table in fitted.tables.items()}
        for name, table in fitted.tables.items():
            stream.upload(tables[name], table)
        self.weights = _decoder_weights(fitted, tables)
        self._kept = fitted, tables

    @property
    def most_sequences(self) -> int:
        """That may share a step."""
        return self.launches.most_sequences


def _decoder_weights(fitted: FittedDecoder, tables: Mapping[str, DeviceArray]) -> DecoderWeights:
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
