"""A reference: what a model's engines must give for given inputs. A small one is in every bundle, its proof.

`stts-export build` writes the proof, `stts-export verify --write-reference` a whole one. Either is untrusted input: its
arrays are read one at a time, and only if they are of the type and shape that the bundle's sizes call for.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray
from pydantic import ValidationError

from stts_runtime.bundle import Manifest
from stts_runtime.errors import BundleError
from stts_runtime.prompt import Tokens
from stts_runtime.references.about import REFERENCE_SCHEMA, About, Small, Whole
from stts_runtime.references.arrays import ArrayFile, Specs, write_arrays
from stts_runtime.references.example import enlarge
from stts_runtime.references.geometry import Geometry
from stts_runtime.references.layout import ABOUT, COLOURS, budget_of, frames_name, specs_of
from stts_runtime.references.signs import project
from stts_runtime.settings import declared_version, first_problem

PROOF: Final = "proof.npz"
"""Name of a bundle's own reference."""
MAX_PROOF_BYTES: Final = 2_000_000
_MAX_ABOUT_BYTES = 1 << 22


@dataclass(frozen=True, eq=False)
class VisionCase:
    """One window, or one frame of a stream, and what a variant makes of it."""

    frames: NDArray[np.uint8]
    """(T, S, S, 3); one frame for a variant of streams in a proof."""
    tokens: NDArray[np.float32]
    """Visual tokens (K, D), whole or projected."""
    kept: NDArray[np.bool_]
    """(T, G)"""
    scores: NDArray[np.float32] | None
    """(T, G); None at keep 1."""
    pooled: NDArray[np.float32] | None = None
    """(G, D), whole or projected: what the next frame of a stream is given; None for windows."""
    change: NDArray[np.float32] | None = None
    """(G,); None for windows."""


@dataclass(frozen=True, eq=False)
class LanguageCase:
    """One prompt and its greedy answer."""

    visual: NDArray[np.float32]
    """Visual tokens that the prompt refers to, (V, width)."""
    prefix: Tokens
    asked: Tokens
    answer_ids: NDArray[np.int64]
    """(N,)"""
    gaps: NDArray[np.float32]
    """(N,): how far the second choice was from each."""
    logits: NDArray[np.float32]
    """(N, D) that each was chosen from, whole or projected."""


