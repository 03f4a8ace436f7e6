#!/usr/bin/env python3
"""How good the probabilities of choices are: yes/no questions about test clips that were not used in training.

For each question the answer is taken once as free text and once from the choices yes and no, in turns of who is first.
Prints accuracy, expected calibration error over ten bins of equal width, the reliability curve, and milliseconds after
the window. Example: bench_choices.py out/tiny choices.json --questions 1000
"""

from __future__ import annotations

import statistics
import sys
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Annotated, Any, Optional

import numpy as np
import typer

from stts_calib.clips import Clip, ClipSet, Split
from stts_runtime.answering import FREE, AnswerForm, Conversation
from stts_runtime.bundle import Bundle
from stts_runtime.cli.entry import run_app
from stts_runtime.cli.options import BundleArgument, EngineOption
from stts_runtime.engines import choose_engine
from stts_runtime.outputs import check_place
from stts_runtime.records import Answer
from stts_runtime.session import Session
from stts_tools.measured import measured, write_measured

app = typer.Typer(add_completion=False, pretty_exceptions_enable=False)

CHOICES = AnswerForm(choices=("yes", "no"))
BINS = 10
MOST_OF_A_CLIP = 4
"""Questions about one clip at the most, so that many clips are asked about."""
MAX_TOKENS = 16


@dataclass(frozen=True)
class Asked:
    """One question, answered both ways."""

    right: str
    free: str
    chosen: str
    probability: float
    """Probability of the chosen answer."""
    covered: float
    free_ms: float
    choices_ms: float
    calls: int


@app.command(help=__doc__)
def bench(
    bundle: BundleArgument,
    out: Annotated[Path, typer.Argument(help="Where the figures go, .json.")],
    questions: Annotated[int, typer.Option(min=10, help="How many are asked.")] = 1000,
    keep: Annotated[Optional[float], typer.Option(help="A keep ratio of the bundle. Default: the trained one.")] = None,
    engine: EngineOption = None,
) -> None:
    check_place(out, [".json"])
    opened = Bundle.open(bundle)
    choice = choose_engine(opened, engine)
    session = Session.open(opened, opened.choose(keep, None, None), Conversation.open(opened, choice.name), choice.name)
    asked: list[Asked] = []
    for one in answers(session, opened):
        asked.append(one)
        if len(asked) % 50 == 0:
            print(f"{len(asked)} of {questions}", file=sys.stderr, flush=True)
        if len(asked) == questions:
            break
    result = {"bundle": bundle.name, "engine": choice.name, "variant": session.variant, **figures(asked)}
    write_measured(measured(**result), out)
    print(told(result))


def answers(session: Session, bundle: Bundle) -> Iterator[Asked]:
    """Without an end: plain and hard clips in turns."""
    manifest, number = bundle.manifest, 0
    frames = manifest.variants[session.variant].frames
    while True:
        clip = Clip.make(Split.test, number // 2, (ClipSet.plain, ClipSet.hard)[number % 2])
        binary = [one for one in clip.questions if one.answer in CHOICES.choices]
        if binary:
            watched = session.watch(clip.window(frames, manifest.vision.image_size))
            for place in np.random.default_rng(number).permutation(len(binary))[:MOST_OF_A_CLIP].tolist():
                question = binary[place]
                forms = (FREE, CHOICES) if (number + place) % 2 else (CHOICES, FREE)
                got = {form: session.ask(watched, question.text, MAX_TOKENS, form=form) for form in forms}
                yield both(question.answer, got[FREE], got[CHOICES])
        number += 1


def both(right: str, free: Answer, chosen: Answer) -> Asked:
    assert chosen.choices is not None
    probability = chosen.choices.probabilities[chosen.answer]
    spent = [one.milliseconds.prefill_question + one.milliseconds.decode for one in (free, chosen)]
    covered, calls = chosen.choices.covered, chosen.choices.calls
    return Asked(right, free.answer, chosen.answer, probability, covered, spent[0], spent[1], calls)


def figures(asked: list[Asked]) -> dict[str, Any]:
    confidence = np.array([one.probability for one in asked])
    hits = np.array([one.chosen == one.right for one in asked])
    curve, error = [], 0.0
    bins = np.minimum((confidence * BINS).astype(int), BINS - 1)
    for number in sorted(set(bins.tolist())):
        inside = bins == number
        said, was = float(confidence[inside].mean()), float(hits[inside].mean())
        error += inside.mean() * abs(said - was)
        curve.append(
            {"from": number / BINS, "questions": int(inside.sum()), "said": round(said, 4), "right": round(was, 4)}
        )
    yes = np.array([one.probability if one.chosen == "yes" else 1 - one.probability for one in asked])
    truth = np.array([one.right == "yes" for one in asked])
    return {
        "questions": len(asked),
        "yes_share": round(float(truth.mean()), 4),
        "accuracy_choices": round(float(hits.mean()), 4),
        "accuracy_free_text": round(float(np.mean([one.free == one.right for one in asked])), 4),
        "same_answer": round(float(np.mean([one.free == one.chosen for one in asked])), 4),
        "expected_calibration_error": round(float(error), 4),
        "brier_score": round(float(((yes - truth) ** 2).mean()), 4),
        "least_covered": round(min(one.covered for one in asked), 4),
        "calls": max(one.calls for one in asked),
        "ms_choices_median": round(statistics.median(one.choices_ms for one in asked), 3),
        "ms_free_text_median": round(statistics.median(one.free_ms for one in asked), 3),
        "reliability": curve,
        "answers": [asdict(one) for one in asked],
    }


def told(result: dict[str, Any]) -> str:
    lines = [f"{name}: {value}" for name, value in result.items() if name not in ("reliability", "answers")]
    rows = [
        f"| {one['from']:.1f} | {one['questions']} | {one['said']} | {one['right']} |" for one in result["reliability"]
    ]
    return "\n".join([*lines, "| from | questions | said | right |", "| --- | --- | --- | --- |", *rows])


if __name__ == "__main__":
    sys.exit(run_app(app, "bench_choices.py"))
