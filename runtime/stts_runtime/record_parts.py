"""What records are made of, and parts of them on request: probabilities of choices and tokens, cost of a schema."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import (
    BaseModel,
    ConfigDict,
    GetJsonSchemaHandler,
    SerializerFunctionWrapHandler,
    model_serializer,
)
from pydantic.json_schema import JsonSchemaValue
from pydantic_core import CoreSchema

from stts_runtime.answering.choices import ScoredChoices
from stts_runtime.answering.form import TokenLogprob
from stts_runtime.answering.schema import SchemaState


class RecordPart(BaseModel):
    """Its fields without a default are those of the first readers, which refuse every other field.

    A field that came later has a default, and is written only where it says something else: an answer that makes no use
    of what is new is the record that it always was. `schema_name`, which says what a record is, is always written.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    @model_serializer(mode="wrap")
    def _without_defaults(self, whole: SerializerFunctionWrapHandler) -> dict[str, Any]:
        fields: dict[str, Any] = whole(self)
        known = type(self).model_fields
        return {
            name: value
            for name, value in fields.items()
            if name == "schema_name" or getattr(self, name) != known[name].default
        }

    @classmethod
    def __get_pydantic_json_schema__(cls, core: CoreSchema, handler: GetJsonSchemaHandler) -> JsonSchemaValue:
        """That of the fields: of the serializer nothing is known but that it gives an object."""
        plain: Any = {name: value for name, value in core.items() if name != "serialization"}
        return handler(plain)


class ChoiceRecord(RecordPart):
    """How likely each choice is; the order is that of the choices."""

    probabilities: dict[str, float]
    """Provided that it is one of them: they sum to 1."""
    logprobs: dict[str, float]
    """Natural logarithms of how likely the model's own answer begins with each, whatever else it could say."""
    covered: float
    """The probability that the model's own answer begins with one of them, 0 to 1."""
    calls: int
    """Language engine calls after the window, including that of the question."""

    @classmethod
    def of(cls, scored: ScoredChoices) -> ChoiceRecord:
        shares = [round(one, 6) for one in scored.probabilities]
        return cls(
            probabilities=dict(zip(scored.choices, shares, strict=True)),
            logprobs={choice: round(one, 6) for choice, one in zip(scored.choices, scored.logprobs, strict=True)},
            covered=round(scored.covered, 6),
            calls=scored.calls,
        )


class LikelyToken(RecordPart):
    """A token that could have come, as OpenAI's API has it."""

    token: str
    logprob: float
    """Natural logarithm of its probability; -9999 where that is 0."""
    bytes: list[int]
    """In UTF-8; of a character of several tokens, its part."""


class TokenLogprobRecord(LikelyToken):
    """A token of the answer, as OpenAI's API has it: the end of the text has none."""

    top_logprobs: list[LikelyToken]

    @classmethod
    def of(cls, taken: TokenLogprob) -> TokenLogprobRecord:
        top = [LikelyToken(**_likely(*one)) for one in taken.top]
        return cls(**_likely(taken.content, taken.logprob), top_logprobs=top)


def _likely(content: bytes, logprob: float) -> dict[str, Any]:
    return {"token": content.decode(errors="replace"), "logprob": round(logprob, 6), "bytes": list(content)}


class AlertFile(RecordPart):
    """A picture or clip of an alarm."""

    path: str
    """On the machine that wrote it."""
    bytes: int
    url: str | None = None
    """Where others fetch it: an address, or a path of the server that watches the stream."""
    jpeg: str | None = None
    """The picture itself in base64, for sinks that ask for it."""


class AlertRecord(RecordPart):
    """What a rule made of an answer."""

    rule: str
    """Its condition: `yes>0.8`."""
    on: bool
    """Whether there is an alarm, this answer included."""
    change: Literal["raised", "cleared"] | None
    """What this answer did to it."""
    number: int
    """Counts the alarms of this question from 1, without gaps, and again after a restart; the end of an alarm has its
    number. 0: none yet."""
    probability: float
    """Probability of the choice that the rule names."""
    snapshot: AlertFile | None = None
    """The frame that the answer is about, where an alarm is raised and its rule asks for a picture."""


class SchemaRecord(RecordPart):
    """What it cost to keep an answer to its schema; it is part of `decode` and `prefill_question`."""

    whole: bool
    """Whether the answer is all that the schema asks for; False if it was stopped before."""
    masked_tokens: int
    """Tokens for which the model would rather have said something that the schema does not allow."""
    milliseconds: float
    milliseconds_per_token: float

    @classmethod
    def of(cls, state: SchemaState, tokens: int) -> SchemaRecord:
        spent = state.milliseconds
        return cls(
            whole=state.is_whole,
            masked_tokens=state.masked,
            milliseconds=round(spent, 3),
            milliseconds_per_token=round(spent / max(1, tokens), 4),
        )


class BundleRecord(RecordPart):
    """Which bundle answers, told where another one did before."""

    identity: str
    """As in `Bundle`."""
    folder: str
    """Its name."""
    from_number: int
    """Number of the stream's first answer by this bundle."""