class Reference:
    """An opened reference that fits a bundle."""

    def __init__(self, file: ArrayFile, about: About, geometry: Geometry, specs: Specs) -> None:
        self._file, self.about, self._geometry, self._specs = file, about, geometry, specs

    @classmethod
    def open(cls, path: Path, manifest: Manifest) -> Reference:
        """Raises `BundleError` if `path` is no reference, is damaged, or is of another model."""
        file, geometry = ArrayFile(path), Geometry.of(manifest)
        about = _about(file)
        if about.checkpoint_config_sha256 != manifest.checkpoint_config_sha256:
            raise BundleError(
                f"{path} was computed from another checkpoint than the bundle was built from: write one with "
                "`stts-export verify BUNDLE --checkpoint CHECKPOINT --write-reference FILE`"
            )
        try:
            specs = specs_of(about, geometry)
        except KeyError as error:
            raise BundleError(
                f"{path} was computed for other variants than the bundle has: {error.args[0]} is not among them; write "
                "it again with `stts-export verify BUNDLE --checkpoint CHECKPOINT --write-reference FILE`"
            ) from None
        file.check(specs, besides=ABOUT)
        reference = cls(file, about, geometry, specs)
        reference._check(manifest)
        return reference

    @property
    def path(self) -> Path:
        return self._file.path

    @property
    def whole(self) -> Whole | None:
        """None for a proof."""
        return None if isinstance(self.about.values, Small) else self.about.values

    def shrink(self, rows: NDArray[Any]) -> NDArray[np.float32]:
        """An engine's visual tokens or features (N, width) as this reference has them."""
        small = self.about.values
        return project(rows, small.directions) if isinstance(small, Small) else rows

    def vision(self, name: str) -> VisionCase:
        budget = budget_of(name, self.about, self._geometry)
        frames, groups = (budget.frames, budget.groups) if budget else (1, self._geometry.groups)
        pruned = f"{name}.scores" in self._specs
        kept = self._kept(name, frames * groups) if pruned else np.ones(frames * groups, dtype=np.bool_)
        return VisionCase(
            frames=self._frames(frames),
            tokens=self._read(f"{name}.tokens"),
            kept=kept.reshape(frames, groups),
            scores=self._read(f"{name}.scores") if pruned else None,
            pooled=None if budget else self._read(f"{name}.pooled"),
            change=None if budget else self._read(f"{name}.change"),
        )

    def language(self, name: str) -> LanguageCase:
        of_vision = isinstance(self.about.values, Whole)

        def read(what: str) -> NDArray[Any]:
            return self._read(f"language.{name}.{what}")

        after_prefix, after_asked = map(int, read("next_positions"))
        return LanguageCase(
            visual=self._read(f"{name}.tokens") if of_vision else read("visual"),
            prefix=Tokens(read("prefix_ids"), read("prefix_positions"), after_prefix),
            asked=Tokens(read("asked_ids"), read("asked_positions"), after_asked),
            answer_ids=read("answer_ids"),
            gaps=read("gaps"),
            logits=read("logits"),
        )

    def _read(self, name: str) -> NDArray[Any]:
        return self._file.read(name, self._specs[name])

    def _kept(self, name: str, groups: int) -> NDArray[np.bool_]:
        return np.unpackbits(self._read(f"{name}.kept"), count=groups).astype(np.bool_)

    def _frames(self, frames: int) -> NDArray[np.uint8]:
        if self.whole is not None:
            return self._read(frames_name(frames))
        return enlarge(self._read(COLOURS)[:frames], self._geometry.patch_size)

    def _check(self, manifest: Manifest) -> None:
        """What shapes alone do not say. Raises `BundleError`."""
        values, geometry = self.about.values, self._geometry
        windows = {name: budget_of(name, self.about, geometry) for name in self.about.vision}
        frames = {name: budget.frames if budget else 1 for name, budget in windows.items()}
        if isinstance(values, Small):
            fits = max(frames.values(), default=0) <= values.frames
        else:
            fits = frames == {name: len(times) for name, times in values.times_seconds.items()}
            fits = fits and set(frames) == set(self.about.language) == set(values.texts)
        for name in (name for name in windows if f"{name}.kept" in self._specs):
            kept = int(self._kept(name, frames[name] * geometry.groups).sum())
            fits = fits and kept == self._specs[f"{name}.tokens"].shape[0]
        if not fits or not all(self._prompt_fits(name, manifest) for name in self.about.language):
            raise BundleError(f"{self.path} is damaged, or of another bundle: its parts do not fit each other")

    def _prompt_fits(self, name: str, manifest: Manifest) -> bool:
        """Whether everything that a graph uses as an index can be one."""
        parts = {part: self._read(f"language.{name}.{part}_ids") for part in ("prefix", "asked", "answer")}
        positions = [self._read(f"language.{name}.{part}_positions") for part in ("prefix", "asked")]
        after = int(self._read(f"language.{name}.next_positions")[1])
        ids, places = np.concatenate([*parts.values()]), np.concatenate(positions)
        language, prompt = manifest.language, manifest.prompt
        # Marks of the prompt follow the vocabulary that the model chooses from.
        largest = max(language.vocabulary - 1, prompt.image_patch_id, prompt.frame_start_id, prompt.frame_end_id)
        values = self.about.values
        rows = values.visual_rows if isinstance(values, Small) else self._specs[f"{name}.tokens"].shape[0]
        return bool(
            0 <= ids.min() <= ids.max() <= largest
            and 0 <= places.min() <= places.max() < after
            and after + len(parts["answer"]) <= self._geometry.positions(language.context)
            and len(ids) <= language.context
            and (parts["prefix"] == prompt.image_patch_id).sum() <= rows <= language.visual_rows
        )


def write_reference(path: Path, about: About, arrays: Mapping[str, NDArray[Any]], geometry: Geometry) -> None:
    """Writes a reference, whole or not at all. Raises ValueError if the arrays are not those of the table."""
    specs = specs_of(about, geometry)
    found = {name: (array.dtype, array.shape) for name, array in arrays.items()}
    if found != {name: (spec.dtype, spec.shape) for name, spec in specs.items()}:
        odd = sorted(name for name in found.keys() | specs.keys() if found.get(name) != specs.get(name))
        raise ValueError(f"{odd[0]} is {found.get(odd[0])} and should be {specs.get(odd[0])}")
    described = np.frombuffer(about.model_dump_json().encode(), dtype=np.uint8)
    write_arrays(path, {ABOUT: described, **arrays})


def _about(file: ArrayFile) -> About:
    content = file.read_bytes(ABOUT, _MAX_ABOUT_BYTES)
    version = declared_version(content)
    if version is not None and version > REFERENCE_SCHEMA:
        raise BundleError(
            f"{file.path} was written by a newer stts-export (schema {version}); this runtime reads references up to "
            f"{REFERENCE_SCHEMA}: pip install -U stts-export"
        )
    try:
        return About.model_validate_json(content)
    except ValidationError as error:
        raise BundleError(f"{file.path} is not a reference, or is damaged: {first_problem(error)}") from None
