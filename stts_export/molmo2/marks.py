"""The marks of a video in the text: what they are called, which numbers they have, and the prompt made of them.

The prompt is written in `stts_runtime/prompt.py`; here is what a bundle's manifest says of it.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from tokenizers import Tokenizer

from stts_export.errors import CheckpointError
from stts_export.modules.config import MarkerIds
from stts_runtime.bundle.manifest import Positions, Prompt

END_OF_TURN = "<|im_end|>"
"""What ends an answer, and opens a prompt."""

_MARKS = {"<im_patch>": "image_patch", "<frame_start>": "frame_start", "<frame_end>": "frame_end"}

_CONFIG_KEYS = {
    "<im_patch>": "image_patch_id",
    "<im_start>": "image_start_token_id",
    "<im_end>": "image_end_token_id",
    "<low_res_im_start>": "low_res_image_start_token_id",
    "<frame_start>": "frame_start_token_id",
    "<frame_end>": "frame_end_token_id",
}
"""What `config.json` calls the token numbers of the marks."""


def mark_ids(tokenizer: Tokenizer) -> dict[str, int]:
    """The token numbers that `config.json` lists, as far as the tokenizer has them, under the names used there."""
    found = {key: tokenizer.token_to_id(mark) for mark, key in _CONFIG_KEYS.items()}
    missing = [mark for mark in _MARKS if found[_CONFIG_KEYS[mark]] is None]
    if missing:
        raise CheckpointError(
            f"the tokenizer has no {missing[0]}: it is that of the language model alone; take that of the Molmo2 "
            "which the checkpoint was made from"
        )
    return {key: number for key, number in found.items() if number is not None}


def check_marks(tokenizer: Tokenizer, markers: MarkerIds, path: Path) -> None:
    """Raises `CheckpointError` if the tokenizer, which is at `path`, numbers the marks otherwise."""
    for text, field in _MARKS.items():
        got, wanted = tokenizer.token_to_id(text), getattr(markers, field)
        if got != wanted:
            raise CheckpointError(f"{path} gives {text} the number {got}, but config.json says {wanted}")


def prompt_record(
    opening: str, eos_ids: Sequence[int], markers: MarkerIds, positions: Positions, tokenizer: str
) -> Prompt:
    """What the manifest says of the prompt; `tokenizer` is the name of its file in the bundle."""
    return Prompt(
        opening=opening,
        eos_ids=list(eos_ids),
        image_patch_id=markers.image_patch,
        frame_start_id=markers.frame_start,
        frame_end_id=markers.frame_end,
        positions=positions,
        tokenizer=tokenizer,
    )
