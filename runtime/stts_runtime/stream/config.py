"""What `stts-runtime stream` is told: one bundle, and the cameras that it looks at. See docs/examples/cameras.yaml."""

from __future__ import annotations

import os
import platform
from collections import Counter
from pathlib import Path
from typing import Annotated, Any, Literal, TypeVar

from pydantic import BeforeValidator, Field, ValidationError, model_validator

from stts_runtime.engines import EngineName
from stts_runtime.errors import UserError
from stts_runtime.mistakes import mistakes
from stts_runtime.settings import Seconds, Settings
from stts_runtime.sinks.config import ScreenConfig, SinkConfig
from stts_runtime.stream.alert_files import AlertFiles
from stts_runtime.stream.alerts import AlertRule
from stts_runtime.stream.config_fields import (
    AUTO,
    Choices,
    Group,
    Label,
    Listen,
    Name,
    Place,
    Questions,
    Sinks,
    SourceText,
    When,
    list_of,
)
from stts_runtime.stream.masks import Masks


def _home() -> Path:
    try:
        return Path.home()
    except RuntimeError:
        raise UserError(
            "what waits to be delivered needs a folder, and this user has no home: set `state:` in the configuration "
            "file, or STATE_DIRECTORY or XDG_STATE_HOME in the environment"
        ) from None


class Asking(Settings):
    """What to ask, when, and who gets the answers."""

    questions: Questions = ()
    """Asked about every window that is answered."""
    choices: Choices = ()
    """Each answer is one of these, which YAML needs in quotes: `["yes", "no"]`. Empty: free text, also for one stream
    of a file that has choices."""
    answer_schema: Place | None = Field(None, alias="schema")
    """File with a JSON schema that each answer conforms to."""
    alert: AlertRule | None = None
    """Which answers are an alarm. Sinks then get those alone, unless the rule says `send: all`."""
    when: When | None = None
    """Ask only after a change: `novelty>0.2`, or `novelty` for the bundle's own threshold. None: about every window."""
    longest_pause: Seconds | None = None
    """Longest time between two answers, even if nothing is new. None: no limit."""
    shortest_pause: Seconds = 0.0
    """Shortest time between two answers, whatever is new."""
    deadline: Annotated[Seconds, Field(gt=0)] | None = None
    """Longest time from a frame to the first token of its answer. The answer with the nearest deadline goes first; one
    that cannot begin in time is left out. None: never left out, and ranked as if it were 5 s."""
    sinks: Sinks = (ScreenConfig(),)
    """Where records go; a text stands for `{to: TEXT}`."""
    site: Label | None = None
    """Where the camera is; copied into records."""

    @model_validator(mode="after")
    def _pauses_in_order(self) -> Asking:
        if self.longest_pause is not None and self.longest_pause < self.shortest_pause:
            raise ValueError("longest_pause should not be below shortest_pause")
        return self


def _against_choices(asking: Asking) -> str | None:
    """What does not go with the choices, which may stand elsewhere in a file; None if all does."""
    if asking.choices and asking.answer_schema is not None:
        return "choices and schema exclude each other: leave out one of the two"
    if asking.alert is None or asking.alert.condition.choice in asking.choices:
        return None
    if not asking.choices:
        return f'alert: the rule {asking.alert.condition} needs choices, as in choices: ["yes", "no"]'
    return (
        f"alert: the rule is about {asking.alert.condition.choice!r}, which is none of the choices "
        f"{', '.join(asking.choices)}"
    )


class StreamEntry(Asking):
    """A camera, stream or file. What it does not set of `Asking`, the file's own setting decides."""

    name: Name
    """In records, metrics, file names and addresses; each only once."""
    source: SourceText
    """`rtsp://...`, `/dev/video0`, a file, ... `${NAME}` stands for an environment variable."""
    masks: Masks = ()
    """Regions that are painted over before anything looks."""
    group: Group | None = None
    """What it belongs to on the live page, such as a floor; None: its `site`."""


Streams = Annotated[tuple[StreamEntry, ...], BeforeValidator(list_of("[{name: gate, source: rtsp://HOST/PATH}]"))]


