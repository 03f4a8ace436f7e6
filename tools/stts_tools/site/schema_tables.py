"""Tables of a JSON schema that pydantic made, with what the code says about each field."""

from __future__ import annotations

import ast
import inspect
import json
import textwrap
from collections.abc import Iterator, Mapping
from typing import Any

from pydantic import BaseModel

from stts_tools.site.markup import code, plain, table

Schema = Mapping[str, Any]

_LIMITS = {"minimum": ">=", "ge": ">=", "exclusiveMinimum": ">", "gt": ">", "maximum": "<=", "exclusiveMaximum": "<"}
"""pydantic leaves its own names where a text is parsed first."""


def model_page(title: str, introduction: str, model: type[BaseModel]) -> str:
    """The page of a model and of all that it refers to."""
    schema = model.model_json_schema()
    objects = {model.__name__: schema, **schema.get("$defs", {})}
    return f"# {title}\n\n{introduction}\n\n{object_sections(objects, level=2)}"


def object_sections(objects: Mapping[str, Schema], level: int) -> str:
    """A heading and a table of fields for each object, and one line for each that is not one."""
    docs = {model.__name__: field_docs(model) for model in _models(BaseModel) if model.__module__.startswith("stts_")}
    return "".join(
        f"{'#' * level} {name}\n\n{plain(schema.get('description', ''))}\n\n{_fields(schema, docs.get(name, {}))}"
        for name, schema in objects.items()
    )


def _fields(schema: Schema, docs: Mapping[str, str]) -> str:
    if "properties" not in schema:
        return f"{type_of(schema)}\n\n"
    required = schema.get("required", [])
    return table(
        ["field", "type", "default", ""],
        [
            [code(name), type_of(field), "required" if name in required else _default(field), plain(docs.get(name, ""))]
            for name, field in schema["properties"].items()
        ],
    )


def _default(field: Schema) -> str:
    default = field.get("default")
    return "" if default is None else code(json.dumps(default, ensure_ascii=False))


def type_of(field: Schema) -> str:
    """In words, as Markdown; references are links to headings of the same page."""
    if "$ref" in field:
        name = field["$ref"].rpartition("/")[2]
        return f"[{name}](#{name.lower()})"
    if alternatives := field.get("anyOf") or field.get("oneOf"):
        return " or ".join(dict.fromkeys(type_of(one) for one in alternatives if one.get("type") != "null"))
    if "const" in field or "enum" in field:
        return ", ".join(code(one) for one in field.get("enum", [field.get("const")]))
    if field.get("type") == "array":
        return f"list of {_each(field)}"
    if field.get("type") == "object" and isinstance(field.get("additionalProperties"), dict):
        return f"map of {type_of(field['additionalProperties'])}"
    limits = "".join(f" {plain(sign)} {field[key]:g}" for key, sign in _LIMITS.items() if key in field)
    return str(field.get("type", "any")) + limits


def _each(field: Schema) -> str:
    if "prefixItems" in field:
        return ", ".join(type_of(one) for one in field["prefixItems"])
    return type_of(field.get("items", {}))


def field_docs(model: type[BaseModel]) -> dict[str, str]:
    """The string below each field in the source, by its name in files; those of base classes too."""
    found: dict[str, str] = {}
    for base in reversed(model.__mro__):
        if issubclass(base, BaseModel) and base.__module__.startswith("stts_"):
            found.update(_strings_below(base))
    fields = model.model_fields
    return {fields[name].alias or name: text for name, text in found.items() if name in fields}


def _strings_below(model: type) -> Iterator[tuple[str, str]]:
    (definition,) = ast.parse(textwrap.dedent(inspect.getsource(model))).body
    assert isinstance(definition, ast.ClassDef)
    for field, below in zip(definition.body, definition.body[1:], strict=False):
        if not (isinstance(field, ast.AnnAssign) and isinstance(field.target, ast.Name)):
            continue
        if isinstance(below, ast.Expr) and isinstance(below.value, ast.Constant):
            yield field.target.id, str(below.value.value)


def _models(base: type[BaseModel]) -> Iterator[type[BaseModel]]:
    for model in base.__subclasses__():
        yield model
        yield from _models(model)
