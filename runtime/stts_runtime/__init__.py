"""Runs STTS bundles on video, without torch.

    import stts_runtime

    model = stts_runtime.load("out/tiny")
    print(model.ask("street.mp4", "What happens?").answer)

More in docs/python.md and examples/.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from stts_runtime.telemetry import turn_off_telemetry

if TYPE_CHECKING:
    from stts_runtime.answering import Conversation
    from stts_runtime.budget import TokenBudget
    from stts_runtime.bundle import Bundle
    from stts_runtime.errors import SttsError, UserError
    from stts_runtime.model import Model, load
    from stts_runtime.records import Answer, StreamAnswer, StreamEvent
    from stts_runtime.session import Session
    from stts_runtime.video import VideoFile, Window, window_of_file
    from stts_runtime.viewing import Chat, Viewing

turn_off_telemetry()

_HOMES = {
    "Answer": "records",
    "Bundle": "bundle",
    "Chat": "viewing",
    "Conversation": "answering",
    "Model": "model",
    "Session": "session",
    "StreamAnswer": "records",
    "StreamEvent": "records",
    "SttsError": "errors",
    "TokenBudget": "budget",
    "UserError": "errors",
    "VideoFile": "video",
    "Viewing": "viewing",
    "Window": "video",
    "load": "model",
    "window_of_file": "video",
}

__all__ = [
    "Answer",
    "Bundle",
    "Chat",
    "Conversation",
    "Model",
    "Session",
    "StreamAnswer",
    "StreamEvent",
    "SttsError",
    "TokenBudget",
    "UserError",
    "VideoFile",
    "Viewing",
    "Window",
    "load",
    "window_of_file",
]


def __getattr__(name: str) -> Any:
    """Imports nothing before it is used: a program that asks for `stts_runtime` alone starts at once."""
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_HOMES[name]}"), name)
