"""`python -m stts_runtime`, where the program `stts-runtime` is not on the path."""

from __future__ import annotations

from stts_runtime.cli import main

main()
