"""What all stages of the benchmark share: settings, one copy of the weights, torch's side, this run's rates."""

from __future__ import annotations

import gc
from collections.abc import Callable

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from stts_export.precision.half import DTYPES, PrecisionPlan, to_half
from stts_runtime.budget import TokenBudget
from stts_runtime.bundle.manifest import Format
from stts_runtime.engines.cuda import CudaVision
from stts_runtime.engines.cuda_language import CudaLanguage
from stts_runtime.engines.cuda_session import CudaSession, shared_stream
from stts_runtime.engines.cuda_slots import cuda_slots
from stts_runtime.engines.cuda_weights import Weights
from stts_runtime.tell import Tell
from stts_tools.checkpoints.sizes import PATCH_SIZE
from stts_tools.gpu_bench.graphs import weightless
from stts_tools.gpu_bench.memory import MemoryWatch
from stts_tools.gpu_bench.rates import measure_rates
from stts_tools.gpu_bench.report import DecodeCheck, Memory, Row
from stts_tools.gpu_bench.settings import GraphFolder, Settings
from stts_tools.gpu_bench.timing import Times
from stts_tools.gpu_bench.torch_side import TorchSide
from stts_tools.gpu_bench.weights import device_arrays, fill

SEED = 0
SETTLING_RUNS = 6
"""After these, engines have captured what they repeat."""

ENGINE, EAGER, COMPILED, MOLMO2 = "engine", "torch eager", "torch compile", "transformers' Molmo2"
"""What runs a stage."""

Works = dict[str, Callable[[], object]]


class Context:
    """Raises `UserError` if the folder is not one of graphs."""

    def __init__(self, folder: GraphFolder, rounds: int, tell: Tell, beside_torch: bool = True) -> None:
        """`beside_torch` False times the engines alone."""
        self.folder, self.rounds, self.tell, self.beside_torch = folder, rounds, tell, beside_torch
        self.settings: Settings = folder.settings
        self.model = self.settings.model()
        half = self.settings.precision
        assert half in DTYPES
        self.dtype = DTYPES[half]
        self.stream = shared_stream()
        torch.cuda.set_stream(torch.cuda.ExternalStream(int(self.stream.handle)))
        self.vision, self.language = weightless(self.model)
        to_half(self.vision, self.language, PrecisionPlan(half))
        for module in (self.vision, self.language):
            fill(module, SEED)
        self.vision_weights, self.language_weights = device_arrays(self.vision), device_arrays(self.language)
        self.rates = measure_rates(self.model, self.dtype)
        self.torch = TorchSide(self.vision, self.language)
        self.memory: dict[str, Memory] = {}
        self.notes: list[str] = []
        self.decode: dict[str, DecodeCheck] = {}

    def load_vision(self, budget: TokenBudget) -> CudaVision:
        return CudaVision(CudaSession(self.folder.vision(budget), self.vision_weights, self.stream), budget)

    def load_language(self, form: Format | None = None, weights: Weights | None = None) -> CudaLanguage:
        """With these weights, if it is not the one that torch has too."""
        weights = weights or self.language_weights
        prefix, behind = (CudaSession(path, weights, self.stream) for path in self.folder.language(form))
        (language,) = cuda_slots(prefix, behind, {}).engines
        assert isinstance(language, CudaLanguage)
        runs = "ONNX Runtime" if language.step_choice.kernels is None else "the decode kernels"
        self.tell(f"single tokens are run by {runs}: {language.step_choice.because}")
        return language

    def frames(self, budget: TokenBudget) -> NDArray[np.uint8]:
        size = self.model.vision.grid * PATCH_SIZE
        return np.random.default_rng(SEED).integers(0, 256, (budget.frames, size, size, 3), dtype=np.uint8)

    def row(self, stage: str, budget: TokenBudget, tokens: int, times: dict[str, Times], best_ms: float) -> Row:
        """`times` by the budget's name and what ran it."""
        own = {
            name.removeprefix(f"{budget.name} "): value
            for name, value in times.items()
            if name.startswith(f"{budget.name} ")
        }
        return Row(
            stage=stage,
            variant=budget.name,
            frames=budget.frames,
            keep=budget.keep,
            tokens=tokens,
            milliseconds=own,
            at_best_ms=round(best_ms, 3),
        )

    def remember(self, what: str, module: nn.Module, watch: MemoryWatch, caches: int, live: int) -> None:
        """`caches` and `live` are bytes that every engine needs."""
        weights = sum(tensor.nbytes for tensor in module.state_dict().values())
        self.memory[what] = Memory(
            weights_gb=_giga(weights),
            bound_gb=_giga(caches),
            live_gb=_giga(live),
            engines_gb=_giga(watch.taken()),
            most_gb=_giga(watch.most()),
        )

    # What a stage takes if nothing else took time.

    def best_vision_ms(self, budget: TokenBudget) -> float:
        work = self.settings.work[budget.name]
        return at_best_ms(work.products.fixed, self.rates.vision_products_tflops) + at_best_ms(
            work.attention.fixed, self.rates.vision_attention_tflops
        )

    def best_prefill_ms(self, tokens: int) -> float:
        work = self.settings.work[self.folder.prefill.stem]
        return at_best_ms(work.products.of(tokens), self.rates.language_products_tflops) + at_best_ms(
            work.attention.of(tokens), self.rates.language_attention_tflops
        )

    def best_step_ms(self, tokens: int) -> float:
        """Reading weights but the embedding's table, and keys and values so far, at the rate of a copy."""
        text, state = self.model.text, self.language.state_dict()
        read: int = sum(tensor.nbytes for name, tensor in state.items() if "embed_tokens" not in name)
        if text.tied:
            read += self.language.language_model.embed_tokens.base.nbytes
        read += 2 * text.layers * tokens * text.kv_heads * text.head_dim * self.dtype.itemsize
        return read / self.rates.copy_tb_s / 1e9


def at_best_ms(multiplications: int, tflops: float) -> float:
    return 2 * multiplications / tflops / 1e9


def forget() -> None:
    """Frees memory that is no longer referenced."""
    gc.collect()
    torch.cuda.empty_cache()
    torch.cuda.synchronize()


def call(work: Callable[..., object], *arguments: object) -> Callable[[], object]:
    return lambda: work(*arguments)


def _giga(size: int) -> float:
    return round(size / 1e9, 2)
