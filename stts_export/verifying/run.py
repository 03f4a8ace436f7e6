"""`stts-export verify`: what has to be true beforehand, the comparison, and the report that stays in the bundle."""

from __future__ import annotations

import hashlib
import os
from datetime import datetime, timezone
from importlib.metadata import version

from stts_export.building.frames import MADE_UP
from stts_export.checkpoint import Checkpoint, open_checkpoint
from stts_export.verifying.reference_file import write_expected
from stts_export.verifying.report import VerifyReport
from stts_export.verifying.request import VerifyRequest
from stts_export.verifying.verifier import Verifier
from stts_runtime.bundle import MANIFEST, Bundle
from stts_runtime.bundle.load import ENGINES
from stts_runtime.errors import UserError
from stts_runtime.outputs import check_output, written_whole
from stts_runtime.tell import Tell, tell_nobody

REPORT = "verify.json"
"""Lies in the folder of the engines, which the manifest knows nothing of."""


def verify_bundle(request: VerifyRequest, tell: Tell = tell_nobody) -> VerifyReport:
    """Compares stage by stage and stores the report in the bundle.

    Raises `UserError` if bundle and checkpoint are of different models, the bundle was quantized, or the video does not
    do.
    """
    bundle = Bundle.open(request.bundle)
    _check_is_wide(bundle)
    _check_writable(bundle)
    if request.write_reference is not None:
        source = str(request.frames_from) if request.frames_from else None
        check_output(request.write_reference, (".npz",), source, bundle.folder)

    def check(described: Checkpoint) -> None:
        _check_same_model(bundle, _scored_alike(bundle, described))

    checkpoint = _scored_alike(bundle, open_checkpoint(request.checkpoint, None, tell, check))
    _check_same_model(bundle, checkpoint)
    modules = checkpoint.lazy()
    verifier = Verifier(request, bundle, checkpoint, modules, tell)
    findings, frames_from = list(verifier.findings()), request.frames_from.name if request.frames_from else MADE_UP
    made = VerifyReport(
        created=datetime.now(timezone.utc).isoformat(timespec="seconds"),
        producer=f"stts-export {version('stts-export')}",
        manifest_sha256=hashlib.sha256((bundle.folder / MANIFEST).read_bytes()).hexdigest(),
        checkpoint=checkpoint.name,
        checkpoint_config_sha256=checkpoint.config_sha256,
        frames_from=frames_from,
        question=request.question,
        findings=findings,
    )
    _store(bundle, made)
    if request.write_reference is not None:
        tell(f"writing {request.write_reference}")
        write_expected(request.write_reference, bundle, verifier.expected, request.question, frames_from)
    return made


def _check_is_wide(bundle: Bundle) -> None:
    """Else weights that are as they should be would be called others than the checkpoint's."""
    if formats := bundle.quantized:
        raise UserError(
            f"{bundle.folder} was quantized ({', '.join(f'{part} in {form}' for part, form in formats.items())}), and "
            "verify compares weights one by one: verify the bundle that it was made of; how it compares with that one "
            f"stands in its report, and `stts-runtime check {bundle.folder}` runs its engines"
        )


def _check_writable(bundle: Bundle) -> None:
    engines = bundle.folder / ENGINES
    place = engines if engines.exists() else bundle.folder
    if not os.access(place, os.W_OK):
        raise UserError(f"{place} is read-only, and the report is stored in it: copy the bundle elsewhere")


def _scored_alike(bundle: Bundle, checkpoint: Checkpoint) -> Checkpoint:
    """The checkpoint with the scorer that the bundle was built with. Raises `CheckpointError` if it cannot have it."""
    scorer = bundle.manifest.scorer
    if scorer is None or scorer.trained:
        return checkpoint
    assert scorer.prune_at is not None
    return checkpoint.scored_by_change(scorer.prune_at)


def _check_same_model(bundle: Bundle, checkpoint: Checkpoint) -> None:
    manifest, config = bundle.manifest, checkpoint.config
    markers = config.markers
    pairs: list[tuple[str, object, object]] = [
        ("text layers", manifest.language.layers, config.text.layers),
        ("text width", manifest.language.visual_width, config.text.width),
        ("vocabulary", manifest.language.vocabulary, config.text.vocab),
        ("groups a side", manifest.vision.groups_per_side, config.vision.groups_per_side),
        ("values a patch", manifest.vision.patch_size**2 * 3, config.vision.patch_values),
        ("number of <im_patch>", manifest.prompt.image_patch_id, markers.image_patch),
        ("number of <frame_start>", manifest.prompt.frame_start_id, markers.frame_start),
    ]
    for name, built, given in pairs:
        if built != given:
            raise UserError(
                f"{bundle.folder} was not built from {checkpoint.given}: {name} is {built} there and {given} here"
            )
    if manifest.scorer is not None and config.scorer is None:
        raise UserError(f"{bundle.folder} was not built from {checkpoint.given}, which has no token scorer")


def _store(bundle: Bundle, report: VerifyReport) -> None:
    folder = bundle.folder / ENGINES
    try:
        folder.mkdir(exist_ok=True)
        with written_whole(folder / REPORT) as scratch:
            scratch.write_text(report.model_dump_json(indent=1) + "\n")
    except OSError as error:
        raise UserError(f"the report cannot be written into {folder}: {error.strerror}") from None
