"""One comparison of an engine or a graph with what it must give."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Literal

from pydantic import BaseModel, ConfigDict

Status = Literal["ok", "missed", "note", "not run"]
"""`missed`: beyond its bar. `note`: a figure without a bar, such as what a deviation of ours changes."""


class Finding(BaseModel):
    """One comparison."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    subject: str
    """What was compared: an engine, a graph, the weights, the reference itself."""
    variant: str | None
    stage: str
    status: Status
    measured: str
    value: float | None = None
    """The figure that the bar is about."""
    bar: str | None = None
    detail: str | None = None
    """What is wrong and where, in a sentence."""


def missed_of(findings: Iterable[Finding]) -> list[Finding]:
    """Those beyond their bar."""
    return [finding for finding in findings if finding.status == "missed"]


class CheckReport(BaseModel):
    """Every comparison of the engines of a bundle with its proof, or with a reference."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    schema_name: str = "stts.check/1"
    bundle: str
    against: str
    """The file that the engines were compared with."""
    producer: str
    """Who produced that file."""
    findings: list[Finding]

    @property
    def missed(self) -> list[Finding]:
        return missed_of(self.findings)
