"""What the modules gave, written down for engines on other machines: `verify --write-reference`."""

from __future__ import annotations

from collections.abc import Mapping
from importlib.metadata import version
from pathlib import Path

import numpy as np

from stts_export.building.proof_writer import Arrays, spoken_arrays
from stts_export.verifying.verifier import Expected
from stts_runtime.bundle import Bundle
from stts_runtime.errors import UserError
from stts_runtime.prompt import PromptBuilder
from stts_runtime.references.about import REFERENCE_SCHEMA, About, Spoken, Whole
from stts_runtime.references.geometry import Geometry
from stts_runtime.references.layout import frames_name, packed_bits
from stts_runtime.references.reference import write_reference


def write_expected(
    path: Path, bundle: Bundle, expected: Mapping[str, Expected], question: str, frames_from: str
) -> None:
    """Writes what is expected of each variant, whole or not at all."""
    prompts = PromptBuilder.of(bundle)
    about = About(
        schema_version=REFERENCE_SCHEMA,
        producer=f"stts-export {version('stts-export')}",
        checkpoint_config_sha256=bundle.manifest.checkpoint_config_sha256,
        values=Whole(
            frames_from=frames_from,
            question=question,
            times_seconds={name: one.frames.times_seconds for name, one in expected.items()},
            texts={name: prompts.text(one.said.ids) for name, one in expected.items()},
        ),
        vision=list(expected),
        language={name: _spoken(one) for name, one in expected.items()},
    )
    arrays: Arrays = {}
    for name, one in expected.items():
        arrays |= _vision(name, one) | _language(name, one)
    try:
        write_reference(path, about, arrays, Geometry.of(bundle.manifest))
    except OSError as error:
        raise UserError(f"the reference cannot be written to {path}: {error.strerror}") from None


def _spoken(one: Expected) -> Spoken:
    return Spoken(prefix=len(one.prompted.prefix), asked=len(one.prompted.asked), answer=len(one.said.ids))


def _vision(name: str, one: Expected) -> Arrays:
    seen = one.seen
    arrays: Arrays = {frames_name(one.budget.frames): one.frames.pixels, f"{name}.tokens": seen.visual_tokens}
    if seen.scores is not None:
        arrays |= {f"{name}.scores": seen.scores, f"{name}.kept": packed_bits(seen.kept)}
    return arrays


def _language(name: str, one: Expected) -> Arrays:
    prefix, asked = one.prompted.prefix, one.prompted.asked
    return spoken_arrays(name, prefix, asked, np.array(one.said.ids), np.stack(one.said.logits))
