"""Opening a bundle: the manifest is validated first, and each file before it is used."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

from pydantic import ValidationError

from stts_runtime.budget import check_keep
from stts_runtime.bundle.files import plain_file, verify
from stts_runtime.bundle.manifest import SCHEMA_VERSION, Manifest, VisionVariant
from stts_runtime.errors import BundleError

MANIFEST = "manifest.json"
_MAX_MANIFEST_BYTES = 4 << 20


@dataclass(frozen=True)
class Bundle:
    """A folder whose manifest is sound; its other files are checked by `file` when they are asked for."""

    folder: Path
    manifest: Manifest

    @classmethod
    def open(cls, folder: Path) -> Bundle:
        """Raises `BundleError` if `folder` is no bundle, is damaged, or is newer than this runtime."""
        if not folder.is_dir():
            raise BundleError(f"no such bundle: {folder}")
        if not (folder / MANIFEST).exists():
            raise BundleError(f"{folder} is not a bundle: it holds no {MANIFEST}; build one with `stts-export build`")
        return cls(folder, _manifest(plain_file(folder, MANIFEST)))

    def file(self, name: str) -> Path:
        """The path of a file whose size and hash have just been checked."""
        return verify(self.folder, name, self.manifest.files[name])

    def verify_all(self) -> None:
        for name, record in self.manifest.files.items():
            verify(self.folder, name, record)

    def choose(self, keep: float | None, budget: str | None, frames: int | None, at_most: int | None = None) -> str:
        """The name of the variant that fits best: the wanted keep and budget, and the most frames allowed.

        `frames` asks for exactly so many; `at_most` bounds them by what the source gives.
        """
        wanted = self.manifest.default_keep if keep is None else keep
        check_keep(wanted)
        fitting = {
            name: variant
            for name, variant in self.manifest.variants.items()
            if abs(variant.keep - wanted) < 1e-6
            and budget in (None, variant.budget)
            and frames in (None, variant.frames)
        }
        if not fitting:
            raise BundleError(
                f"{self.folder} has no variant with keep {wanted:g}"
                + (f", budget {budget}" if budget else "")
                + (f", {frames} frames" if frames else "")
                + f"; it has {', '.join(self.manifest.variants)}"
            )
        short = {name: variant for name, variant in fitting.items() if at_most is None or variant.frames <= at_most}
        if not short:
            fewest = min(variant.frames for variant in fitting.values())
            raise BundleError(
                f"the video gives {at_most} frames at {self.manifest.max_fps:g} a second, and the shortest variant of "
                f"{self.folder} needs {fewest}; ask for --frames {fewest} to sample it more densely, or build a "
                f"variant with fewer frames"
            )
        return max(short, key=lambda name: _preference(short[name]))


def _preference(variant: VisionVariant) -> tuple[int, bool]:
    return variant.frames, variant.budget == "clip"


def _manifest(path: Path) -> Manifest:
    if path.stat().st_size > _MAX_MANIFEST_BYTES:
        raise BundleError(f"{path} is too large to be a manifest")
    try:
        content = json.loads(path.read_bytes())
        version = content["schema_version"]
    except (ValueError, KeyError, TypeError):
        raise BundleError(f"{path} is damaged: it is not a manifest") from None
    if isinstance(version, int) and version > SCHEMA_VERSION:
        raise BundleError(
            f"{path.parent} was written by a newer stts-export (schema {version}); this runtime reads schemas up to "
            f"{SCHEMA_VERSION}: pip install -U stts-export"
        )
    try:
        return Manifest.model_validate(content)
    except ValidationError as error:
        first = error.errors()[0]
        place = ".".join(str(part) for part in first["loc"]) or "manifest"
        raise BundleError(f"{path} is damaged: {place}: {first['msg']}") from None
