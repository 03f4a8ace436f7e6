"""What `verify` found, as it is stored in the bundle and shown."""

from __future__ import annotations

from typing import Final, Literal

from pydantic import BaseModel, ConfigDict

from stts_runtime.proof.finding import Finding, missed_of

VERIFY_SCHEMA: Final = 1


class VerifyReport(BaseModel):
    """Everything that one run of `verify` found."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    schema_version: Literal[1] = VERIFY_SCHEMA
    created: str
    producer: str
    manifest_sha256: str
    """Hash of the bundle's manifest, which holds the hashes of everything else."""
    checkpoint: str
    checkpoint_config_sha256: str
    frames_from: str
    question: str
    findings: list[Finding]

    @property
    def missed(self) -> list[Finding]:
        return missed_of(self.findings)
