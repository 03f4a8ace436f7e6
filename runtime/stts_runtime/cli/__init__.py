"""The program `stts-runtime`."""

from __future__ import annotations

import sys


def main() -> None:
    """Entry point."""
    # Before anything else is imported: libraries look at standard output, which may be closed.
    from stts_runtime.cli.standard_streams import prepare_streams

    prepare_streams()
    from stts_runtime.cli.app import app
    from stts_runtime.cli.entry import run_app

    sys.exit(run_app(app, "stts-runtime"))
