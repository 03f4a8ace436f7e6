"""What the child process is asked for and what it says, one JSON object a line."""

from __future__ import annotations

from typing import Annotated, Literal, Union

from pydantic import BaseModel, ConfigDict, Field

from stts_runtime.bundle.contract import FlavourName
from stts_runtime.bundle.manifest import Precision
from stts_runtime.passports import Inspected, Lengths


class _Message(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class PartRequest(_Message):
    """One graph to compile; paths are absolute."""

    flavour: FlavourName
    graph: str
    plan: str
    """Where the engine goes: a scratch file that the parent moves."""
    architectures: list[str] | None
    """Names such as sm86 to compile ahead of time for; None: the GPU of this machine."""
    precision: Precision
    """Precision of the graph, which weakly typed networks have to be told."""
    lengths: Lengths | None
    timing_cache: str | None
    """Where TensorRT keeps what it learned on this device; None for TensorRT-RTX, which times nothing here."""


class Progress(_Message):
    """How far a phase of the build is; phases nest, and `depth` 0 is the outermost."""

    kind: Literal["progress"] = "progress"
    phase: str
    depth: int
    step: int
    steps: int


class Done(_Message):
    kind: Literal["done"] = "done"
    seconds: float
    peak_memory_mb: float
    """Largest resident memory of the child process, libraries included."""
    warnings: list[str]
    note: str | None = None
    builder_flags: str
    """In words, as in "fp16, weakly typed"."""
    inspected: Inspected | None
    """None where the engine was compiled for other machines."""


class Failed(_Message):
    kind: Literal["failed"] = "failed"
    message: str
    users_fault: bool


Message = Annotated[Union[Progress, Done, Failed], Field(discriminator="kind")]
