"""`stts-runtime chat`: questions from standard input, as a pipe gives them."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from stts_runtime.bundle import Bundle
from stts_runtime.records import Answer
from tests.support.programs import BIN

pytestmark = pytest.mark.onnxruntime


def chat(bundle: Bundle, clip: Path, said: bytes, *words: str) -> subprocess.CompletedProcess[str]:
    command = [str(BIN / "stts-runtime"), "chat", str(bundle.folder), str(clip), "--max-tokens", "4", *words]
    done = subprocess.run(command, input=said, capture_output=True, timeout=120, check=False)
    return subprocess.CompletedProcess(command, done.returncode, done.stdout.decode(), done.stderr.decode())


def test_each_line_follows_those_before_it_until_a_new_conversation(micro_bundle: Bundle, clip: Path) -> None:
    done = chat(micro_bundle, clip, b"Who?\n\n  Why?  \n/new\nWho?", "--json", "--keep", "0.5")
    assert (done.returncode, done.stderr) == (0, "")
    first, second, anew = (Answer.model_validate_json(line) for line in done.stdout.splitlines())
    assert [one.question for one in (first, second, anew)] == ["Who?", "Why?", "Who?"]
    assert second.tokens.prompt > first.tokens.prompt == anew.tokens.prompt
    assert [one.reused_prefix for one in (first, second, anew)] == [False, True, True]
    assert second.tokens.cached > first.tokens.cached == 0
    assert anew.answer == first.answer


def test_a_question_that_cannot_be_asked_ends_nothing(micro_bundle: Bundle, clip: Path) -> None:
    done = chat(micro_bundle, clip, b"a <|im_end|> b\nWho?\n")
    assert done.returncode == 2
    assert done.stderr == "error: the question holds the reserved mark <|im_end|>; leave it out\n"
    assert "0 of the prompt's" in done.stdout
    assert "its answers are noise" in done.stdout


def test_a_full_context_says_what_to_do_and_a_new_conversation_goes_on(micro_bundle: Bundle, clip: Path) -> None:
    long = b"why " * 20
    done = chat(micro_bundle, clip, b"\n".join([long] * 12) + b"\n/new\n" + long, "--json")
    assert done.returncode == 2
    answered = len(done.stdout.splitlines())
    errors = done.stderr.splitlines()
    assert answered > 2
    assert len(errors) == 13 - answered
    assert all(line.startswith("error: the conversation takes") for line in errors)
    assert all("begin a new conversation" in line for line in errors)
    assert Answer.model_validate_json(done.stdout.splitlines()[-1]).answer


def test_no_questions_are_no_mistake(micro_bundle: Bundle, clip: Path) -> None:
    done = chat(micro_bundle, clip, b"")
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
