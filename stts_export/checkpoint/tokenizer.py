"""What lies beside the weights for text: the tokenizer, and the tokens that begin and end a text."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tokenizers import Tokenizer

from stts_export.errors import CheckpointError
from stts_export.modules.config import MarkerIds

_MARKS = {"<im_patch>": "image_patch", "<frame_start>": "frame_start", "<frame_end>": "frame_end"}


@dataclass(frozen=True)
class TextSide:
    """The tokenizer's file, the text that opens a prompt and the tokens that close an answer."""

    tokenizer: bytes
    opening: str
    eos_ids: tuple[int, ...]


def read_text_side(folder: Path, markers: MarkerIds) -> TextSide:
    path = folder / "tokenizer.json"
    if not path.exists():
        raise CheckpointError(f"{folder} holds no tokenizer.json, which the bundle needs")
    content = path.read_bytes()
    tokenizer = _parse(content, path)
    for text, field in _MARKS.items():
        got, wanted = tokenizer.token_to_id(text), getattr(markers, field)
        if got != wanted:
            raise CheckpointError(f"{path} gives {text} the number {got}, but config.json says {wanted}")
    settings = _json(folder / "tokenizer_config.json")
    bos, eos = (_token_text(settings.get(f"{end}_token")) for end in ("bos", "eos"))
    if eos is None:
        raise CheckpointError(f"{folder / 'tokenizer_config.json'} names no eos_token, so no answer would ever end")
    eos_id = tokenizer.token_to_id(eos)
    if eos_id is None:
        raise CheckpointError(f"{path} does not know its own eos_token {eos!r}")
    return TextSide(content, bos or eos, tuple(sorted({eos_id, *_generation_eos(folder)})))


def _parse(content: bytes, path: Path) -> Tokenizer:
    try:
        return Tokenizer.from_buffer(content)
    except ValueError as error:
        raise CheckpointError(f"{path} is not a tokenizer: {error}") from None


def _token_text(entry: Any) -> str | None:
    """Tokens are given as text or as an object that holds it."""
    return entry.get("content") if isinstance(entry, dict) else entry


def _generation_eos(folder: Path) -> list[int]:
    eos = _json(folder / "generation_config.json").get("eos_token_id", [])
    return eos if isinstance(eos, list) else [eos]


def _json(path: Path) -> dict[str, Any]:
    if not path.exists():
        return {}
    try:
        content = json.loads(path.read_bytes())
    except ValueError as error:
        raise CheckpointError(f"{path} is not JSON: {error}") from None
    if not isinstance(content, dict):
        raise CheckpointError(f"{path} must hold a JSON object")
    return content
