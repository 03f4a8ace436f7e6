"""Comparisons with what an engine must give, as `check` and `stts-export verify` show them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from stts_runtime.cli.show import console
from stts_runtime.cli.text import printable
from stts_runtime.proof.finding import Finding, Status, missed_of

_COLOURS: Final[dict[Status, str]] = {"ok": "green", "missed": "bold red", "note": "cyan", "not run": "yellow"}


def coloured(status: Status) -> str:
    return f"[{_COLOURS[status]}]{status}[/]"


def show_verdict(findings: Sequence[Finding], what: str) -> None:
    """The last line; `what` says what they were compared on or with."""
    missed = len(missed_of(findings))
    not_run = sum(finding.status == "not run" for finding in findings)
    verdict = f"{missed} bars missed" if missed else "every bar is kept"
    if not_run:
        verdict += f", {not_run} comparisons not run"
    console.print(f"{verdict}; {printable(what)}", soft_wrap=True)
