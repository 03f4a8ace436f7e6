"""TensorRT's progress callbacks as messages: phases nest, and each counts its steps."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from stts_runtime.compile.request import Progress


def make_monitor(api: Any, tell: Callable[[Progress], None]) -> Any:
    """An instance of the module's `IProgressMonitor`."""

    class Monitor(api.IProgressMonitor):  # type: ignore[misc]
        def __init__(self) -> None:
            api.IProgressMonitor.__init__(self)
            self._phases: dict[str, tuple[int, int]] = {}

        def phase_start(self, phase_name: str, parent_phase: str | None, num_steps: int) -> None:
            depth = self._phases[parent_phase][0] + 1 if parent_phase in self._phases else 0
            self._phases[phase_name] = depth, num_steps
            tell(Progress(phase=phase_name, depth=depth, step=0, steps=num_steps))

        def step_complete(self, phase_name: str, step: int) -> bool:
            depth, steps = self._phases.get(phase_name, (0, step + 1))
            tell(Progress(phase=phase_name, depth=depth, step=step + 1, steps=steps))
            return True

        def phase_finish(self, phase_name: str) -> None:
            self._phases.pop(phase_name, None)

    return Monitor()
