"""A judge of the user's own for written answers: a command that reads JSON lines and writes one for each.

A command and no Python function: it may be in any language and environment (a larger model, somebody's API, libraries
that do not go with ours), its crash is no crash of ours, and it is loaded once for all answers.
"""

from __future__ import annotations

import json
import shlex
import subprocess
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import IO, Any

from stts_calib.questions.question import OwnQuestion
from stts_calib.questions.seen import VideoSeen
from stts_runtime.errors import UserError

_WANTED = '{"right": true} or {"right": false}'
_SHOWN = 120

Judge = Callable[[OwnQuestion, str], bool]


@contextmanager
def judged_by(command: str) -> Iterator[Judge]:
    """Runs the command while it is needed. The judge raises `UserError` for what is no verdict."""
    try:
        words = shlex.split(command)
        process = subprocess.Popen(words, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    except (ValueError, OSError, IndexError) as error:
        raise UserError(f"the judge {command!r} cannot be run: {error}") from None
    assert process.stdin is not None
    assert process.stdout is not None
    try:
        yield _Verdicts(command, process.stdin, process.stdout)
    finally:
        with suppress(OSError):
            # What it did not read any more is still in there.
            process.stdin.close()
        process.terminate()
        process.wait()
        process.stdout.close()


class _Verdicts:
    """Of one running command. The same answer to the same question is shown to it once."""

    def __init__(self, command: str, asked: IO[str], told: IO[str]) -> None:
        self._command, self._asked, self._told = command, asked, told
        self._known: dict[tuple[str, str], bool] = {}

    def __call__(self, question: OwnQuestion, said: str) -> bool:
        key = question.place, said
        if key not in self._known:
            self._known[key] = self._ask(question, said)
        return self._known[key]

    def _ask(self, question: OwnQuestion, said: str) -> bool:
        about: dict[str, Any] = {
            "place": question.place,
            "video": question.video,
            "kind": question.kind,
            "question": question.text,
            "options": question.options,
            "answers": question.answers,
            "said": said,
        }
        try:
            self._asked.write(json.dumps(about) + "\n")
            self._asked.flush()
        except OSError:
            raise UserError(f"the judge {self._command!r} ended; it should read a line for each answer") from None
        line = self._told.readline()
        if not line:
            raise UserError(f"the judge {self._command!r} ended without a verdict on {question.place}")
        try:
            right = json.loads(line)["right"]
        except (ValueError, TypeError, KeyError):
            right = None
        if not isinstance(right, bool):
            raise UserError(f"the judge said {line.strip()[:_SHOWN]!r} to {question.place}; it should say {_WANTED}")
        return right


def judged(seen: VideoSeen, questions: dict[str, OwnQuestion], judge: Judge) -> VideoSeen:
    """With the judge's verdict on all answers that were written; the likeliest options need none."""
    settings = {
        name: said.model_copy(
            update={
                "answers": {
                    place: one
                    if one.probability is not None
                    else one.model_copy(update={"right": judge(questions[place], one.text)})
                    for place, one in said.answers.items()
                }
            }
        )
        for name, said in seen.settings.items()
    }
    return seen.model_copy(update={"settings": settings})
