"""What a reference says of itself, as JSON in its array `about`."""

from __future__ import annotations

from typing import Annotated, Final, Literal, Union

from pydantic import BaseModel, ConfigDict, Field

from stts_runtime.bundle.fields import Count, Label, Sha256
from stts_runtime.references.signs import MOST_DIRECTIONS

REFERENCE_SCHEMA: Final = 1
Directions = Annotated[int, Field(ge=1, le=MOST_DIRECTIONS)]


class _Record(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, strict=True, allow_inf_nan=False)


class Spoken(_Record):
    """One prompt and the tokens that the language model answers with: how many there are of each."""

    prefix: Count
    asked: Count
    answer: Count


class Small(_Record):
    """Values of a proof: made-up frames and projections, so that it fits a bundle."""

    kind: Literal["proof"] = "proof"
    frames: Count
    """As many are stored; a variant takes the first of them."""
    directions: Directions
    """That visual tokens and features are projected onto."""
    visual_rows: Count
    """Visual tokens in the prompt, stored whole."""
    left_out: list[Label] = []
    """Variants that there was no room for."""


class Whole(_Record):
    """Values of a reference file: frames, visual tokens and logits as they are."""

    kind: Literal["reference"] = "reference"
    frames_from: str
    question: str
    times_seconds: dict[Label, list[float]]
    """Frame times per variant, as in the prompt."""
    texts: dict[Label, str]


class About(_Record):
    """What is in the file, and whose it is."""

    schema_version: Literal[1]
    producer: str
    checkpoint_config_sha256: Sha256
    """Hash of the checkpoint whose modules computed the reference."""
    values: Annotated[Union[Small, Whole], Field(discriminator="kind")]
    vision: list[Label]
    language: dict[Label, Spoken]
