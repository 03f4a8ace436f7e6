"""Every option that takes a path, from the definition of both command lines, and every kind of path that is none.

An option is a path unless `_TEXTS` says otherwise, and each kind must be refused unless `_MADE` or `_MAY_BE` allows it:
who adds an option has it tried with every kind before anything is said about it here.
"""

from __future__ import annotations

import io
import json
import os
import re
import signal
import socket
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, redirect_stderr, redirect_stdout
from dataclasses import dataclass
from pathlib import Path
from types import FrameType
from typing import Any, get_args, get_type_hints

import pytest
import typer
from pydantic import BaseModel

from stts_runtime.cli.entry import run_app
from stts_runtime.settings import Settings
from tests.support.unprivileged import permissions_hold

_TEXTS = frozenset(
    (
        "ask",
        "base_path",
        "when",
        "shortest_pause",
        "longest_pause",
        "device",
        "metrics",
        "listen",
        "variant",
        "arch",
        "setting",
        "judge",
        "region",
        "words",
        "since",
        "until",
        "stream",
    )
)
"""Options of text that name no path."""
_SUFFIXES = {
    "overlay": ".png", "plot": ".png", "report": ".json", "points": ".json", "answers": ".jsonl", "save_frames": ".npz",
    "write_reference": ".npz", "reference": ".npz", "to": ".jsonl", "config": ".yaml", "sources": ".mp4",
    "source": ".mp4", "frames_from": ".mp4", "questions": ".jsonl", "page": ".html", "arrays": ".npz", "db": ".db",
}  # fmt: skip
_OUT_SUFFIXES = {"run.out": ".jsonl", "explain.out": ".png"}
_FOLDERS_MADE = ("build.out", "import.out", "calibrate.out", "train-scorer.out", "stream.preview", "stream.alert_files")
_FILES_MADE = (
    "run.overlay", "run.points", "run.out", "bench.plot", "calibrate.save_frames", "calibrate.report",
    "calibrate.plot", "evaluate.report", "evaluate.plot", "evaluate.answers", "verify.write_reference", "stream.to",
    "explain.out", "explain.arrays",
)  # fmt: skip
_MADE = {
    **{name: {"not there", "an empty file"} for name in _FILES_MADE},
    **{name: {"not there", "in a folder that is not there"} for name in _FOLDERS_MADE},
    "stream.preview": {"not there", "in a folder that is not there", "an empty folder"},
    "stream.alert_files": {"not there", "in a folder that is not there", "an empty folder"},
    "doctor.bundle": {"an empty folder", "no name"},
}
"""Kinds that are right for what is made, and for `doctor`, which looks at any folder's disk."""
_WRITTEN = frozenset((*_FILES_MADE, *_FOLDERS_MADE))
_PATIENCE_SECONDS = 10


def _file(path: Path) -> Path:
    path.write_bytes(b"")
    return path


def _folder(path: Path) -> Path:
    path.mkdir()
    return path


def _link(path: Path, target: str) -> Path:
    path.symlink_to(target)
    return path


def _closed(path: Path, mode: int = 0) -> Path:
    path.chmod(mode)
    return path


def _closed_file(path: Path) -> Path:
    path.write_bytes(b"x" * 100)
    return _closed(path)


def _pipe(path: Path) -> Path:
    os.mkfifo(path)
    return path


def _socket(path: Path) -> Path:
    # Names of sockets may be 107 bytes long, and a test's folder is deep.
    here = Path.cwd()
    os.chdir(path.parent)
    try:
        with socket.socket(socket.AF_UNIX) as made:
            made.bind(path.name)
    finally:
        os.chdir(here)
    return path


def _below(path: Path, name: str) -> Path:
    return path / f"x{Path(name).suffix}"


