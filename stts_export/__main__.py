"""`python -m stts_export`, where the program `stts-export` is not on the path."""

from __future__ import annotations

from stts_export.cli import main

main()
