"""Weights in 4 bits whose scales are searched on what the model sees: NVIDIA ModelOpt's activation-aware clipping.

ModelOpt is no part of the extra `calib`: it brings torch, and its own extra `onnx` asks for an older ONNX Runtime than
our graphs need, so its few parts that are used here are asked for by name.
"""

from __future__ import annotations

import io
import logging
from collections.abc import Sequence
from collections.abc import Set as AbstractSet
from contextlib import redirect_stderr
from typing import Any

import numpy as np
import onnxruntime
from onnx import ModelProto, helper
from onnxruntime.quantization.calibrate import CalibrationDataReader

from stts_calib.calibration.prompts import SeenPrompt
from stts_calib.quantize.blockwise import BLOCK, as_products
from stts_calib.quantize.quiet import quiet
from stts_runtime.errors import MissingExtraError

_WARNING, _ERROR = 2, 3
"""ONNX Runtime's levels; the first is its default."""


def check_modelopt() -> None:
    """Raises `MissingExtraError` if it is not installed."""
    _modelopt()


def quantize_weights_aware(model: ModelProto, blocks: AbstractSet[str], prompts: Sequence[SeenPrompt]) -> ModelProto:
    """The graph with the weights of these blocks in 4 bits, as DequantizeLinear by blocks; `model` is used up."""
    left = as_products(model, blocks)
    quantize = _modelopt()
    # Bars of progress, and a warning of ONNX Runtime for each product that it runs.
    onnxruntime.set_default_logger_severity(_ERROR)
    with quiet(), redirect_stderr(io.StringIO()):
        quantized: ModelProto = quantize(
            model,
            calibration_method="awq_clip",
            calibration_data_reader=_Reader(model, prompts),
            calibration_eps=["cpu"],
            block_size=BLOCK,
            nodes_to_exclude=left,
            log_level="ERROR",
        )
    onnxruntime.set_default_logger_severity(_WARNING)
    return quantized


def _modelopt() -> Any:
    try:
        with quiet():
            from modelopt.onnx.quantization.int4 import quantize
    except ImportError as error:
        raise MissingExtraError(
            f"{error.name} is not installed, and NVIDIA ModelOpt, which searches scales, needs it: "
            "pip install 'stts-export[modelopt]'"
        ) from None
    logging.getLogger("modelopt").setLevel(logging.ERROR)
    return quantize


class _Reader(CalibrationDataReader):  # type: ignore[misc]  # the library has no types
    """A prompt a time, in front of empty caches."""

    def __init__(self, model: ModelProto, prompts: Sequence[SeenPrompt]) -> None:
        self._prompts, self._next = prompts, 0
        self._empty = {
            one.name: np.zeros(
                [size.dim_value for size in one.type.tensor_type.shape.dim],
                helper.tensor_dtype_to_np_dtype(one.type.tensor_type.elem_type),
            )
            for one in model.graph.input
            if one.name not in ("token_ids", "positions")
        }

    def get_next(self) -> dict[str, Any] | None:
        if self._next == len(self._prompts):
            return None
        prompt = self._prompts[self._next]
        self._next += 1
        shown = self._empty["visual_tokens"].copy()
        shown[: len(prompt.visual_tokens)] = prompt.visual_tokens
        return {**self._empty, "token_ids": prompt.ids, "positions": prompt.positions, "visual_tokens": shown}

    def rewind(self) -> None:
        self._next = 0
