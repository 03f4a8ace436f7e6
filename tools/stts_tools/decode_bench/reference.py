"""A decoder layer in numpy, one new token a sequence, and weights packed as the kernels read them.

Float64 throughout; what the kernels round to 16 bits between two of them is rounded here too. Knows no GPU.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

from stts_runtime.cuda_decode.shape import DecoderShape

Format = Literal["half", "bfloat", "float8", "int4"]
FLOAT8_BLOCK, INT4_BLOCK = 128, 32
FLOAT8_HIGHEST = 448.0
_OF_BYTE = np.arange(256)

Array = NDArray[Any]


class Packed(NamedTuple):
    """A weight matrix (rows, columns) as bytes."""

    values: Array
    scales: Array
    """Empty for formats that have none."""
    meant: NDArray[np.float32]
    """(rows, columns): what the bytes stand for."""


def to_bfloat(values: Array) -> NDArray[np.uint16]:
    """The nearest bfloat16's bits, ties to even."""
    whole = np.ascontiguousarray(values, np.float32).view(np.uint32)
    rounded: NDArray[np.uint16] = ((whole + 0x7FFF + ((whole >> 16) & 1)) >> 16).astype(np.uint16)
    return rounded


def from_bfloat(bits: NDArray[np.uint16]) -> NDArray[np.float32]:
    return (bits.astype(np.uint32) << 16).view(np.float32)


def narrowed(values: Array, bfloat: bool = False) -> NDArray[np.uint16]:
    """The bits of the activations' 16-bit type."""
    return to_bfloat(values) if bfloat else np.asarray(values, np.float16).view(np.uint16)


def widened(bits: NDArray[np.uint16], bfloat: bool = False) -> NDArray[np.float32]:
    return from_bfloat(bits) if bfloat else bits.view(np.float16).astype(np.float32)


def float8_values() -> NDArray[np.float32]:
    """What each byte is as e4m3; its two NaNs as 480."""
    exponent, mantissa = _OF_BYTE >> 3 & 15, _OF_BYTE & 7
    size = np.where(exponent == 0, mantissa / 8 * 2.0**-6, (1 + mantissa / 8) * 2.0 ** (exponent - 7))
    return np.where(_OF_BYTE < 128, size, -size).astype(np.float32)


def pack(weight: NDArray[np.float32], kind: Format, bfloat: bool = False) -> Packed:
    """Blocks as `MatMulBlockQuantizedFp8Weight` and `MatMulNBits` have them; activations are of fp16, or bfloat16."""
    if kind in ("half", "bfloat"):
        bits = narrowed(weight, kind == "bfloat")
        return Packed(bits, np.zeros(0, np.uint16), widened(bits, kind == "bfloat"))
    return _pack_float8(weight) if kind == "float8" else _pack_int4(weight, bfloat)


