"""Frames of streams on the `cpu` target."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from stts_runtime.bundle import Bundle
from stts_runtime.engines.interfaces import IncrementalOutput
from stts_runtime.engines.onnxruntime_calls import foreign_errors_as
from stts_runtime.engines.onnxruntime_cpu import Signature, cpu_lowering, cpu_session
from stts_runtime.errors import EngineError

_OUTPUTS = ["visual_tokens", "scores", "kept_groups", "pooled", "change"]


class CpuIncremental:
    """Key frames, and those between at one keep ratio. With keep 1 every frame is whole, key frame or not."""

    def __init__(self, bundle: Bundle, keep: float) -> None:
        names = bundle.choose_incremental(keep)
        self.keep = keep
        sessions = {name: _session(bundle, name) for name in set(names.values())}
        self._sessions = {key: sessions[name] for key, name in names.items()}
        live = bundle.manifest.live
        assert live is not None
        self._nothing = np.zeros((bundle.manifest.vision.groups, live.pooled_width), dtype=np.float32)

    def run(self, frame: NDArray[np.uint8], previous: NDArray[np.float32] | None, *, key: bool) -> IncrementalOutput:
        inputs = {"frames": frame[None], "previous": self._nothing if previous is None else previous}
        with foreign_errors_as(EngineError, "vision"):
            tokens, scores, kept_groups, pooled, change = self._sessions[key].run(_OUTPUTS, inputs)
        kept = np.zeros(len(scores), dtype=np.bool_)
        kept[kept_groups] = True
        return IncrementalOutput(tokens, kept, scores, change, pooled)


def _session(bundle: Bundle, name: str) -> Any:
    manifest, live = bundle.manifest, bundle.manifest.live
    assert live is not None
    variant, size, groups = live.variants[name], manifest.vision.image_size, manifest.vision.groups
    features = groups, live.pooled_width
    inputs: Signature = {"frames": (np.uint8, (1, size, size, 3)), "previous": (np.float32, features)}
    outputs: Signature = {
        "visual_tokens": (np.float32, (variant.kept_groups, manifest.language.visual_width)),
        "scores": (np.float32, (groups,)),
        "kept_groups": (np.int64, (variant.kept_groups,)),
        "pooled": (np.float32, features),
        "change": (np.float32, (groups,)),
    }
    return cpu_session(bundle, variant.graphs, cpu_lowering(bundle, variant.graphs), inputs, outputs)
