"""The graphs of a lowering behind the interface of the runtime's engines, run by ONNX Runtime on the CPU.

For lowerings whose engine cannot run here: it shows whether the graph is right, not whether its compiler is.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from stts_export.graphs.check import WHOLE_BYTES, LanguageCalls
from stts_export.graphs.segments import SegmentedGraph
from stts_runtime.bundle import Bundle
from stts_runtime.bundle.contract import indices_of
from stts_runtime.engines.interfaces import VisionOutput, check_room
from stts_runtime.errors import EngineError
from stts_runtime.prompt import Tokens


class GraphVision:
    """One vision variant."""

    def __init__(self, bundle: Bundle, variant: str, lowering: str) -> None:
        self.lowering = lowering
        record = bundle.manifest.variants[variant]
        self._budget = bundle.manifest.budget(record)
        graph = record.graphs[lowering]
        self._graph = SegmentedGraph(bundle.file(graph.graph), bundle.file(graph.weights), WHOLE_BYTES)

    def run(self, frames: NDArray[np.uint8], given: NDArray[np.bool_] | None = None) -> VisionOutput:
        if given is not None:
            raise EngineError("controls are not verified")
        outputs = self._graph.run({"frames": frames})
        kept = np.ones((self._budget.frames, self._budget.groups), dtype=np.bool_)
        if "kept_groups" in outputs:
            kept[:] = False
            kept.reshape(-1)[outputs["kept_groups"]] = True
        return VisionOutput(outputs["visual_tokens"], kept, outputs.get("scores"))

    def downloaded(self, output: VisionOutput) -> NDArray[np.float32]:
        tokens: NDArray[Any] = output.visual_tokens
        return tokens.astype(np.float32)


class GraphLanguage:
    """The language model."""

    def __init__(self, bundle: Bundle, lowering: str) -> None:
        model = bundle.manifest.language
        self.lowering = lowering
        self._image_patch_id = bundle.manifest.prompt.image_patch_id
        graph, prefill = model.graphs[lowering], model.prefill.get(lowering)
        self._calls = LanguageCalls(
            bundle.file(graph.graph), bundle.file(graph.weights), bundle.file(prefill.graph) if prefill else None
        )
        self._visual = np.zeros((model.visual_rows, model.visual_width), dtype=np.float32)
        self._logits: NDArray[np.float32] = np.zeros(0, dtype=np.float32)
        self.context, self.length = model.context, 0

    def show(self, visual_tokens: NDArray[Any]) -> None:
        self._visual[: len(visual_tokens)] = visual_tokens

    def prefill(self, tokens: Tokens) -> None:
        self._call(tokens)

    def forward(self, tokens: Tokens) -> int:
        logits = self._call(tokens)
        if logits is None:
            raise EngineError("a prefix asks for no next token; it is prefilled")
        self._logits = logits[0].astype(np.float32)
        return int(self._logits.argmax())

    def _call(self, tokens: Tokens) -> NDArray[Any] | None:
        check_room(self, tokens)
        inputs: dict[str, NDArray[Any]] = {
            "token_ids": tokens.ids,
            "positions": tokens.positions,
            "visual_tokens": self._visual,
            **indices_of(tokens.ids, self.length, self._image_patch_id),
        }
        logits = self._calls(inputs)
        self.length += len(tokens)
        return logits

    def logits(self) -> NDArray[np.float32]:
        return self._logits

    def rewind(self, length: int) -> None:
        self.length = length
