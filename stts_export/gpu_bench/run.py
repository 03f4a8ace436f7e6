"""The benchmark itself: every window's vision and prefill, and decoding, engines beside the same modules in torch.

Both sides use the same weights in the same memory, so that there is one copy of them.
"""

from __future__ import annotations

import gc
import platform
from collections.abc import Callable, Iterator, Sequence
from datetime import datetime, timezone
from importlib.metadata import version
from itertools import groupby

import numpy as np
import torch
from torch import nn

from stts_export.checkpoint.sizes import PATCH_SIZE
from stts_export.gpu_bench.graphs import weightless
from stts_export.gpu_bench.rates import measure_rates
from stts_export.gpu_bench.report import GpuReport, Memory, Row
from stts_export.gpu_bench.settings import GraphFolder, Settings, prefix
from stts_export.gpu_bench.timing import Times, interleaved
from stts_export.gpu_bench.torch_side import TorchSide
from stts_export.gpu_bench.weights import device_arrays, fill
from stts_export.precision.half import DTYPES, PrecisionPlan, to_half
from stts_runtime.budget import TokenBudget
from stts_runtime.device import this_device
from stts_runtime.engines.cuda_session import CudaSession, shared_stream
from stts_runtime.engines.cuda_weights import Weights
from stts_runtime.engines.onnxruntime_cuda import CudaLanguage, CudaVision
from stts_runtime.prompt import Tokens

Report = Callable[[str], None]
_COMPILED_FRAMES = 64
_SEED = 0
_SETTLING_RUNS = 6


