"""Looks for values that fp16 cannot hold: runs the float32 modules on frames and notes the largest of every tensor.

fp16 ends at 65,504. What is beyond becomes infinite, and soon after not a number: the usual way to "garbage after
conversion". bf16 has float32's range.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils._python_dispatch import TorchDispatchMode

from stts_export.modules.layers import RmsNorm
from stts_export.modules.scorer import Scorer
from stts_export.modules.vision import Vision
from stts_export.options import Half
from stts_export.precision.half import LANGUAGE_MODEL, PrecisionPlan

FP16_LARGEST = 65504.0
HEADROOM = 2.0
"""Other frames than those looked at may reach higher: what comes within this factor of the end counts as too large."""

_WIDE_INSIDE = (nn.LayerNorm, RmsNorm, Scorer)
"""Modules that compute in float32 in every graph; only what comes out of them has to fit."""

_CONNECTOR = "multi_modal_projector"
_BLOCKS = "vision_tower.layers."


class Peak(NamedTuple):
    """The largest absolute value that an operator of a module gave."""

    module: str
    operator: str
    largest: float

    @property
    def fits_fp16(self) -> bool:
        return self.largest * HEADROOM <= FP16_LARGEST


def scan(roots: Sequence[nn.Module], run: Callable[[], object]) -> list[Peak]:
    """Calls `run`, which uses the modules under `roots`; peaks by module and operator, the largest first.

    Attention runs as products and a softmax, so that its logits, which a decomposed graph holds, are seen too.
    """
    recorder = _Recorder()
    with _module_names(roots, recorder), torch.no_grad(), sdpa_kernel(SDPBackend.MATH), recorder:
        run()
    peaks = [Peak(module, operator, largest) for (module, operator), largest in recorder.largest.items()]
    return sorted(peaks, key=lambda peak: -peak.largest)


def plan_precision(half: Half, peaks: Sequence[Peak], vision: Vision) -> PrecisionPlan:
    """bf16 for every part with a peak that fp16 cannot hold; nothing is wider than it needs to be."""
    if half == "bf16":
        return PrecisionPlan(half)
    wide = {part_of(peak.module) for peak in peaks if not peak.fits_fp16} - {None}
    feature_blocks = {f"{_BLOCKS}{layer}" for layer in vision.config.vision.feature_layers}
    if wide & feature_blocks:
        # The connector takes what these blocks give.
        wide.add(_CONNECTOR)
    return PrecisionPlan(half, tuple(sorted(name for name in wide if name)))


def part_of(module: str) -> str | None:
    """The part whose format can be chosen that a module is in; None for the scorer, which is float32 anyway."""
    if module.startswith(_BLOCKS):
        return ".".join(module.split(".")[:3])
    if module.startswith(_CONNECTOR):
        return _CONNECTOR
    if module.startswith(LANGUAGE_MODEL):
        return LANGUAGE_MODEL
    return None


class _Recorder(TorchDispatchMode):
    """Sees every operator's output, and knows which module is running."""

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.largest: dict[tuple[str, str], float] = {}
        self._running: list[tuple[str, bool]] = []

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        result = func(*args, **(kwargs or {}))
        if not any(wide for _, wide in self._running) and not _is_view(func):
            self.note(func.overloadpacket.__name__, result)
        return result

    def note(self, operator: str, result: object) -> None:
        if not isinstance(result, Tensor) or not result.is_floating_point() or not result.numel():
            return
        largest = _largest(result.detach())
        key = (self._running[-1][0] if self._running else "", operator)
        self.largest[key] = max(largest, self.largest.get(key, 0.0))

    def enter(self, name: str, module: nn.Module, *_: object) -> None:
        self._running.append((name, isinstance(module, _WIDE_INSIDE)))

    def leave(self, _module: nn.Module, _inputs: object, output: object) -> None:
        if self._running[-1][1]:
            self.note("output", output)
        self._running.pop()


def _largest(tensor: Tensor) -> float:
    """The largest absolute value; masks hold minus infinity on purpose, so what is infinite does not count."""
    low, high = (float(extreme) for extreme in torch.aminmax(tensor))
    if math.isfinite(low) and math.isfinite(high):
        return max(-low, high)
    return float(tensor.abs().nan_to_num(posinf=0.0).max())


def _is_view(func: Any) -> bool:
    """Whether what comes out is what went in, which was looked at before."""
    returns = func._schema.returns  # noqa: SLF001 (torch's only way to an operator's aliases)
    return bool(returns) and returns[0].alias_info is not None and not func._schema.is_mutable  # noqa: SLF001


@contextmanager
def _module_names(roots: Sequence[nn.Module], recorder: _Recorder) -> Iterator[None]:
    """Tells the recorder which module is running."""
    handles = []
    for root in roots:
        for name, module in root.named_modules():
            handles.append(module.register_forward_pre_hook(partial(recorder.enter, name)))
            handles.append(module.register_forward_hook(recorder.leave))
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()
