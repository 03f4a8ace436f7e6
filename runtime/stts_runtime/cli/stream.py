"""`stts-runtime stream`: answers about live video, for as long as it runs."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, Optional

import typer
from pydantic import ValidationError

from stts_runtime.cli.long_running import named, stopped_by_signals, tell
from stts_runtime.cli.options import (
    EngineOption,
    MaybeBundleArgument,
    ShortestPauseOption,
    SourcesArgument,
    WhenOption,
)
from stts_runtime.errors import UserError
from stts_runtime.settings import mistakes
from stts_runtime.stream.config import StreamConfig
from stts_runtime.stream.run import run_streams


def stream_command(
    bundle: MaybeBundleArgument = None,
    sources: SourcesArgument = None,
    config: Annotated[
        Optional[Path], typer.Option(help="YAML or TOML with all of it, in place of the other options.")
    ] = None,
    ask: Annotated[
        Optional[list[str]], typer.Option(metavar="QUESTION", help="A question; may be given several times.")
    ] = None,
    when: WhenOption = None,
    shortest_pause: ShortestPauseOption = None,
    longest_pause: Annotated[
        Optional[str], typer.Option(metavar="TIME", help="After it an answer comes though nothing is new.")
    ] = None,
    keep: Annotated[
        Optional[float], typer.Option(help="Keep ratio between key frames; default: the trained one.")
    ] = None,
    frames: Annotated[Optional[int], typer.Option(min=1, help="Frames of a window; default: the longest.")] = None,
    max_tokens: Annotated[Optional[int], typer.Option(min=1, help="Longest answer in tokens. Default: 64.")] = None,
    engine: EngineOption = None,
    nvdec: Annotated[bool, typer.Option("--nvdec", help="Decode video on the GPU.")] = False,
    to: Annotated[
        Optional[list[str]],
        typer.Option(metavar="SINK", help="- (screen), FILE.jsonl, http(s)://..., mqtt(s)://HOST/TOPIC. Default: -."),
    ] = None,
    metrics: Annotated[Optional[str], typer.Option(metavar="ADDRESS:PORT", help="Serve Prometheus metrics.")] = None,
    preview: Annotated[Optional[Path], typer.Option(metavar="FOLDER", help="Videos of the kept patches.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Records on the screen as one JSON object a line.")] = False,
) -> None:
    """Looks at cameras and streams, each frame once, and answers when something is new.

    Ends cleanly on SIGTERM and Ctrl-C: the last record is whole, and what waits to be delivered goes out at the next
    start.
    """
    given = {
        "bundle": bundle,
        "questions": ask,
        "when": when,
        "shortest_pause": shortest_pause,
        "longest_pause": longest_pause,
        "keep": keep,
        "frames": frames,
        "max_tokens": max_tokens,
        "engine": engine,
        "nvdec": nvdec or None,
        "metrics": metrics,
        "preview": preview,
        "sinks": _sinks(to, as_json),
        "streams": named(sources or []),
    }
    settings = {name: value for name, value in given.items() if value not in (None, [])}
    chosen = _from_file(config, settings) if config is not None else _from_options(settings)
    run_streams(chosen, stopped_by_signals(), tell)


def _sinks(to: Optional[list[str]], as_json: bool) -> list[Any]:
    screen = {"to": "-", "format": "json" if as_json else "text"}
    return [screen if one == "-" else one for one in to or ["-"]]


def _from_options(settings: dict[str, Any]) -> StreamConfig:
    for name, words in (("bundle", "BUNDLE"), ("streams", "at least one SOURCE"), ("questions", "--ask QUESTION")):
        if name not in settings:
            raise UserError(f"give {words}, or --config FILE with all of it (see stts-runtime stream --help)")
    try:
        return StreamConfig.model_validate(settings)
    except ValidationError as error:
        raise UserError(mistakes(error)) from None


def _from_file(path: Path, settings: dict[str, Any]) -> StreamConfig:
    """Raises `UserError` if options were given too: who reads the file later would look for them there."""
    beside = sorted(settings.keys() - {"sinks"})
    if beside:
        raise UserError(f"{', '.join(beside)}: given beside --config; put it into {path}")
    from stts_runtime.stream.config_file import exposed_password, load_config

    config = load_config(path, StreamConfig)
    if warning := exposed_password(path):
        tell(f"warning: {warning}")
    return config
