"""A choice of kernels and of how they are launched, and what it costs: the benchmark tries many."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from stts_runtime.cuda_decode.driver import LoadedModule
from stts_runtime.cuda_decode.layer import LayerKernels, Product
from stts_runtime.cuda_decode.shape import DecoderShape
from stts_runtime.cuda_decode.variants import (
    ATTENTION_EARLY,
    ATTENTION_SPLITS,
    ATTENTION_WARPS,
    PRODUCTS,
    TILINGS,
    Activation,
    Module,
    ProductName,
    Tiling,
    WeightKind,
    attention_module,
    products_module,
    read_ptx,
)
from stts_runtime.errors import EngineError
from stts_tools.decode_bench.candidates import CANDIDATES, attention_name, sweep_name, tilings
from stts_tools.decode_bench.gpu import Gpu

PACKAGED = -1
"""In place of a candidate's number: what the wheel carries."""
PACKAGED_ATTENTION = ATTENTION_WARPS, ATTENTION_EARLY


@dataclass(frozen=True)
class Plan:
    kind: WeightKind
    products: Mapping[ProductName, int]
    """Numbers of candidates, or `PACKAGED`."""
    attention: tuple[int, bool]
    """Warps, and whether they begin early."""
    splits: int
    dependent: bool

    @classmethod
    def packaged(cls, kind: WeightKind, dependent: bool) -> Plan:
        return cls(kind, dict.fromkeys(PRODUCTS, PACKAGED), PACKAGED_ATTENTION, ATTENTION_SPLITS, dependent)

    def with_product(self, name: ProductName, number: int) -> Plan:
        return replace(self, products={**self.products, name: number})

    def tiling(self, name: ProductName) -> Tiling:
        number = self.products[name]
        return TILINGS[self.kind][name] if number == PACKAGED else tilings(self.kind, number)[name]

    def described(self) -> dict[str, Any]:
        return {
            "products": {name: asdict(self.tiling(name)) for name in PRODUCTS},
            "attention_warps": self.attention[0],
            "attention_early": self.attention[1],
            "splits": self.splits,
            "dependent": self.dependent,
        }


class Kernels:
    """Compiled modules by name, each loaded once."""

    def __init__(self, gpu: Gpu, sweep: Path | None) -> None:
        self._gpu, self._sweep = gpu, sweep
        self._loaded: dict[str, LoadedModule] = {}

    def of(self, plan: Plan, shape: DecoderShape, activation: Activation = "half") -> LayerKernels:
        products = {name: self._product(plan, name, activation) for name in PRODUCTS}
        if plan.attention == PACKAGED_ATTENTION:
            attention = self._packaged(attention_module(shape.head_dim, activation))
        else:
            attention = self._swept(attention_name(*plan.attention))
        return LayerKernels(
            shape,
            products,
            attention.kernel("attention"),
            plan.attention[0],
            plan.splits,
            plan.dependent,
        )

    def candidates(self, kind: WeightKind) -> list[int]:
        """Numbers of what can be tried besides the packaged one."""
        return list(range(len(CANDIDATES[kind]))) if self._sweep else []

    def _product(self, plan: Plan, name: ProductName, activation: Activation) -> Product:
        number = plan.products[name]
        if number == PACKAGED:
            module = self._packaged(products_module(plan.kind, activation, TILINGS[plan.kind]))
        else:
            module = self._swept(sweep_name(plan.kind, number))
        return Product(module.kernel(name), plan.kind, plan.tiling(name), name == "gated")

    def _packaged(self, module: Module) -> LoadedModule:
        architecture = 90 if self._gpu.architecture >= 90 else 80
        if module.name not in self._loaded:
            self._loaded[module.name] = LoadedModule.packaged(self._gpu.driver, module, architecture)
        return self._loaded[module.name]

    def _swept(self, name: str) -> LoadedModule:
        if name not in self._loaded:
            if self._sweep is None:
                raise EngineError(f"there are kernels called {name} in a sweep alone, and there is none")
            text = read_ptx(self._sweep / Module(name, "", {}).path(90).name)
            self._loaded[name] = LoadedModule(self._gpu.driver, text)
        return self._loaded[name]
