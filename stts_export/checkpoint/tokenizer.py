"""What lies beside the weights for text: the tokenizer, and the tokens that begin and end a text."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

from pydantic import Field
from tokenizers import Tokenizer

from stts_export.checkpoint.json_files import Section, read_optional_json
from stts_export.errors import CheckpointError
from stts_export.modules.config import MarkerIds
from stts_runtime.handed_over import check_is_content
from stts_runtime.places import check_file

TOKENIZER = "tokenizer.json"
SETTINGS = "tokenizer_config.json"

TokenId = Annotated[int, Field(ge=0)]

_MARKS = {"<im_patch>": "image_patch", "<frame_start>": "frame_start", "<frame_end>": "frame_end"}

_CONFIG_KEYS = {
    "<im_patch>": "image_patch_id",
    "<im_start>": "image_start_token_id",
    "<im_end>": "image_end_token_id",
    "<low_res_im_start>": "low_res_image_start_token_id",
    "<frame_start>": "frame_start_token_id",
    "<frame_end>": "frame_end_token_id",
}
"""What `config.json` calls the token numbers of Molmo2's marks."""


@dataclass(frozen=True)
class TextSide:
    """The tokenizer's file, the text that opens a prompt and the tokens that close an answer."""

    tokenizer: bytes
    opening: str
    eos_ids: tuple[int, ...]


class TokenObject(Section):
    content: str


class TokenizerSettings(Section):
    """What is read of `tokenizer_config.json`; a token is given as text or as an object that holds it."""

    bos_token: str | TokenObject | None = None
    eos_token: str | TokenObject | None = None


class GenerationSettings(Section):
    """What is read of `generation_config.json`."""

    eos_token_id: TokenId | list[TokenId] | None = None


def read_tokenizer(folder: Path) -> Tokenizer:
    """Raises `CheckpointError` if tokenizer.json is missing or no tokenizer."""
    return _parse(_content(folder), folder / TOKENIZER)


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


def read_text_side(folder: Path, markers: MarkerIds) -> TextSide:
    """Reads the tokenizer and its settings. Raises `CheckpointError` if they do not fit each other or the model."""
    path, content = folder / TOKENIZER, _content(folder)
    tokenizer = _parse(content, path)
    for text, field in _MARKS.items():
        got, wanted = tokenizer.token_to_id(text), getattr(markers, field)
        if got != wanted:
            raise CheckpointError(f"{path} gives {text} the number {got}, but config.json says {wanted}")
    settings = read_optional_json(folder / SETTINGS, TokenizerSettings)
    if settings.eos_token is None:
        raise CheckpointError(f"{folder / 'tokenizer_config.json'} names no eos_token, so no answer would ever end")
    eos = _token_text(settings.eos_token)
    eos_id = tokenizer.token_to_id(eos)
    if eos_id is None:
        raise CheckpointError(f"{path} does not know its own eos_token {eos!r}")
    opening = eos if settings.bos_token is None else _token_text(settings.bos_token)
    return TextSide(content, opening, tuple(sorted({eos_id, *_generation_eos(folder)})))


def _content(folder: Path) -> bytes:
    path = folder / TOKENIZER
    if not path.exists():
        raise CheckpointError(f"{folder} holds no {TOKENIZER}, which the bundle needs")
    check_file(path, CheckpointError)
    check_is_content(path, CheckpointError)
    try:
        return path.read_bytes()
    except OSError as error:
        raise CheckpointError(f"{path} cannot be read: {error.strerror}") from None


def _parse(content: bytes, path: Path) -> Tokenizer:
    try:
        return Tokenizer.from_buffer(content)
    except ValueError as error:
        raise CheckpointError(f"{path} is not a tokenizer: {error}") from None


def _token_text(token: str | TokenObject) -> str:
    return token if isinstance(token, str) else token.content


def _generation_eos(folder: Path) -> list[int]:
    eos = read_optional_json(folder / "generation_config.json", GenerationSettings).eos_token_id
    return [] if eos is None else [eos] if isinstance(eos, int) else eos
