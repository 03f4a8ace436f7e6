"""Whether a prompt fits the context, and what to do where it does not."""

from __future__ import annotations

import reprlib
from dataclasses import dataclass

from stts_runtime.errors import ContextError

_SHORT = reprlib.Repr()
_SHORT.maxstring = 60


@dataclass(frozen=True)
class Room:
    """Slots of the cache, and how many of them the video and what is asked about it take."""

    context: int
    video: int
    asked: int
    """With the turns before the question."""

    @property
    def _left(self) -> int:
        return self.context - self.video

    def check(self, question: str, turns: int) -> None:
        """Raises `ContextError` if there is none for an answer; `turns` were asked and answered before."""
        if self.asked < self._left:
            return
        if turns:
            raise ContextError(
                f"the conversation takes {self.asked} tokens with its question ({_SHORT.repr(question)}), and next to "
                f"the video's {self.video} the context of {self.context} leaves {self._left - 1}; begin a new "
                "conversation, leave out earlier turns, or build with a larger --max-context"
            )
        raise ContextError(
            f"the question takes {self.asked} tokens ({_SHORT.repr(question)}), and next to the video's "
            f"{self.video} the context of {self.context} leaves {self._left - 1}; shorten it, or build with a larger "
            "--max-context"
        )

    def check_answer(self, tokens: int, what: str) -> None:
        """Raises `ContextError` if an answer, which takes this many tokens in any case, does not fit."""
        # The last token of an answer takes no slot of the cache.
        left = self._left - self.asked + 1
        if tokens > left:
            raise ContextError(
                f"{what} needs {tokens} tokens, and next to the video's {self.video} and the question's {self.asked} "
                f"the context of {self.context} leaves {left}; shorten it, or build with a larger --max-context"
            )
