"""Which modules of kernels there are, how each is compiled, and where its PTX lies. Knows neither compiler nor driver.

A module is one source, compiled for one kind of weights and of activations.
"""

from __future__ import annotations

import gzip
import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, get_args

from stts_runtime.cuda_decode.shape import FORMS, HEAD_WIDTHS, Form

KERNELS = Path(__file__).parent / "kernels"
PTX = Path(__file__).parent / "ptx"
ARCHITECTURES = (80, 90)
"""Of compute_80 is what runs on every GPU from an A100 and an Orin on, of compute_90 what starts before its turn."""

WeightKind = Literal["dense", "float8", "int4"]
KINDS: tuple[WeightKind, ...] = get_args(WeightKind)
Activation = Literal["half", "bfloat"]
ACTIVATIONS: tuple[Activation, ...] = ("half", "bfloat")
ProductName = Literal["qkv", "output", "gated", "down"]
Held = Literal["InRegisters", "InShared"]
_PART_BYTES = 32
"""Bytes of one lane's part of a tile and a step."""
PRODUCTS: tuple[ProductName, ...] = ("qkv", "output", "gated", "down")


@dataclass(frozen=True)
class Tiling:
    """How a block of a product kernel works."""

    warps: int
    tiles: int
    """Tiles of 16 rows per block; for `gated` half of them belong to the gate, half to what it gates."""
    ahead: int
    """Steps of columns that are under way, a warp."""
    held: Held = "InRegisters"
    """What product.cuh calls the place of weights that are under way."""
    resident: int = 16
    """Warps of an SM that its registers must be enough for, at 65,536 of an SM."""

    @property
    def threads(self) -> int:
        return 32 * self.warps

    @property
    def held_bytes(self) -> int:
        """Shared memory for weights in flight, in bytes."""
        return self.ahead * self.tiles * self.threads * _PART_BYTES if self.held == "InShared" else 0


@dataclass(frozen=True)
class Module:
    """A source and the words that it is compiled with."""

    name: str
    source: str
    defines: Mapping[str, str]

    def path(self, architecture: int) -> Path:
        return PTX / f"{self.name}.compute_{architecture}.ptx.gz"


_FORMATS = {"dense": "Dense", "float8": "Float8", "int4": "Int4"}
_TYPES = {"half": "Half", "bfloat": "Bfloat"}

TILINGS: Mapping[WeightKind, Mapping[ProductName, Tiling]] = {
    "dense": {
        "qkv": Tiling(8, 2, 5),
        "output": Tiling(8, 1, 8, "InShared", 32),
        "gated": Tiling(8, 2, 4),
        "down": Tiling(8, 1, 8),
    },
    "float8": {
        "qkv": Tiling(8, 2, 3),
        "output": Tiling(8, 1, 4),
        "gated": Tiling(8, 2, 2, "InShared"),
        "down": Tiling(8, 1, 6, "InShared", 32),
    },
    "int4": {
        "qkv": Tiling(8, 2, 2),
        "output": Tiling(8, 1, 4),
        "gated": Tiling(4, 2, 1),
        "down": Tiling(16, 1, 2, "InShared"),
    },
}
"""The fastest of a sweep on an H200 at Molmo2-4B's size (benchmarks/h200/decode.json) among those whose shared memory
every GPU has for one sequence (99 KB of a block), and an H200 for eight.
"""
ATTENTION_WARPS, ATTENTION_SPLITS = 8, 8
ATTENTION_EARLY = True
"""Whether a block reads of the cache before the kernel ahead is done. All three are of the same sweep."""


def products_module(
    kind: WeightKind,
    activation: Activation,
    tilings: Mapping[ProductName, Tiling],
    form: Form = "qwen3",
    name: str | None = None,
) -> Module:
    defines = {"FORMAT": f"{_FORMATS[kind]}<{_TYPES[activation]}>", "NORMS_AHEAD": _of_qwen3(form)}
    for kernel, tiling in tilings.items():
        for word in ("warps", "tiles", "ahead", "held", "resident"):
            defines[f"{kernel}_{word}".upper()] = str(getattr(tiling, word))
    return Module(name or f"products-{form}-{kind}-{activation}", "projections.cu", defines)


def attention_module(
    head_width: int,
    activation: Activation,
    form: Form = "qwen3",
    warps: int = ATTENTION_WARPS,
    early: bool = ATTENTION_EARLY,
    name: str | None = None,
) -> Module:
    defines = {"ACTIVATION": _TYPES[activation], "HEAD_WIDTH": str(head_width)}
    defines |= {"ATTENTION_WARPS": str(warps), "ATTENTION_EARLY": str(int(early)), "NORMS_BY_HEAD": _of_qwen3(form)}
    return Module(name or f"attention-{form}-{head_width}-{activation}", "attention.cu", defines)


def residual_module(activation: Activation) -> Module:
    """Of OLMo 3's form alone."""
    return Module(f"residual-{activation}", "residual.cu", {"ACTIVATION": _TYPES[activation]})


def ends_module(activation: Activation) -> Module:
    return Module(f"ends-{activation}", "ends.cu", {"ACTIVATION": _TYPES[activation]})


def read_ptx(path: Path) -> str:
    """Raises `OSError` if there is none, or if it is damaged."""
    return gzip.decompress(path.read_bytes()).decode()


def packaged_modules() -> list[Module]:
    """Everything that the wheel carries."""
    return [
        *(one for kind in KINDS for form in FORMS for one in default_products(kind, form)),
        *(attention_module(width, one, form) for width in HEAD_WIDTHS for one in ACTIVATIONS for form in FORMS),
        *(module(activation) for module in (ends_module, residual_module) for activation in ACTIVATIONS),
    ]


def default_products(kind: WeightKind, form: Form = "qwen3") -> list[Module]:
    return [products_module(kind, activation, TILINGS[kind], form) for activation in ACTIVATIONS]


def _of_qwen3(form: Form) -> str:
    return str(int(form == "qwen3"))


def fingerprint(module: Module) -> str:
    """Hash of all sources and of a module's definitions: the first line of its PTX has it."""
    digest = hashlib.sha256()
    for path in sorted(KERNELS.iterdir()):
        digest.update(path.read_bytes())
    digest.update(repr((module.source, sorted(module.defines.items()))).encode())
    return digest.hexdigest()
