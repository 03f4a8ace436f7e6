"""The program `stts-runtime`."""

from __future__ import annotations

import sys


def main() -> None:
    """Entry point."""
    from stts_runtime.cli.app import app
    from stts_runtime.cli.entry import run_app

    sys.exit(run_app(app, "stts-runtime"))
