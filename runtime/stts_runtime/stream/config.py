"""What `stts-runtime stream` is told: one bundle, and the cameras that it looks at. See docs/examples/cameras.yaml."""

from __future__ import annotations

import ipaddress
import os
import re
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any, Literal, TypeVar

from pydantic import AfterValidator, BeforeValidator, Field, StringConstraints, ValidationError, model_validator

from stts_runtime.answering.form import checked_choices
from stts_runtime.bundle.manifest import Novelty
from stts_runtime.engines import EngineName
from stts_runtime.errors import UserError
from stts_runtime.mistakes import mistakes
from stts_runtime.settings import Seconds, Settings
from stts_runtime.sinks.config import AnySink, ScreenConfig, SinkConfig
from stts_runtime.stream.alerts import AlertRule


def _list_of(example: str) -> Callable[[object], object]:
    def check(given: object) -> object:
        if not isinstance(given, list | tuple):
            raise ValueError(f"it should be a list, even of one: {example}")
        return given

    return check


_RULE = re.compile(r"\s*novelty\s*(?:>\s*(\d+(?:\.\d+)?|\.\d+)\s*)?")


class When(Settings):
    """An answer is due when the novelty of a frame is above `novelty`, in 0..1; None: above what the bundle says."""

    novelty: float | None = Field(ge=0, lt=1)

    def above(self, novelty: Novelty) -> float:
        return novelty.news if self.novelty is None else self.novelty

    @model_validator(mode="before")
    @classmethod
    def _parsed(cls, given: object) -> object:
        if isinstance(given, When):
            return given
        found = _RULE.fullmatch(given) if isinstance(given, str) else None
        if found is None:
            raise ValueError("it should be novelty, or novelty>NUMBER with a number from 0 to 1: novelty>0.3")
        return {"novelty": None if found[1] is None else float(found[1])}


def _camera_number(given: object) -> object:
    return str(given) if isinstance(given, int) and given >= 0 else given


def _named(given: object) -> object:
    if given == "":
        raise ValueError("it should be a path, and it is empty")
    return given


def _each_once(questions: tuple[str, ...]) -> tuple[str, ...]:
    """As `Batch` asks them: a question has one answer, and one alarm."""
    return tuple(dict.fromkeys(questions))


Question = Annotated[str, StringConstraints(strip_whitespace=True, min_length=1)]
Name = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]*$", max_length=64)]
Group = Annotated[str, StringConstraints(strip_whitespace=True, min_length=1, max_length=64)]
Questions = Annotated[tuple[Question, ...], BeforeValidator(_list_of('["What moves?"]')), AfterValidator(_each_once)]
Sinks = Annotated[tuple[AnySink, ...], BeforeValidator(_list_of('["answers.jsonl"]'))]
Place = Annotated[Path, BeforeValidator(_named)]
SourceText = Annotated[str, BeforeValidator(_camera_number), StringConstraints(min_length=1)]
"""A number is that of a camera: 0 is /dev/video0."""


def _home() -> Path:
    try:
        return Path.home()
    except RuntimeError:
        raise UserError(
            "what waits to be delivered needs a folder, and this user has no home: set `state:` in the configuration "
            "file, or STATE_DIRECTORY or XDG_STATE_HOME in the environment"
        ) from None


def _choices(given: object) -> object:
    """None and an empty list are none, so that a stream can do without those of the file."""
    if given is None or given in ((), []):
        return ()
    try:
        return checked_choices(given, "")
    except UserError as error:
        words = str(error)
        raise ValueError(words if words.startswith("[") else f"it{words}") from None


Choices = Annotated[tuple[str, ...], BeforeValidator(_choices)]


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
    sinks: Sinks = (ScreenConfig(),)

    @model_validator(mode="after")
    def _pauses_in_order(self) -> Asking:
        if self.longest_pause is not None and self.longest_pause < self.shortest_pause:
            raise ValueError("longest_pause should not be below shortest_pause")
        return self


_HOST_NAME = re.compile(r"(?=.*[A-Za-z])[A-Za-z0-9_.-]{1,253}", re.ASCII)


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


class Listen(Settings):
    """Where metrics can be fetched; in a file `ADDRESS:PORT`."""

    address: str
    port: Annotated[int, Field(ge=0, le=65535)]

    @model_validator(mode="before")
    @classmethod
    def _parsed(cls, given: object) -> object:
        address, colon, port = given.rpartition(":") if isinstance(given, str) else ("", "", "")
        if not (address and colon and port.isdecimal()):
            raise ValueError("it should be ADDRESS:PORT: 127.0.0.1:9109")
        return {"address": _address(address.strip("[]")), "port": port}


def _address(given: str) -> str:
    """A name, or an address that is one: what looks like neither is looked up nowhere."""
    if not _HOST_NAME.fullmatch(given):
        try:
            ipaddress.ip_address(given)
        except ValueError:
            raise ValueError(f"{given!r} is neither an address of this machine nor a name of it") from None
    return given


class StreamEntry(Asking):
    """A camera, stream or file. What it does not set of `Asking`, the file's own setting decides."""

    name: Name
    source: SourceText
    group: Group | None = None
    """What it belongs to on the live page: a site, a floor."""


Streams = Annotated[tuple[StreamEntry, ...], BeforeValidator(_list_of("[{name: gate, source: rtsp://HOST/PATH}]"))]


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
    metrics: Listen | None = None
    preview: Place | None = None
    """A folder for videos of what was kept, one series a stream."""
    state: Place | None = None
    """The folder of the spools; see `state_folder`."""
    streams: Streams = ()

    def asking(self, entry: StreamEntry) -> Asking:
        """The settings of one of the streams, its own before the file's."""
        return Asking(
            **{
                info.alias or field: getattr(entry if field in entry.model_fields_set else self, field)
                for field, info in Asking.model_fields.items()
            }
        )

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