KINDS: Mapping[str, Callable[[Path], Path | str]] = {
    "not there": lambda path: path,
    "in a folder that is not there": lambda path: path.with_name("gone") / path.name,
    "below a file": lambda path: _below(_file(path), path.name),
    "an empty file": _file,
    "an empty folder": _folder,
    "a broken link": lambda path: _link(path, "gone"),
    "a link to itself": lambda path: _link(path, path.name),
    "a file that may not be read": _closed_file,
    "a folder that may not be entered": lambda path: _closed(_folder(path)),
    "in a folder that may not be entered": lambda path: _below(_closed(_folder(path)), path.name),
    "too long a name": lambda path: path.with_name("n" * 300 + path.suffix),
    "too long a path": lambda path: path.parent.joinpath(*["d" * 200] * 25, path.name),
    "a name that is not UTF-8": lambda path: path.with_name(os.fsdecode(b"caf\xe9") + path.suffix),
    "a file whose name is not UTF-8": lambda path: _file(path.with_name(os.fsdecode(b"caf\xe9") + path.suffix)),
    "a pipe that nobody writes to": _pipe,
    "a socket": _socket,
    "a device": lambda path: _link(path, "/dev/null"),
    "no name": lambda _: "",
}
WRITTEN_KINDS: Mapping[str, Callable[[Path], Path | str]] = {
    "in a folder that may not be written": lambda path: _below(_closed(_folder(path), 0o555), path.name),
}
"""Of what is written alone."""


@dataclass(frozen=True)
class Option:
    """One parameter of one command that takes a path."""

    program: str
    command: str
    parameter: str
    flag: str
    """The name alone for an argument."""

    @property
    def name(self) -> str:
        return f"{self.command}.{self.parameter}"

    @property
    def suffix(self) -> str:
        if self.name in _OUT_SUFFIXES:
            return _OUT_SUFFIXES[self.name]
        return _SUFFIXES.get(self.parameter, "")

    def kinds(self) -> Mapping[str, Callable[[Path], Path | str]]:
        kinds = {**KINDS, **WRITTEN_KINDS} if self.name in _WRITTEN else KINDS
        return {kind: make for kind, make in kinds.items() if kind not in _MADE.get(self.name, set())}


def options(apps: Mapping[str, typer.Typer]) -> list[Option]:
    """All of these programs' paths, in the order of their help."""
    return [
        Option(program, str(one.name), parameter.name, parameter.opts[0])
        for program, app in apps.items()
        for one in app.registered_commands
        for parameter in _parameters(app, str(one.name))
        if _takes_path(parameter.name, get_type_hints(one.callback)[parameter.name])
    ]


def _parameters(app: typer.Typer, command: str) -> list[Any]:
    group: Any = typer.main.get_command(app)
    parameters: list[Any] = group.commands[command].params
    return parameters


def _takes_path(name: str, hint: Any) -> bool:
    inside = {hint, *get_args(hint), *(one for inner in get_args(hint) for one in get_args(inner))}
    return Path in inside or (str in inside and name not in _TEXTS)


@dataclass(frozen=True)
class Ended:
    """How a command ended; `code` is None for one that raised what it should not, or hung."""

    code: int | None
    out: str
    err: str

    @property
    def problem(self) -> str | None:
        """What is wrong with how it refused; None if nothing is."""
        if self.code != 2:
            return f"exit code {self.code}: {self.err.strip()[-300:] or self.out.strip()[-300:]}"
        if not re.fullmatch(r"((\S+Z )?note: [^\n]+\n)*(\S+Z )?error: [^\n]+\n", self.err):
            return f"not one sentence: {self.err!r}"
        if re.search(r"Errno|Traceback|internal error|Error:", self.err):
            return f"not for people: {self.err!r}"
        return None


def run_here(app: typer.Typer, program: str, words: list[str]) -> Ended:
    """In this process, as `main` would, but that an error nobody caught is what it ends with."""
    out, err = io.TextIOWrapper(io.BytesIO(), "utf-8"), io.TextIOWrapper(io.BytesIO(), "utf-8")
    with pytest.MonkeyPatch.context() as patch, redirect_stdout(out), redirect_stderr(err), _own_signals():
        patch.setattr(sys, "argv", [program, *words])
        patch.setattr(sys, "excepthook", sys.excepthook)
        try:
            code: int | None = run_app(app, program)
        except BaseException as error:  # noqa: BLE001 - what nobody caught is what is looked for
            code = None
            err.write(f"internal error: {type(error).__name__}: {error}".encode(errors="replace").decode())
    for stream in (out, err):
        stream.seek(0)
    return Ended(code, out.read(), err.read())


