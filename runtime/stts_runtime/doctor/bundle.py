"""The fact about the bundle that `doctor` was given: the command that tries its engines."""

from __future__ import annotations

import shlex
from pathlib import Path

from stts_runtime.bundle import MANIFEST, Bundle
from stts_runtime.doctor.report import Fact
from stts_runtime.errors import BundleError
from stts_runtime.proof.reference import PROOF

_NAME = "trial of the engines"


def bundle_facts(folder: Path) -> list[Fact]:
    """Nothing for a folder that is no bundle."""
    if not (folder / MANIFEST).is_file():
        return []
    try:
        proven = PROOF in Bundle.open(folder).manifest.files
    except BundleError as error:
        return [Fact.of(_NAME, None, str(error))]
    command = shlex.join(["stts-runtime", "check", str(folder)])
    otherwise = f"this bundle carries no {PROOF}; an older stts-export built it"
    return [Fact.of(_NAME, command if proven else None, otherwise)]
