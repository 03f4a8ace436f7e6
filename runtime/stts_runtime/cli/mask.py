"""`stts-runtime mask`: what a stream's masks leave to be seen, as a picture."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, Optional

import typer

from stts_runtime import clock
from stts_runtime.cli.long_running import configured, tell
from stts_runtime.errors import SourceError, UserError
from stts_runtime.outputs import check_place, written_whole
from stts_runtime.overlay import jpeg
from stts_runtime.sources import Frame, Source, open_source
from stts_runtime.stream.config import Cameras, StreamEntry
from stts_runtime.stream.masks import covered, masked, ruled

_SUFFIXES = (".jpg", ".jpeg")
_QUALITY = 90
_PATIENCE_SECONDS = 15.0
_STEP_SECONDS = 0.5


class _AnyConfig(Cameras):
    """Settings of `stream` or `serve`."""

    serve: Any = None


def mask_command(
    config: Annotated[
        Path, typer.Argument(metavar="CONFIG", help="Settings in YAML or TOML, as for stream and serve.")
    ],
    stream: Annotated[
        Optional[str],
        typer.Option(metavar="NAME", help="Stream to take the picture from.", show_default="the only one"),
    ] = None,
    out: Annotated[Path, typer.Option(metavar="FILE", help="Picture to write, .jpg.")] = Path("mask.jpg"),
) -> None:
    """Write one frame of a stream with its masks painted over and a grid line at every tenth.

    Use it to draw masks and to check them. What is masked is never written.
    """
    check_place(out, _SUFFIXES)
    entry = _entry(configured(_AnyConfig, config, {}, tell), stream)
    source = masked(open_source(entry.source), entry.masks)
    try:
        frame = _first_frame(source, entry.name)
    finally:
        source.close()
    height, width = frame.image.shape[:2]
    hidden = covered(entry.masks, height, width)
    with written_whole(out) as scratch:
        scratch.write_bytes(jpeg(ruled(frame.image, hidden), _QUALITY))
    print(f"{out}: {entry.name}, {width} x {height}, {100 * hidden.mean():.1f} % of it masked")


def _entry(config: Cameras, name: str | None) -> StreamEntry:
    names = [one.name for one in config.streams]
    if name is None and len(names) == 1:
        return config.streams[0]
    found = [one for one in config.streams if one.name == name]
    if not found:
        which = "name one of the streams" if name is None else f"there is no stream {name!r}"
        raise UserError(f"{which}: --stream {' | '.join(names) or '(there are none)'}")
    return found[0]


def _first_frame(source: Source, name: str) -> Frame:
    end = clock.now() + _PATIENCE_SECONDS
    while clock.now() < end and not source.status.over:
        if (frame := source.take(_STEP_SECONDS)) is not None:
            return frame
    status = source.status
    raise SourceError(f"{name} gives no picture: {status.state.value}, {status.reason}")