@contextmanager
def _own_signals() -> Iterator[None]:
    """Commands set handlers; what hangs is ended by the alarm."""
    numbers = (signal.SIGTERM, signal.SIGHUP, signal.SIGINT, signal.SIGALRM)
    before = [(number, signal.getsignal(number)) for number in numbers]
    signal.signal(signal.SIGALRM, _give_up)
    signal.alarm(_PATIENCE_SECONDS)
    try:
        yield
    finally:
        signal.alarm(0)
        for number, handler in before:
            signal.signal(number, handler)


def _give_up(_: int, __: FrameType | None) -> None:
    raise TimeoutError(f"it went on for {_PATIENCE_SECONDS} s")


_MADE_BY_CONFIG = ("preview", "state", "alert_files")
_RIGHT_FOR_MADE = ("not there", "in a folder that is not there", "an empty folder")


def places(model: type[BaseModel], before: tuple[str, ...] = ()) -> list[tuple[str, ...]]:
    """Where a configuration file names paths, from its definition."""
    found = []
    for field_name, field in model.model_fields.items():
        name = field.alias or field_name
        inside = _all_within(field.annotation) | {one for extra in field.metadata for one in _all_within(extra)}
        if Path in inside:
            found.append((*before, name))
        for kind in inside:
            if isinstance(kind, type) and issubclass(kind, Settings):
                found += places(kind, (*before, name))
    return sorted(set(found))


def _all_within(hint: Any) -> set[Any]:
    return {hint} | {one for inner in get_args(hint) for one in _all_within(inner)}


def place_kinds(place: tuple[str, ...]) -> Mapping[str, Callable[[Path], Path | str]]:
    if not set(place) & set(_MADE_BY_CONFIG):
        return KINDS
    return {kind: make for kind, make in {**KINDS, **WRITTEN_KINDS}.items() if kind not in _RIGHT_FOR_MADE}


def tried_in_file(place: tuple[str, ...], kind: str, folder: Path, app: typer.Typer, good: Mapping[str, str]) -> Ended:
    """Runs `serve`, or `stream`, with a file that is right but for one path."""
    folder.mkdir()
    bad = str(place_kinds(place)[kind](folder / "it"))
    to = "mqtt://127.0.0.1:9/x" if "password" in place else "http://127.0.0.1:9/x"
    stream: dict[str, Any] = {"name": "gate", "source": good["sources"]}
    file = {"bundle": good["bundle"], "state": str(folder / "state"), "questions": ["Who?"], "sinks": [{"to": to}]}
    if "sinks" in place:
        holder = file if place[0] == "sinks" else stream
        holder["sinks"] = [{"to": to, **_nested(place[place.index("sinks") + 1 :], bad)}]
    elif place[0] == "streams":
        stream |= _nested(place[1:], bad)
    else:
        file |= _nested(place, bad)
    config = folder / "cameras.yaml"
    # JSON is YAML, and has escapes for what is no text.
    config.write_text(json.dumps({**file, "streams": [stream]}))
    with permissions_hold():
        return run_here(app, "stts-runtime", ["serve" if place[0] == "serve" else "stream", "--config", str(config)])


def _nested(place: tuple[str, ...], value: str) -> dict[str, Any]:
    return {place[0]: value if len(place) == 1 else _nested(place[1:], value)}


def tried(option: Option, kind: str, folder: Path, app: typer.Typer, good: Mapping[str, str]) -> Ended:
    """Runs a command with one bad path, and with what else it needs from `good`."""
    folder.mkdir()
    bad = str(option.kinds()[kind](folder / f"it{option.suffix}"))
    with permissions_hold():
        return run_with(option, bad, app, good)


def run_with(option: Option, given: str, app: typer.Typer, good: Mapping[str, str]) -> Ended:
    """Runs the option's command with `given`, and with what else it needs from `good`."""
    return run_here(app, option.program, _words(option, given, app, good))


_BESIDE = {"stream": ("bundle", "sources", "ask"), "serve": ("bundle", "sources")}
"""What a command needs though its definition does not say so; `--config` stands in for all of it."""


def _words(option: Option, bad: str, app: typer.Typer, good: Mapping[str, str]) -> list[str]:
    line = [option.command]
    for parameter in _parameters(app, option.command):
        needed = parameter.required or parameter.name in _BESIDE.get(option.command, ())
        if parameter.name == option.parameter:
            given = bad
        elif needed and option.parameter != "config":
            given = good[parameter.name]
        else:
            continue
        flag = parameter.opts[0]
        line += [flag, given] if flag.startswith("--") else [given]
    return line
