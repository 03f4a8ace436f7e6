"""The passport of a compiled engine: everything that decides whether it may be loaded, and how to make it again.

An engine is tied to the version of TensorRT, the GPU's architecture and the graph that it was compiled from, and says
nothing of it itself: loaded elsewhere it fails late, or crashes. So all that is next to it, in JSON.
"""

from __future__ import annotations

from typing import Annotated, Final, Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator

from stts_runtime.bundle.contract import FlavourName
from stts_runtime.bundle.fields import Label, Sha256
from stts_runtime.bundle.manifest import Precision

PASSPORT_SCHEMA: Final = 2
"""2: `builder_flags` and `inspected`, which passports of schema 1 lack."""
EngineVersion = Annotated[str, Field(pattern=r"^[0-9]+(\.[0-9A-Za-z]+)*$", max_length=40)]
Architecture = Annotated[str, Field(pattern=r"^sm[0-9]{2,3}$")]
Length = Annotated[int, Field(ge=1, le=1 << 20)]


class _Record(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, strict=True, allow_inf_nan=False)


class Lengths(_Record):
    """The profile of a graph's symbolic length: every input that has one gets the same."""

    shortest: Length
    usual: Length
    """What kernels are chosen for."""
    longest: Length

    @model_validator(mode="after")
    def _ascending(self) -> Lengths:
        if not self.shortest <= self.usual <= self.longest:
            raise ValueError("lengths are not in ascending order")
        return self


class Inspected(_Record):
    """What TensorRT's engine inspector tells about the engine."""

    layers: Annotated[int, Field(ge=0)]
    """After fusion: one for each group of operators that runs as a whole."""
    outputs: dict[Label, Annotated[int, Field(ge=1)]]
    """How many outputs of layers have each data type; empty if this version does not tell."""


class Passport(_Record):
    schema_version: Literal[1, 2]
    part: Label
    """`vision.<variant>` or `language`."""
    flavour: FlavourName
    version: EngineVersion
    platform: Label
    """Operating system and processor, such as linux-aarch64."""
    architectures: Annotated[list[Architecture], Field(min_length=1)]
    driver: str | None
    """Driver of the machine that compiled it; None if it had no GPU."""
    l4t: str | None
    """Release of Jetson Linux that it was compiled under; None elsewhere."""
    lowering: Label
    precision: Precision
    wide: list[Label]
    lengths: Lengths | None
    graph_sha256: Sha256
    weights_sha256: Sha256
    plan_sha256: Sha256
    plan_bytes: Annotated[int, Field(ge=1)]
    created: str
    seconds: float
    peak_memory_mb: float
    """Peak memory of the process that compiled it."""
    command: str
    builder_flags: str | None = None
    """What the builder was asked for, as in "fp16, weakly typed"; None in schema 1."""
    inspected: Inspected | None = None
    """What came out; None if it was compiled for other machines, and in schema 1."""
    proof: dict[str, float] | None = None
    """What each stage of the bundle's proof measured on the machine that compiled it; None if it was not run there."""
