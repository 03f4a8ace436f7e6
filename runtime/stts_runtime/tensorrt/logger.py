"""TensorRT's own messages, kept so that an error of ours can carry its text."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

_KEPT = 20


@dataclass
class Log:
    """The last messages of warning or worse."""

    errors: list[str] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)

    def explain(self, otherwise: str) -> str:
        """The first error: later ones follow from it."""
        return self.errors[0] if self.errors else otherwise

    def add(self, messages: list[str], text: str) -> None:
        if len(messages) < _KEPT:
            messages.append(" ".join(text.split()))


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
