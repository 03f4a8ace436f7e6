"""What is next to the weights for text: the tokenizer, and the tokens that begin and end a text."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

from pydantic import Field
from tokenizers import Tokenizer

from stts_export.errors import CheckpointError
from stts_export.json_files import Section, read_optional_json
from stts_export.modules.config import MarkerIds
from stts_export.molmo2.marks import check_marks
from stts_runtime.handed_over import check_is_content
from stts_runtime.places import check_file

TOKENIZER = "tokenizer.json"
SETTINGS = "tokenizer_config.json"
BESIDE_TOKENIZER = (
    SETTINGS, "special_tokens_map.json", "added_tokens.json", "vocab.json", "merges.txt", "generation_config.json",
    "chat_template.jinja", "chat_template.json",
)  # fmt: skip
"""What belongs to a tokenizer and may be next to it."""

TokenId = Annotated[int, Field(ge=0)]


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


def read_text_side(folder: Path, markers: MarkerIds) -> TextSide:
    """Reads the tokenizer and its settings. Raises `CheckpointError` if they do not fit each other or the model."""
    path, content = folder / TOKENIZER, _content(folder)
    tokenizer = _parse(content, path)
    check_marks(tokenizer, markers, path)
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
