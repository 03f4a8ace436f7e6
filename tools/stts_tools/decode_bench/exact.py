"""A bundle's decoder in numpy without any rounding between its weights and its logits: what both ways of running it are
measured against.
"""

from __future__ import annotations

import mmap
from collections.abc import Sequence
from math import prod

import numpy as np
from numpy.typing import NDArray

from stts_runtime.bundle import Bundle
from stts_runtime.bundle.contract import CUDA
from stts_runtime.bundle.onnx_file import read_onnx
from stts_runtime.engines.cuda_memory import DeviceArray
from stts_runtime.engines.cuda_weights import Weights, stored_arrays
from stts_runtime.engines.decoder_fit import FittedDecoder, LayerArrays, fitted_decoder
from stts_tools.decode_bench.reference import FLOAT8_BLOCK, INT4_BLOCK, float8_values, widened

Floats = NDArray[np.float64]


class ExactDecoder:
    """Weights as the file has them, everything else in float64."""

    def __init__(self, bundle: Bundle) -> None:
        """Raises `Misfit` for a decoder that the kernels do not run either."""
        graph = bundle.manifest.language.graphs[CUDA]
        arrays, self._begin = stored_arrays(bundle.file(graph.weights))
        self._fitted: FittedDecoder = fitted_decoder(read_onnx(bundle.file(graph.graph)), Weights(arrays))
        with bundle.file(graph.weights).open("rb") as file:
            self._file = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)

    def logits(self, tokens: Sequence[int]) -> Floats:
        """After each token of a text that begins at position 0 and has no image: (tokens, vocabulary)."""
        fitted = self._fitted
        table = np.concatenate([self._floats(fitted.base), self._floats(fitted.extra)])
        x = table[np.asarray(tokens)]
        for layer in fitted.layers:
            x = self._layer(layer, x)
        logits: Floats = self._normed(x, fitted.norm) @ self._floats(fitted.head).T
        return logits

    def _layer(self, layer: LayerArrays, x: Floats) -> Floats:
        """The norms of input and MLP are ahead of what they are named after, or behind it."""
        input_norm, mlp_norm, *_ = layer.norms
        if self._fitted.shape.form == "olmo3":
            x = x + self._normed(self._attended(layer, x), input_norm)
            return x + self._normed(self._mlp(layer, x), mlp_norm)
        x = x + self._attended(layer, self._normed(x, input_norm))
        return x + self._mlp(layer, self._normed(x, mlp_norm))

    def _attended(self, layer: LayerArrays, x: Floats) -> Floats:
        *_, q_norm, k_norm = layer.norms
        shape, count = self._fitted.shape, len(x)
        raw = x @ self._matrix(*layer.qkv).T
        q, k, v = np.split(raw, [shape.channels, shape.channels + shape.kv_heads * shape.head_dim], 1)
        q, k = (
            self._turned(self._normed(one.reshape(count, -1, norm.shape[0]), norm), layer)
            for one, norm in ((q, q_norm), (k, k_norm))
        )
        v = v.reshape(count, -1, shape.head_dim)
        k, v = (np.repeat(one, shape.heads_of_key, 1) for one in (k, v))
        scores = np.einsum("qhd,khd->hqk", q, k) * shape.head_dim**-0.5
        scores[:, np.triu(np.ones((count, count), dtype=np.bool_), 1)] = -np.inf
        weights = np.exp(scores - scores.max(-1, keepdims=True))
        weights /= weights.sum(-1, keepdims=True)
        attended: Floats = np.einsum("hqk,khd->qhd", weights, v).reshape(count, -1) @ self._matrix(*layer.output).T
        return attended

    def _mlp(self, layer: LayerArrays, x: Floats) -> Floats:
        gate = x @ self._matrix(*layer.gate).T
        hidden = gate / (1 + np.exp(-gate)) * (x @ self._matrix(*layer.up).T)
        behind: Floats = hidden @ self._matrix(*layer.down).T
        return behind

    def _normed(self, values: Floats, weight: DeviceArray) -> Floats:
        mean = np.mean(np.square(values), -1, keepdims=True)
        normed: Floats = values / np.sqrt(mean + self._fitted.shape.eps) * self._floats(weight)
        return normed

    def _turned(self, normed: Floats, layer: LayerArrays) -> Floats:
        heads = normed.reshape(len(normed), -1, self._fitted.shape.head_dim)
        cos, sin = (self._fitted.tables[name][: len(heads), None].astype(np.float64) for name in layer.tables)
        low, high = np.split(heads, 2, -1)
        return np.concatenate([low * cos - high * sin, high * cos + low * sin], -1)

    def _matrix(self, values: DeviceArray, scales: DeviceArray | None) -> Floats:
        if scales is None:
            return self._floats(values)
        stored = np.frombuffer(self._file, np.uint8, prod(values.shape), self._begin + values.address)
        whole: Floats
        if self._fitted.kind == "float8":
            of_block = np.frombuffer(self._file, np.float32, prod(scales.shape), self._begin + scales.address)
            of_value = np.repeat(of_block.reshape(scales.shape), FLOAT8_BLOCK, 1)[:, : values.shape[1]]
            whole = float8_values().astype(np.float64)[stored].reshape(values.shape) * of_value
            return whole
        numbers = np.stack([stored & 15, stored >> 4], -1).reshape(-1, INT4_BLOCK).astype(np.float64) - 8
        whole = (numbers * self._floats(scales).reshape(-1, 1)).reshape(values.shape[0], -1)
        return whole

    def _floats(self, array: DeviceArray) -> Floats:
        bits = np.frombuffer(self._file, np.uint16, prod(array.shape), self._begin + array.address)
        return widened(bits, array.dtype is None).astype(np.float64).reshape(array.shape)
