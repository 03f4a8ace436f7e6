"""What to build."""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from stts_export.options import Half
from stts_runtime.budget import Scope
from stts_runtime.bundle.manifest import Positions, ScorerName


@dataclass(frozen=True)
class BuildRequest:
    """What to build; the names are those of the command line."""

    checkpoint: Path
    out: Path
    frames: Sequence[int]
    keeps: Sequence[float]
    budgets: Sequence[Scope]
    variants: Sequence[str] = ()
    """Further vision variants by name, in addition to every frames x keep x budget."""
    targets: Sequence[str] = ("cpu",)
    half: Half = "fp16"
    """What targets in 16 bits compute in, but for what does not fit it."""
    frames_from: Path | None = None
    """A video to look for values on that fp16 cannot hold; None: made-up frames."""
    max_context: int | None = None
    positions: Positions | None = None
    scorer: ScorerName | None = None
    """None: the trained one where there is one."""
    prune_at: int | None = None
    """The layer that a scorer without weights reads; None: the checkpoint's, else the last but one."""
    batch: int = 1
    """The most frames of streams, and answers about them, that go through at once; graphs of 2, 4, 8, ... up to it."""
    replace: bool = False

    def command(self, checkpoint: str) -> str:
        """The command line that asks for the same, with names in place of paths: the bundle will travel."""
        words = ["stts-export", "build", checkpoint, "--out", self.out.resolve().name]
        for option, values in self._repeatable:
            for value in values:
                words += [option, f"{value:g}" if isinstance(value, float) else str(value)]
        single = {
            "--max-context": self.max_context,
            "--positions": self.positions,
            "--scorer": self.scorer,
            "--prune-at": self.prune_at,
            "--batch": self.batch if self.batch > 1 else None,
        }
        for option, given in single.items():
            words += [] if given is None else [option, str(given)]
        for target in self.targets:
            words += ["--target", target]
        if self.half != "fp16":
            words += ["--precision", self.half]
        if self.frames_from is not None:
            words += ["--frames-from", self.frames_from.name]
        return shlex.join(words)

    @property
    def _repeatable(self) -> Sequence[tuple[str, Sequence[object]]]:
        return (
            ("--frames", self.frames),
            ("--keep", self.keeps),
            ("--budget", self.budgets),
            ("--variant", self.variants),
        )
