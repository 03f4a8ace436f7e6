"""`stts-runtime run`: answers to questions about video files."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Annotated, Optional

import typer

from stts_runtime.answer import Answer
from stts_runtime.budget import AnsweringScope
from stts_runtime.bundle import Bundle
from stts_runtime.cli.options import BundleArgument, EngineOption, JsonOption
from stts_runtime.cli.show import console, show_answer
from stts_runtime.engines import EngineName, choose_engine
from stts_runtime.errors import UserError
from stts_runtime.outputs import check_output
from stts_runtime.overlay import SUFFIXES, write_overlay
from stts_runtime.session import Session, Watched
from stts_runtime.sessions import Clip, Sessions, Wanted
from stts_runtime.video import check_source


def run_command(
    bundle: BundleArgument,
    sources: Annotated[list[str], typer.Argument(metavar="SOURCE", help="Video files.")],
    ask: Annotated[list[str], typer.Option(metavar="QUESTION", help="Question to answer, repeatable.")],
    keep: Annotated[Optional[float], typer.Option(help="Keep ratio of the variant. Default: the trained one.")] = None,
    budget: Annotated[
        Optional[AnsweringScope], typer.Option(help="Budget of the variant, where there are two.")
    ] = None,
    frames: Annotated[Optional[int], typer.Option(min=1, help="Exactly so many frames. Default: by the video.")] = None,
    max_tokens: Annotated[int, typer.Option(min=1, help="Longest answer in tokens.")] = 64,
    engine: EngineOption = None,
    overlay: Annotated[Optional[Path], typer.Option(help="Picture of the kept patches, .png or .mp4.")] = None,
    as_json: JsonOption = False,
) -> None:
    """Answers questions about videos; several questions share one look at the video."""
    _check_request(bundle, sources, overlay)
    answers = Answers(Bundle.open(bundle), Wanted(keep, budget, frames), engine)
    for source in sources:
        for answer in answers.about(source, ask, max_tokens, overlay):
            if as_json:
                print(answer.model_dump_json(), flush=True)
            else:
                show_answer(answer)
    if overlay is not None and not as_json:
        console.print(f"overlay: {overlay}", soft_wrap=True)


class Answers:
    """Answers about one file after the other."""

    def __init__(self, bundle: Bundle, wanted: Wanted, engine: EngineName | None = None) -> None:
        """Raises `BundleError` if no clip could be answered about as wanted."""
        self._bundle, self._wanted, self._engine = bundle, wanted, choose_engine(bundle, engine)
        self._sessions = Sessions(bundle, self._engine.name)
        bundle.choose(wanted.keep, wanted.budget, wanted.frames)

    def about(self, source: str, questions: Sequence[str], max_tokens: int, overlay: Path | None) -> Iterator[Answer]:
        """Answers about one source, one by one; the overlay is written as soon as all questions are known to fit."""
        clip = Clip.open(self._bundle, source, self._wanted)
        session = self._sessions.of(clip.variant)
        session.check_questions(questions)
        window, read_milliseconds = clip.window()
        watched = session.watch(window, read_milliseconds, [*self._engine.notes, *clip.notes])
        session.check_questions(questions, watched)
        if overlay is not None:
            _write(overlay, session, watched)
        for question in questions:
            yield session.ask(watched, question, max_tokens)


def _check_request(bundle: Path, sources: Sequence[str], overlay: Path | None) -> None:
    """Refuses what cannot work before any engine is loaded."""
    for source in sources:
        check_source(source)
    if overlay is None:
        return
    if len(sources) > 1:
        raise UserError(f"--overlay takes one source, got {len(sources)}")
    check_output(overlay, SUFFIXES, sources[0], bundle)


def _write(overlay: Path, session: Session, watched: Watched) -> None:
    kept = watched.vision.kept
    write_overlay(overlay, watched.window, kept, f"{session.variant}: {kept.sum()} of {kept.size} groups kept")
