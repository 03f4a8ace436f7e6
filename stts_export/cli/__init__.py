"""The command line of the build host."""

from __future__ import annotations

import sys


def main() -> None:
    """Entry point."""
    from stts_export.cli.app import app
    from stts_runtime.cli.entry import run_app

    sys.exit(run_app(app, "stts-export"))
