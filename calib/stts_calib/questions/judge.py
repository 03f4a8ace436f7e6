"""A judge of the user's own for written answers: a command that reads JSON lines and writes one for each.

A command and no Python function: it may be in any language and environment (a larger model, a remote API, libraries
that do not go with ours), its crash is no crash of ours, and it is loaded once for all answers.
"""

from __future__ import annotations

import json
import shlex
import subprocess
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from queue import Empty, Queue
from typing import IO, Any

from stts_calib.questions.question import OwnQuestion
from stts_calib.questions.seen import VideoSeen
from stts_runtime.errors import UserError

_WANTED = '{"right": true} or {"right": false}'
_SHOWN = 120
PATIENCE_SECONDS = 600.0
"""For one verdict: large models take minutes to load, and who says nothing for longer never will."""
_FAREWELL_SECONDS = 5.0
_MOST_WAITING = 100
"""Lines that were not requested."""

Judge = Callable[[OwnQuestion, str], bool]


@contextmanager
def judged_by(command: str) -> Iterator[Judge]:
    """Runs the command while it is needed. The judge raises `UserError` for what is no verdict."""
    try:
        words = shlex.split(command)
        process = subprocess.Popen(words, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    except (ValueError, OSError, IndexError) as error:
        raise UserError(f"the judge {command!r} cannot be run: {error}") from None
    assert process.stdin is not None
    assert process.stdout is not None
    lines: Queue[bytes] = Queue(_MOST_WAITING)
    told = threading.Thread(target=_hear, args=(process.stdout, lines), daemon=True)
    told.start()
    try:
        yield _Verdicts(command, process.stdin, lines)
    finally:
        with suppress(OSError):
            # What it did not read any more is still in there.
            process.stdin.close()
        _end(process)
        told.join(_FAREWELL_SECONDS)
        if not told.is_alive():
            process.stdout.close()


def _hear(told: IO[bytes], lines: Queue[bytes]) -> None:
    """Line by line, and an empty one at the end; of a thread's own, so that waiting for a line can end."""
    for line in told:
        lines.put(line)
    lines.put(b"")


def _end(process: subprocess.Popen[bytes]) -> None:
    process.terminate()
    try:
        process.wait(_FAREWELL_SECONDS)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


class _Verdicts:
    """Verdicts of one running command, which sees the same answer to the same question once."""

    def __init__(self, command: str, asked: IO[bytes], told: Queue[bytes]) -> None:
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
            self._asked.write(json.dumps(about).encode() + b"\n")
            self._asked.flush()
        except OSError:
            raise UserError(f"the judge {self._command!r} ended; it should read a line for each answer") from None
        try:
            line = self._told.get(timeout=PATIENCE_SECONDS).decode(errors="replace")
        except Empty:
            raise UserError(
                f"the judge {self._command!r} said nothing to {question.place} for {PATIENCE_SECONDS:g} s; it should "
                "write each verdict at once (flush)"
            ) from None
        if not line:
            raise UserError(f"the judge {self._command!r} ended without a verdict on {question.place}")
        try:
            right = json.loads(line)["right"]
        except (ValueError, TypeError, KeyError, RecursionError):
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
