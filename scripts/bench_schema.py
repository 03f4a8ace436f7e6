#!/usr/bin/env python3
"""How many answers by a JSON schema are valid, by another library's judgement, and what the schema costs a token.

Asks about test clips, plain and hard ones in turns; every other answer is drawn at temperature 1, where the model says
more of what the schema does not allow. Example: bench_schema.py out/live docs/examples/alarm.json schema.json
"""

from __future__ import annotations

import json
import statistics
import sys
from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from typing import Annotated, Any

import jsonschema_rs
import typer

from stts_calib.clips import Clip, ClipSet, Split
from stts_runtime import load
from stts_runtime.answering import AnswerForm, Sampling
from stts_runtime.answering.schema import Schema
from stts_runtime.cli.entry import run_app
from stts_runtime.cli.options import BundleArgument
from stts_runtime.forms import Forms, read_schema
from stts_runtime.model import Model
from stts_runtime.outputs import check_place
from stts_runtime.records import Answer
from stts_tools.measured import measured, write_measured

app = typer.Typer(add_completion=False, pretty_exceptions_enable=False)

QUESTION = "What happens?"
MAX_TOKENS = 96
OF_A_CLIP = 4


@app.command(help=__doc__)
def bench(
    bundle: BundleArgument,
    schema: Annotated[Path, typer.Argument(help="The JSON schema.")],
    out: Annotated[Path, typer.Argument(help="Where the figures go, .json.")],
    count: Annotated[int, typer.Option("--answers", min=10, help="How many are asked for.")] = 500,
) -> None:
    check_place(out, [".json"])
    model = load(bundle)
    content: Any = read_schema(schema)
    validator = jsonschema_rs.validator_for(content)
    given: list[Answer] = []
    for answer in islice(answers(model, Forms(model.bundle).schema(schema)), count):
        given.append(answer)
        if len(given) % 50 == 0:
            print(f"{len(given)} of {count}", file=sys.stderr, flush=True)
    result = {"bundle": bundle.name, "engine": model.engine, "schema": content, **figures(given, validator)}
    write_measured(measured(**result, answers=[one.answer for one in given]), out)
    print("\n".join(f"{name}: {value}" for name, value in result.items() if name != "schema"))


def answers(model: Model, schema: Schema) -> Iterator[Answer]:
    """Without an end."""
    session = model.session(model.bundle.choose(None, None, None))
    frames, size = model.bundle.manifest.variants[session.variant].frames, model.bundle.manifest.vision.image_size
    number = 0
    while True:
        clip = Clip.make(Split.test, number // 2, (ClipSet.plain, ClipSet.hard)[number % 2])
        watched = session.watch(clip.window(frames, size))
        for place in range(OF_A_CLIP):
            sampling = Sampling(temperature=float(place % 2), seed=number * OF_A_CLIP + place)
            yield session.ask(watched, QUESTION, MAX_TOKENS, form=AnswerForm(sampling=sampling, schema=schema))
        number += 1


def figures(given: list[Answer], validator: Any) -> dict[str, Any]:
    costs = [one.structured for one in given if one.structured is not None]
    return {
        "asked": len(given),
        "valid": sum(is_valid(one.answer, validator) for one in given),
        "different": len({one.answer for one in given}),
        "longest_tokens": max(one.tokens.generated for one in given),
        "masked_tokens_median": statistics.median(one.masked_tokens for one in costs),
        "ms_a_token_median": round(statistics.median(one.milliseconds_per_token for one in costs), 4),
    }


def is_valid(text: str, validator: Any) -> bool:
    try:
        return bool(validator.is_valid(json.loads(text)))
    except json.JSONDecodeError:
        return False


if __name__ == "__main__":
    sys.exit(run_app(app, "bench_schema.py"))
