"""What is asked for: which checkpoint is taught a scorer, on which videos, and how long."""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

_NOT_OF_THE_WEIGHTS = ("out", "device", "workers", "replace", "force")


@dataclass(frozen=True, kw_only=True)
class ScorerRequest:
    """Frames and keep are those that the released checkpoints were trained with."""

    checkpoint: Path
    videos: Path
    out: Path
    questions: Path | None = None
    frames: tuple[int, ...] = (64,)
    """Most frames of a window; each step draws one of them."""
    keeps: tuple[float, ...] = (0.5,)
    """Each step draws one; the first is what the checkpoint says that it was trained for."""
    prune_at: int | None = None
    """None: what the checkpoint says, else the last but one."""
    steps: int = 2000
    change_steps: int = 500
    """The first of them, which teach change between frames alone and need nothing after the layer that is scored."""
    minutes: float = math.inf
    """Time limit of the whole run."""
    clips: int = 8
    """A step, of all processes together."""
    rate: float = 3e-4
    """Highest learning rate; a quarter of it for the steps after change alone."""
    seed: int = 0
    device: str = "cuda"
    workers: int = 0
    """Processes that read videos, of each process that trains."""
    replace: bool = False
    """Teach another scorer in place of the one that is there."""
    force: bool = False
    """Replace `out` if it is a checkpoint."""

    @property
    def folder(self) -> Path:
        """Where the run is kept until it is over."""
        return self.out.with_name(f"{self.out.name}.training")

    def settings(self) -> dict[str, Any]:
        """All that decides on the weights, as JSON holds it."""
        found = {name: value for name, value in asdict(self).items() if name not in _NOT_OF_THE_WEIGHTS}
        found["minutes"] = None if math.isinf(self.minutes) else self.minutes
        return {name: _plain(value) for name, value in found.items()}


def _plain(value: Any) -> Any:
    if isinstance(value, Path):
        return str(value)
    return list(value) if isinstance(value, tuple) else value
