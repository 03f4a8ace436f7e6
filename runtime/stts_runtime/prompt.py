"""The text around a video: which tokens the language model sees, and at which positions.

Source: Molmo2's processor in transformers (`get_video_string` and the chat template), without the marks of groups
that were dropped. The video comes first, so its tokens and their cache do not depend on the question.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from tokenizers import Tokenizer

from stts_runtime.bundle import Bundle
from stts_runtime.bundle.manifest import Prompt
from stts_runtime.errors import BundleError, PromptError

IntArray = NDArray[np.int64]


def _letters_of_bytes() -> dict[str, int]:
    """The letters that byte-level vocabularies write bytes with, as GPT-2's `bytes_to_unicode` has them."""
    plain = [*range(ord("!"), ord("~") + 1), *range(ord("\xa1"), ord("\xac") + 1), *range(ord("\xae"), ord("\xff") + 1)]
    others = (byte for byte in range(256) if byte not in plain)
    return {**{chr(byte): byte for byte in plain}, **{chr(256 + place): byte for place, byte in enumerate(others)}}


_BYTES = _letters_of_bytes()


@dataclass(frozen=True)
class Tokens:
    """Token numbers and their rotary positions, both (L,) int64; `next_position` is where the text goes on."""

    ids: IntArray
    positions: IntArray
    next_position: int

    def __len__(self) -> int:
        return len(self.ids)

    def behind(self, start: int) -> Tokens:
        """A copy of all but the first `start`."""
        return Tokens(self.ids[start:].copy(), self.positions[start:].copy(), self.next_position)


def _following(video: Tokens, ids: IntArray) -> Tokens:
    first = video.next_position
    return Tokens(ids, np.arange(first, first + len(ids), dtype=np.int64), first + len(ids))


class Turn(NamedTuple):
    """A question that was answered."""

    question: str
    """May be empty where a picture or clip was sent without words."""
    answer: str


