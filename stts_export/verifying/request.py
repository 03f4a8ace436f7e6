"""What to hold against what."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class VerifyRequest:
    """The names are those of the command line."""

    bundle: Path
    checkpoint: Path
    frames_from: Path | None = None
    variants: Sequence[str] = ()
    """Those to look at; none: all."""
    question: str = "What happens in this video?"
    max_tokens: int = 16
    write_reference: Path | None = None
    """Where what the modules gave is kept for `stts-runtime check`; None: nowhere."""