class GpuBench:
    """One run over a folder of graphs."""

    def __init__(self, folder: GraphFolder, rounds: int, report: Report) -> None:
        self.folder, self.rounds, self.report = folder, rounds, report
        self.settings: Settings = folder.settings
        self.model = self.settings.model()
        half = self.settings.precision
        assert half in DTYPES
        self.stream = shared_stream()
        torch.cuda.set_stream(torch.cuda.ExternalStream(int(self.stream.handle)))
        self.vision, self.language = weightless(self.model)
        to_half(self.vision, self.language, PrecisionPlan(half))
        for module in (self.vision, self.language):
            fill(module, _SEED)
        self.rates = measure_rates(self.model, DTYPES[half])
        self.torch = TorchSide(self.vision, self.language)
        self.memory: dict[str, Memory] = {}

    def run(self, command: str) -> GpuReport:
        rows = [*self._vision(), *self._language()]
        device = this_device()
        assert device.gpu is not None
        return GpuReport(
            created=datetime.now(timezone.utc).isoformat(timespec="seconds"),
            command=command,
            gpu=device.gpu.name,
            driver=device.driver or "unknown",
            versions={**_versions(), "python": platform.python_version(), "cudnn": str(torch.backends.cudnn.version())},
            size=self.settings.size,
            precision=self.settings.precision,
            rounds=self.rounds,
            rates=self.rates,
            rows=rows,
            memory=self.memory,
            notes=[],
        )

    def _vision(self) -> Iterator[Row]:
        """Windows of equal length are loaded together, so that pruned and unpruned take turns."""
        weights = device_arrays(self.vision)
        by_frames = groupby(sorted(self.settings.budgets(), key=lambda budget: budget.frames), lambda one: one.frames)
        for _, group in by_frames:
            budgets = list(group)
            yield from self._vision_of(budgets, weights)
            _forget()

    def _vision_of(self, budgets: Sequence[TokenBudget], weights: Weights) -> list[Row]:
        works: dict[str, Callable[[], object]] = {}
        free = _forget()
        size = self.model.vision.grid * PATCH_SIZE
        frames = np.random.default_rng(_SEED).integers(0, 256, (budgets[0].frames, size, size, 3), dtype=np.uint8)
        on_device = torch.from_numpy(frames).cuda()
        for budget in budgets:
            self.report(f"vision {budget.name}")
            engine = CudaVision(CudaSession(self.folder.vision(budget), weights, self.stream), budget)
            for _ in range(_SETTLING_RUNS):
                engine.run(frames)
            self._remember(f"vision {budget.name}", self.vision, free)
            free = _forget()
            works[f"{budget.name} engine"] = engine.enqueue
            works[f"{budget.name} engine with transfers"] = _call(engine.run, frames)
            works[f"{budget.name} torch eager"] = _call(self.torch.see, on_device, budget)
        times = interleaved(works, self.rounds)
        if budgets[0].frames == _COMPILED_FRAMES:
            times |= self._compiled(works, budgets)
        return [self._vision_row(budget, times) for budget in budgets]

    def _compiled(self, works: dict[str, Callable[[], object]], budgets: Sequence[TokenBudget]) -> dict[str, Times]:
        """The eager works again, with every block compiled, beside the engines again."""
        self.report("torch.compile")
        with self.torch.compiled():
            names = {f"{budget.name} torch eager": f"{budget.name} torch compile" for budget in budgets}
            again = {names.get(name, name): work for name, work in works.items()}
            times = interleaved(again, self.rounds)
        return {name: value for name, value in times.items() if name.endswith("compile")}

    def _vision_row(self, budget: TokenBudget, times: dict[str, Times]) -> Row:
        work = self.settings.work[budget.name]
        best = _at_best(work.products.fixed, self.rates.vision_products_tflops)
        best += _at_best(work.attention.fixed, self.rates.vision_attention_tflops)
        return self._row("vision", budget, budget.kept, times, best)

    def _row(self, stage: str, budget: TokenBudget, tokens: int, times: dict[str, Times], best: float) -> Row:
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
            at_best_ms=round(best, 3),
        )

    def _language(self) -> list[Row]:
        weights = device_arrays(self.language)
        self.report("loading the language model")
        free = _forget()
        prefill, step = (CudaSession(path, weights, self.stream) for path in (self.folder.prefill, self.folder.step))
        language = CudaLanguage(prefill, step)
        budgets = self.settings.budgets()
        _prefill(language, prefix(max(budgets, key=lambda budget: budget.kept), self.model.markers))
        self._remember("language", self.language, free)
        pruned = next(budget for budget in budgets if budget.keep < 1)
        return [*(self._prefill_row(budget, language) for budget in budgets), self._decode_row(pruned, language)]

    def _prefill_row(self, budget: TokenBudget, language: CudaLanguage) -> Row:
        self.report(f"prefill {budget.name}")
        tokens = prefix(budget, self.model.markers)
        engine, eager = f"{budget.name} engine", f"{budget.name} torch eager"
        works = {engine: _call(_prefill, language, tokens), eager: self.torch.prefill(tokens)}
        work, length = self.settings.work[self.folder.prefill.stem], len(tokens)
        best = _at_best(work.products.of(length), self.rates.language_products_tflops)
        best += _at_best(work.attention.of(length), self.rates.language_attention_tflops)
        return self._row("prefill", budget, length, interleaved(works, self.rounds, warm_ups=1), best)

    def _decode_row(self, budget: TokenBudget, language: CudaLanguage) -> Row:
        self.report(f"decoding behind {budget.name}")
        tokens = prefix(budget, self.model.markers)
        _prefill(language, tokens)
        length = len(tokens)
        one = Tokens(np.array([1]), np.array([tokens.next_position]), tokens.next_position + 1)

        def decode() -> None:
            language.rewind(length)
            language.forward(one)

        for _ in range(_SETTLING_RUNS):
            decode()
        works = {f"{budget.name} engine": decode, f"{budget.name} torch eager": self.torch.step(length)}
        bytes_read = self._bytes_of_a_step(length)
        best = bytes_read / self.rates.copy_tb_s / 1e9
        return self._row("decode", budget, length, interleaved(works, 3 * self.rounds), best)

    def _bytes_of_a_step(self, length: int) -> int:
        """Weights but the embedding's table, and keys and values so far."""
        text, state = self.model.text, self.language.state_dict()
        read: int = sum(tensor.nbytes for name, tensor in state.items() if "embed_tokens" not in name)
        if text.tied:
            read += self.language.language_model.embed_tokens.base.nbytes
        item: int = next(iter(state.values())).element_size()
        return read + 2 * text.layers * length * text.kv_heads * text.head_width * item

    def _remember(self, what: str, module: nn.Module, free_before: int) -> None:
        """What engines took of the memory that was free before."""
        weights = sum(tensor.nbytes for tensor in module.state_dict().values())
        engines = free_before - torch.cuda.mem_get_info()[0]
        self.memory[what] = Memory(weights=round(weights / 1e9, 2), engines=round(engines / 1e9, 2))


def _forget() -> int:
    """Frees what nobody holds; the memory that is free then."""
    gc.collect()
    torch.cuda.empty_cache()
    torch.cuda.synchronize()
    free, _all = (int(size) for size in torch.cuda.mem_get_info())
    return free


def _versions() -> dict[str, str]:
    return {name: version(name) for name in ("torch", "onnxruntime-gpu")}


def _at_best(multiplications: int, tflops: float) -> float:
    """Milliseconds."""
    return 2 * multiplications / tflops / 1e9


def _call(work: Callable[..., object], *arguments: object) -> Callable[[], object]:
    return lambda: work(*arguments)


def _prefill(language: CudaLanguage, tokens: Tokens) -> None:
    language.rewind(0)
    language.prefill(tokens)
