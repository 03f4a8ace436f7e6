"""`stts-export evaluate`: how many questions a bundle answers right, about synthetic clips or of a file."""

from __future__ import annotations

from datetime import datetime, timezone
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Optional

import typer

from stts_export.cli.evaluated import Outputs, show_scorer, show_written
from stts_export.cli.own_questions import (
    CLIPS,
    QUESTIONS,
    JudgeOption,
    MaxTokensOption,
    OptionsOption,
    OwnQuestions,
    PageOption,
    VideosOption,
    evaluate_questions,
)
from stts_runtime.cli.help import ENGINE, OUTPUT
from stts_runtime.cli.options import BundleArgument, DeviceOption, JsonOption
from stts_runtime.cli.steps import steps
from stts_runtime.device import gpu_of, select_gpu
from stts_runtime.engines import EngineName
from stts_runtime.errors import UserError
from stts_runtime.outputs import check_output
from stts_runtime.text import counted

if TYPE_CHECKING:
    from rich.table import Table

    from stts_calib.accuracy import AccuracyReport
    from stts_calib.clips import ClipSet


def evaluate_command(
    bundle: BundleArgument,
    questions: Annotated[
        Optional[Path],
        typer.Option(
            metavar="FILE",
            help="Your own questions, .jsonl; or those of MVBench, TempCompass, MLVU, Video-MME or NExT-QA, as "
            "published: .json, .csv, .parquet.",
            show_default="synthetic clips",
            rich_help_panel=QUESTIONS,
        ),
    ] = None,
    videos: VideosOption = None,
    options: OptionsOption = None,
    judge: JudgeOption = None,
    max_tokens: MaxTokensOption = None,
    page: PageOption = None,
    clips: Annotated[
        Optional[int],
        typer.Option(min=2, help="Test clips, over all sets.", show_default="1000", rich_help_panel=CLIPS),
    ] = None,
    clip_set: Annotated[
        Optional[list[str]],
        typer.Option(
            "--set", metavar="SET", help="plain or hard clips; repeatable.", show_default="plain", rich_help_panel=CLIPS
        ),
    ] = None,
    per_clip: Annotated[
        Optional[int], typer.Option(min=1, help="Questions per clip.", show_default="4", rich_help_panel=CLIPS)
    ] = None,
    setting: Annotated[
        Optional[list[str]],
        typer.Option(
            metavar="NAME",
            help="Variant to measure, or a control: random-... or even-...; repeatable.",
            show_default="all",
        ),
    ] = None,
    engine: Annotated[EngineName, typer.Option(help="What runs the model.", rich_help_panel=ENGINE)] = "cpu",
    device: DeviceOption = None,
    jobs: Annotated[
        int, typer.Option(min=1, max=256, help="Clips processed at the same time, each in a process with one thread.")
    ] = 1,
    journal: Annotated[
        Optional[Path],
        typer.Option(
            metavar="FILE",
            help="Record progress here, .jsonl; the same command then continues where it stopped.",
            rich_help_panel=OUTPUT,
        ),
    ] = None,
    report: Annotated[
        Optional[Path], typer.Option(metavar="FILE", help="Write the report, .json.", rich_help_panel=OUTPUT)
    ] = None,
    plot: Annotated[
        Optional[Path],
        typer.Option(metavar="FILE", help="Plot accuracy over visual tokens, .png.", rich_help_panel=OUTPUT),
    ] = None,
    answers: Annotated[
        Optional[Path], typer.Option(metavar="FILE", help="Write every answer, .jsonl.", rich_help_panel=OUTPUT)
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """Measure the accuracy of every variant, and of controls with the same number of tokens.

    With --questions, on your own questions or a benchmark's. Without, on synthetic clips with exact answers, which is
    meaningful only for checkpoints trained on such clips, such as checkpoints/tiny.
    """
    from stts_calib.accuracy import Evaluation, report_of, settings_of, weights_held, write_accuracy_plot
    from stts_calib.clips import Split
    from stts_runtime.bundle import Bundle
    from stts_runtime.cli.show import show_note
    from stts_runtime.engines import check_engine, choose_engine

    if jobs > 1 and engine != "cpu":
        raise UserError(f"--jobs spreads clips over CPU cores, and the engine is {engine}; leave one of them out")
    select_gpu(gpu_of(device))
    _check_mode(
        questions is None,
        {"--clips": clips, "--set": clip_set, "--per-clip": per_clip, "--plot": plot},
        {"--videos": videos, "--options": options, "--judge": judge, "--max-tokens": max_tokens, "--page": page},
    )
    _check_places(report, plot, answers, journal, questions, bundle)
    how = options, judge, max_tokens, page
    out = Outputs(journal, report, answers, as_json)
    own = None if questions is None else OwnQuestions.read(questions, videos, *how, bundle)
    opened = Bundle.open(bundle)
    for note in choose_engine(opened, engine, device).notes:
        show_note(note)
    check_engine(opened, engine)
    settings = settings_of(opened, setting or [])
    if own is not None:
        evaluate_questions(opened, settings, own, out, engine, jobs)
        return
    clips = clips or 1000
    evaluation = Evaluation(opened, settings, clips, per_clip or 4, Split.test, engine, _clip_sets(clip_set), jobs)
    with steps(quiet=as_json) as tell:
        if engine == "cpu":
            tell(f"note: {weights_held(opened, settings, engine, jobs)}")
        evaluation.run(lambda done: tell("asking about clips", done, clips), journal)
    made = report_of(evaluation, datetime.now(timezone.utc).isoformat(timespec="seconds"))
    # First what it found: a disk may be full.
    if as_json:
        print(made.model_dump_json(), flush=True)
    else:
        _show(made)
    written = out.write(made, evaluation.records())
    if plot is not None:
        write_accuracy_plot(plot, made)
        written.append(plot)
    if not as_json:
        show_written(written)


def _check_mode(ours: bool, of_ours: dict[str, object], of_theirs: dict[str, object]) -> None:
    """Refuses options that would make no difference."""
    given = [name for name, value in (of_theirs if ours else of_ours).items() if value is not None]
    if given and ours:
        raise UserError(f"{given[0]} is for --questions FILE, and none is given")
    if given:
        raise UserError(f"{given[0]} is for our own clips, and --questions asks about others; leave one of them out")


def _clip_sets(wanted: list[str] | None) -> list[ClipSet]:
    """Those `wanted`, each once. Raises `UserError` for a name that is none."""
    from stts_calib.clips import ClipSet

    named = {one.value: one for one in ClipSet}
    unknown = [name for name in wanted or [] if name not in named]
    if unknown:
        raise UserError(f"unknown set {unknown[0]!r}; there is {', '.join(named)}")
    return [named[name] for name in dict.fromkeys(wanted or [ClipSet.plain.value])]


def _check_places(
    report: Path | None,
    plot: Path | None,
    answers: Path | None,
    journal: Path | None,
    questions: Path | None,
    bundle: Path,
) -> None:
    """Refuses what could not be written, before the minutes are spent."""
    from stts_calib.accuracy import check_plot_library

    source = None if questions is None else str(questions)
    if report is not None:
        check_output(report, (".json",), source, bundle)
    if answers is not None and journal is not None and answers.resolve() == journal.resolve():
        raise UserError(f"--answers and --journal are the same file, {journal}: the answers would replace the journal")
    for lines in (answers, journal):
        if lines is not None:
            check_output(lines, (".jsonl",), source, bundle)
    if plot is not None:
        check_output(plot, (".png",), None, bundle)
        check_plot_library()


def _show(report: AccuracyReport) -> None:
    from stts_runtime.cli.show import console

    console.print(
        f"{report.clips} {report.split} clips ({', '.join(report.clip_sets)}), "
        f"{counted(report.questions, 'question')}; accuracy in percent with 95 % intervals; "
        f"{report.machine.processor}, {report.machine.cores} cores, {report.minutes:.1f} minutes",
        soft_wrap=True,
    )
    show_scorer(report.scorer, report.random_weights)
    console.print(_by_setting(report))
    console.print(_by_kind(report))
    for found in report.differences:
        points, scope = found.points, "" if found.questions == "all" else " on questions that need time"
        console.print(
            f"{found.setting} against {found.against}{scope}: {points.value:+.2f} points "
            f"({points.low:+.2f} to {points.high:+.2f})",
            soft_wrap=True,
        )


def _by_setting(report: AccuracyReport) -> Table:
    from rich.table import Table

    table = Table(
        "setting", "tokens", "accuracy", "needs time", "kept of moving / others", "lost", "vision ms", "clip ms"
    )
    for one in report.settings:
        timed = "-" if one.needs_time is None else f"{one.needs_time.value:.1f}"
        accuracy = f"{one.accuracy.value:.1f} ({one.accuracy.low:.1f} to {one.accuracy.high:.1f})"
        kept = "-" if one.kept_of_moving is None else f"{one.kept_of_moving:.1f} / {one.kept_of_others:.1f}"
        lost = "-" if one.lost_objects is None else f"{one.lost_objects:.2f}"
        milliseconds = f"{one.vision_ms:.1f}", f"{one.clip_ms:.1f}"
        table.add_row(one.setting, str(one.visual_tokens), accuracy, timed, kept, lost, *milliseconds)
    return table


def _by_kind(report: AccuracyReport) -> Table:
    from rich.table import Table

    table = Table("by kind", *(kind.kind for kind in report.kinds))
    table.add_row("questions", *(str(kind.questions) for kind in report.kinds))
    table.add_row("chance", *(f"{kind.chance:.1f}" for kind in report.kinds), end_section=True)
    for one in report.settings:
        table.add_row(one.setting, *(f"{one.by_kind[kind.kind]:.1f}" for kind in report.kinds))
    return table
