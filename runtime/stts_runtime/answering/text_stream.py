"""An answer as it grows: which text is safe to pass on after each token."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Callable, Sequence

_INCOMPLETE = "\ufffd"
"""What a tokenizer makes of a character whose last bytes have not come yet."""


class TextStream:
    """An `OnToken` that passes new text on to `tell`, and stops generation where one of `stops` begins.

    Text that may turn out to be the beginning of a stop, or half a character, waits for the next token.
    """

    def __init__(self, text: Callable[[Sequence[int]], str], stops: Sequence[str], tell: Callable[[str], None]) -> None:
        """`text` decodes token ids; its result only ever grows at the end."""
        self._text, self._stops, self._tell = text, stops, tell
        self._held = max((len(stop) for stop in stops), default=1) - 1
        self._told = 0
        self._lengths: list[int] = []
        """Length of the text after each token, if tokens arrive one by one."""
        self.stopped = False

    def __call__(self, ids: Sequence[int]) -> bool:
        text = self._text(ids)
        self._lengths.append(len(text))
        whole = self.cut(text)
        self.stopped = len(whole) < len(text)
        safe = len(whole) if self.stopped else max(0, len(whole) - self._held)
        self._pass_on(whole.rstrip(_INCOMPLETE)[:safe])
        return not self.stopped

    def tokens_within(self, characters: int) -> int:
        """How many of the tokens begin within so much of the text."""
        return bisect_left([0, *self._lengths[:-1]], characters) if self._lengths else 0

    def rest(self, text: str) -> str:
        """The part of the whole answer that has not been passed on."""
        return self.cut(text)[self._told :]

    def cut(self, text: str) -> str:
        ends = [at for stop in self._stops if (at := text.find(stop)) >= 0]
        return text[: min(ends)] if ends else text

    def _pass_on(self, text: str) -> None:
        if len(text) > self._told:
            self._tell(text[self._told :])
            self._told = len(text)
