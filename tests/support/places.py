"""Where things of the repository are."""

from __future__ import annotations

from pathlib import Path

ROOT = Path(__file__).parents[2]
DATA = ROOT / "tests" / "data"
TINY = ROOT / "checkpoints" / "tiny"
"""The shipped checkpoint."""
