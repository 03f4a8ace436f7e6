"""Places that should be one: functions that drive the language engine to an answer, and functions that open a video.

Found by the calls that they make: the language engine's methods take tokens and nothing else, unlike those of the same
names that the exported modules have.
"""

from __future__ import annotations

import ast
from collections.abc import Callable, Iterator, Sequence

from stts_tools.house.sources import PACKAGES, FunctionNode, SourceFile, functions_of, own_nodes

ENGINE_CALLS = ("prefill", "forward")
"""Methods of the language engine. `self.forward(...)` is an engine calling itself and no place."""
OPENING_CALLS = ("av.open", "cv2.VideoCapture")


def find_places(files: Sequence[SourceFile]) -> dict[str, list[str]]:
    """By what is done there: `path: function (calls)`."""
    packaged = [file for file in files if file.part in PACKAGES]
    return {
        "answers": [place for file in packaged for place in _places(file, _engine_call)],
        "decoders": [place for file in packaged for place in _places(file, _opening_call)],
    }


def _places(file: SourceFile, name_of: Callable[[ast.Call], str | None]) -> Iterator[str]:
    for function in functions_of(file.tree):
        calls = {name for call in _calls(function) if (name := name_of(call))}
        if calls:
            yield f"{file.path}: {function.name} ({', '.join(sorted(calls))})"


def _calls(function: FunctionNode) -> Iterator[ast.Call]:
    return (node for node in own_nodes(function) if isinstance(node, ast.Call))


def _engine_call(call: ast.Call) -> str | None:
    match call.func:
        case ast.Attribute(value=ast.Name(id="self")):
            return None
        case ast.Attribute(attr=name) if name in ENGINE_CALLS and len(call.args) == 1 and not call.keywords:
            return name
    return None


def _opening_call(call: ast.Call) -> str | None:
    """Not of a file that is written."""
    name = ast.unparse(call.func)
    modes = [argument.value for argument in call.args if isinstance(argument, ast.Constant)]
    return name if name in OPENING_CALLS and "w" not in modes else None
