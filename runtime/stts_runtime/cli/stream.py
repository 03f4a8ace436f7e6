"""`stts-runtime stream`: answers about live video, for as long as it runs."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Optional

import typer

from stts_runtime.cli.check_config import show_check
from stts_runtime.cli.help import ANSWERS, OPERATION, OUTPUT, VARIANT
from stts_runtime.cli.log import LogFormat, LogFormatOption, LogLevel, LogLevelOption
from stts_runtime.cli.long_running import asked_by_sighup, configured, named, opened_log, stopped_by_signals
from stts_runtime.cli.options import (
    AskOption,
    CheckOption,
    ChoicesOption,
    ConfigOption,
    ConnectOption,
    DeviceOption,
    EngineOption,
    JsonOption,
    KeepOption,
    MaybeBundleArgument,
    NvdecOption,
    SchemaOption,
    ShortestPauseOption,
    SourcesArgument,
    WhenOption,
)
from stts_runtime.errors import UserError
from stts_runtime.stream.check import check_cameras
from stts_runtime.stream.config import StreamConfig
from stts_runtime.stream.reload import Reread
from stts_runtime.stream.run import run_streams


def stream_command(
    bundle: MaybeBundleArgument = None,
    sources: SourcesArgument = None,
    config: ConfigOption = None,
    ask: AskOption = None,
    choices: ChoicesOption = None,
    schema: SchemaOption = None,
    alert: Annotated[
        Optional[str],
        typer.Option(
            metavar="RULE",
            help="With --choices: deliver alarms only, by this rule: 'yes>0.8, for=2, once_per=5m'.",
            rich_help_panel=ANSWERS,
        ),
    ] = None,
    when: WhenOption = None,
    shortest_pause: ShortestPauseOption = None,
    longest_pause: Annotated[
        Optional[str],
        typer.Option(
            metavar="TIME",
            help="Answer at least this often: 2 or 2s, 1m, 1h.",
            show_default="no limit",
            rich_help_panel=ANSWERS,
        ),
    ] = None,
    keep: KeepOption = None,
    frames: Annotated[
        Optional[int],
        typer.Option(
            min=1, help="Frames per window.", show_default="the longest window built", rich_help_panel=VARIANT
        ),
    ] = None,
    max_tokens: Annotated[
        Optional[int],
        typer.Option(min=1, help="Length limit of an answer, in tokens.", show_default="64", rich_help_panel=ANSWERS),
    ] = None,
    engine: EngineOption = None,
    device: DeviceOption = None,
    nvdec: NvdecOption = False,
    to: Annotated[
        Optional[list[str]],
        typer.Option(
            metavar="SINK",
            help="Where records go: - (screen), FILE.jsonl, FILE.db, http(s)://..., mqtt(s)://HOST/TOPIC; repeatable.",
            show_default="the screen",
            rich_help_panel=OUTPUT,
        ),
    ] = None,
    metrics: Annotated[
        Optional[str],
        typer.Option(
            metavar="ADDRESS:PORT", help="Serve Prometheus metrics at this address.", rich_help_panel=OPERATION
        ),
    ] = None,
    preview: Annotated[
        Optional[str],
        typer.Option(metavar="FOLDER", help="Write videos of the kept patches here.", rich_help_panel=OUTPUT),
    ] = None,
    alert_files: Annotated[
        Optional[str],
        typer.Option(
            metavar="FOLDER",
            help="Write pictures and clips of alarms here: --alert 'yes>0.8, snapshot=kept'.",
            rich_help_panel=OUTPUT,
        ),
    ] = None,
    as_json: JsonOption = False,
    check: CheckOption = False,
    connect: ConnectOption = False,
    log_format: LogFormatOption = LogFormat.TEXT,
    log_level: LogLevelOption = LogLevel.INFO,
) -> None:
    """Watch cameras and streams, and answer questions when something changes.

    Stops cleanly on SIGTERM and Ctrl-C; records still to be delivered are sent after the next start.
    """
    log = opened_log(log_format, log_level)
    given = {
        "bundle": bundle,
        "questions": ask,
        "choices": choices,
        "schema": schema,
        "alert": alert,
        "when": when,
        "shortest_pause": shortest_pause,
        "longest_pause": longest_pause,
        "keep": keep,
        "frames": frames,
        "max_tokens": max_tokens,
        "engine": engine,
        "device": device,
        "nvdec": nvdec or None,
        "metrics": metrics,
        "preview": preview,
        "alert_files": alert_files,
        "sinks": _sinks(to, as_json and not check, config),
        "streams": named(sources or []),
    }
    settings = {name: value for name, value in given.items() if value not in (None, [])}
    if config is None:
        _check_complete(settings)

    def read() -> StreamConfig:
        return configured(StreamConfig, config, settings, log)

    if check or connect:
        show_check(lambda: check_cameras(read(), connect=connect), as_json=as_json)
        return
    reread = None if config is None else Reread(asked_by_sighup(), read)
    run_streams(read(), stopped_by_signals(log), log, reread)


def _sinks(to: Optional[list[str]], as_json: bool, config: Optional[Path]) -> list[Any]:
    """Without a word about it, those of the file, or else the screen."""
    if not to and not as_json and config is not None:
        return []
    screen = {"to": "-", "format": "json" if as_json else "text"}
    return [screen if one == "-" else one for one in to or ["-"]]


def _check_complete(settings: Mapping[str, Any]) -> None:
    for name, words in (("bundle", "BUNDLE"), ("streams", "at least one SOURCE"), ("questions", "--ask QUESTION")):
        if name not in settings:
            raise UserError(f"give {words}, or --config FILE with all of it (see stts-runtime stream --help)")
