"""Answers by a schema: always whole, however few tokens there are; and what is said of a schema that cannot be kept."""

from __future__ import annotations

import builtins
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import stts_runtime
from stts_runtime.answering.schema import Schemas
from stts_runtime.bundle import Bundle
from stts_runtime.errors import MissingExtraError, PromptError, UserError
from stts_runtime.forms import Forms
from stts_runtime.prompt import PromptBuilder

ITEM: dict[str, Any] = {
    "type": "object",
    "properties": {"x": {"type": "integer"}, "name": {"type": "string"}},
    "required": ["x", "name"],
}
SCHEMAS: dict[str, dict[str, Any]] = {
    "alarm": {
        "type": "object",
        "properties": {"event": {"type": "string"}, "colour": {"enum": ["red", "blue"]}, "seconds": {"type": "number"}},
        "required": ["event", "colour", "seconds"],
        "additionalProperties": False,
    },
    "list": {"type": "array", "items": ITEM, "minItems": 1},
    "any object": {"type": "object"},
    "number": {"type": "number"},
    "text": {"type": "string", "minLength": 2, "maxLength": 30},
    "either": {"anyOf": [{"type": "null"}, ITEM]},
    "above 0": {"type": "object", "properties": {"p": {"type": "number", "exclusiveMinimum": 0}}, "required": ["p"]},
    "email": {"type": "string", "format": "email"},
    "time": {"type": "string", "format": "time"},
    "date and time": {
        "type": "array",
        "items": {"type": "string", "format": "date-time"},
        "minItems": 1,
        "maxItems": 2,
    },
    "two numbers": {"type": "string", "pattern": "^[0-9]+-[0-9]+$"},
    "six numbers": {"type": "string", "pattern": "^[0-9]+(-[0-9]+){5}$"},
    "one letter at last": {"type": "string", "pattern": "^[a-z]*q$"},
    "itself": {
        "type": "object",
        "properties": {"next": {"anyOf": [{"$ref": "#"}, {"type": "null"}]}},
        "required": ["next"],
    },
}


@pytest.fixture(scope="module")
def schemas(micro_bundle: Bundle) -> Schemas:
    pytest.importorskip("llguidance")
    return Schemas.of(micro_bundle)


@pytest.mark.parametrize("name", SCHEMAS)
@pytest.mark.parametrize("go_on", [True, False])
def test_whatever_is_picked_the_answer_is_whole_when_its_tokens_are_used_up(
    schemas: Schemas, micro_bundle: Bundle, name: str, go_on: bool
) -> None:
    schema, vocabulary = schemas.compile(SCHEMAS[name]), micro_bundle.manifest.language.vocabulary
    prompts, random = PromptBuilder.of(micro_bundle), np.random.default_rng(0)
    for _ in range(30):
        most = int(random.integers(schema.fewest_tokens + 1, schema.fewest_tokens + 60))
        state, ids = schema.start(), list[int]()
        while not state.done and len(ids) < most:
            token = int(random.choice(np.flatnonzero(state.allowed(vocabulary))))
            assert state.allows(token)
            ids += state.take(token, most - len(ids) - 1, go_on=go_on)
        assert len(ids) <= most
        assert state.is_whole
        json.loads(prompts.text(ids))


def test_digits_do_not_keep_a_time_from_its_end(schemas: Schemas, micro_bundle: Bundle) -> None:
    schema, prompts = schemas.compile({"type": "string", "format": "time"}), PromptBuilder.of(micro_bundle)
    state, most, ids = schema.start(), schema.fewest_tokens + 20, list[int]()
    wanted = [*prompts.answer('"10:12:12.1'), *prompts.answer("129" * 20)]
    while not state.done and len(ids) < most:
        token = wanted[len(ids)]
        assert state.allows(token) or len(ids) > 20
        ids += state.take(token, most - len(ids) - 1, go_on=False)
    assert state.is_whole
    assert prompts.text(ids).startswith('"10:12:12.1129')
    json.loads(prompts.text(ids))


def test_where_no_end_is_known_the_answer_goes_on(schemas: Schemas) -> None:
    state = schemas.compile({"type": "string", "minLength": 4}).start()
    quote = int(np.flatnonzero(state.allowed(1 << 20))[0])
    state._end = None
    assert state.take(quote, 0, go_on=False) == [quote]
    assert not state.is_whole


@pytest.mark.onnxruntime
def test_an_engine_answers_with_json_and_says_what_that_cost(micro_bundle: Bundle, clip: Path) -> None:
    pytest.importorskip("llguidance")
    model = stts_runtime.load(micro_bundle.folder, engine="cpu")
    answer = model.ask(clip, "What happens?", schema=SCHEMAS["alarm"])
    assert json.loads(answer.answer).keys() == {"event", "colour", "seconds"}
    assert answer.finish == "end"
    assert answer.structured is not None
    assert answer.structured.whole
    assert 0 < answer.structured.milliseconds_per_token < answer.milliseconds.total
    assert model.ask(clip, "What happens?").structured is None


