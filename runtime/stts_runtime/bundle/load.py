"""Opening a bundle: the manifest is validated first, and each file before it is used."""

from __future__ import annotations

import hashlib
import json
import stat
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path

from pydantic import ValidationError

from stts_runtime.budget import KEY_FRAMES, check_keep
from stts_runtime.bundle.files import Fingerprint, fingerprint, plain_file, verify
from stts_runtime.bundle.manifest import SCHEMA_VERSION, Format, Manifest, VisionVariant
from stts_runtime.bundle.upgrade import upgraded
from stts_runtime.errors import BundleError
from stts_runtime.handed_over import is_half_copied, no_bundle, packed, text_of, why_unlisted
from stts_runtime.hub_id import instead_of_bundle
from stts_runtime.leftovers import is_leftover
from stts_runtime.places import check_folder, is_there, look, shown
from stts_runtime.settings import declared_version, first_problem

MANIFEST = "manifest.json"
ENGINES = "engines"
"""Folder of what was compiled from the bundle's graphs (`stts_runtime.passports`)."""
_OF_REPOSITORIES = frozenset(("README.md", "LICENSE", "LICENSE.md", "LICENSE.txt", "NOTICE", "NOTICE.md"))
"""What stands in a repository that a bundle is shared in. No graph reads such a file: its other files have hashes."""
_AGAIN = "copy the bundle again, or build it again"
_MAX_MANIFEST_BYTES = 4 << 20
_IDENTITY = 12


@dataclass(frozen=True)
class Bundle:
    """A folder whose manifest is sound; its other files are checked by `file` when they are asked for."""

    folder: Path
    manifest: Manifest
    identity: str = ""
    """The beginning of the SHA-256 of the manifest, which holds those of all files: `sha256sum manifest.json`."""
    _verified: dict[str, Fingerprint] = field(default_factory=dict, repr=False, compare=False)

    @classmethod
    def open(cls, folder: Path) -> Bundle:
        """Raises `BundleError` if `folder` is no bundle, is damaged, or is newer than this runtime."""
        if not is_there(folder, BundleError):
            raise BundleError(f"no such bundle: {shown(folder)}{instead_of_bundle(folder)}")
        if stat.S_ISREG(look(folder, BundleError, "no such bundle").st_mode):
            what = packed(folder) or "give the folder that it is in"
            raise BundleError(f"{shown(folder)} is a file, and a bundle is a folder: {what}")
        check_folder(folder, BundleError, "a bundle, which is a folder")
        if not is_there(folder / MANIFEST, BundleError):
            raise BundleError(f"{folder} is not a bundle: it holds no {MANIFEST}; {no_bundle(folder, MANIFEST)}")
        content = _content(plain_file(folder, MANIFEST))
        manifest = _manifest(folder / MANIFEST, content)
        _check_nothing_else(folder, manifest)
        return cls(folder, manifest, hashlib.sha256(content).hexdigest()[:_IDENTITY])

    def pinned(self) -> Bundle:
        """The same where links lead now: one may be pointed at another bundle while this one is in use."""
        return replace(self, folder=self.folder.resolve())

    def file(self, name: str) -> Path:
        """The path of a file whose size and hash have been checked, again if it was touched since."""
        path = plain_file(self.folder, name)
        before = fingerprint(path)
        if self._verified.get(name) != before:
            verify(path, self.manifest.files[name])
            self._verified[name] = before
        return path

    def verify_all(self) -> None:
        for name in self.manifest.files:
            self.file(name)

    @property
    def keeps(self) -> list[float]:
        """Keep ratios of the variants for clips, 1 (unpruned) first."""
        return sorted({one.keep for one in self.answering.values()}, reverse=True)

    @property
    def quantized(self) -> dict[str, Format]:
        """Formats of the parts that were quantized: by `vision` and `language`."""
        return {
            part.partition(".")[0]: graph.quantized
            for part, graphs in self.manifest.parts().items()
            for graph in graphs.values()
            if graph.quantized is not None
        }

    @cached_property
    def answering(self) -> dict[str, VisionVariant]:
        """Variants for clips, less the controls."""
        return {name: variant for name, variant in self.manifest.variants.items() if not variant.is_control}

    def choose(self, keep: float | None, budget: str | None, frames: int | None, at_most: int | None = None) -> str:
        """The name of the variant that fits best: the wanted keep and budget, and the most frames allowed.

        `frames` asks for exactly this many; `at_most` bounds them by what the source gives.
        """
        wanted = self.manifest.default_keep if keep is None else keep
        fitting = {
            name: variant
            for name, variant in self.answering.items()
            if abs(variant.keep - wanted) < 1e-6
            and (variant.keep == 1 or budget in (None, variant.budget))
            and frames in (None, variant.frames)
        }
        if not fitting:
            check_keep(wanted)
            raise BundleError(
                f"{self.folder} has no variant with keep {wanted:g}"
                + (f", budget {budget}" if budget else "")
                + (f", {frames} frames" if frames else "")
                + f"; it has keep {', '.join(f'{keep:g}' for keep in self.keeps)}: {', '.join(self.answering)}"
            )
        short = {name: variant for name, variant in fitting.items() if at_most is None or variant.frames <= at_most}
        if not short:
            fewest = min(variant.frames for variant in fitting.values())
            raise BundleError(
                f"the video gives {at_most} {'frame' if at_most == 1 else 'frames'} at {self.manifest.max_fps:g} a "
                f"second, and the shortest variant of {self.folder} needs {fewest}; take a longer video, build with "
                f"fewer frames, or sample a file that holds as many more densely with --frames {fewest}"
            )
        return max(short, key=lambda name: _preference(short[name]))

    def choose_incremental(self, keep: float | None) -> dict[bool, str]:
        """Names of the live variants: True for key frames, False for those between, at the wanted keep."""
        live = self.manifest.live
        if live is None:
            raise BundleError(
                f"{self.folder} has no variants for single frames, which streams need; build it with --budget frame "
                f"added to: {self.manifest.build_command}"
            )
        between = {name: variant.keep for name, variant in live.variants.items() if variant.keep < 1}
        wanted = min(between.values(), key=lambda one: abs(one - self.manifest.default_keep)) if keep is None else keep
        check_keep(wanted)
        for name, own in {**between, KEY_FRAMES: 1.0}.items():
            if abs(own - wanted) < 1e-6:
                return {True: KEY_FRAMES, False: name}
        raise BundleError(f"{self.folder} has no live variant with keep {wanted:g}; it has {', '.join(live.variants)}")


