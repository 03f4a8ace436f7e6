"""transformers' own Molmo2 of the same size, unpruned: what runs a released model without this project."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from transformers import Molmo2Config, Molmo2ForConditionalGeneration

from stts_export.modules.config import ModelConfig
from stts_export.molmo2.compare import quiet_transformers
from stts_export.molmo2.config_json import config_json
from stts_export.molmo2.inputs import molmo2_inputs
from stts_export.molmo2.marks import mark_ids
from stts_runtime.prompt import Tokens
from stts_tools.checkpoints.byte_tokenizer import byte_level_tokenizer
from stts_tools.gpu_bench.settings import question


class Molmo2Side:
    """Random weights, attention as transformers chooses it, a cache that grows."""

    def __init__(self, model: ModelConfig, dtype: torch.dtype) -> None:
        self._model = model
        marks = mark_ids(byte_level_tokenizer(model.text.vocab))
        with quiet_transformers(), torch.device("cuda"):
            config: Any = Molmo2Config.from_dict(config_json(model, marks, str(dtype).removeprefix("torch."), None))
            make: Any = Molmo2ForConditionalGeneration._from_config  # noqa: SLF001 (the one way without weights)
            self._molmo2 = make(config, dtype=dtype).eval()
        # Nothing ends an answer: its length is what is compared.
        self._molmo2.generation_config.eos_token_id = None

    def answer(self, frames: NDArray[np.uint8], tokens: Tokens, count: int) -> Callable[[], object]:
        """Frames in the host's memory and a prefix -> `count` tokens there. Patches are cut on the GPU."""
        prompt = torch.from_numpy(np.concatenate([tokens.ids, question(len(tokens)).ids]))

        @torch.no_grad()
        def run() -> object:
            inputs = molmo2_inputs(self._model, torch.from_numpy(frames).cuda(), prompt)
            inputs["pixel_values_videos"] = inputs["pixel_values_videos"].to(self._molmo2.dtype)
            return self._molmo2.generate(**inputs, max_new_tokens=count, do_sample=False).cpu()

        return run