class Cameras(Asking):
    """A bundle and what it looks at. Relative paths start at the working directory."""

    bundle: Place
    """Folder that `stts-export build` made."""
    engine: EngineName | None = None
    """What runs the model. None: on a GPU, what the bundle was compiled or built for; otherwise `cpu`."""
    device: str | None = None
    """`cuda:0`, `cuda:1`, ... or `cpu`."""
    keep: Annotated[float, Field(gt=0, le=1)] | None = None
    """Share of the groups kept between key frames. None: as trained."""
    frames: Annotated[int, Field(ge=1)] | None = None
    """Frames per window. None: the longest that the bundle has."""
    key_every: Annotated[int, Field(ge=1)] | None = None
    """Frames from one key frame, which is kept whole, to the next. None: a window."""
    max_tokens: Annotated[int, Field(ge=1)] = 64
    """Length limit of an answer, in tokens."""
    transport: Literal["tcp", "udp"] = "tcp"
    """Transport of RTSP."""
    nvdec: bool = False
    """Decode video on the GPU where its decoder can."""
    host: Label | None = None
    """Name of this machine in records; `auto`: its host name."""
    clock_times: bool = False
    """Add the wall-clock time of each frame to answers."""
    batch: Annotated[int, Field(ge=1, le=64)] | None = None
    """Most frames, and answers, that go through the engines together. None: the number of streams."""
    metrics: Listen | None = None
    """Address for Prometheus metrics and health checks, `ADDRESS:PORT`."""
    preview: Place | None = None
    """Folder for videos of what was kept: a file an hour for each stream, the newest 24 stay."""
    alert_files: AlertFiles | None = None
    """Folder for pictures and clips of alarms."""
    state: Place | None = None
    """Folder of the spools. None: `STATE_DIRECTORY` of systemd, or `$XDG_STATE_HOME/stts`, or `~/.local/state/stts`."""
    fleet: Any = None
    """For `stts-runtime fleet`, which reads the same file: see `FleetSettings`."""
    streams: Streams = ()
    """The cameras, streams and files."""

    def asking(self, entry: StreamEntry) -> Asking:
        """The settings of one of the streams, its own before the file's."""
        return Asking(
            **{
                info.alias or field: getattr(entry if field in entry.model_fields_set else self, field)
                for field, info in Asking.model_fields.items()
            }
        )

    def group(self, entry: StreamEntry) -> str | None:
        """What one of the streams belongs to on the live page."""
        return entry.group or self.asking(entry).site

    @property
    def host_name(self) -> str | None:
        return platform.node() if self.host == AUTO else self.host

    @property
    def at_once(self) -> int:
        """How many frames, and answers, may go through the engines at once."""
        return max(1, len(self.streams)) if self.batch is None else self.batch

    @property
    def all_sinks(self) -> tuple[SinkConfig, ...]:
        """Each once, however many streams write to it."""
        return tuple(dict.fromkeys(sink for entry in self.streams for sink in self.asking(entry).sinks))

    @property
    def state_folder(self) -> Path:
        """`state`; or systemd's StateDirectory=; or the user's folder for such things.

        Raises `UserError` where none is given and the user has no home: ask for it where something is kept.
        """
        if given := self.state or os.environ.get("STATE_DIRECTORY", "").partition(":")[0]:
            return Path(given)
        if home := os.environ.get("XDG_STATE_HOME"):
            return Path(home) / "stts"
        return _home() / ".local" / "state" / "stts"

    @model_validator(mode="after")
    def _each_stream_has_a_name(self) -> Cameras:
        often = [name for name, count in Counter(entry.name for entry in self.streams).items() if count > 1]
        if often:
            raise ValueError(f"each stream needs a name of its own, and these come twice: {', '.join(often)}")
        return self

    @model_validator(mode="after")
    def _settings_go_together(self) -> Cameras:
        """Those of a stream with those of the file."""
        for entry in self.streams:
            self._check(entry)
        return self

    def _check(self, entry: StreamEntry) -> None:
        try:
            asking = self.asking(entry)
        except ValidationError as error:
            raise ValueError(f"stream {entry.name}: {mistakes(error)}") from None
        if words := _against_choices(asking):
            raise ValueError(f"stream {entry.name}: {words}")
        if asking.alert is not None and asking.alert.needs_files and self.alert_files is None:
            raise ValueError(
                f"stream {entry.name}: alert: snapshot and clip need a folder: alert_files: /var/lib/stts/alerts"
            )


AnyCameras = TypeVar("AnyCameras", bound=Cameras)


class StreamConfig(Cameras):
    """A whole file."""

    streams: Streams
    """The cameras, streams and files; at least one."""
    serve: Any = None
    """For `stts-runtime serve`, which reads the same file."""

    @model_validator(mode="after")
    def _each_stream_is_asked(self) -> StreamConfig:
        if not self.streams:
            raise ValueError("streams should list at least one stream: [{name: gate, source: rtsp://HOST/PATH}]")
        for entry in self.streams:
            if not self.asking(entry).questions:
                raise ValueError(f"stream {entry.name} has nothing to answer: give `questions` there or for all")
        return self
