"""Prompts and answers in tokens, as the runtime writes them."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from tokenizers import Tokenizer

from stts_calib.clips import DURATION_SECONDS
from stts_runtime.bundle.manifest import Prompt
from stts_runtime.prompt import PromptBuilder, Tokens


class Writer:
    """Writes for one tokenizer."""

    def __init__(self, tokenizer: Tokenizer) -> None:
        def mark(text: str) -> int:
            number: int | None = tokenizer.token_to_id(text)
            assert number is not None
            return number

        prompt = Prompt(
            opening="<|im_end|>",
            eos_ids=[mark("<|im_end|>")],
            image_patch_id=mark("<im_patch>"),
            frame_start_id=mark("<frame_start>"),
            frame_end_id=mark("<frame_end>"),
            positions="original",
            tokenizer="tokenizer.json",
        )
        self._tokenizer, self.image_patch = tokenizer, prompt.image_patch_id
        self._prompts = PromptBuilder(tokenizer.to_str().encode(), prompt)

    def video(self, frames: int, kept: NDArray[np.bool_]) -> Tokens:
        """The video prefix of a clip of which `kept` (T, G) stays."""
        return self._prompts.video(np.linspace(0, DURATION_SECONDS, frames).tolist(), kept)

    def prefix(self, frames: int, groups: int) -> Tokens:
        """The unpruned video prefix, the same for every clip."""
        return self.video(frames, np.ones((frames, groups), dtype=np.bool_))

    def question(self, text: str, prefix: Tokens) -> NDArray[np.int64]:
        return self._prompts.question(text, prefix).ids

    def answer(self, text: str) -> list[int]:
        ids: list[int] = self._tokenizer.encode(f"{text}<|im_end|>", add_special_tokens=False).ids
        return ids