def _pack_float8(weight: NDArray[np.float32]) -> Packed:
    rows, columns = weight.shape
    blocks = -(-columns // FLOAT8_BLOCK)
    padded = np.pad(weight, ((0, 0), (0, blocks * FLOAT8_BLOCK - columns))).reshape(rows, blocks, FLOAT8_BLOCK)
    scales = (np.abs(padded).max(-1) / FLOAT8_HIGHEST).astype(np.float32)
    table = float8_values()[:127]
    middle = (table[1:] + table[:-1]) / 2
    scaled = padded / np.where(scales > 0, scales, 1)[..., None]
    size = np.searchsorted(middle, np.abs(scaled)).astype(np.uint8)
    values = (size | (scaled < 0).astype(np.uint8) << 7).reshape(rows, -1)[:, :columns]
    meant = float8_values()[values] * np.repeat(scales, FLOAT8_BLOCK, 1)[:, :columns]
    return Packed(np.ascontiguousarray(values), scales, meant)


def _pack_int4(weight: NDArray[np.float32], bfloat: bool) -> Packed:
    rows, columns = weight.shape
    blocks = weight.reshape(rows, columns // INT4_BLOCK, INT4_BLOCK)
    scales = narrowed(np.abs(blocks).max(-1) / 7, bfloat)
    wide = widened(scales, bfloat)[..., None]
    numbers = np.clip(np.rint(blocks / np.where(wide > 0, wide, 1)), -8, 7)
    nibbles = (numbers + 8).astype(np.uint8)
    values = (nibbles[..., 0::2] | nibbles[..., 1::2] << 4).reshape(rows, -1)
    # The kernels round a number times its scale to 16 bits, as the operator does.
    meant = widened(narrowed((numbers * wide).reshape(rows, columns), bfloat), bfloat)
    return Packed(values, scales, meant)


@dataclass(frozen=True)
class Layer:
    """A layer's weights as packed, and its norms as 16-bit bits."""

    qkv: Packed
    output: Packed
    gate: Packed
    up: Packed
    down: Packed
    input_norm: NDArray[np.uint16]
    mlp_norm: NDArray[np.uint16]
    q_norm: NDArray[np.uint16]
    k_norm: NDArray[np.uint16]


def random_layer(shape: DecoderShape, kind: Format, rng: np.random.Generator, bfloat: bool = False) -> Layer:
    def product(rows: int, columns: int) -> Packed:
        weight = rng.standard_normal((rows, columns), np.float32) * np.float32(columns**-0.5)
        return pack(weight, kind, bfloat)

    def norm(width: int) -> NDArray[np.uint16]:
        return narrowed(1 + 0.2 * rng.standard_normal(width), bfloat)

    return Layer(
        product(shape.raw_channels, shape.width),
        product(shape.width, shape.channels),
        product(shape.mlp_width, shape.width),
        product(shape.mlp_width, shape.width),
        product(shape.width, shape.mlp_width),
        norm(shape.width),
        norm(shape.width),
        norm(shape.head_dim),
        norm(shape.head_dim),
    )


@dataclass(frozen=True)
class Step:
    """What a layer gives for one token a sequence, (B, ...)."""

    raw: Array
    keys: Array
    """(B, KV, D) of the new slot, and `values` likewise."""
    values: Array
    attended: Array
    hidden: Array
    x: Array


def step(
    shape: DecoderShape,
    layer: Layer,
    x: NDArray[np.float32],
    caches: list[tuple[NDArray[np.float32], NDArray[np.float32]]],
    slots: list[int],
    tables: tuple[Array, Array],
    bfloat: bool = False,
) -> Step:
    """Takes x (B, width), a cache's keys and values (KV, slots, D), filled below a sequence's slot, and as `tables`
    cosines and sines (B, D / 2) of their positions.
    """

    def rounded(values: Array) -> Array:
        wide: Array = widened(narrowed(values, bfloat), bfloat).astype(np.float64)
        return wide

    def normed(values: Array, weight: NDArray[np.uint16]) -> Array:
        mean = np.mean(np.square(values, dtype=np.float64), -1, keepdims=True)
        scaled: Array = values / np.sqrt(mean + shape.eps) * widened(weight, bfloat)
        return scaled

    def turned(heads: Array) -> Array:
        cos, sin = (table[:, None, :].astype(np.float64) for table in tables)
        low, high = np.split(heads, 2, -1)
        return rounded(np.concatenate([low * cos - high * sin, high * cos + low * sin], -1))

    def times(values: Array, weight: Packed) -> Array:
        product: Array = values.astype(np.float32) @ weight.meant.T
        return product.astype(np.float64)

    batch = len(x)
    raw = times(rounded(normed(x, layer.input_norm)), layer.qkv)
    q, k, v = np.split(raw.reshape(batch, -1, shape.head_dim), [shape.heads, shape.heads + shape.kv_heads], 1)
    q, k, v = turned(normed(q, layer.q_norm)), turned(normed(k, layer.k_norm)), rounded(v)
    attended = np.zeros((batch, shape.heads, shape.head_dim))
    for row, ((keys, values), slot) in enumerate(zip(caches, slots, strict=True)):
        all_keys = np.concatenate([keys[:, :slot], k[row][:, None]], 1)
        all_values = np.concatenate([values[:, :slot], v[row][:, None]], 1)
        queries = q[row].reshape(shape.kv_heads, -1, shape.head_dim)
        scores = queries @ all_keys.transpose(0, 2, 1) * shape.head_dim**-0.5
        weights = np.exp(scores - scores.max(-1, keepdims=True))
        attended[row] = (weights / weights.sum(-1, keepdims=True) @ all_values).reshape(shape.heads, -1)
    rows = rounded(attended.reshape(batch, -1))
    x = x + times(rows, layer.output)
    inner = rounded(normed(x, layer.mlp_norm))
    gate = times(inner, layer.gate)
    hidden = rounded(gate / (1 + np.exp(-gate)) * times(inner, layer.up))
    return Step(raw, k, v, rows, hidden, x + times(hidden, layer.down))
