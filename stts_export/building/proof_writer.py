"""The proof of a bundle: what the float32 modules made of the examples that its graphs were checked with."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from stts_export.building.plan import Plan
from stts_export.checkpoint import Checkpoint
from stts_export.graphs.example_frames import example_colours
from stts_export.graphs.expect import Expectation
from stts_runtime.prompt import Tokens
from stts_runtime.references.about import REFERENCE_SCHEMA, About, Small, Spoken
from stts_runtime.references.geometry import Geometry
from stts_runtime.references.layout import COLOURS, EXAMPLE, packed_bits, size_of, specs_of
from stts_runtime.references.reference import MAX_PROOF_BYTES, PROOF, write_reference
from stts_runtime.references.signs import MOST_DIRECTIONS, project
from stts_runtime.tell import Tell

_DIRECTIONS = (8, 4, 2, 1)
"""That visual tokens are projected onto: as many as there is room for."""
_OVERHEAD_BYTES = 100_000
"""Names and headers of the file, and what the compression of noise may add."""

Arrays = dict[str, NDArray[Any]]


def write_proof(
    folder: Path,
    checkpoint: Checkpoint,
    plan: Plan,
    vision: Mapping[str, Expectation],
    language: Sequence[Expectation],
    tell: Tell,
) -> None:
    """Writes the proof into a bundle that is being built; `vision` by variant, `language` call by call."""
    geometry = geometry_of(checkpoint, plan)
    about = about_proof(geometry, checkpoint.config_sha256, language)
    values = about.values
    assert isinstance(values, Small)
    if values.left_out:
        tell(f"note: the proof has no room for {', '.join(values.left_out)}")
    arrays: Arrays = {COLOURS: example_colours(checkpoint.config.vision, values.frames)}
    for name in about.vision:
        arrays |= _vision(name, vision[name], values.directions, geometry)
    if about.language:
        arrays |= _language(language, values.visual_rows)
    write_reference(folder / PROOF, about, arrays, geometry)


def geometry_of(checkpoint: Checkpoint, plan: Plan) -> Geometry:
    config = checkpoint.config
    geometry = Geometry(
        image_size=checkpoint.hf_config.vision.image_size[0],
        patch_size=checkpoint.hf_config.vision.patch_size,
        groups=config.vision.groups,
        visual_width=config.text.width,
        vocabulary=config.text.vocab,
        windows={budget.name: budget for budget in plan.budgets},
        live={},
    )
    if plan.live is None:
        return geometry
    live = {budget.name: budget for budget in plan.live.budgets}
    assert config.scorer is not None
    width = config.scorer.feature_width(config.vision)
    return replace(geometry, live=live, live_frames=plan.live.frames, pooled_width=width)


def about_proof(geometry: Geometry, checkpoint_config_sha256: str, language: Sequence[Expectation]) -> About:
    """As many directions as fit; where one is too many, the longest windows are left out."""
    prefix, *steps = (len(call.inputs["token_ids"]) for call in language)
    spoken = {EXAMPLE: Spoken(prefix=prefix, asked=steps[0], answer=len(steps))} if steps else {}
    by_length = sorted(geometry.windows, key=lambda name: geometry.windows[name].frames)
    for count in range(len(by_length), -1, -1):
        kept = [name for name in geometry.windows if name in by_length[:count]]
        for directions in _DIRECTIONS:
            about = About(
                schema_version=REFERENCE_SCHEMA,
                producer=f"stts-export {version('stts-export')}",
                checkpoint_config_sha256=checkpoint_config_sha256,
                values=Small(
                    frames=max((geometry.windows[name].frames for name in kept), default=1),
                    directions=directions,
                    visual_rows=_patches(language),
                    left_out=by_length[count:],
                ),
                vision=[*kept, *geometry.live],
                language=spoken,
            )
            if size_of(specs_of(about, geometry)) <= MAX_PROOF_BYTES - _OVERHEAD_BYTES:
                return about
    raise AssertionError("one frame and one prompt fit")


def _patches(language: Sequence[Expectation]) -> int:
    """Visual tokens that the prompt refers to."""
    return int(language[0].inputs["visual_rows"].max()) + 1


def _vision(name: str, expected: Expectation, directions: int, geometry: Geometry) -> Arrays:
    given, outputs = expected.inputs, expected.outputs
    arrays: Arrays = {f"{name}.tokens": project(outputs["visual_tokens"], directions)}
    budget = None if name in geometry.live else geometry.windows[name]
    if budget is not None and budget.keep == 1:
        return arrays
    shape = (budget.frames if budget else 1, geometry.groups)
    kept = np.zeros(shape, dtype=np.bool_)
    kept.reshape(-1)[outputs["kept_groups"] if "kept_groups" in outputs else given["kept_groups"]] = True
    arrays |= {f"{name}.scores": outputs["scores"].reshape(shape), f"{name}.kept": packed_bits(kept)}
    if budget is None:
        arrays |= {f"{name}.pooled": project(outputs["pooled"], directions), f"{name}.change": outputs["change"]}
    return arrays


def _language(calls: Sequence[Expectation], visual_rows: int) -> Arrays:
    prefix, *steps = calls
    answer_ids = np.concatenate([step.outputs["next_token"] for step in steps])
    logits = np.concatenate([step.outputs["logits"] for step in steps])
    arrays = spoken_arrays(EXAMPLE, _tokens_of(prefix), _tokens_of(steps[0]), answer_ids, logits)
    return {
        f"language.{EXAMPLE}.visual": prefix.inputs["visual_tokens"][:visual_rows],
        **arrays,
        f"language.{EXAMPLE}.logits": project(logits, MOST_DIRECTIONS),
    }


def _tokens_of(call: Expectation) -> Tokens:
    positions = call.inputs["positions"]
    return Tokens(call.inputs["token_ids"], positions, int(positions[-1]) + 1)


def spoken_arrays(
    name: str, prefix: Tokens, asked: Tokens, answer_ids: NDArray[np.int64], logits: NDArray[np.float32]
) -> Arrays:
    """What a reference says of one answer: a prompt, the answer's tokens (N,) and their logits (N, vocabulary)."""
    arrays: Arrays = {
        "prefix_ids": prefix.ids,
        "asked_ids": asked.ids,
        "prefix_positions": prefix.positions,
        "asked_positions": asked.positions,
        "next_positions": np.array([prefix.next_position, asked.next_position]),
        "answer_ids": answer_ids,
        "gaps": _gaps(logits),
        "logits": logits,
    }
    return {f"language.{name}.{what}": array for what, array in arrays.items()}


def _gaps(logits: NDArray[np.float32]) -> NDArray[np.float32]:
    """(N, vocabulary) -> (N,): how far the second choice is from the first."""
    first_two = np.partition(logits, -2, axis=1)[:, -2:]
    gaps: NDArray[np.float32] = first_two[:, 1] - first_two[:, 0]
    return gaps
