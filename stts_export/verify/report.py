"""What `verify` found, as it is stored in the bundle and shown."""

from __future__ import annotations

from typing import Final, Literal

from pydantic import BaseModel, ConfigDict

VERIFY_SCHEMA: Final = 1

Status = Literal["ok", "missed", "note", "not run"]
"""`missed`: beyond its bar. `note`: a figure without a bar, such as what a deviation of ours changes."""


class _Record(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Finding(_Record):
    """One comparison."""

    subject: str
    """What was held against the checkpoint: an engine, a graph, the weights, the reference itself."""
    variant: str | None
    stage: str
    status: Status
    measured: str
    value: float | None = None
    """The figure that the bar is about."""
    bar: str | None = None
    detail: str | None = None
    """What is wrong and where, in a sentence."""


class VerifyReport(_Record):
    """Everything that one run of `verify` found."""

    schema_version: Literal[1] = VERIFY_SCHEMA
    created: str
    producer: str
    manifest_sha256: str
    """Of the bundle's manifest, which has the hashes of everything else."""
    checkpoint: str
    checkpoint_config_sha256: str
    frames_from: str
    question: str
    findings: list[Finding]

    @property
    def missed(self) -> list[Finding]:
        return [finding for finding in self.findings if finding.status == "missed"]
