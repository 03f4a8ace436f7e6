"""`stts-export evaluate --questions`: the user's own questions about their own videos."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timezone
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal, Optional

import typer

from stts_export.cli.evaluated import Outputs, show_scorer, show_written
from stts_runtime.bundle import Bundle
from stts_runtime.cli.help import OUTPUT
from stts_runtime.cli.standard_streams import complain
from stts_runtime.cli.steps import steps
from stts_runtime.cli.text import one_line, printable
from stts_runtime.engines import EngineName
from stts_runtime.outputs import check_output
from stts_runtime.text import counted, visible

if TYPE_CHECKING:
    from rich.table import Table

    from stts_calib.accuracy.settings import Setting
    from stts_calib.questions import QuestionFile, QuestionReport

QUESTIONS = "Your own questions"
CLIPS = "Synthetic clips"

VideosOption = Annotated[
    Optional[Path],
    typer.Option(
        metavar="FOLDER", help="Folder of the videos.", show_default="next to the questions", rich_help_panel=QUESTIONS
    ),
]
OptionsOption = Annotated[
    Optional[Literal["letters", "texts", "generated"]],
    typer.Option(
        help="How questions with options are answered: by the likeliest letter, by the likeliest text of an option, or "
        "by a generated answer.",
        show_default="letters",
        rich_help_panel=QUESTIONS,
    ),
]
JudgeOption = Annotated[
    Optional[str],
    typer.Option(
        metavar="COMMAND",
        help="Command that judges generated answers: reads a line of JSON for each and writes one (docs/questions.md).",
        show_default="exact match",
        rich_help_panel=QUESTIONS,
    ),
]
MaxTokensOption = Annotated[
    Optional[int],
    typer.Option(
        min=1, help="Length limit of a generated answer, in tokens.", show_default="64", rich_help_panel=QUESTIONS
    ),
]
PageOption = Annotated[
    Optional[Path],
    typer.Option(
        metavar="FILE",
        help="Write the report as a page, .html, with pictures of clips whose answers changed.",
        rich_help_panel=OUTPUT,
    ),
]
_MOST_NAMED = 20


@dataclass(frozen=True)
class OwnQuestions:
    """What is asked, and how, as the command line says it."""

    file: QuestionFile
    options: Literal["letters", "texts", "generated"] | None
    judge: str | None
    max_tokens: int | None
    page: Path | None

    @classmethod
    def read(
        cls,
        questions: Path,
        videos: Path | None,
        options: Literal["letters", "texts", "generated"] | None,
        judge: str | None,
        max_tokens: int | None,
        page: Path | None,
        bundle: Path,
    ) -> OwnQuestions:
        """Raises `UserError` for files that cannot be read, or a page that could not be written."""
        from stts_calib.questions import read_questions

        if page is not None:
            check_output(page, (".html",), str(questions), bundle)
        return cls(read_questions(questions, videos), options, judge, max_tokens, page)


def evaluate_questions(
    bundle: Bundle, settings: list[Setting], own: OwnQuestions, out: Outputs, engine: EngineName, jobs: int
) -> None:
    """Exits with 2 if some could not be asked, once all others were. Raises `UserError` if none could."""
    from stts_calib.accuracy import weights_held
    from stts_calib.questions import OptionsAsked, QuestionEvaluation, question_report_of, write_page

    options, longest = OptionsAsked(own.options or "letters"), own.max_tokens or 64
    evaluation = QuestionEvaluation(bundle, settings, own.file, options, longest, engine, jobs, own.judge)
    with steps(quiet=out.as_json) as tell:
        if engine == "cpu":
            tell(f"note: {weights_held(bundle, settings, engine, jobs)}")
        videos = len(evaluation.exam.videos)
        evaluation.run(lambda done: tell("asking about videos", done, videos), out.journal)
    made = question_report_of(evaluation, datetime.now(timezone.utc).isoformat(timespec="seconds"))
    # First what it found: a disk may be full.
    if out.as_json:
        print(made.model_dump_json(), flush=True)
    else:
        _show(made)
    written = out.write(made, evaluation.records())
    if own.page is not None:
        write_page(own.page, made, evaluation)
        written.append(own.page)
    if not out.as_json:
        show_written(written)
    _exit_if_left_out(made)


def _show(made: QuestionReport) -> None:
    from stts_runtime.cli.show import console

    console.print(
        f"{counted(made.questions, 'question')} of {visible(made.file)} ({made.layout}) about "
        f"{counted(made.videos, 'video')}; percent right with 95 % intervals; "
        f"{made.machine.processor}, {made.machine.cores} cores, {made.minutes:.1f} minutes",
        soft_wrap=True,
        markup=False,
    )
    show_scorer(made.scorer, made.random_weights)
    console.print(_by_setting(made))
    if len(made.kinds) > 1:
        console.print(_by_kind(made))
    for found in made.differences:
        points, seen = found.points, f"{found.lost} lost, {found.won} won"
        if found.unseen is not None:
            seen = f"none seen; with so few videos, up to {found.unseen:.1f} % of all may differ"
        interval = f" ({points.low:+.2f} to {points.high:+.2f})" if found.unseen is None else ""
        line = f"{found.setting} against {found.against}: {points.value:+.2f} points{interval}, {seen}"
        console.print(line, soft_wrap=True)
    console.print(f"{len(made.changed)} of {made.questions} answers changed between settings")


def _by_setting(made: QuestionReport) -> Table:
    from rich.table import Table

    table = Table("setting", "tokens", "right", "vision ms", "video ms")
    for one in made.settings:
        interval = "" if one.interval is None else f" ({one.interval.low:.1f} to {one.interval.high:.1f})"
        milliseconds = f"{one.vision_ms:.1f}", f"{one.clip_ms:.1f}"
        table.add_row(one.setting, str(one.visual_tokens), f"{one.right:.1f}{interval}", *milliseconds)
    return table


def _by_kind(made: QuestionReport) -> Table:
    from rich.table import Table

    table = Table("kind", "questions", "chance", *(one.setting for one in made.settings))
    for kind in made.kinds:
        chance = "-" if kind.chance is None else f"{kind.chance:.1f}"
        rights = (f"{one.by_kind[kind.kind]:.1f}" for one in made.settings)
        table.add_row(printable(kind.kind) or "none given", str(kind.questions), chance, *rights)
    return table


def _exit_if_left_out(made: QuestionReport) -> None:
    if not made.left_out:
        return
    for one in made.left_out[:_MOST_NAMED]:
        complain(f"error: {one_line(f'{one.place}: {one.reason}')}")
    total = made.questions + len(made.left_out)
    more = f"; the first {_MOST_NAMED} are named" if len(made.left_out) > _MOST_NAMED else ""
    complain(f"{len(made.left_out):,} of {total:,} questions could not be asked{more}")
    raise typer.Exit(2)
