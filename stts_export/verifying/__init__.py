"""A bundle held against its checkpoint: torch in float32 against every engine and graph, stage by stage."""

from stts_export.verifying.report import VerifyReport
from stts_export.verifying.request import VerifyRequest
from stts_export.verifying.run import verify_bundle
from stts_runtime.proof.finding import Finding

__all__ = ["Finding", "VerifyReport", "VerifyRequest", "verify_bundle"]