class PromptBuilder:
    """Builds prompts for one bundle's tokenizer."""

    def __init__(self, tokenizer_json: bytes, prompt: Prompt) -> None:
        try:
            with _panics_told(prompt.tokenizer):
                self._tokenizer: Any = Tokenizer.from_buffer(tokenizer_json)
        except ValueError as error:
            raise BundleError(f"{prompt.tokenizer} is not a tokenizer: {error}") from None
        # Saved tokenizers often carry batch limits from training; a truncated prompt would be wrong.
        self._tokenizer.no_truncation()
        self._tokenizer.no_padding()
        marks = ("<im_patch>", "<frame_start>", "<frame_end>")
        numbers = [prompt.image_patch_id, prompt.frame_start_id, prompt.frame_end_id]
        if [self._tokenizer.token_to_id(mark) for mark in marks] != numbers:
            raise BundleError(f"{prompt.tokenizer} and the manifest disagree about the prompt's marks")
        self._prompt = prompt
        self._reserved: dict[int, str] = {
            number: token.content for number, token in self._tokenizer.get_added_tokens_decoder().items()
        }

    @classmethod
    def of(cls, bundle: Bundle) -> PromptBuilder:
        prompt = bundle.manifest.prompt
        return cls(bundle.file(prompt.tokenizer).read_bytes(), prompt)

    def video(self, times_seconds: Sequence[float], kept: NDArray[np.bool_]) -> Tokens:
        """The video prefix; `kept` (T, G) says which groups have a visual token.

        A frame of which nothing is kept keeps its time and its two marks.
        """
        groups = "<im_patch>" * kept.shape[1]
        frames = " ".join(f"{time:.1f} <frame_start>{groups}<frame_end>" for time in times_seconds)
        ids = self._encode(self._prompt.opening + frames)
        if (ids == self._prompt.image_patch_id).sum() != kept.size:
            raise BundleError(f"the manifest's opening {self._prompt.opening!r} holds marks of the prompt")
        stays = np.ones(len(ids), dtype=np.bool_)
        stays[ids == self._prompt.image_patch_id] = kept.reshape(-1)
        positions = np.flatnonzero(stays) if self._prompt.positions == "original" else np.arange(stays.sum())
        next_position = len(ids) if self._prompt.positions == "original" else int(stays.sum())
        return Tokens(ids[stays], positions.astype(np.int64), next_position)

    def question(self, text: str, video: Tokens) -> Tokens:
        """The user's turn and the opening of the answer, at the positions after `video`."""
        self.check_question(text)
        return _following(video, self._encode(f"<|im_start|>user\n{text}<|im_end|>\n<|im_start|>assistant\n"))

    def turns(self, history: Sequence[Turn], question: str, video: Tokens) -> Iterator[Tokens]:
        """For each turn of a conversation, the last being `question`'s: all text after `video` when it is asked, the
        turns before it included, and the opening of its answer.

        Source: the chat template that released Molmo2 checkpoints carry, which transformers and vLLM render; the blank
        ahead of an answer that was given is the template's own.
        """
        said: list[IntArray] = []
        opening = self._encode("\n<|im_start|>assistant\n")
        for asked, answer in history:
            said.append(self._encode(f"<|im_start|>user\n{asked}<|im_end|>"))
            yield _following(video, np.concatenate([*said, opening]))
            said.append(self._encode(f"\n <|im_start|>assistant\n{answer}<|im_end|>\n"))
        yield _following(video, np.concatenate([*said, self.question(question, video).ids]))

    def check_question(self, text: str) -> None:
        """Raises `PromptError` if `text` is empty, is not text, or holds marks that are not the user's to write."""
        if not text.strip():
            raise PromptError("the question is empty")
        self._check_text(text, "the question")

    def check_history(self, history: Sequence[Turn]) -> None:
        """Raises `PromptError` as `check_question` does; a turn may be empty."""
        for number, turn in enumerate(history, start=1):
            self._check_text(turn.question, f"the question of turn {number}")
            self._check_text(turn.answer, f"the answer of turn {number}")

    def _check_text(self, text: str, what: str) -> None:
        try:
            text.encode()
        except UnicodeEncodeError:
            raise PromptError(f"{what} is not valid UTF-8 text") from None
        if marks := self._marks(self._encode(text).tolist()):
            raise PromptError(f"{what} holds the reserved mark {marks[0]}; leave it out")

    def answer(self, text: str) -> list[int]:
        """The tokens of an answer that is given. Raises `PromptError` if it holds marks that no answer has."""
        ids: list[int] = self._encode(text).tolist()
        if marks := self._marks(ids):
            raise PromptError(f"the choice {text!r} holds the reserved mark {marks[0]}; leave it out")
        return ids

    def token_bytes(self, token: int) -> bytes:
        """What a token adds to a text, in UTF-8: whole characters or parts of one; a mark as it is written."""
        piece: str = self._reserved.get(token) or self._tokenizer.id_to_token(token) or ""
        if token in self._reserved or not _BYTES.keys() >= set(piece):
            return piece.encode()
        return bytes(_BYTES[letter] for letter in piece)

    def text(self, ids: Sequence[int]) -> str:
        """The answer in words, without marks."""
        decoded: str = self._tokenizer.decode(list(ids), skip_special_tokens=True)
        return decoded.strip()

    def _marks(self, ids: Sequence[int]) -> list[str]:
        return [self._reserved[number] for number in ids if number in self._reserved]

    def _encode(self, text: str) -> IntArray:
        with _panics_told(self._prompt.tokenizer):
            return np.array(self._tokenizer.encode(text, add_special_tokens=False).ids, dtype=np.int64)


@contextmanager
def _panics_told(name: str) -> Iterator[None]:
    """A tokenizer whose patterns never end makes its library panic, which is no `Exception`: raises `BundleError`."""
    try:
        yield
    except BaseException as error:
        if type(error).__name__ != "PanicException":
            raise
        raise BundleError(f"{name} cannot split this text: {error}") from None
