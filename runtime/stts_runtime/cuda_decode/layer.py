"""One decoder layer as five launches, seven in OLMo 3's form. Addresses in, launches out: it owns no memory."""

from __future__ import annotations

import ctypes
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal, get_args

from stts_runtime.cuda_decode.driver import Argument, Kernel
from stts_runtime.cuda_decode.shape import MAX_BATCH, DecoderShape
from stts_runtime.cuda_decode.variants import ProductName, Tiling, WeightKind

_TILE, _SEQUENCES = 16, 8
_WIDEST_STEP, _APART = 128, 32
"""As in product.cuh: columns that activations are filled up to, and what is between two sequences."""


_CHUNK = 16
_SCALES: Mapping[WeightKind, tuple[int, int]] = {"float8": (128, 4), "int4": (32, 2)}
"""As in formats.cuh: columns that share a scale, and its bytes."""

KernelName = Literal["qkv", "attention", "output", "gated", "down"]
ORDER: tuple[KernelName, ...] = get_args(KernelName)
_RESIDUAL_THREADS = 512


class Weights(ctypes.Structure):
    """A matrix (rows, columns) on the device, as formats.cuh has it."""

    _fields_ = (
        ("values", ctypes.c_void_p),
        ("scales", ctypes.c_void_p),
        ("rows", ctypes.c_int),
        ("columns", ctypes.c_int),
    )


class Caches(ctypes.Structure):
    """One layer's caches: each sequence's keys and values (KV, slots, D), as attention.cu has them."""

    _fields_ = (("keys", ctypes.c_void_p * MAX_BATCH), ("values", ctypes.c_void_p * MAX_BATCH))

    @classmethod
    def of(cls, pairs: Sequence[tuple[int, int]]) -> Caches:
        """From the addresses of keys and values of each sequence."""
        caches = cls()
        for number, (keys, values) in enumerate(pairs):
            caches.keys[number], caches.values[number] = keys, values
        return caches


@dataclass(frozen=True)
class LayerWeights:
    """A layer's matrices, and addresses of its norms, which are of the activations' type, and rotary tables."""

    qkv: Weights
    output: Weights
    gate: Weights
    up: Weights
    down: Weights
    input_norm: int
    mlp_norm: int
    q_norm: int
    k_norm: int
    cos: int
    """Cosines for every position, (positions, D / 2) float32, and `sin` likewise."""
    sin: int


@dataclass(frozen=True)
class Workspace:
    """Addresses of what goes from kernel to kernel; shapes in projections.cu and attention.cu."""

    x: int
    raw: int
    attended: int
    hidden: int
    partial: int
    tickets: int
    """Zero before the first layer; each leaves it so."""
    positions: int
    slots: int
    change: int = 0
    """What residual.cu norms and adds; of OLMo 3's form alone."""


