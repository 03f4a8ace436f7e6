"""`stts-runtime chat`: a conversation about one video file."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from typing import Annotated

import typer

from stts_runtime.cli.options import (
    BudgetOption,
    BundleArgument,
    DeviceOption,
    EngineOption,
    FramesOption,
    JsonOption,
    MaxTokensOption,
    NvdecOption,
    VariantKeepOption,
)
from stts_runtime.cli.show import console, errors
from stts_runtime.cli.text import printable
from stts_runtime.device import gpu_of, select_gpu
from stts_runtime.errors import PromptError, UserError
from stts_runtime.model import load
from stts_runtime.records import Answer
from stts_runtime.session import Clip, Wanted
from stts_runtime.text import counted, visible

_NEW = "/new"
_HINT = f"one question a line; {_NEW} begins a new conversation, Ctrl-D ends"


def chat_command(
    bundle: BundleArgument,
    source: Annotated[str, typer.Argument(metavar="SOURCE", help="Video file.")],
    keep: VariantKeepOption = None,
    budget: BudgetOption = None,
    frames: FramesOption = None,
    max_tokens: MaxTokensOption = 64,
    engine: EngineOption = None,
    device: DeviceOption = None,
    nvdec: NvdecOption = False,
    as_json: JsonOption = False,
) -> None:
    """Hold a conversation about a video, one question per line of standard input.

    The video is processed once. The line /new starts a new conversation about it.
    """
    select_gpu(gpu_of(device))
    model = load(bundle, engine, device)
    chat = model.watch(Clip.open(model.bundle, source, Wanted(keep, budget, frames), nvdec)).chat()
    refused = False
    for question in _questions():
        if question == _NEW:
            chat.turns.clear()
            continue
        try:
            answer = chat.ask(question, max_tokens=max_tokens)
        except PromptError as error:
            # The next question may fit, or a new conversation.
            errors.print(f"error: {visible(str(error))}", markup=False, emoji=False, soft_wrap=True)
            refused = True
        else:
            _show(answer, as_json)
    if refused:
        raise typer.Exit(UserError.exit_code)


def _questions() -> Iterator[str]:
    """Lines that are not empty, up to the end of standard input. Raises `UserError` for what is no text."""
    if sys.stdin is None:
        return
    is_terminal = sys.stdin.isatty()
    if is_terminal:
        errors.print(_HINT, markup=False, soft_wrap=True)
    while True:
        if is_terminal:
            errors.print("> ", end="", markup=False)
        try:
            line = sys.stdin.readline()
        except UnicodeDecodeError:
            raise UserError("standard input is not valid UTF-8 text; send a question a line") from None
        if not line:
            return
        if question := line.strip():
            yield question


def _show(answer: Answer, as_json: bool) -> None:
    if as_json:
        print(answer.model_dump_json(), flush=True)
        return
    tokens, spent = answer.tokens, answer.milliseconds
    console.print(f"[bold]{printable(answer.answer)}[/bold]", soft_wrap=True)
    console.print(
        f"  {counted(tokens.generated, 'token')} in {spent.total:.0f} ms; {tokens.cached} of the prompt's "
        f"{tokens.prompt} were in the cache",
        soft_wrap=True,
    )
    if not tokens.cached:
        for note in answer.notes:
            console.print(f"  note: {printable(note)}", soft_wrap=True)
