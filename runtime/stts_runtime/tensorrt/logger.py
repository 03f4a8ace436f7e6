"""TensorRT's own messages, kept so that an error of ours can carry its text."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from stts_runtime.errors import EngineError

_KEPT = 20


@dataclass
class Log:
    """What TensorRT has said since the last failure: its first errors and warnings."""

    errors: list[str] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)

    def explain(self, otherwise: str = "no reason given") -> str:
        """The first error, from which later ones follow; all are forgotten, since they explain nothing else."""
        reason = self.errors[0] if self.errors else otherwise
        self.errors.clear()
        return reason

    def add(self, messages: list[str], text: str) -> None:
        if len(messages) < _KEPT:
            messages.append(" ".join(text.split()))


def made(failure: str, log: Log, make: Callable[[], Any]) -> Any:
    """What `make` makes of TensorRT's; raises `EngineError` with TensorRT's text where it makes nothing."""
    try:
        instance = make()
    except TypeError:
        # pybind11's way to say that a constructor gave nothing.
        instance = None
    if instance is None:
        raise EngineError(f"{failure}: {log.explain()}")
    return instance


def make_logger(api: Any, log: Log) -> Any:
    """An instance of the module's `ILogger` that writes to `log` and prints nothing."""
    severity = api.ILogger.Severity
    sinks: dict[Any, Callable[[], list[str]]] = {
        severity.INTERNAL_ERROR: lambda: log.errors,
        severity.ERROR: lambda: log.errors,
        severity.WARNING: lambda: log.warnings,
    }

    class Logger(api.ILogger):  # type: ignore[misc]
        def __init__(self) -> None:
            # pybind11 classes need their own base's constructor called by name.
            api.ILogger.__init__(self)

        def log(self, level: Any, text: str) -> None:
            sink = sinks.get(level)
            if sink is not None:
                log.add(sink(), text)

    return Logger()
