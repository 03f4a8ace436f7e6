"""One question about one video, as a file has it, and why one cannot be asked."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import NamedTuple

from stts_runtime.answering.form import checked_choices
from stts_runtime.errors import UserError
from stts_runtime.text import visible

LETTERS = "ABCDEFGHIJKLMNOPQRSTUVWXYZ"


class LeftOut(NamedTuple):
    """A question that was not asked."""

    place: str
    """`line 4`; of files without lines `entry 4` or `row 4`."""
    reason: str
    """What it is and what it should be."""

    @property
    def number(self) -> int:
        """Line number, for sorting."""
        return int(self.place.rpartition(" ")[2])


@dataclass(frozen=True)
class OwnQuestion:
    place: str
    """As in `LeftOut`."""
    video: str
    """As the file names it; once it was found, its path."""
    text: str
    answers: tuple[str, ...]
    """The right one, or several that are; with options, one of these."""
    options: tuple[str, ...] = ()
    kind: str = ""
    """What the file says that it asks for; empty if nothing."""
    part: tuple[float, float] | None = None
    """Seconds from which to which the video is looked at; None: all of it."""

    @property
    def answer(self) -> str:
        return self.answers[0]

    def checked(self) -> OwnQuestion:
        """Without blanks around its texts. Raises `UserError` that says what is wrong."""
        self._check_encodable()
        text, answers = self.text.strip(), tuple(one.strip() for one in self.answers)
        if not text:
            raise UserError("the question is empty; it should be a text")
        if not answers or not all(answers):
            raise UserError("the answer is empty; it should be a text" + self._of_options)
        options = checked_choices(list(self.options), "options") if self.options else ()
        if len(options) > len(LETTERS):
            raise UserError(f"options should be {len(LETTERS)} at most, one a letter; got {len(options)}")
        if options and answers[0] not in options:
            raise UserError(f"the answer {answers[0]!r} is not an option; it should be one of {_listed(options)}")
        return replace(self, text=text, answers=answers, options=options)

    def _check_encodable(self) -> None:
        """JSON can hold halves of characters, which no report could be written with."""
        texts = "\n".join((self.text, *self.answers, *self.options, self.kind))
        try:
            texts.encode()
        except UnicodeEncodeError as error:
            half = visible(texts[error.start])
            raise UserError(f"{half} is half of a character and no text; write UTF-8, or both halves") from None

    @property
    def _of_options(self) -> str:
        return f", one of {_listed(self.options)}" if self.options else ""


def _listed(options: Sequence[str]) -> str:
    return ", ".join(repr(one) for one in options)