@dataclass(frozen=True)
class Product:
    """A product kernel with what it was compiled for."""

    kernel: Kernel
    kind: WeightKind
    tiling: Tiling
    paired: bool = False
    """Half of a block's tiles are of a second matrix."""

    def launch(self, stream: int, batch: int, weights: Weights, arguments: Sequence[Argument], dependent: bool) -> None:
        rows = _TILE * (self.tiling.tiles // 2 if self.paired else self.tiling.tiles)
        self.kernel.launch(
            stream,
            (-(-weights.rows // rows), 1, 1),
            self.tiling.threads,
            shared_bytes(self.kind, self.tiling, weights.columns, batch),
            arguments,
            dependent,
        )


def shared_bytes(kind: WeightKind, tiling: Tiling, columns: int, batch: int) -> int:
    """Shared memory of a block of a product kernel: weights in flight, scales, activations of all sequences, sums."""
    padded = -(-columns // _WIDEST_STEP) * _WIDEST_STEP + _APART
    scales = tiling.tiles * _TILE * scale_stride(kind, columns)
    sums = tiling.warps * tiling.tiles * _TILE * _SEQUENCES * 4
    return tiling.held_bytes + scales + batch * padded * 2 + sums


def scale_stride(kind: WeightKind, columns: int) -> int:
    """Bytes of shared memory from one row's scales to the next's, as product.cuh has it."""
    if kind not in _SCALES:
        return 0
    return -(-scale_bytes(kind, columns) // _CHUNK) * _CHUNK + _CHUNK


def scale_bytes(kind: WeightKind, columns: int) -> int:
    """Bytes of one row's scales; of a kind that has them."""
    block, size = _SCALES[kind]
    return -(-columns // block) * size


@dataclass(frozen=True)
class LayerKernels:
    """The kernels of a shape, and how they are launched."""

    shape: DecoderShape
    products: Mapping[ProductName, Product]
    attention: Kernel
    attention_warps: int
    splits: int
    dependent: bool = True
    add_normed: Kernel | None = None
    """Behind `output` and `down`; None in Qwen3's form, where they add to the residual stream themselves."""

    def shared_bytes(self, batch: int) -> int:
        """The most that a block of any kernel takes for this many sequences."""
        columns = {"qkv": "qkv", "output": "output", "gated": "gate", "down": "down"}
        of_products = (
            shared_bytes(one.kind, one.tiling, self.shape.matrices[columns[name]][1], batch)
            for name, one in self.products.items()
        )
        return max(*of_products, self._attention_bytes())

    def enqueue(
        self, stream: int, batch: int, layer: LayerWeights, caches: Caches, slots: int, work: Workspace
    ) -> None:
        """`slots`: of a cache. The sequences' own numbers are in the workspace."""
        for name in ORDER:
            self.enqueue_one(name, stream, batch, layer, caches, slots, work)

    def enqueue_one(
        self,
        name: KernelName,
        stream: int,
        batch: int,
        layer: LayerWeights,
        caches: Caches,
        slots: int,
        work: Workspace,
    ) -> None:
        """One of the layer's kernels."""
        eps, count = ctypes.c_float(self.shape.eps), ctypes.c_int(batch)
        x, raw = ctypes.c_void_p(work.x), ctypes.c_void_p(work.raw)
        attended, hidden = ctypes.c_void_p(work.attended), ctypes.c_void_p(work.hidden)
        added_to = x if self.add_normed is None else ctypes.c_void_p(work.change)
        input_norm, mlp_norm = ctypes.c_void_p(layer.input_norm), ctypes.c_void_p(layer.mlp_norm)
        if name == "qkv":
            self._product(name, stream, batch, layer.qkv, (layer.qkv, x, input_norm, eps, raw, count))
        elif name == "attention":
            self._attention(stream, batch, layer, caches, slots, work)
        elif name == "output":
            self._product(name, stream, batch, layer.output, (layer.output, attended, added_to, count))
            self._add_normed(stream, batch, input_norm, work)
        elif name == "gated":
            self._product(name, stream, batch, layer.gate, (layer.gate, layer.up, x, mlp_norm, eps, hidden, count))
        else:
            self._product(name, stream, batch, layer.down, (layer.down, hidden, added_to, count))
            self._add_normed(stream, batch, mlp_norm, work)

    def _product(
        self, name: ProductName, stream: int, batch: int, weights: Weights, arguments: Sequence[Argument]
    ) -> None:
        self.products[name].launch(stream, batch, weights, arguments, self.dependent)

    def _add_normed(self, stream: int, batch: int, norm: Argument, work: Workspace) -> None:
        if self.add_normed is None:
            return
        numbers = (ctypes.c_float(self.shape.eps), ctypes.c_int(self.shape.width))
        arguments = (ctypes.c_void_p(work.change), norm, *numbers, ctypes.c_void_p(work.x))
        shared = _RESIDUAL_THREADS // 32 * 4
        self.add_normed.launch(stream, (batch, 1, 1), _RESIDUAL_THREADS, shared, arguments, self.dependent)

    def _attention(
        self, stream: int, batch: int, layer: LayerWeights, caches: Caches, slots: int, work: Workspace
    ) -> None:
        shape = self.shape
        addresses = (work.raw, layer.q_norm, layer.k_norm)
        behind = (layer.cos, layer.sin, work.positions, work.slots)
        arguments: list[Argument] = [*map(ctypes.c_void_p, addresses), ctypes.c_float(shape.eps)]
        arguments += [*map(ctypes.c_void_p, behind), caches, ctypes.c_long(slots), ctypes.c_int(shape.heads_of_key)]
        arguments += map(ctypes.c_void_p, (work.partial, work.tickets, work.attended))
        self.attention.launch(
            stream,
            (self.splits, shape.kv_heads, batch),
            32 * self.attention_warps,
            self._attention_bytes(),
            arguments,
            self.dependent,
        )

    def _attention_bytes(self) -> int:
        queries = _SEQUENCES * self.shape.head_dim * 2
        return queries + self.attention_warps * self.shape.heads_of_key * state_floats(self.shape) * 4


def state_floats(shape: DecoderShape) -> int:
    """Floats per head in `partial`: a maximum, a sum of weights, and the weighted values."""
    return shape.head_dim + 2


def partial_floats(shape: DecoderShape, splits: int, batch: int) -> int:
    """What `Workspace.partial` holds."""
    return batch * splits * shape.heads * state_floats(shape)
