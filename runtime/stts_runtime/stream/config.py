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
    choices: Choices = ()
    """Each answer is one of them; none: free text."""
    answer_schema: Place | None = Field(None, alias="schema")
    """A file with a JSON schema that each answer is kept to."""
    alert: AlertRule | None = None
    """Which answers are an alarm."""
    when: When | None = None
    """None asks about every window."""
    longest_pause: Seconds | None = None
    """An answer comes after so long though nothing is new; None waits for ever."""
    shortest_pause: Seconds = 0.0
    """No answer comes sooner after the last one, whatever is new."""
    deadline: Annotated[Seconds, Field(gt=0)] | None = None
    """Seconds from the frame for which an answer is due to its first token: who has less time left is answered first,
    and an answer that cannot begin by then is left out. None: it waits."""
    sinks: Sinks = (ScreenConfig(),)
    site: Label | None = None
    """Where it stands; in records."""

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
    source: SourceText
    masks: Masks = ()
    """What is never looked at."""
    group: Group | None = None
    """What it belongs to on the live page, such as a floor; None: its `site`."""


Streams = Annotated[tuple[StreamEntry, ...], BeforeValidator(list_of("[{name: gate, source: rtsp://HOST/PATH}]"))]


class Cameras(Asking):
    """A bundle and what it looks at. Relative paths start at the working directory."""

    bundle: Place
    engine: EngineName | None = None
    device: str | None = None
    """A GPU, cuda:0 and so on, or cpu."""
    keep: Annotated[float, Field(gt=0, le=1)] | None = None
    frames: Annotated[int, Field(ge=1)] | None = None
    """Of a window."""
    key_every: Annotated[int, Field(ge=1)] | None = None
    """Every so many frames one is kept whole; None: once a window."""
    max_tokens: Annotated[int, Field(ge=1)] = 64
    transport: Literal["tcp", "udp"] = "tcp"
    """Of RTSP."""
    nvdec: bool = False
    """Decode on the GPU what it can decode; see `LiveSettings`."""
    host: Label | None = None
    """This machine's name in records; `auto`: that which it has."""
    clock_times: bool = False
    """Whether answers have the times of their frames by the clock too."""
    batch: Annotated[int, Field(ge=1, le=64)] | None = None
    """The most frames, and answers, that go through the engines at once; None: as many as there are streams."""
    metrics: Listen | None = None
    preview: Place | None = None
    """A folder for videos of what was kept, one series a stream."""
    alert_files: AlertFiles | None = None
    """Where pictures and clips of alarms lie."""
    state: Place | None = None
    """The folder of the spools; see `state_folder`."""
    fleet: Any = None
    """For `stts-runtime fleet`, which reads the same file."""
    streams: Streams = ()

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