@pytest.mark.onnxruntime
def test_log_probabilities_come_with_a_schema_too(micro_bundle: Bundle, clip: Path) -> None:
    pytest.importorskip("llguidance")
    model = stts_runtime.load(micro_bundle.folder, engine="cpu")
    answer = model.ask(clip, "What happens?", schema=SCHEMAS["alarm"], top_logprobs=0)
    assert answer.logprobs is not None
    assert b"".join(bytes(one.bytes) for one in answer.logprobs).decode() == answer.answer


@pytest.mark.parametrize(
    ("schema", "message"),
    [
        ({"type": "objekt"}, "schema: Invalid type: objekt"),
        ({"type": "object", "properties": {"a": {"type": "strin"}}}, "schema.properties.a: Invalid type: strin"),
        ({"items": {"anyOf": [{"type": "null"}, {"pattern": "("}]}}, r"schema.items.anyOf\[1\]: regex parse error"),
        ({"$defs": {"x": {"not": {}}}, "$ref": "#/$defs/x"}, r"schema.\$defs.x: Unimplemented keys"),
        ({"$ref": "https://example.com/schema"}, "schema: "),
        ({"enum": ["\ud800"]}, "schema holds half of a surrogate pair, which is no character"),
        ({"properties": {"\ud800": {"type": "strin"}}}, "schema holds half of a surrogate pair"),
        ({"const": 10**400}, "schema is not valid JSON"),
        ({"enum": [float("nan")]}, "schema is not valid JSON: "),
        ({"enum": ["x" * 40_000]}, "schema is too large: it has 40,014 characters, and may have 32,000"),
        ({"type": "string", "minLength": 5000}, "schema: no answer was found that ends within 2048 tokens"),
        (
            {"$ref": "#/$defs/a", "$defs": {"a": {**ITEM, "properties": {"x": {"$ref": "#/$defs/a"}}}}},
            "schema: parser error: Too many items",
        ),
        (5, 'schema should be a JSON schema, an object such as {"type": "object"}'),
    ],
)
def test_a_schema_that_cannot_be_kept_is_refused_with_its_place(schemas: Schemas, schema: object, message: str) -> None:
    with pytest.raises(UserError, match=f"^{message}") as caught:
        schemas.compile(schema)
    assert "\n" not in str(caught.value)


def test_a_schema_that_is_nested_too_deeply_is_refused(schemas: Schemas) -> None:
    schema: dict[str, Any] = {}
    for _ in range(1000):
        schema = {"items": schema}
    with pytest.raises(UserError, match="schema is nested more than 32 levels deep"):
        schemas.compile(schema)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b'{"type":\n x}', "is not JSON at line 2, column 2: Expecting value"),
        (b"\xff\xfe{\x00}\x00", "is UTF-16"),
        (b"\xc3(", "is not UTF-8 text"),
        (b'{"type": "objekt"}', ": schema: Invalid type: objekt"),
        (b"[" * 100_000, "is nested too deeply"),
    ],
)
def test_a_file_with_a_wrong_schema_is_named(
    micro_bundle: Bundle, tmp_path: Path, content: bytes, message: str
) -> None:
    pytest.importorskip("llguidance")
    path = tmp_path / "answer.json"
    path.write_bytes(content)
    with pytest.raises(UserError) as caught:
        Forms(micro_bundle).of({"schema": path})
    assert str(caught.value).startswith(str(path))
    assert message in str(caught.value)


@pytest.mark.onnxruntime
def test_fewer_tokens_than_the_schema_needs_are_refused(micro_bundle: Bundle, clip: Path) -> None:
    pytest.importorskip("llguidance")
    model = stts_runtime.load(micro_bundle.folder, engine="cpu")
    with pytest.raises(PromptError, match=r"needs max_tokens of at least [0-9]+, and it is 4; raise it"):
        model.ask(clip, "What happens?", schema=SCHEMAS["alarm"], max_tokens=4)


def test_without_the_library_a_line_says_how_to_install_it(
    micro_bundle: Bundle, monkeypatch: pytest.MonkeyPatch
) -> None:
    imported = builtins.__import__

    def without(name: str, *rest: Any) -> Any:
        if name == "llguidance":
            raise ModuleNotFoundError(name)
        return imported(name, *rest)

    monkeypatch.setattr(builtins, "__import__", without)
    with pytest.raises(MissingExtraError, match=r"pip install 'stts-export\[schema\]'"):
        Forms(micro_bundle).of({"schema": {"type": "object"}})
