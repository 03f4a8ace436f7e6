"""The names under which a bundle and its streams are asked: what `/v1/models` lists."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from stts_runtime.bundle import Bundle
from stts_runtime.serve.problems import Problem

_STREAM = "stream/"


@dataclass(frozen=True)
class ModelChoice:
    """A keep ratio for clips (None: the trained one), or a stream."""

    keep: float | None = None
    stream: str | None = None


def model_choices(bundle: Bundle, streams: Iterable[str]) -> dict[str, ModelChoice]:
    """The bundle's name asks about clips at the trained keep, `NAME/keep-0.5` at that, `stream/NAME` about a stream."""
    name = bundle.folder.resolve().name
    keeps = sorted({one.keep for one in bundle.manifest.variants.values() if not one.is_control}, reverse=True)
    return {
        name: ModelChoice(),
        **{f"{name}/keep-{keep:g}": ModelChoice(keep=keep) for keep in keeps},
        **{f"{_STREAM}{stream}": ModelChoice(stream=stream) for stream in streams},
    }


def chosen(choices: dict[str, ModelChoice], model: str) -> ModelChoice:
    """Raises `Problem` 404 as OpenAI's servers do."""
    if model not in choices:
        raise Problem(404, f"there is no such model; there is {', '.join(choices)}", "model", "model_not_found")
    return choices[model]
