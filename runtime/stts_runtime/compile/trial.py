"""A new engine is run on the bundle's proof before it counts: kernels exist that are wrong without a word.

NVIDIA/TensorRT#4837 is one such case. Where the engine cannot run, such as one that was compiled ahead of time for
another GPU, there is no trial; `stts-runtime check` does it on the device.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from stts_runtime.bundle import Bundle
from stts_runtime.bundle.contract import LANGUAGE
from stts_runtime.device import Device
from stts_runtime.engines.cuda_memory import load_cuda
from stts_runtime.engines.tensorrt import TensorRtBackend
from stts_runtime.errors import EngineError, MissingExtraError
from stts_runtime.passports import EngineStore, Passport
from stts_runtime.proof.check import check_part, open_proof
from stts_runtime.proof.engine_parts import EngineParts
from stts_runtime.proof.finding import Finding, missed_of
from stts_runtime.references.reference import PROOF

_FOLDER = "trial"


class Trial:
    """Trials of one bundle's engines on this device."""

    def __init__(self, bundle: Bundle, device: Device) -> None:
        """Raises `BundleError` if the proof is damaged, before anything is compiled."""
        self._bundle, self._gpu = bundle, device.gpu
        self._proof = open_proof(bundle) if PROOF in bundle.manifest.files else None

    def passed(self, passport: Passport, plan: Path) -> Passport:
        """The passport with what was measured; as it was if the engine cannot run here, or nothing is known of it.

        Raises `EngineError` if the engine misses a bar; `plan` is gone then.
        """
        if self._proof is None or not self._runs_here(passport):
            return passport
        store = EngineStore(self._bundle.folder, plan.parent / _FOLDER)
        store.folder.mkdir(exist_ok=True)
        store.put(passport, plan)
        findings = check_part(
            EngineParts(self._bundle, TensorRtBackend(passport.flavour, store)), self._proof, passport.part
        )
        missed = missed_of(findings)
        if missed:
            raise EngineError(_refusal(self._bundle, passport, missed))
        store.plan(passport).replace(plan)
        measured = {finding.stage: finding.value for finding in findings if finding.value is not None}
        return passport.model_copy(update={"proof": measured or None})

    def note(self, passports: Sequence[Passport]) -> str | None:
        """What there is to say about engines that were not tried; None if all were."""
        bundle = self._bundle
        if self._proof is None:
            return (
                f"{bundle.folder} carries no proof of what its engines must give, so none was tried; build it again "
                f"for one: {bundle.manifest.build_command} --force (with your paths)"
            )
        untried = [passport.part for passport in passports if passport.proof is None]
        if not untried:
            return None
        return f"not tried here: {', '.join(untried)}; on the device that runs them: stts-runtime check {bundle.folder}"

    def _runs_here(self, passport: Passport) -> bool:
        if self._gpu is None or self._gpu.architecture not in passport.architectures:
            return False
        try:
            load_cuda()
        except MissingExtraError:
            return False
        return True


def _refusal(bundle: Bundle, passport: Passport, missed: list[Finding]) -> str:
    numbers = "; ".join(
        f"{one.stage} {one.measured} (bar {one.bar})" + (f", {one.detail}" if one.detail else "") for one in missed
    )
    part = "the language model" if passport.part == LANGUAGE else passport.part
    return (
        f"the {passport.flavour} engine of {part} was compiled and is not kept, since it misses {PROOF}: {numbers}; "
        f"{passport.flavour} {passport.version} computes it wrongly on this GPU: report it with this line, and run "
        f"another engine of {bundle.folder}, or try another version"
    )
