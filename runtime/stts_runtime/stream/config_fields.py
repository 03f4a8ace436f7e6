"""Settings of a configuration that are more than a number or a text: how each is written, and what is wrong with it."""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Callable
from pathlib import Path
from typing import Annotated

from pydantic import AfterValidator, BeforeValidator, Field, StringConstraints, model_validator

from stts_runtime.answering.form import checked_choices
from stts_runtime.bundle.manifest import Novelty
from stts_runtime.errors import UserError
from stts_runtime.settings import Settings
from stts_runtime.sinks.config import AnySink


def list_of(example: str) -> Callable[[object], object]:
    def check(given: object) -> object:
        if not isinstance(given, list | tuple):
            raise ValueError(f"it should be a list, even of one: {example}")
        return given

    return check


_RULE = re.compile(r"\s*novelty\s*(?:>\s*(\d+(?:\.\d+)?|\.\d+)\s*)?")


class When(Settings):
    """An answer is due when the novelty of a frame is above `novelty`, in 0..1; None: above what the bundle says."""

    novelty: float | None = Field(ge=0, lt=1)
    """The threshold."""

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
Label = Annotated[str, StringConstraints(strip_whitespace=True, min_length=1, max_length=200)]
AUTO = "auto"
Questions = Annotated[tuple[Question, ...], BeforeValidator(list_of('["What moves?"]')), AfterValidator(_each_once)]
Sinks = Annotated[tuple[AnySink, ...], BeforeValidator(list_of('["answers.jsonl"]'))]
Place = Annotated[Path, BeforeValidator(_named)]
SourceText = Annotated[str, BeforeValidator(_camera_number), StringConstraints(min_length=1)]
"""A number is that of a camera: 0 is /dev/video0."""


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


_HOST_NAME = re.compile(r"(?=.*[A-Za-z])[A-Za-z0-9_.-]{1,253}", re.ASCII)


class Listen(Settings):
    """Where metrics can be fetched; in a file `ADDRESS:PORT`."""

    address: str
    """Address or name of this machine."""
    port: Annotated[int, Field(ge=0, le=65535)]
    """0: a free one."""

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