def _preference(variant: VisionVariant) -> tuple[int, bool]:
    return variant.frames, variant.budget == "clip"


def _check_nothing_else(folder: Path, manifest: Manifest) -> None:
    """A file without a hash could be read by a graph unseen. Compiled engines have hashes in their passports. What a
    file system or a tool leaves in a folder by itself is passed over, unless it is half a copy.
    """
    own = {ENGINES} if (folder / ENGINES).is_dir() and not (folder / ENGINES).is_symlink() else set()
    known = manifest.files.keys() | {MANIFEST} | _OF_REPOSITORIES
    unlisted = {path.name for path in folder.iterdir()} - known - own
    if unlisted := {name for name in unlisted if not is_leftover(name) or is_half_copied(name, known)}:
        first = min(unlisted)
        raise BundleError(
            f"{folder} holds {first!r}, which its manifest does not list; {why_unlisted(folder, first, known)}"
        )


def _content(path: Path) -> bytes:
    if path.stat().st_size > _MAX_MANIFEST_BYTES:
        raise BundleError(f"{path} is too large to be a manifest; {_AGAIN}")
    return path.read_bytes()


def _manifest(path: Path, raw: bytes) -> Manifest:
    content = text_of(raw, path, BundleError)
    version = declared_version(content)
    if version is None:
        raise BundleError(f"{path} is damaged: it is not a manifest; {_AGAIN}")
    if version > SCHEMA_VERSION:
        raise BundleError(
            f"{path.parent} was written by a newer stts-export (schema {version}); this runtime reads schemas up to "
            f"{SCHEMA_VERSION}: pip install -U stts-export"
        )
    try:
        return Manifest.model_validate(upgraded(json.loads(content)))
    except ValidationError as error:
        raise BundleError(f"{path} is damaged: {first_problem(error)}; {_AGAIN}") from None
    except (KeyError, TypeError, AttributeError) as error:
        raise BundleError(f"{path} is damaged: it lacks {error}; {_AGAIN}") from None
