"""Sees which of a project's files run in any thread of this process, and which objects of its classes are made.

It knows modules and files, and none of the project's names. It has to be installed before the threads start that it
shall see; it takes down nothing outside `start` and `stop`.
"""

from __future__ import annotations

import enum
import gc
import sys
import threading
from collections import Counter, deque
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from types import CodeType, FrameType, FunctionType, MethodType
from typing import Any

import numpy as np

_LONGEST = 10_000
"""Containers of more elements are not looked into."""


@dataclass(frozen=True)
class Made:
    """An object of one of the project's classes, at the moment when it was made or first seen."""

    kind: str
    """`module.Class`."""
    file: str
    holds: tuple[object, ...]
    """Texts, bytes, arrays, pictures of PyAV and sequences of integers that it leads to; see `_Leaves`."""


@dataclass
class Trace:
    files: dict[str, str] = field(default_factory=dict)
    """File and the function that was entered first, in the order of their first entry."""
    made: list[Made] = field(default_factory=list)


class Tracer:
    """Traces `packages`, folders of Python packages whose paths are given from `root`."""

    def __init__(self, root: Path, packages: Sequence[Path]) -> None:
        self._root, self._folders = root, tuple(f"{package}/" for package in packages)
        self._names = {package.name for package in packages}
        self._file_of: dict[CodeType, str | None] = {}
        self._lock = threading.Lock()
        self._before: dict[int, object] = {}
        self._during: dict[int, object] = {}
        self._unfinished: Counter[int] = Counter()
        """Constructors that run now, by the object; a class calls its parent's."""
        self._trace: Trace | None = None

    def install(self) -> None:
        """For this thread and all that start from now on."""
        threading.setprofile(self._happened)
        sys.setprofile(self._happened)

    def start(self) -> None:
        """Existing objects do not count as made during the trace, wherever they are passed."""
        before = {id(one): one for one in gc.get_objects() if self._is_ours(one)}
        with self._lock:
            self._before, self._during, self._unfinished, self._trace = before, {}, Counter(), Trace()

    def stop(self) -> Trace:
        with self._lock:
            trace, self._trace = self._trace, None
            self._before, self._during = {}, {}
        assert trace is not None, "it was not started"
        return trace

    def _happened(self, frame: FrameType, event: str, result: Any) -> None:
        if self._trace is None or event not in ("call", "return"):
            return
        with self._lock:
            if self._trace is None:
                return
            if event == "call":
                self._entered(self._trace, frame)
            else:
                self._left(self._trace, frame, result)

    def _entered(self, trace: Trace, frame: FrameType) -> None:
        code = frame.f_code
        if code.co_name == "__init__":
            self._unfinished.update([id(next(_arguments(frame), None))])
        file = self._project_file(code)
        if file is None or code.co_name == "<module>":
            return
        trace.files.setdefault(file, code.co_qualname)
        for argument in _arguments(frame):
            self._saw(trace, argument)

    def _left(self, trace: Trace, frame: FrameType, result: Any) -> None:
        """A constructor leaves `self`, others what they return, such as the object that a validator made."""
        if frame.f_code.co_name == "__init__":
            result = next(_arguments(frame), None)
            self._unfinished.subtract([id(result)])
        self._saw(trace, result)

    def _saw(self, trace: Trace, one: Any) -> None:
        if not self._is_new(one) or id(one) in self._during:
            return
        leaves = _Leaves(self._is_new)
        leaves.look_into(one)
        for found in leaves.objects:
            if id(found) not in self._during:
                self._during[id(found)] = found
                self._add(trace, found)

    def _add(self, trace: Trace, one: Any) -> None:
        kind = type(one)
        leaves = _Leaves(self._is_new)
        leaves.look_into(one)
        file = self._shown(getattr(sys.modules[kind.__module__], "__file__", None) or "") or kind.__module__
        # What generates constructors leaves no file to be entered: it is the class's.
        trace.files.setdefault(file, kind.__qualname__)
        trace.made.append(Made(f"{kind.__module__}.{kind.__qualname__}", file, tuple(leaves.found)))

    def _is_new(self, one: Any) -> bool:
        """Made during the trace, and ready."""
        return self._is_ours(one) and id(one) not in self._before and self._unfinished[id(one)] <= 0

    def _is_ours(self, one: Any) -> bool:
        kind = type(one)
        # Not a text for some that are written in C.
        ours = str(kind.__module__).partition(".")[0] in self._names
        return ours and not issubclass(kind, (BaseException, enum.Enum, type))

    def _project_file(self, code: CodeType) -> str | None:
        if code not in self._file_of:
            self._file_of[code] = self._shown(code.co_filename)
        return self._file_of[code]

    def _shown(self, file: str) -> str | None:
        return Path(file).relative_to(self._root).as_posix() if file.startswith(self._folders) else None


class _Leaves:
    """What an object leads to through containers, partial functions, closures, bound methods, and new objects.

    Objects that are older than the trace are not entered: a service that lives on leads everywhere.
    """

    def __init__(self, is_new: Callable[[Any], bool]) -> None:
        self._is_new = is_new
        self._seen: set[int] = set()
        self._keep: list[object] = []
        self.objects: list[object] = []
        """Objects of the project, inner ones first."""
        self.found: list[object] = []

    def look_into(self, one: Any) -> None:
        if id(one) in self._seen:
            return
        self._seen.add(id(one))
        self._keep.append(one)
        if leaf := _leaf(one):
            self.found.extend(leaf)
            return
        is_new = self._is_new(one)
        for part in [*_fields(one), *_elements(one)] if is_new else _elements(one):
            self.look_into(part)
        if is_new:
            self.objects.append(one)


def _leaf(one: Any) -> list[object]:
    if isinstance(one, (str, bytes, bytearray, np.ndarray)) or _is_picture(one):
        return [one]
    if type(one) in (list, tuple) and one and all(type(number) is int for number in one):
        return [tuple(one)]
    return []


def _is_picture(one: Any) -> bool:
    return type(one).__name__ == "VideoFrame" and type(one).__module__.partition(".")[0] == "av"


def _fields(one: Any) -> Iterator[Any]:
    yield from list(getattr(one, "__dict__", {}).values())
    for kind in type(one).__mro__:
        slots = kind.__dict__.get("__slots__", ())
        for name in (slots,) if isinstance(slots, str) else tuple(slots):
            if not name.startswith("__"):
                yield getattr(one, name, None)


def _elements(one: Any) -> list[Any]:
    match one:
        case dict():
            return list(one.values()) if len(one) <= _LONGEST else []
        case list() | tuple() | set() | frozenset() | deque():
            return list(one) if len(one) <= _LONGEST else []
        case partial():
            return [one.func, *one.args, *one.keywords.values()]
        case MethodType():
            return [one.__self__]
        case FunctionType():
            return list(_cells(one))
    return []


def _cells(function: FunctionType) -> Iterator[Any]:
    for cell in function.__closure__ or ():
        with suppress(ValueError):  # not filled yet
            yield cell.cell_contents


def _arguments(frame: FrameType) -> Iterator[Any]:
    code = frame.f_code
    values = frame.f_locals
    count = code.co_argcount + code.co_kwonlyargcount
    return (values[name] for name in code.co_varnames[:count] if name in values)
