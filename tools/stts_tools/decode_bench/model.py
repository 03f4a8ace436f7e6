"""Layers on the GPU: of given weights, to be checked, or as many as a model has, to be timed."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from stts_runtime.cuda_decode.layer import Caches, LayerKernels, LayerWeights, Weights, Workspace, partial_floats
from stts_runtime.cuda_decode.shape import MAX_BATCH, DecoderShape
from stts_runtime.cuda_decode.step import CHOOSING_BLOCKS, DecoderWeights, Ends, StepKernels
from stts_runtime.cuda_decode.variants import WeightKind
from stts_tools.decode_bench.gpu import Gpu
from stts_tools.decode_bench.reference import FLOAT8_BLOCK, INT4_BLOCK, Layer, Packed, pack

MOLMO2_4B = DecoderShape(width=2560, layers=36, heads=32, kv_heads=8, head_dim=128, mlp_width=9728)
MOST_SPLITS = 64
_TEMPLATE_VALUES = 1 << 22
_SPREAD = 0.02
"""Standard deviation of random weights: about one over the root of the columns."""


def weight_bytes(kind: WeightKind, rows: int, columns: int) -> tuple[int, int]:
    """Bytes of values and of scales."""
    if kind == "dense":
        return rows * columns * 2, 0
    if kind == "float8":
        return rows * columns, rows * -(-columns // FLOAT8_BLOCK) * 4
    return rows * columns // 2, rows * columns // INT4_BLOCK * 2


def layer_bytes(kind: WeightKind, shape: DecoderShape) -> int:
    return sum(sum(weight_bytes(kind, *size)) for size in shape.matrices.values())


def cache_bytes(shape: DecoderShape, slots: int) -> int:
    """Keys and values that one token of a sequence attends to, in a layer."""
    return 2 * shape.kv_heads * shape.head_dim * 2 * slots


def rotary_tables(shape: DecoderShape, positions: int) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    half = shape.head_dim // 2
    angles = np.arange(positions)[:, None] * 5e6 ** -(np.arange(half) / half)
    return np.cos(angles).astype(np.float32), np.sin(angles).astype(np.float32)


@dataclass(frozen=True)
class Room:
    """What a step needs besides weights and caches."""

    gpu: Gpu
    shape: DecoderShape
    work: Workspace
    tables: tuple[int, int]
    """Addresses of cosines and sines."""

    @classmethod
    def of(cls, gpu: Gpu, shape: DecoderShape, positions: int) -> Room:
        cos, sin = rotary_tables(shape, positions)
        sizes = {
            "x": shape.width * 4,
            "raw": shape.raw_channels * 4,
            "attended": shape.channels * 2,
            "hidden": shape.mlp_width * 2,
            "tickets": shape.kv_heads * 4,
            "positions": 4,
            "slots": 4,
        }
        places = {name: gpu.zeros(MAX_BATCH * size) for name, size in sizes.items()}
        partial = gpu.zeros(partial_floats(shape, MOST_SPLITS, MAX_BATCH) * 4)
        return cls(gpu, shape, Workspace(partial=partial, **places), (gpu.upload(cos), gpu.upload(sin)))

    def start(self, x: NDArray[np.float32], slots: list[int], positions: list[int]) -> None:
        self.gpu.upload(x.astype(np.float32), self.work.x)
        self.gpu.upload(np.array(slots, np.int32), self.work.slots)
        self.gpu.upload(np.array(positions, np.int32), self.work.positions)


def uploaded(gpu: Gpu, layer: Layer, tables: tuple[int, int]) -> LayerWeights:
    def matrix(packed: Packed) -> Weights:
        scales = gpu.upload(packed.scales) if packed.scales.size else 0
        return Weights(gpu.upload(packed.values), scales, *packed.meant.shape)

    return LayerWeights(
        matrix(layer.qkv),
        matrix(layer.output),
        matrix(layer.gate),
        matrix(layer.up),
        matrix(layer.down),
        gpu.upload(layer.input_norm),
        gpu.upload(layer.mlp_norm),
        gpu.upload(layer.q_norm),
        gpu.upload(layer.k_norm),
        *tables,
    )


class Model:
    """As many layers as the shape has, in memory of their own, so that no cache holds them; fp16 activations."""

    def __init__(self, gpu: Gpu, shape: DecoderShape, kind: WeightKind, slots: int, batch: int) -> None:
        self.gpu, self.shape, self.kind, self.slots = gpu, shape, kind, slots
        self.room = Room.of(gpu, shape, slots)
        self._owned: list[int] = []
        rng = np.random.default_rng(1)
        self._fill_weights(rng)
        self._fill_caches(rng, batch)
        self.x = rng.standard_normal((MAX_BATCH, shape.width)).astype(np.float32)

    def enqueue(self, kernels: LayerKernels, batch: int) -> None:
        for layer, caches in zip(self.layers, self.caches, strict=True):
            kernels.enqueue(int(self.gpu.stream), batch, layer, caches, self.slots, self.room.work)

    def start(self, length: int, batch: int) -> None:
        """The next token goes to slot `length`."""
        self.room.start(self.x[:batch], [length] * batch, [length] * batch)

    def close(self) -> None:
        for address in self._owned:
            self.gpu.free(address)

    def take(self, size: int, template: NDArray[Any]) -> int:
        address = self.gpu.allocate(size)
        self._owned.append(address)
        place = self.gpu.upload(template)
        self.gpu.fill(address, size, place, template.nbytes)
        self.gpu.free(place)
        return address

    def _fill_weights(self, rng: np.random.Generator) -> None:
        weight = rng.standard_normal((_TEMPLATE_VALUES // 4096, 4096)).astype(np.float32) * np.float32(_SPREAD)
        template = pack(weight, "half" if self.kind == "dense" else self.kind)
        sizes = {name: weight_bytes(self.kind, *size) for name, size in self.shape.matrices.items()}
        values = self.take(self.shape.layers * sum(size for size, _ in sizes.values()), template.values)
        all_scales = self.shape.layers * sum(size for _, size in sizes.values())
        scales = self.take(all_scales, template.scales) if all_scales else 0
        width, head = self.shape.width * 2, self.shape.head_dim * 2
        norms = self.take(self.shape.layers * 2 * (width + head), np.ones(4096, np.float16))
        self.layers = []
        for _ in range(self.shape.layers):
            of_layer = {}
            for name, (rows, columns) in self.shape.matrices.items():
                of_layer[name] = Weights(values, scales, rows, columns)
                values += sizes[name][0]
                scales += sizes[name][1]
            places = (norms, norms + width, norms + 2 * width, norms + 2 * width + head)
            q, o, gate, up, down = (of_layer[name] for name in self.shape.matrices)
            self.layers.append(LayerWeights(q, o, gate, up, down, *places, *self.room.tables))
            norms += 2 * (width + head)

    def _fill_caches(self, rng: np.random.Generator, batch: int) -> None:
        self.normal = rng.standard_normal(_TEMPLATE_VALUES).astype(np.float16)
        size = cache_bytes(self.shape, self.slots) // 2
        address = self.take(2 * size * self.shape.layers * batch, self.normal)
        self.pairs = []
        """Where each layer's and sequence's keys and values are."""
        for _ in range(self.shape.layers):
            self.pairs.append([(address + 2 * size * one, address + 2 * size * one + size) for one in range(batch)])
            address += 2 * size * batch
        self.caches = [Caches.of(pairs) for pairs in self.pairs]


class WholeStep:
    """Everything from tokens' numbers to the next ones, of the model's sequences, with an fp16 head."""

    def __init__(self, model: Model, kernels: StepKernels, vocabulary: int) -> None:
        self._model, self._kernels, self._vocabulary = model, kernels, vocabulary
        width, gpu = model.shape.width, model.gpu
        rows = model.take(vocabulary * width * 2, model.normal * np.float16(_SPREAD))
        norm = gpu.upload(np.ones(width, np.float16))
        head = Weights(rows, 0, vocabulary, width)
        self._weights = DecoderWeights(rows, rows, vocabulary, norm, head, tuple(model.layers))
        sizes = (4, vocabulary * 4, CHOOSING_BLOCKS * 8, 4, 8)
        self._ends = Ends(*(gpu.zeros(MAX_BATCH * size) for size in sizes))

    def start(self, tokens: list[int], slots: list[int]) -> None:
        self._model.room.start(np.empty(0, np.float32), slots, slots)
        self._model.gpu.upload(np.array(tokens, np.int32), self._ends.tokens)

    def enqueue(self, sequences: Sequence[int]) -> None:
        """Enqueues sequences by their numbers, in this order."""
        model = self._model
        caches = [Caches.of([pairs[one] for one in sequences]) for pairs in model.pairs]
        stream, count = int(model.gpu.stream), len(sequences)
        self._kernels.enqueue(stream, count, self._weights, caches, model.slots, model.room.work, self._ends)

    def results(self, batch: int) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
        """Logits (B, vocabulary) and next tokens (B,)."""
        logits = self._model.gpu.download(self._ends.logits, (batch, self._vocabulary), np.float32)
        return logits, self._model.gpu.download(self._ends.next_token, (batch,), np.int64)
