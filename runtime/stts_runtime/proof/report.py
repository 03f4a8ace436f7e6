"""What `stts-runtime check` found, as it is printed and shown."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict

from stts_runtime.proof.finding import Finding, missed_of


class CheckReport(BaseModel):
    """Every comparison of the engines of a bundle with its proof, or with a reference."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    schema_name: str = "stts.check/1"
    bundle: str
    against: str
    """The file that the engines were compared with."""
    producer: str
    """Of that file."""
    findings: list[Finding]

    @property
    def missed(self) -> list[Finding]:
        return missed_of(self.findings)
