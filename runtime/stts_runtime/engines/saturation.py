"""Whether this CPU gets the integer products of a bundle wrong.

On x86 with AVX2 and without VNNI, ONNX Runtime multiplies unsigned activations by signed weights with `vpmaddubsw`,
which adds pairs of products in 16 bits and saturates. `stts-export calibrate` writes weights of 7 bits, whose products
always fit; earlier versions wrote 8 bits. Nothing in a manifest tells them apart, so the weights themselves are read.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np

from stts_runtime.bundle import Bundle
from stts_runtime.bundle.contract import LANGUAGE, WHOLE_WEIGHTS
from stts_runtime.bundle.weight_layout import Placed, read_layout
from stts_runtime.device.system import x86_flags

_LARGEST_WEIGHT = 64
"""In magnitude: two products with activations of at most 255 fit 16 bits, 2 x 255 x 64 = 32,640."""


def saturation_note(bundle: Bundle) -> str | None:
    """What is wrong and what to do about it; None where nothing is. Raises `BundleError` for a damaged bundle."""
    if not _saturates(x86_flags()) or not any(_has_8_bits(bundle.file(name)) for name in _integer_weights(bundle)):
        return None
    language = bundle.manifest.language.graphs[WHOLE_WEIGHTS].quantized or "none"
    return (
        f"{bundle.folder} was quantized with 8-bit weights, and this CPU (AVX2 without VNNI) computes their products "
        f"wrong: sums saturate in 16 bits, so it may keep other tokens and answer differently than on other machines; "
        f"make it again from the bundle that it was made from: stts-export calibrate SOURCE --frames-from VIDEO "
        f"--vision int8 --language {language} --out NEW"
    )


def _saturates(flags: frozenset[str]) -> bool:
    """VNNI, in any of its forms, accumulates in 32 bits; CPUs older than AVX2 widen before they multiply."""
    return "avx2" in flags and not any("vnni" in flag for flag in flags)


def _integer_weights(bundle: Bundle) -> set[str]:
    """Weight files of vision graphs with integer products. Those of the language model are in 4 or 8 bits by blocks,
    for which ONNX Runtime has other products, which do not saturate.
    """
    graphs = [part.get(WHOLE_WEIGHTS) for name, part in bundle.manifest.parts().items() if name != LANGUAGE]
    return {graph.weights for graph in graphs if graph is not None and graph.quantized == "int8"}


def _has_8_bits(path: Path) -> bool:
    layout, begin = read_layout(path)
    return any(_largest(path, begin, one) > _LARGEST_WEIGHT for one in layout.values() if one.stored.dtype == "I8")


def _largest(path: Path, begin: int, weight: Placed) -> int:
    """In magnitude."""
    values = np.fromfile(path, np.int8, weight.stored.size_bytes, offset=begin + weight.begin)
    return max(int(values.max(initial=0)), -int(values.min(initial=0)))
