"""`scripts/fault_lab [JSON]`: runs all faults, shows what was found, and fails if one was not met as it should be."""

from __future__ import annotations

import sys
from pathlib import Path

from rich.console import Console

from tests.fault_lab.faults import FAULTS
from tests.fault_lab.server import HOW_TO_INSTALL, is_installed
from tests.fault_lab.table import show, write

_WIDTH = 160


def main() -> None:
    if not is_installed():
        sys.exit(HOW_TO_INSTALL)
    # A pipe or a file has no width of its own.
    console = Console(width=None if sys.stdout.isatty() else _WIDTH)
    findings, wrong = {}, []
    for fault in FAULTS:
        with console.status(fault.name):
            try:
                findings[fault.name] = found = fault.run()
                fault.check(found)
            except AssertionError as error:
                wrong.append(f"{fault.name}: {str(error) or 'not as expected'}")
    show(findings, console)
    if len(sys.argv) > 1:
        write(findings, Path(sys.argv[1]))
    if wrong:
        sys.exit("\n".join(wrong))


main()
